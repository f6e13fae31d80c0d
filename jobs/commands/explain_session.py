"""One session with its events, on stdout, so that a person can check its numbers against the landed lines.

millrace session 5f2c81d0
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.console.printing import print_line, print_table
from jobs.console.remedies import command_line
from jobs.errors import LakeError, UsageError
from jobs.lake.duckdb_views import connect
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.landing import expired
from jobs.rules import session_rules
from jobs.settings import Settings
from schemas.events import EVENTS
from schemas.sessions import SESSION_EVENTS, SESSIONS
from transforms.sessions import explain_events, explain_pings
from transforms.sessions.explain import EVENT_COLUMNS, Figure, Sheet, Step, clock

Row = Mapping[str, Any]

# Per source, the session that shows most rules and fits on a screen. Time that does not count matters most, then pages, interactions,
# several kinds of events, a transaction, and a summary of the client's own.
_EXAMPLES = """
SELECT session_id
FROM sessions
WHERE session_date BETWEEN $first AND $last
QUALIFY row_number() OVER (
    PARTITION BY source
    ORDER BY
        greatest(5 - events, events - 12, 0),
        coalesce(session_duration > round(timespent * 1000) AND timespent > 0, false) DESC,
        CAST(interactions > 0 AS INT)
            + CAST(len(pagesummary) > 0 AS INT)
            + CAST(len(pagesummary) > 1 AS INT)
            + CAST(len(eventssummary) > 2 AS INT)
            + CAST(transactions > 0 AS INT)
            + CAST(reported IS NOT NULL AS INT) DESC,
        events,
        session_id
) = 1
ORDER BY source
"""


def show(settings: Settings, id_prefix: str) -> int:
    """Print the session whose id begins with `id_prefix`.

    Raises LakeError when there is no lake, UsageError when not exactly one session has such an id.
    """
    lake = open_to_read(settings.paths.lake)
    _show(lake, settings, _find_session(lake, id_prefix))
    return 0


def show_examples(settings: Settings, first: dt.date, last: dt.date) -> None:
    """Print one session of each source, of these dates. The same lake gives the same sessions."""
    lake = Lake.open(settings.paths.lake)
    for (session_id,) in connect(lake).execute(_EXAMPLES, {"first": first, "last": last}).fetchall():
        _show(lake, settings, _find_session(lake, session_id))


def _find_session(lake: Lake, id_prefix: str) -> Row:
    """The session's row, read from its own partition."""
    begins = pc.starts_with(pc.field("session_id"), pattern=id_prefix.lower())
    matches = lake.arrow(SESSIONS.name, ["session_id", "session_date", "source"], begins).sort_by("session_id").to_pylist()
    if not matches or not id_prefix:
        some = f'millrace sql --lake {lake.root} "SELECT session_id, source, start_time FROM sessions LIMIT 5"'
        raise UsageError(f"no session has an id that begins with {id_prefix!r}: `{some}` lists some")
    if len(matches) > 1:
        ids = " and ".join(row["session_id"][: len(id_prefix) + 8] for row in matches[:2])
        raise UsageError(f"{len(matches):,} sessions have an id that begins with {id_prefix!r}, such as {ids}: give more of it")
    (row,) = lake.arrow(SESSIONS.name, where=_in_partition(matches[0])).to_pylist()
    return dict(row)


def _in_partition(row: Row) -> pc.Expression:
    """The rows of a session in a table that is partitioned like `sessions`."""
    expression = pc.field("source") == row["source"]
    return expression & (pc.field("session_date") == pa.scalar(row["session_date"])) & (pc.field("session_id") == row["session_id"])


def _events_of(lake: Lake, session: Row) -> list[Row]:
    """The events of the session in their order. Only the partitions in which they landed are read."""
    members = lake.arrow(SESSION_EVENTS.name, ["event_id", "landing_date", "sequence"], _in_partition(session))
    where = (
        (pc.field("source") == session["source"])
        & pc.field("landing_date").isin(pc.unique(members["landing_date"]))
        & pc.field("event_id").isin(members["event_id"])
    )
    sequence = {(row["event_id"], row["landing_date"]): row["sequence"] for row in members.to_pylist()}
    events = [
        row for row in lake.arrow(EVENTS.name, EVENT_COLUMNS, where).to_pylist() if (row["event_id"], row["landing_date"]) in sequence
    ]
    return sorted(events, key=lambda row: sequence[row["event_id"], row["landing_date"]])


def _show(lake: Lake, settings: Settings, session: Row) -> None:
    events = _events_of(lake, session)
    if len(events) < session["events"] and expired.closed_dates(lake).get(session["source"]):
        raise UsageError(
            f"events of session {session['session_id']} have expired (retention.events): its row stays, and cannot be explained"
        )
    if not any(event["session_input"]["user"] for event in events):
        raise LakeError(
            f"the lake {lake.root} does not hold the events of session {session['session_id']}:"
            f" `{command_line('rebuild', lake.root)}` makes it whole"
        )
    is_reported = session["session_kind"] == "reported"
    sheet = (explain_pings if is_reported else explain_events).sheet(session, events, session_rules(settings))
    _headline(session)
    files = sorted({event["file"] for event in events})
    rows = _ping_rows(sheet, files) if is_reported else _event_rows(sheet, files)
    print_table("", _PING_TITLES if is_reported else _EVENT_TITLES, rows, prose=("why not", "how it joined"))
    for file in files:
        print_line(f"{_letters(files.index(file))} = {file}")
    names = ["column", "value", "how its events give it"]
    print_table("", names, [[each.name, each.stored, _derivation(each)] for each in sheet.figures], prose=names[1:])
    wrong = sheet.disagreeing
    print_line(
        f"NOT what the events give: {', '.join(each.name for each in wrong)}"
        if wrong
        else "every number of the row is what its events give"
    )
    print_line("")


def _headline(session: Row) -> None:
    identity = [
        f"{title} {session[name]}"
        for title, name in (("key", "session_key"), ("user", "user_id"), ("device", "device_id"), ("app", "app_id"))
        if session[name]
    ]
    print_line(f"{session['source']}: session {session['session_id']}")
    print_line(", ".join([f"{session['session_kind']}, of {session['session_date']}", *identity]))


_EVENT_TITLES = ["#", "time", "event", "type", "environment", "open page", "gap ms", "counts ms", "why not", "landed"]
_PING_TITLES = ["#", "time", "event", "type", "page", "before end ms", "how it joined", "landed"]


def _event_rows(sheet: Sheet, files: Sequence[str]) -> list[list[Any]]:
    return [
        [
            *_event_cells(step, time),
            step.event["environment"],
            _page(step),
            step.gap_ms,
            step.counted_ms,
            step.note,
            _landing_position(step.event, files),
        ]
        for step, time in zip(sheet.steps, _times(sheet.steps), strict=True)
    ]


def _ping_rows(sheet: Sheet, files: Sequence[str]) -> list[list[Any]]:
    return [
        [*_event_cells(step, time), step.event["page"], step.gap_ms, step.note, _landing_position(step.event, files)]
        for step, time in zip(sheet.steps, _times(sheet.steps), strict=True)
    ]


def _event_cells(step: Step, time: str) -> list[Any]:
    return [step.number, time, step.event["event_name"], step.event["event_type"]]


def _times(steps: Sequence[Step]) -> list[str]:
    """The time of each event, with its date if the event before has another one."""
    times = [step.event["event_time"] for step in steps]
    dates = [None, *(time.date() for time in times)]
    return [
        clock(time) if time.date() == before else f"{time:%Y-%m-%d} {clock(time)}" for time, before in zip(times, dates[:-1], strict=True)
    ]


def _page(step: Step) -> str:
    """The open page, with its environment if the event has another one."""
    if step.page is None:
        return ""
    page, environment = step.page
    return page if environment == (step.event["environment"] or "") else f"{page} ({environment})"


def _landing_position(event: Row, files: Sequence[str]) -> str:
    return f"{_letters(files.index(event['file']))}:{event['record']}:{event['position']}"


def _letters(number: int) -> str:
    """The name of a file in the table: A to Z, then AA and so on."""
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _derivation(figure: Figure) -> str:
    return figure.derivation if figure.agrees else f"NOT SO, the events give {figure.computed}: {figure.derivation}"

"""The mart `funnels`: how many of those who take a first step take the next ones, in their order.

A funnel counts within one session, or within a window of hours across the sessions of a visitor. Then it begins with the
visitor's first such step of the date, and the sessions count that begin on that date or within the window after it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from schemas.marts import FUNNELS
from schemas.sessions import SESSION_EVENTS
from schemas.table import BIGINT, BOOLEAN, DATE, STRING
from transforms.marts.mart import Input, Mart
from transforms.times import HOUR_MS, shifted


@dataclass(frozen=True)
class Step:
    """A step of a funnel: an event that has all that is given. `page` is a pattern, in which an asterisk is any text."""

    name: str
    event_type: str | None = None
    event_name: str | None = None
    page: str | None = None


@dataclass(frozen=True)
class Funnel:
    """A funnel of a source: its steps, in their order, and within how many hours they count; None: within one session."""

    name: str
    source: str
    steps: tuple[Step, ...]
    window_hours: int | None = None

    @property
    def window_days(self) -> int:
        """How many dates after the first step's one the window may reach."""
        return -(-(self.window_hours or 0) // 24)


def mart(funnels: Sequence[Funnel]) -> Mart:
    """The mart of these funnels."""
    days = {funnel.source: 0 for funnel in funnels}
    for funnel in funnels:
        days[funnel.source] = max(days[funnel.source], funnel.window_days)
    inputs = [Input(SESSION_EVENTS, _COLUMNS, _matching_events(funnel), source=funnel.source) for funnel in funnels]
    return Mart(
        table=FUNNELS,
        inputs=tuple(inputs),
        parts=_PARTS,
        query=_rows(funnels),
        task_key=("source", "funnel"),
        affected_dates=partial(_dates_before, days),
        input_dates=partial(_dates_after, days),
        open_days=max(days.values(), default=0),
    )


def _dates_before(days: Mapping[str, int], source: str, dates: Iterable[dt.date]) -> set[dt.date]:
    return {shifted(date, -before) for date in dates for before in range(days.get(source, 0) + 1)}


def _dates_after(days: Mapping[str, int], source: str, dates: Iterable[dt.date]) -> set[dt.date]:
    return {shifted(date, after) for date in dates for after in range(days.get(source, 0) + 1)}


_COLUMNS = ("source", "session_id", "sequence", "session_date", "event")
_PARTS = pa.schema(
    [
        ("metric_date", DATE),
        ("source", STRING),
        ("funnel", STRING),
        ("owner", BIGINT),  # hash of the session or visitor that goes through the funnel
        ("visitor", BIGINT),  # hash
        ("session", STRING),  # the start of its id, of a funnel over several sessions: events of the same time are in its order
        ("sequence", BIGINT),
        ("ms", BIGINT),
        ("steps", BIGINT),  # a bit per step that the event is
        ("begins", BOOLEAN),  # whether it may be the first step: its session is of the date
    ]
)


def _matching_events(funnel: Funnel) -> str:
    """SQL for the events of a funnel's steps, once for each date whose window they may be in."""
    bits = " | ".join(f"CASE WHEN {_condition(step)} THEN {1 << number} ELSE 0 END" for number, step in enumerate(funnel.steps))
    owner = "session_id" if funnel.window_hours is None else "visitor_id"
    return f"""
    WITH events AS (SELECT * EXCLUDE (event), event.* FROM given),
    matching AS (
        SELECT *, CAST({bits} AS BIGINT) AS steps, unnest(range({funnel.window_days + 1})) AS days_before
        FROM events
        WHERE steps > 0 AND is_robot IS NOT true AND {owner} IS NOT NULL
    )
    SELECT
        CAST(session_date - CAST(days_before AS INTEGER) AS DATE) AS metric_date,
        source,
        {_text(funnel.name)} AS funnel,
        CAST(hash({owner}) >> 1 AS BIGINT) AS owner,
        CASE WHEN visitor_id IS NOT NULL THEN CAST(hash(visitor_id) >> 1 AS BIGINT) END AS visitor,
        {"''" if funnel.window_hours is None else "left(session_id, 16)"} AS session,
        sequence,
        epoch_ms(event_time) AS ms,
        steps,
        days_before = 0 AS begins
    FROM matching
    """


def _condition(step: Step) -> str:
    given = [
        *(f"{name} = {_text(value)}" for name in ("event_type", "event_name") if (value := getattr(step, name)) is not None),
        *([f"coalesce(regexp_full_match(page, {_text(_pattern(step.page))}), false)"] if step.page is not None else []),
    ]
    return f"({' AND '.join(given)})"


def _pattern(page: str) -> str:
    """The regular expression of a page pattern."""
    return "(?s)" + ".*".join(map(re.escape, page.split("*")))


def _rows(funnels: Sequence[Funnel]) -> str:
    """SQL for the rows of these funnels: who reached the first step, who of these the second one after it, and so on."""
    longest = max((len(funnel.steps) for funnel in funnels), default=1)
    owner = "metric_date, source, funnel, owner"
    return f"""
    WITH definitions AS ({_definitions(funnels)}),
    windows_of AS (SELECT DISTINCT funnel, source, window_ms FROM definitions),
    numbered AS (
        SELECT *, row_number() OVER (PARTITION BY {owner} ORDER BY ms, session, sequence) AS place FROM parts
    ),
    reached_1 AS (
        SELECT {owner}, max(visitor) AS visitor, min(place) AS place, arg_min(ms, place) AS ms, min(ms) AS first_ms, NULL::BIGINT AS took
        FROM numbered WHERE begins AND steps & 1 > 0 GROUP BY ALL
    ),
    {"".join(_reached(number, owner) for number in range(2, longest + 1))}
    reached AS ({" UNION ALL ".join(f"SELECT *, {number} AS step FROM reached_{number}" for number in range(1, longest + 1))}),
    counts AS (
        SELECT metric_date, source, funnel, step, count(*) AS sessions, count(DISTINCT visitor) AS visitors,
            list_sort(list(took))[CAST((count(took) + 1) // 2 AS BIGINT)] AS median_ms
        FROM reached GROUP BY ALL
    ),
    begun AS (SELECT metric_date, source, funnel, sessions AS begun FROM counts WHERE step = 1),
    steps AS (
        SELECT metric_date, source, funnel, step, step_name, begun, metric_date + window_days <= last_date AS is_over,
            coalesce(sessions, 0) AS sessions, coalesce(visitors, 0) AS visitors, median_ms
        FROM begun JOIN definitions USING (funnel, source) JOIN last_dates USING (source)
        LEFT JOIN counts USING (metric_date, source, funnel, step)
    )
    SELECT *, CASE WHEN is_over THEN sessions / begun END AS conversion,
        CASE WHEN is_over THEN sessions / nullif(coalesce(lag(sessions) OVER in_order, sessions), 0) END AS step_conversion
    FROM steps
    WINDOW in_order AS (PARTITION BY metric_date, source, funnel ORDER BY step)
    """


def _reached(number: int, owner: str) -> str:
    """SQL for those who reached a step: its first event after the step before, within the window."""
    before = f"reached_{number - 1}"
    return f"""
    reached_{number} AS (
        SELECT {owner}, max(before.visitor) AS visitor, min(numbered.place) AS place, arg_min(numbered.ms, numbered.place) AS ms,
            min(before.first_ms) AS first_ms, arg_min(numbered.ms, numbered.place) - min(before.ms) AS took
        FROM {before} AS before JOIN numbered USING ({owner}) JOIN windows_of USING (funnel, source)
        WHERE numbered.place > before.place AND numbered.steps & {1 << (number - 1)} > 0
            AND (window_ms IS NULL OR numbered.ms - before.first_ms <= window_ms)
        GROUP BY ALL
    ),"""


def _definitions(funnels: Sequence[Funnel]) -> str:
    """SQL for a row per step of each funnel."""
    rows = list(_definition_rows(funnels))
    values = f"VALUES {', '.join(rows)}" if rows else "SELECT '', '', 1, '', 0, NULL WHERE false"
    return f"SELECT * FROM ({values}) AS definitions(funnel, source, step, step_name, window_days, window_ms)"


def _definition_rows(funnels: Iterable[Funnel]) -> Iterator[str]:
    for funnel in funnels:
        window = "NULL::BIGINT" if funnel.window_hours is None else f"{funnel.window_hours * HOUR_MS}::BIGINT"
        for number, step in enumerate(funnel.steps, 1):
            yield f"({_text(funnel.name)}, {_text(funnel.source)}, {number}, {_text(step.name)}, {funnel.window_days}, {window})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

"""Events for tests of sessions: what a test says of each, and defaults for the rest; and what is built from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.events import SESSION_INPUT
from transforms.sessions.sessions import BUILT, INPUT, SessionRules, build

Row = dict[str, Any]

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = NOON.date()
MINUTE, HOUR = 60, 3600  # in seconds, as `event` takes them
_FACTS = {field.name for field in SESSION_INPUT}


class Sessions(NamedTuple):
    """The rows of the three tables."""

    sessions: list[Row]
    members: list[Row]
    chains: list[Row]


def event(event_type: str, seconds: float = 0, **fields: Any) -> Row:
    """A user event so many seconds after noon; columns of `events` and fields of `session_input` by name."""
    time = NOON + dt.timedelta(milliseconds=round(seconds * 1000))
    row = dict.fromkeys(INPUT.names) | {
        "source": "contentsquare",
        "event_id": "?",
        "landing_date": DAY,
        "event_type": event_type,
        "event_name": event_type,
        "event_time": time,
        "client_time": time,
        "flags": [],
    }
    facts = dict.fromkeys(_FACTS) | {"key": '["k"]', "kind": "derived", "user": True, "pauses": False}
    row |= {name: value for name, value in fields.items() if name not in _FACTS}
    facts |= {name: value for name, value in fields.items() if name in _FACTS}
    assert row.keys() == set(INPUT.names), fields
    return row | {"session_input": facts}


def built(*events: Row, rules: SessionRules | None = None) -> Sessions:
    """What is made of these events; those without an id of their own are numbered as they stand."""
    named = [row | {"event_id": f"{number:04}"} if row["event_id"] == "?" else row for number, row in enumerate(events, 1)]
    out = rows_of(list(build(iter(pa.Table.from_pylist(named, schema=INPUT).to_batches()), rules or SessionRules())))
    return Sessions(
        sorted(out.sessions, key=lambda row: (row["start_time"], row["session_id"])),
        sorted(out.members, key=lambda row: (row["session_id"], row["sequence"])),
        sorted(out.chains, key=lambda row: (row["first_time"], row["chain_id"])),
    )


def session(*events: Row, rules: SessionRules | None = None) -> Row:
    """The one session of these events."""
    (only,) = built(*events, rules=rules).sessions
    return only


def rows_of(batches: Sequence[pa.RecordBatch]) -> Sessions:
    """The rows that batches of BUILT hold, each of which fills one column."""
    parts = Sessions([], [], [])
    for batch in batches:
        assert batch.schema == BUILT
        for row in batch.to_pylist():
            (filled,) = (number for number, value in enumerate(row.values()) if value is not None)
            parts[filled].append(row[BUILT.names[filled]])
    return parts


def members_of(made: Sessions, session_id: str) -> list[str]:
    """The ids of a session's events, by their sequence."""
    return [row["event_id"] for row in made.members if row["session_id"] == session_id]

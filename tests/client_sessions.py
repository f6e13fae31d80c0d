"""The sessions of documents that landed, with every event accounted for, and what tests compare of a session."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import orjson
import pyarrow as pa
from client_documents import MINUTE_MS, Row, time_at
from landed_lines import LandedTables, records_of, tables_of


def landed_records(source: str, minutes: float, *documents: Row | list[Row]) -> pa.RecordBatch:
    """The records of one file, with a line per document, that landed in the hour of this minute."""
    file = f"{source}/date={time_at(minutes):%Y-%m-%d}/hour={time_at(minutes):%H}/a.jsonl"
    return records_of(file, b"\n".join(map(orjson.dumps, documents)))


def build_sessions(*landings: pa.RecordBatch) -> LandedTables:
    """The tables of these files. Every event is in exactly one session, or counted as unassigned, or has no key."""
    tables = tables_of(landings)
    assert len({(row["event_id"], row["landing_date"]) for row in tables.members}) == len(tables.members)
    assert len(tables.members) + tables.unassigned() + events_without_key(tables) == len(tables.events)
    assert Counter(row["session_id"] for row in tables.members) == {row["session_id"]: row["events"] for row in tables.sessions}
    for row in tables.sessions:
        assert (row["end_time"] - row["start_time"]) / dt.timedelta(milliseconds=1) == (row["session_duration"] or 0)
        assert 0 <= (row["timespent"] or 0) * 1000 <= (row["session_duration"] or 0)
    return tables


def tables_of_file(source: str, minutes: float, *documents: Row | list[Row]) -> LandedTables:
    """The tables of one file, with a line per document, that landed in the hour of this minute."""
    return build_sessions(landed_records(source, minutes, *documents))


def events_without_key(tables: LandedTables) -> int:
    """How many events have no key."""
    return sum(event["session_input"]["key"] is None for event in tables.events)


def session_by_source(tables: LandedTables) -> dict[str, Row]:
    """The single session of each source, which holds all events of the source."""
    sessions = {session["source"]: session for session in tables.sessions}
    assert (len(sessions), tables.unassigned(), events_without_key(tables)) == (len(tables.sessions), 0, 0)
    return sessions


def single_session(tables: LandedTables) -> Row:
    """The single session, which holds all events."""
    (session,) = session_by_source(tables).values()
    return session


def session_of_file(source: str, minutes: float, *documents: Row | list[Row]) -> Row:
    """The single session of one file, which holds all its events."""
    return single_session(tables_of_file(source, minutes, *documents))


def doubt_flags(row: Row) -> list[str]:
    """The flags about clocks, lateness, keys and length, without those about the content of a session."""
    return [flag for flag in row["flags"] if flag in ("clock_skew", "key_reused", "late", "overlong", "sent_late", "time_replaced")]


def duration_and_timespent(session: Row) -> tuple[float, float]:
    """session_duration and timespent, both in minutes."""
    return session["session_duration"] / MINUTE_MS, session["timespent"] / 60

"""Durations, times and summaries that a client reports: impossible ones are refused, replaced or flagged."""

from __future__ import annotations

import itertools

import orjson
import pytest
from client_documents import (
    DAY,
    NOON,
    SOURCES_WITH_CLIENT_CLOCK,
    YEAR,
    client_documents,
    epoch_ms_at,
    event_ping,
    session_ping,
    sunbird_event,
    time_at,
)
from client_sessions import duration_and_timespent, session_of_file, single_session, tables_of_file


def test_a_session_ping_with_an_impossible_duration_is_refused_and_kept_and_makes_no_session() -> None:
    since_1970 = epoch_ms_at(0)
    impossible = [session_ping(1, duration) for duration in (-1, -5, -0.5, 2**31, since_1970, -since_1970, 1e300, "5", True, [5])]

    tables = tables_of_file("activity_stream", 0, *impossible, session_ping(2, 2000), event_ping(1.99))

    session = single_session(tables)
    assert (session["session_duration"], session["events"]) == (2000, 2)
    assert [(row["reason"], row["path"]) for row in tables.rejected] == [("schema_violation", "/session_duration")] * len(impossible)
    assert [orjson.loads(row["raw"]) for row in tables.rejected] == impossible


def test_the_shortest_and_the_longest_allowed_durations_are_sessions() -> None:
    durations = [2**31 - 1, 1, 0, -0.4]

    tables = tables_of_file("activity_stream", 0, *(session_ping(0, duration, client_id=f"{duration}") for duration in durations))

    assert {session["end_time"] for session in tables.sessions} == {NOON}
    assert [(session["session_duration"], session["flags"]) for session in tables.sessions] == [
        (2**31 - 1, ["overlong"]),
        (1, []),
        (0, ["zero_length"]),
        (0, ["zero_length"]),
    ]


def test_a_session_ping_without_a_duration_has_neither_duration_nor_time_spent() -> None:
    session = session_of_file("activity_stream", 0, session_ping(0, None))

    assert (session["start_time"], session["session_duration"], session["timespent"]) == (NOON, None, None)


def test_a_session_ends_at_most_a_day_after_it_landed() -> None:
    tables = tables_of_file("activity_stream", 0, session_ping(DAY, 1000), session_ping(DAY + 0.001, 1000))

    assert [session["end_time"] for session in tables.sessions] == [NOON, time_at(DAY)]


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_CLOCK)
def test_an_event_time_more_than_a_day_after_the_received_time_is_replaced(source: str) -> None:
    latest, later = client_documents(source, 0, clock_error=DAY), client_documents(source, 0.001, clock_error=DAY, received=0, client=2)

    tables = tables_of_file(source, 0, *latest, *later)

    assert [(event["event_time"], event["time_source"]) for event in tables.events] == [(time_at(DAY), "client"), (NOON, "received")]
    assert [(session["start_time"], "time_replaced" in session["flags"]) for session in tables.sessions] == [
        (NOON, True),
        (time_at(DAY), False),
    ]


def test_an_impossible_summary_changes_nothing_of_the_session_but_its_flags() -> None:
    impossible = list(itertools.product([-1, -5, 1e300, 1.7e308, "1e400", epoch_ms_at(0)], [-1, 0, 1e300, epoch_ms_at(3 * YEAR)]))
    lines = []
    for timespent, end in impossible:
        sid = f"{timespent} {end}"
        summary = {"type": "session", "starttime": 0, "endtime": end, "timespent": timespent, "pageviews": 10**18, "interactions": -1}
        lines += [sunbird_event(0, sid=sid), sunbird_event(2, sid=sid), sunbird_event(3, "SUMMARY", sid=sid) | {"edata": summary}]

    tables = tables_of_file("sunbird", 0, *lines)

    assert len(tables.sessions) == len(impossible)
    for session in tables.sessions:
        assert (session["end_time"], duration_and_timespent(session), session["pageviews"]) == (time_at(2), (2, 2), 0)
        assert session["flags"] == ["no_end", "reported_mismatch"]

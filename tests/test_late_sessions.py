"""Data that lands late, twice, in pieces or in any order makes neither more sessions nor more time."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from client_documents import (
    ALL_SOURCES,
    DAY,
    HOUR,
    MINUTE_MS,
    NOON,
    SOURCES_WITH_CLIENT_CLOCK,
    TODAY,
    YEAR,
    client_documents,
    contentsquare_batch,
    contentsquare_event,
    event_ping,
    session_ping,
    time_at,
)
from client_sessions import (
    build_sessions,
    doubt_flags,
    duration_and_timespent,
    landed_records,
    session_by_source,
    single_session,
    tables_of_file,
)


def test_a_session_that_lands_days_late_is_dated_by_the_day_it_happened_and_flagged_late() -> None:
    tables = build_sessions(*(landed_records(source, 3 * DAY, *client_documents(source, 0, 2, 4)) for source in ALL_SOURCES))

    late = {
        source: (session["session_date"], session["start_time"], duration_and_timespent(session), doubt_flags(session))
        for source, session in session_by_source(tables).items()
    }
    assert late == dict.fromkeys(ALL_SOURCES, (TODAY, NOON, (4, 4), ["late"]))
    assert all("late" in event["flags"] for event in tables.events)


def test_a_session_that_the_client_sends_days_later_is_dated_by_the_day_it_happened() -> None:
    tables = build_sessions(
        *(landed_records(source, 3 * DAY, *client_documents(source, 0, 2, 4, received=3 * DAY)) for source in SOURCES_WITH_CLIENT_CLOCK)
    )

    kept = {
        source: (session["start_time"], duration_and_timespent(session), doubt_flags(session))
        for source, session in session_by_source(tables).items()
    }
    assert kept == dict.fromkeys(SOURCES_WITH_CLIENT_CLOCK, (NOON, (4, 4), ["late"]))


@pytest.mark.parametrize("source", ALL_SOURCES)
def test_a_session_that_lands_in_two_pieces_is_one_session(source: str) -> None:
    first, second = client_documents(source, 0, 2, 4, 6), client_documents(source, 0, 2, 4, 6, client=2)

    tables = build_sessions(
        landed_records(source, 0, *first[2:], second[0], second[2]), landed_records(source, 5 * DAY, *first[:2], second[1], second[3])
    )

    assert [(session["start_time"], session["events"], duration_and_timespent(session)) for session in tables.sessions] == [
        (NOON, 4, (6, 6))
    ] * 2
    assert [doubt_flags(session) for session in tables.sessions] == [["late"]] * 2
    assert [doubt_flags(event)[:1] for event in tables.events] == [[]] * 4 + [["late"]] * 4


@pytest.mark.parametrize("source", ALL_SOURCES)
def test_a_late_copy_has_the_event_ids_of_the_first_copy(source: str) -> None:
    on_time, late = (landed_records(source, minutes, *client_documents(source, 0, 2, 4)) for minutes in (0, 3 * DAY))
    assert on_time["event_id"].equals(late["event_id"])


def test_a_copy_that_is_not_removed_adds_neither_a_session_nor_time() -> None:
    tables = build_sessions(
        *(
            landed_records(source, landing, *client_documents(source, 0, 2, 4))
            for source in SOURCES_WITH_CLIENT_CLOCK
            for landing in (0, 3 * DAY)
        )
    )

    assert {source: duration_and_timespent(session) for source, session in session_by_source(tables).items()} == dict.fromkeys(
        SOURCES_WITH_CLIENT_CLOCK, (4, 4)
    )


def test_a_batch_that_is_sent_again_days_later_has_the_same_event_ids() -> None:
    on_time, late = (
        landed_records("contentsquare", now, contentsquare_batch(contentsquare_event(0), contentsquare_event(2), now=now))
        for now in (3, 3 * DAY)
    )
    assert on_time["event_id"].equals(late["event_id"])


def test_a_session_ping_without_a_time_is_joined_to_its_event_pings_by_session_id_however_late_it_lands() -> None:
    session = session_ping(0, 4 * MINUTE_MS, session_id="{s}", timestamp=None)

    tables = build_sessions(
        landed_records("activity_stream", 0, event_ping(2, session_id="{s}")), landed_records("activity_stream", 3 * DAY, session)
    )

    session = single_session(tables)
    assert (session["events"], duration_and_timespent(session), session["end_time"]) == (2, (4, 4), time_at(3 * DAY))


def test_two_session_pings_with_one_session_id_are_two_sessions() -> None:
    """A ping with another time is another ping: both sessions have the same session_key."""
    tables = tables_of_file("activity_stream", 0, session_ping(5, 1000, session_id="s"), session_ping(6, 1000, session_id="s"))

    assert [session["session_key"] for session in tables.sessions] == ["s", "s"]


def test_a_session_over_midnight_that_lands_in_two_partitions_is_one_session() -> None:
    minutes = [11 * HOUR + 55, 11 * HOUR + 59, 12 * HOUR, 12 * HOUR + 8, 13 * HOUR - 44]
    lines = [(source, *sent) for source in ALL_SOURCES for sent in zip(minutes, client_documents(source, *minutes), strict=True)]

    tables = build_sessions(*(landed_records(*sent) for sent in lines))

    assert len({(event["landing_date"], event["landing_hour"]) for event in tables.events}) == 2
    over_midnight = {
        source: (session["session_date"], session["end_time"].date(), duration_and_timespent(session), doubt_flags(session))
        for source, session in session_by_source(tables).items()
    }
    assert over_midnight == dict.fromkeys(ALL_SOURCES, (TODAY, TODAY + dt.timedelta(days=1), (21, 21), []))


def test_files_that_land_in_any_order_give_the_same_sessions() -> None:
    pieces = {0: [0, 2, 4], 3 * DAY: [1, 3], 30 * DAY: [30 * DAY, 30 * DAY + 1]}
    lines = {(source, landing): client_documents(source, *minutes) for source in ALL_SOURCES for landing, minutes in pieces.items()}
    for source in SOURCES_WITH_CLIENT_CLOCK:
        lines[source, 0] += client_documents(source, 5, 6, clock_error=-25 * HOUR) + client_documents(source, 7, clock_error=-3 * YEAR)

    in_order = build_sessions(*(landed_records(*place, *some) for place, some in lines.items()))

    assert len(in_order.sessions) == 3 + 3 + 3 + 3
    shuffled = random.Random(7)
    for _ in range(2):
        landings = [landed_records(*place, *shuffled.sample(some, len(some))) for place, some in lines.items()]
        tables = build_sessions(*shuffled.sample(landings, len(landings)))
        assert (tables.sessions, tables.members) == (in_order.sessions, in_order.members)

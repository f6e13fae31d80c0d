"""Clocks that jump or are years off make neither more sessions nor more time; where a rule can notice it, a flag says so."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from client_documents import (
    CLOCK_AT_1970,
    DAY,
    HOUR,
    NOON,
    SOURCES_WITH_CLIENT_CLOCK,
    SOURCES_WITH_CLIENT_KEY,
    TODAY,
    YEAR,
    client_documents,
    contentsquare_batch,
    contentsquare_event,
    epoch_ms_at,
    homepage_visit,
    session_ping,
    sunbird_event,
    sunbird_event_without_sid,
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

# --- clocks that jump


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_KEY)
def test_a_clock_that_jumps_back_within_a_keyed_session_makes_no_second_session(source: str) -> None:
    """Five minutes in truth: the duration follows the clock, the time spent does not. No rule flags it."""
    jumps = [23 * HOUR, 3 * HOUR, 5]
    lines = [
        client_documents(source, 0, 1, 2, client=jump) + client_documents(source, 3, 4, 5, client=jump, clock_error=-jump) for jump in jumps
    ]

    tables = tables_of_file(source, 0, *itertools.chain(*lines))

    assert [(session["events"], duration_and_timespent(session)) for session in tables.sessions] == [
        (6, (1379, 4)),
        (6, (179, 4)),
        (6, (4, 4)),
    ]
    assert [doubt_flags(session) for session in tables.sessions] == [[], [], []]


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_KEY)
def test_a_clock_that_jumps_back_more_than_a_day_makes_a_second_session_and_both_are_flagged(source: str) -> None:
    tables = tables_of_file(source, 0, *client_documents(source, 0, 1, 2), *client_documents(source, 3, 4, 5, clock_error=-25 * HOUR))

    assert [(session["events"], duration_and_timespent(session), doubt_flags(session)) for session in tables.sessions] == [
        (3, (2, 2), ["late"]),
        (3, (2, 2), ["key_reused"]),
    ]


def test_a_phone_that_sends_after_its_clock_jumped_back_is_flagged() -> None:
    before, after = (
        [contentsquare_event(minute) for minute in (0, 1, 2)],
        [contentsquare_event(minute, clock_error=-3 * HOUR) for minute in (3, 4, 5)],
    )

    tables = tables_of_file("contentsquare", 0, contentsquare_batch(*before, *after, now=5 - 3 * HOUR))

    session = single_session(tables)
    assert [doubt_flags(event) for event in tables.events] == [["clock_skew"]] * 3 + [[]] * 3
    assert (duration_and_timespent(session), doubt_flags(session)) == ((179, 4), ["clock_skew"])


def test_a_phone_that_sends_no_time_of_sending_is_not_flagged_for_a_jump_within_a_day() -> None:
    events = [contentsquare_event(0), contentsquare_event(1, clock_error=-3 * HOUR)]
    phones = [contentsquare_batch(*events, now=None, uid=f"{now}") | {"now": now} for now in (None, -1, "12:00")]

    tables = tables_of_file("contentsquare", 0, *phones)

    assert [doubt_flags(session) for session in tables.sessions] == [[], [], []]


def test_a_clock_that_jumps_back_by_minutes_makes_no_second_derived_session() -> None:
    visits, events = (
        [document(minute, clock_error=-5 * (minute > 2)) for minute in range(6)] for document in (homepage_visit, sunbird_event_without_sid)
    )

    tables = build_sessions(landed_records("homepagevisit", 0, *visits), landed_records("sunbird", 0, *events))

    assert {source: duration_and_timespent(session) for source, session in session_by_source(tables).items()} == {
        "homepagevisit": (4, 4),
        "sunbird": (4, 4),
    }


@pytest.mark.parametrize(("source", "document"), [("homepagevisit", homepage_visit), ("sunbird", sunbird_event_without_sid)])
def test_a_clock_that_jumps_back_by_hours_splits_a_derived_session_and_only_the_received_time_shows_it(source: str, document: Any) -> None:
    """Gaps by the client's clock split these sessions; no rule compares it with the server's clock within a day."""
    tables = tables_of_file(source, 0, *(document(minute, clock_error=-3 * HOUR * (minute > 2)) for minute in range(6)))

    assert [(session["events"], duration_and_timespent(session), doubt_flags(session)) for session in tables.sessions] == [
        (3, (2, 2), [])
    ] * 2
    ahead = [(event["received_time"] - event["event_time"]) / dt.timedelta(hours=1) for event in tables.events]
    assert ahead == [0, 0, 0, 3, 3, 3]


def test_a_jump_of_any_size_adds_at_most_one_gap_that_is_not_idle() -> None:
    """The jump makes a gap between two runs of two minutes, of which at most 10 minutes count as time spent."""
    jumps = [*range(-40, 40, 2), -3 * HOUR, 3 * HOUR]
    lines = [
        sunbird_event(minute, clock_error=jump * (minute > 2), sid=f"{jump}", received=4) for jump in jumps for minute in (0, 2, 2.5, 4)
    ]

    tables = tables_of_file("sunbird", 0, *lines)

    assert len(tables.sessions) == len(jumps)
    assert max(duration_and_timespent(session)[1] for session in tables.sessions) <= 4 + 10


# --- clocks that are years off


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_CLOCK)
def test_a_clock_that_is_years_off_is_ignored_and_the_session_is_dated_by_its_arrival(source: str) -> None:
    clocks = enumerate([3 * YEAR, -3 * YEAR, CLOCK_AT_1970, 352 * YEAR])

    tables = tables_of_file(
        source, 0, *(line for client, clock in clocks for line in client_documents(source, 1, 3, 5, clock_error=clock, client=client))
    )

    assert {event["time_source"] for event in tables.events} == {"received"}
    assert [(session["session_date"], session["events"]) for session in tables.sessions] == [(TODAY, 3)] * 4
    assert all("time_replaced" in session["flags"] for session in tables.sessions)
    # The only time known of the phone's events is their landing hour, the same for all.
    assert {duration_and_timespent(session) for session in tables.sessions} == {(0, 0) if source == "contentsquare" else (4, 4)}


@pytest.mark.parametrize(
    ("clock", "flags", "session_flags"),
    [
        (3 * YEAR, ["clock_skew", "time_replaced"], ["clock_skew", "time_replaced"]),
        (-3 * YEAR, ["sent_late", "time_replaced"], ["late", "time_replaced"]),
    ],
)
def test_a_phone_whose_clock_is_years_off_is_flagged(clock: int, flags: list[str], session_flags: list[str]) -> None:
    tables = tables_of_file("contentsquare", 0, *client_documents("contentsquare", 1, 3, clock_error=clock))

    session = single_session(tables)
    assert ([doubt_flags(event) for event in tables.events], doubt_flags(session)) == ([flags] * 2, session_flags)


def test_a_phone_that_sends_no_time_of_sending_is_flagged_for_its_replaced_times() -> None:
    tables = tables_of_file(
        "contentsquare",
        0,
        contentsquare_batch(contentsquare_event(1, clock_error=3 * YEAR), contentsquare_event(2, clock_error=3 * YEAR), now=None),
    )

    session = single_session(tables)
    assert [(event["time_source"], doubt_flags(event)) for event in tables.events] == [("received", ["time_replaced"])] * 2
    assert session["flags"] == ["time_replaced", "zero_length"]


def test_impossible_times_are_replaced_by_the_time_of_arrival() -> None:
    times = [-1, 0, -(10**15), 2**63 - 1, 1e300]
    odd_taps = [contentsquare_event(2) | {"euid": f"{time}", "t": time} for time in times]
    odd_events = [sunbird_event(2) | {"mid": f"{time}", "ets": time} for time in times]

    tables = build_sessions(
        landed_records("contentsquare", 0, contentsquare_batch(contentsquare_event(1), *odd_taps, now=2)),
        landed_records("sunbird", 0, sunbird_event(1), *odd_events),
    )

    assert [event["time_source"] for event in tables.events] == (["client"] + ["received"] * 5) * 2
    odd = {
        source: (duration_and_timespent(session), "time_replaced" in session["flags"])
        for source, session in session_by_source(tables).items()
    }
    assert odd == dict.fromkeys(SOURCES_WITH_CLIENT_KEY, ((1, 1), True))


def test_a_time_that_no_calendar_holds_is_replaced_and_flagged_on_event_and_session() -> None:
    taps = [contentsquare_event(minute) | {"t": -(10**15)} for minute in (1, 2)]
    events = [sunbird_event(minute) | {"ets": -(10**15)} for minute in (1, 2)]

    tables = build_sessions(landed_records("contentsquare", 0, contentsquare_batch(*taps, now=2)), landed_records("sunbird", 0, *events))

    assert {(event["client_time"], event["time_source"]) for event in tables.events} == {(None, "received")}
    assert all("time_replaced" in event["flags"] for event in tables.events)
    assert [doubt_flags(session) for session in session_by_source(tables).values()] == [["time_replaced"]] * 2


def test_a_clock_that_is_corrected_within_a_session_leaves_one_flagged_session() -> None:
    tables = build_sessions(
        *(
            landed_records(source, 0, *client_documents(source, 0, 2, clock_error=CLOCK_AT_1970), *client_documents(source, 4, 6))
            for source in SOURCES_WITH_CLIENT_CLOCK
        )
    )

    right = {
        source: (session["events"], duration_and_timespent(session), "time_replaced" in session["flags"])
        for source, session in session_by_source(tables).items()
    }
    assert right == dict.fromkeys(SOURCES_WITH_CLIENT_CLOCK, (4, (6, 6), True))


def test_a_phone_whose_clock_is_corrected_and_that_sends_hours_later_has_a_longer_session_but_no_more_time_spent() -> None:
    """The first two events get the time of arrival, five hours later, and the session is flagged."""
    events = [
        contentsquare_event(0, clock_error=CLOCK_AT_1970),
        contentsquare_event(2, clock_error=CLOCK_AT_1970),
        contentsquare_event(4),
        contentsquare_event(6),
    ]

    tables = tables_of_file("contentsquare", 5 * HOUR, contentsquare_batch(*events, now=7))

    session = single_session(tables)
    assert (duration_and_timespent(session), doubt_flags(session)) == ((5 * HOUR - 4, 2), ["time_replaced"])
    assert [event["time_source"] for event in tables.events] == ["received", "received", "client", "client"]


def test_a_phone_whose_clock_is_corrected_and_that_sends_days_later_has_a_second_session_which_is_flagged() -> None:
    events = [
        contentsquare_event(0, clock_error=CLOCK_AT_1970),
        contentsquare_event(2, clock_error=CLOCK_AT_1970),
        contentsquare_event(4),
        contentsquare_event(6),
    ]

    tables = tables_of_file("contentsquare", 3 * DAY, contentsquare_batch(*events, now=7))

    assert [(duration_and_timespent(session), doubt_flags(session)) for session in tables.sessions] == [
        ((2, 2), ["late"]),
        ((0, 0), ["key_reused", "late", "time_replaced"]),
    ]


def test_an_impossible_server_time_is_replaced_by_the_landing_hour() -> None:
    times = [epoch_ms_at(2 * DAY), epoch_ms_at(-30 * YEAR), 0, -1, 2**63, 1e300, "yesterday", None]

    tables = tables_of_file("activity_stream", 30, *(session_ping(0, 1000, timestamp=time, client_id=f"{time}") for time in times))

    assert [(session["end_time"], session["session_duration"]) for session in tables.sessions] == [(NOON, 1000)] * len(times)

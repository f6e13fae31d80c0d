"""Tabs left open, heartbeats, timers and silence: what a long session lasts, and what of it is time spent."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from client_documents import (
    ALL_SOURCES,
    DAY,
    HOUR,
    MINUTE_MS,
    SOURCES_WITH_CLIENT_KEY,
    TODAY,
    client_documents,
    contentsquare_batch,
    contentsquare_event,
    event_ping,
    homepage_visit,
    session_ping,
    sunbird_event,
    time_at,
)
from client_sessions import doubt_flags, duration_and_timespent, session_of_file, tables_of_file


@pytest.mark.parametrize("source", ALL_SOURCES)
def test_a_session_of_exactly_a_day_is_not_overlong_and_one_a_millisecond_longer_is(source: str) -> None:
    """For every kind of session: reported by a browser, keyed by Contentsquare and Sunbird, derived from visits 20 minutes apart."""
    ends = [DAY, DAY + 1 / MINUTE_MS]

    tables = tables_of_file(
        source,
        DAY,
        *(line for client, end in enumerate(ends) for line in client_documents(source, *range(0, DAY, 20), end, client=client)),
    )

    lengths = [(session["session_duration"], "overlong" in session["flags"]) for session in tables.sessions]
    assert sorted(lengths) == [(DAY * MINUTE_MS, False), (DAY * MINUTE_MS + 1, True)]


def test_a_tab_left_open_over_a_weekend_is_one_overlong_session_of_the_reported_duration() -> None:
    """The reported 60 hours are also the time spent: a ping does not report idle time."""
    session = session_of_file("activity_stream", 0, session_ping(0, 60 * HOUR * MINUTE_MS))

    assert (session["start_time"], session["session_date"]) == (time_at(-60 * HOUR), TODAY - dt.timedelta(days=2))
    assert (duration_and_timespent(session), session["pageviews"], doubt_flags(session)) == ((60 * HOUR, 60 * HOUR), 1, ["overlong"])


def test_a_tab_left_open_takes_no_ping_from_a_short_session_of_its_tab() -> None:
    short = [session_ping(-30 * HOUR, 5 * MINUTE_MS), event_ping(-30 * HOUR - 2), event_ping(-30 * HOUR - 1)]

    tables = tables_of_file("activity_stream", 0, session_ping(0, 60 * HOUR * MINUTE_MS), event_ping(-20 * HOUR), *short)

    assert [(duration_and_timespent(session)[0], session["events"], "overlong" in session["flags"]) for session in tables.sessions] == [
        (60 * HOUR, 2, True),
        (5, 3, False),
    ]


def test_a_homepage_left_open_is_one_visit_without_duration() -> None:
    session = session_of_file("homepagevisit", 0, homepage_visit(0))

    assert (session["pageviews"], duration_and_timespent(session), session["flags"]) == (1, (0, 0), ["zero_length"])


def test_a_homepage_that_reloads_itself_all_weekend_is_one_overlong_session_without_time_spent() -> None:
    session = session_of_file("homepagevisit", 48 * HOUR, *(homepage_visit(minute) for minute in range(0, 48 * HOUR + 1, 20)))

    assert (session["pageviews"], duration_and_timespent(session), doubt_flags(session)) == (145, (48 * HOUR, 0), ["late", "overlong"])


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_KEY)
def test_two_days_of_silence_within_a_key_belong_to_no_session(source: str) -> None:
    tables = tables_of_file(source, 48 * HOUR, *client_documents(source, 0, 2), *client_documents(source, 48 * HOUR, 48 * HOUR + 1))

    assert [(duration_and_timespent(session), "key_reused" in session["flags"]) for session in tables.sessions] == [
        ((2, 2), False),
        ((1, 1), True),
    ]


@pytest.mark.parametrize("sid", ["sid", None])
def test_heartbeats_extend_a_session_but_are_no_time_spent(sid: str | None) -> None:
    heartbeats = [sunbird_event(minute, "HEARTBEAT", sid=sid) for minute in range(5, 48 * HOUR, 5)]
    lines = [sunbird_event(0, "START", sid=sid), *heartbeats, sunbird_event(48 * HOUR, "END", sid=sid)]

    session = session_of_file("sunbird", 48 * HOUR, *lines)

    assert (duration_and_timespent(session), doubt_flags(session)) == ((48 * HOUR, 0), ["late", "overlong"])


def test_heartbeats_after_the_last_user_event_do_not_extend_the_session() -> None:
    heartbeats = [sunbird_event(minute, "HEARTBEAT") for minute in range(5, 48 * HOUR, 5)]

    session = session_of_file("sunbird", 48 * HOUR, sunbird_event(0), sunbird_event(3), *heartbeats)

    assert (session["events"], duration_and_timespent(session), session["end_time"]) == (2 + len(heartbeats), (3, 3), time_at(3))


def test_heartbeats_alone_are_no_session_but_counted_as_unassigned() -> None:
    tables = tables_of_file("sunbird", 48 * HOUR, *(sunbird_event(minute, "HEARTBEAT") for minute in range(0, 48 * HOUR, 20)))

    assert (tables.sessions, tables.unassigned()) == ([], 144)


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_KEY)
def test_events_every_20_minutes_for_two_days_are_one_session_without_time_spent(source: str) -> None:
    """Events every 10 minutes count as time spent: no rule distinguishes a timer from a person."""
    lines = [client_documents(source, *range(0, 48 * HOUR + 1, every), client=every) for every in (20, 10)]

    tables = tables_of_file(source, 48 * HOUR, *itertools.chain(*lines))

    assert {session["events"]: duration_and_timespent(session) for session in tables.sessions} == {
        145: (48 * HOUR, 0),
        289: (48 * HOUR, 48 * HOUR),
    }
    assert [doubt_flags(session) for session in tables.sessions] == [["late", "overlong"]] * 2


def test_an_app_in_the_background_has_no_time_spent() -> None:
    events = [contentsquare_event(0), contentsquare_event(2, ea=2), contentsquare_event(9, ea=1), contentsquare_event(10)]
    assert duration_and_timespent(session_of_file("contentsquare", 0, contentsquare_batch(*events, now=11))) == (10, 3)

"""Session keys that are used again, or by several clients: what is one session, and what is flagged."""

from __future__ import annotations

import pytest
from client_documents import (
    DAY,
    SOURCES_WITH_CLIENT_KEY,
    client_documents,
    contentsquare_batch,
    contentsquare_event,
    sunbird_event,
    time_at,
)
from client_sessions import build_sessions, doubt_flags, duration_and_timespent, landed_records, session_of_file, single_session


@pytest.mark.parametrize("source", SOURCES_WITH_CLIENT_KEY)
def test_a_key_that_is_used_for_months_is_a_session_each_time_and_all_but_the_first_are_flagged(source: str) -> None:
    months = [0, 30 * DAY, 60 * DAY, 90 * DAY]

    tables = build_sessions(*(landed_records(source, month, *client_documents(source, month, month + 3)) for month in months))

    assert [session["start_time"] for session in tables.sessions] == [time_at(month) for month in months]
    assert [duration_and_timespent(session) for session in tables.sessions] == [(3, 3)] * 4
    assert [doubt_flags(session) for session in tables.sessions] == [[], ["key_reused"], ["key_reused"], ["key_reused"]]
    assert len({session["session_id"] for session in tables.sessions}) == 4


def test_an_earlier_log_event_of_a_system_does_not_make_a_key_reused() -> None:
    events = {0: sunbird_event(0, "LOG"), 3 * DAY: sunbird_event(3 * DAY), 6 * DAY: sunbird_event(6 * DAY)}

    tables = build_sessions(*(landed_records("sunbird", minutes, event) for minutes, event in events.items()))

    assert ([doubt_flags(session) for session in tables.sessions], tables.unassigned()) == ([[], ["key_reused"]], 1)


def test_a_key_that_is_used_every_day_is_one_overlong_session_without_time_spent_at_night() -> None:
    """An app may have a fixed sid: only a silence of a day ends the session."""
    tables = build_sessions(
        *(landed_records("sunbird", day * DAY, *client_documents("sunbird", day * DAY, day * DAY + 3)) for day in range(30))
    )

    session = single_session(tables)
    assert (duration_and_timespent(session), doubt_flags(session)) == ((29 * DAY + 3, 30 * 3), ["overlong"])


def test_two_devices_that_share_a_sid_share_a_session_that_counts_no_minute_twice() -> None:
    """A sid is a session, with the first device and the last user. No rule flags it."""
    one = [sunbird_event(minute, did="one", actor="first") for minute in (0, 2, 4)]
    other = [sunbird_event(minute, did="other", actor="second") for minute in (1, 3, 5)]

    session = session_of_file("sunbird", 0, *one, *other)

    assert (session["events"], duration_and_timespent(session), session["device_id"], session["user_id"]) == (6, (5, 5), "one", "second")
    assert doubt_flags(session) == []


def test_one_sid_in_two_channels_and_one_session_number_of_two_phones_are_two_sessions_each() -> None:
    phones = [contentsquare_batch(contentsquare_event(0), now=1, uid=uid) for uid in ("one", "other")]

    tables = build_sessions(
        landed_records("sunbird", 0, sunbird_event(0), sunbird_event(1, channel="d")), landed_records("contentsquare", 0, *phones)
    )

    assert len(tables.sessions) == 4

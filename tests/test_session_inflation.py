"""No session inflation: late data, bad clocks, keys that are used again and tabs left open make neither sessions nor time.

From the landed lines of a source to its sessions. What is doubtful bears a flag, and no event is lost: `built` holds every
one to account. Where the rules let something through unflagged, the test of it says so.
That a copy of an event is taken out is the business of deduplication alone.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections import Counter
from typing import Any

import orjson
import pyarrow as pa
import pytest
from landed_lines import Made, Row, made_of, records_of

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TODAY = NOON.date()
HOUR, DAY, YEAR = 60, 24 * 60, 365 * 24 * 60  # in minutes, as all builders take them, counted from noon
MINUTE_MS = 60_000
EPOCH = -int(NOON.timestamp()) // 60  # 1970, where a clock stands that was never set
SOURCE_NAMES = ("activity_stream", "contentsquare", "homepagevisit", "sunbird")
WITH_CLIENT_CLOCK = ("contentsquare", "homepagevisit", "sunbird")
WITH_KEY_OF_CLIENT = ("contentsquare", "sunbird")


def at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def ms(minutes: float) -> int:
    return round((NOON.timestamp() + minutes * 60) * 1000)


# --- documents; each is named by the minute in which it truly happened, whatever the clock said


def sunbird(minutes: float, eid: str = "INTERACT", clock: float = 0, received: float | None = None, **context: Any) -> Row:
    context = {"channel": "c", "env": "home", "sid": "1", "did": "device"} | context
    edata = {"type": "TOUCH", "id": "button"} if eid == "INTERACT" else {"type": "app", "level": "INFO", "message": "", "duration": 1}
    return {
        "eid": eid,
        "ets": ms(minutes + clock),
        "ver": "3.0",
        "mid": f"{eid} {context['sid']} {minutes}",
        "actor": {"id": context.pop("actor", "person"), "type": "User"},
        "context": context,
        "edata": edata,
        "syncts": ms(minutes if received is None else received),
    }


def without_sid(minutes: float, clock: float = 0) -> Row:
    return sunbird(minutes, clock=clock, sid=None)


def phone_event(minutes: float, ea: int = 6, clock: float = 0, sn: Any = 1) -> Row:
    return {"ea": ea, "euid": f"{ea} {minutes}", "sn": sn, "t": ms(minutes + clock)}


def phone_batch(*events: Row, now: float | None, uid: Any = "1") -> Row:
    """What a phone sends when its clock shows `now`."""
    named = [event | {"euid": f"{event['euid']} {uid}"} for event in events]
    return {"pid": 8, "uid": uid, "pl": named, "now": None if now is None else ms(now)}


def visit(minutes: float, clock: float = 0, received: float | None = None, user_id: int = 456, wiki: str = "enwiki") -> Row:
    return {
        "$schema": "/analytics/legacy/homepagevisit/1.2.1",
        "client_dt": at(minutes + clock).isoformat(),
        "event": {
            "homepage_pageview_token": f"token {minutes}",
            "impact_module_state": "activated",
            "is_mobile": True,
            "start_email_state": "noemail",
            "user_editcount": 1,
            "user_id": user_id,
        },
        "meta": {
            "dt": at(minutes if received is None else received).isoformat(),
            "id": f"{wiki} {user_id} {minutes}",
            "stream": "eventlogging_HomepageVisit",
        },
        "wiki": wiki,
    }


def session_ping(minutes: float, duration_ms: Any = None, **said: Any) -> Row:
    """The end of a session that lasted so long by the browser's word; the server's clock alone tells when that was."""
    reasons = {"page": "newtab", "load_reason": "newtab", "unload_reason": "close"}
    return event_ping(minutes, action="activity_stream_session", session_duration=duration_ms, **(reasons | said))


def event_ping(minutes: float, **said: Any) -> Row:
    ping = {
        "action": "activity_stream_event",
        "event": "CLICK",
        "page": "newtab",
        "client_id": "browser",
        "addon_version": "1",
        "tab_id": 1,
    }
    return ping | {"timestamp": ms(minutes)} | said


def told(source: str, *minutes: float, clock: float = 0, sent: float | None = None, who: int = 1) -> list[Row]:
    """What one client sends of things done at these minutes, one line each, at once or all when `sent`.

    A browser's last one is the ping that ends the session. Whoever it is has a session key of their own.
    """
    if source == "activity_stream":
        session = session_ping(minutes[-1], (minutes[-1] - minutes[0]) * MINUTE_MS)
        return [ping | {"client_id": f"{who}"} for ping in (*map(event_ping, minutes[:-1]), session)]
    if source == "contentsquare":
        return [phone_batch(phone_event(time, clock=clock), now=clock + (time if sent is None else sent), uid=f"{who}") for time in minutes]
    if source == "homepagevisit":
        return [visit(minute, clock, sent, user_id=who) for minute in minutes]
    return [sunbird(minute, clock=clock, received=sent, sid=f"{who}") for minute in minutes]


# --- from landed lines to sessions


def landed(source: str, minutes: float, *documents: Row | list[Row]) -> pa.RecordBatch:
    """The records of one file, a line per document, that landed in the hour of this minute."""
    file = f"{source}/date={at(minutes):%Y-%m-%d}/hour={at(minutes):%H}/a.jsonl"
    return records_of(file, b"\n".join(map(orjson.dumps, documents)))


def built(*landings: pa.RecordBatch) -> Made:
    """The rows of all that landed; every event is once in a session, or counted without one, or has no key."""
    made = made_of(landings)
    assert len({(row["event_id"], row["landing_date"]) for row in made.members}) == len(made.members)
    assert len(made.members) + made.unassigned() + keyless(made) == len(made.events)
    assert Counter(row["session_id"] for row in made.members) == {row["session_id"]: row["events"] for row in made.sessions}
    for row in made.sessions:
        assert (row["end_time"] - row["start_time"]) / dt.timedelta(milliseconds=1) == (row["session_duration"] or 0)
        assert 0 <= (row["timespent"] or 0) * 1000 <= (row["session_duration"] or 0)
    return made


def keyless(made: Made) -> int:
    """How many events have no key."""
    return sum(event["session_input"]["key"] is None for event in made.events)


def each(made: Made) -> dict[str, Row]:
    """The one session of each source, which leaves no event out."""
    sessions = {session["source"]: session for session in made.sessions}
    assert (len(sessions), made.unassigned(), keyless(made)) == (len(made.sessions), 0, 0)
    return sessions


def only(made: Made) -> Row:
    """The one session, which leaves no event out."""
    (session,) = each(made).values()
    return session


def doubts(row: Row) -> list[str]:
    """The flags that speak of clocks, lateness, keys and length."""
    return [flag for flag in row["flags"] if flag in ("clock_skew", "key_reused", "late", "overlong", "sent_late", "time_replaced")]


def length(session: Row) -> tuple[float, float]:
    """session_duration and timespent, both in minutes."""
    return session["session_duration"] / MINUTE_MS, session["timespent"] / 60


# --- what arrives late


def test_a_session_that_arrives_days_late_stands_once_at_the_day_it_happened_and_says_so() -> None:
    made = built(*(landed(source, 3 * DAY, *told(source, 0, 2, 4)) for source in SOURCE_NAMES))
    late = {
        source: (session["session_date"], session["start_time"], length(session), doubts(session)) for source, session in each(made).items()
    }
    assert late == dict.fromkeys(SOURCE_NAMES, (TODAY, NOON, (4, 4), ["late"]))
    assert all("late" in event["flags"] for event in made.events)


def test_a_session_that_the_client_kept_for_days_stands_at_the_day_it_happened() -> None:
    made = built(*(landed(source, 3 * DAY, *told(source, 0, 2, 4, sent=3 * DAY)) for source in WITH_CLIENT_CLOCK))
    kept = {source: (session["start_time"], length(session), doubts(session)) for source, session in each(made).items()}
    assert kept == dict.fromkeys(WITH_CLIENT_CLOCK, (NOON, (4, 4), ["late"]))


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_session_that_arrives_in_two_pieces_is_one(source: str) -> None:
    first, second = told(source, 0, 2, 4, 6), told(source, 0, 2, 4, 6, who=2)
    made = built(landed(source, 0, *first[2:], second[0], second[2]), landed(source, 5 * DAY, *first[:2], second[1], second[3]))
    assert [(session["start_time"], session["events"], length(session)) for session in made.sessions] == [(NOON, 4, (6, 6))] * 2
    assert [doubts(session) for session in made.sessions] == [["late"]] * 2
    assert [doubts(event)[:1] for event in made.events] == [[]] * 4 + [["late"]] * 4


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_late_copy_bears_the_id_by_which_it_is_taken_out(source: str) -> None:
    on_time, late = (landed(source, minutes, *told(source, 0, 2, 4)) for minutes in (0, 3 * DAY))
    assert on_time["event_id"].equals(late["event_id"])


def test_a_copy_that_nobody_took_out_would_add_neither_a_session_nor_time() -> None:
    made = built(*(landed(source, landing, *told(source, 0, 2, 4)) for source in WITH_CLIENT_CLOCK for landing in (0, 3 * DAY)))
    assert {source: length(session) for source, session in each(made).items()} == dict.fromkeys(WITH_CLIENT_CLOCK, (4, 4))


def test_a_batch_that_is_sent_again_days_later_bears_the_same_ids() -> None:
    on_time, late = (landed("contentsquare", now, phone_batch(phone_event(0), phone_event(2), now=now)) for now in (3, 3 * DAY))
    assert on_time["event_id"].equals(late["event_id"])


def test_a_browser_whose_server_kept_no_time_is_joined_by_session_id_however_late_its_ping() -> None:
    session = session_ping(0, 4 * MINUTE_MS, session_id="{s}", timestamp=None)
    made = built(landed("activity_stream", 0, event_ping(2, session_id="{s}")), landed("activity_stream", 3 * DAY, session))
    assert (only(made)["events"], length(only(made)), only(made)["end_time"]) == (2, (4, 4), at(3 * DAY))


def test_every_session_ping_is_a_session_also_of_one_session_id() -> None:
    """A ping that is stamped anew differs: it is another one, by the rules, and bears the same session_key."""
    made = built(landed("activity_stream", 0, session_ping(5, 1000, session_id="s"), session_ping(6, 1000, session_id="s")))
    assert [session["session_key"] for session in made.sessions] == ["s", "s"]


# --- clocks that jump


@pytest.mark.parametrize("source", WITH_KEY_OF_CLIENT)
def test_a_clock_that_jumps_back_within_a_session_of_the_client_makes_no_second_one(source: str) -> None:
    """Five minutes in truth; the duration spans what the clock said, the time spent does not. No flag says so."""
    jumps = [23 * HOUR, 3 * HOUR, 5]
    lines = [told(source, 0, 1, 2, who=jump) + told(source, 3, 4, 5, who=jump, clock=-jump) for jump in jumps]
    made = built(landed(source, 0, *itertools.chain(*lines)))
    assert [(session["events"], length(session)) for session in made.sessions] == [(6, (1379, 4)), (6, (179, 4)), (6, (4, 4))]
    assert [doubts(session) for session in made.sessions] == [[], [], []]


@pytest.mark.parametrize("source", WITH_KEY_OF_CLIENT)
def test_a_clock_that_jumps_back_more_than_a_day_makes_a_second_session_and_both_say_so(source: str) -> None:
    made = built(landed(source, 0, *told(source, 0, 1, 2), *told(source, 3, 4, 5, clock=-25 * HOUR)))
    assert [(session["events"], length(session), doubts(session)) for session in made.sessions] == [
        (3, (2, 2), ["late"]),
        (3, (2, 2), ["key_reused"]),
    ]


def test_a_phone_that_sends_after_its_clock_jumped_back_is_flagged() -> None:
    before, after = [phone_event(minute) for minute in (0, 1, 2)], [phone_event(minute, clock=-3 * HOUR) for minute in (3, 4, 5)]
    made = built(landed("contentsquare", 0, phone_batch(*before, *after, now=5 - 3 * HOUR)))
    assert [doubts(event) for event in made.events] == [["clock_skew"]] * 3 + [[]] * 3
    assert (length(only(made)), doubts(only(made))) == ((179, 4), ["clock_skew"])


def test_without_the_time_of_sending_no_jump_within_a_day_is_seen() -> None:
    events = [phone_event(0), phone_event(1, clock=-3 * HOUR)]
    phones = [phone_batch(*events, now=None, uid=f"{now}") | {"now": now} for now in (None, -1, "12:00")]
    made = built(landed("contentsquare", 0, *phones))
    assert [doubts(session) for session in made.sessions] == [[], [], []]


def test_a_clock_that_jumps_back_by_minutes_makes_no_second_derived_session() -> None:
    visits, events = ([document(minute, clock=-5 * (minute > 2)) for minute in range(6)] for document in (visit, without_sid))
    made = built(landed("homepagevisit", 0, *visits), landed("sunbird", 0, *events))
    assert {source: length(session) for source, session in each(made).items()} == {"homepagevisit": (4, 4), "sunbird": (4, 4)}


@pytest.mark.parametrize(("source", "document"), [("homepagevisit", visit), ("sunbird", without_sid)])
def test_a_clock_that_jumps_back_by_hours_splits_a_derived_session_and_only_the_received_time_tells(source: str, document: Any) -> None:
    """Gaps by the client's clock are all that makes these sessions, and no rule compares it with the server's within a day."""
    made = built(landed(source, 0, *(document(minute, clock=-3 * HOUR * (minute > 2)) for minute in range(6))))
    assert [(session["events"], length(session), doubts(session)) for session in made.sessions] == [(3, (2, 2), [])] * 2
    ahead = [(event["received_time"] - event["event_time"]) / dt.timedelta(hours=1) for event in made.events]
    assert ahead == [0, 0, 0, 3, 3, 3]


def test_a_jump_of_any_size_adds_at_most_one_gap_that_is_not_idle() -> None:
    """Two runs of two minutes, laid beside each other by the clock: the gap between them counts only up to 10 minutes."""
    jumps = [*range(-40, 40, 2), -3 * HOUR, 3 * HOUR]
    lines = [sunbird(minute, clock=jump * (minute > 2), sid=f"{jump}", received=4) for jump in jumps for minute in (0, 2, 2.5, 4)]
    made = built(landed("sunbird", 0, *lines))
    assert len(made.sessions) == len(jumps)
    assert max(length(session)[1] for session in made.sessions) <= 4 + 10


# --- clocks that are years off


@pytest.mark.parametrize("source", WITH_CLIENT_CLOCK)
def test_a_clock_that_is_years_off_is_not_believed_and_the_session_stands_where_it_arrived(source: str) -> None:
    clocks = enumerate([3 * YEAR, -3 * YEAR, EPOCH, 352 * YEAR])
    made = built(landed(source, 0, *(line for who, clock in clocks for line in told(source, 1, 3, 5, clock=clock, who=who))))
    assert {event["time_source"] for event in made.events} == {"received"}
    assert [(session["session_date"], session["events"]) for session in made.sessions] == [(TODAY, 3)] * 4
    assert all("time_replaced" in session["flags"] for session in made.sessions)
    # A phone's landing hour is all that is known of its events: they happened at one time.
    assert {length(session) for session in made.sessions} == {(0, 0) if source == "contentsquare" else (4, 4)}


@pytest.mark.parametrize(
    ("clock", "flags", "session_flags"),
    [(3 * YEAR, ["clock_skew"], ["clock_skew", "time_replaced"]), (-3 * YEAR, ["sent_late"], ["late", "time_replaced"])],
)
def test_a_phone_whose_clock_is_years_off_is_flagged(clock: int, flags: list[str], session_flags: list[str]) -> None:
    made = built(landed("contentsquare", 0, *told("contentsquare", 1, 3, clock=clock)))
    assert ([doubts(event) for event in made.events], doubts(only(made))) == ([flags] * 2, session_flags)


def test_a_phone_that_cannot_say_when_it_sent_is_told_by_its_times_that_were_replaced() -> None:
    made = built(landed("contentsquare", 0, phone_batch(phone_event(1, clock=3 * YEAR), phone_event(2, clock=3 * YEAR), now=None)))
    assert [(event["time_source"], doubts(event)) for event in made.events] == [("received", [])] * 2
    assert only(made)["flags"] == ["time_replaced", "zero_length"]


def test_times_that_no_clock_shows_take_the_time_of_arrival() -> None:
    times = [-1, 0, -(10**15), 2**63 - 1, 1e300]
    odd_taps = [phone_event(2) | {"euid": f"{time}", "t": time} for time in times]
    odd_events = [sunbird(2) | {"mid": f"{time}", "ets": time} for time in times]
    made = built(
        landed("contentsquare", 0, phone_batch(phone_event(1), *odd_taps, now=2)),
        landed("sunbird", 0, sunbird(1), *odd_events),
    )
    assert [event["time_source"] for event in made.events] == (["client"] + ["received"] * 5) * 2
    odd = {source: (length(session), "time_replaced" in session["flags"]) for source, session in each(made).items()}
    assert odd == dict.fromkeys(WITH_KEY_OF_CLIENT, ((1, 1), True))


def test_a_time_that_no_calendar_holds_is_replaced_and_only_the_source_of_the_time_says_so() -> None:
    """An event keeps no such time as its `client_time`, and the flag compares this one with what stands in its place."""
    taps = [phone_event(minute) | {"t": -(10**15)} for minute in (1, 2)]
    events = [sunbird(minute) | {"ets": -(10**15)} for minute in (1, 2)]
    made = built(landed("contentsquare", 0, phone_batch(*taps, now=2)), landed("sunbird", 0, *events))
    assert {(event["client_time"], event["time_source"]) for event in made.events} == {(None, "received")}
    assert [doubts(session) for session in each(made).values()] == [[], []]


def test_a_clock_that_is_set_right_within_a_session_leaves_it_one_that_says_so() -> None:
    made = built(*(landed(source, 0, *told(source, 0, 2, clock=EPOCH), *told(source, 4, 6)) for source in WITH_CLIENT_CLOCK))
    right = {source: (session["events"], length(session), "time_replaced" in session["flags"]) for source, session in each(made).items()}
    assert right == dict.fromkeys(WITH_CLIENT_CLOCK, (4, (6, 6), True))


def test_a_phone_whose_clock_is_set_right_and_that_sends_hours_later_spans_these_hours_but_spends_none_of_them() -> None:
    """The time of arrival, five hours on, stands for the first two events, and the session says so."""
    events = [phone_event(0, clock=EPOCH), phone_event(2, clock=EPOCH), phone_event(4), phone_event(6)]
    made = built(landed("contentsquare", 5 * HOUR, phone_batch(*events, now=7)))
    assert (length(only(made)), doubts(only(made))) == ((5 * HOUR - 4, 2), ["time_replaced"])
    assert [event["time_source"] for event in made.events] == ["received", "received", "client", "client"]


def test_a_phone_whose_clock_is_set_right_and_that_sends_days_later_makes_a_second_session_that_says_so() -> None:
    events = [phone_event(0, clock=EPOCH), phone_event(2, clock=EPOCH), phone_event(4), phone_event(6)]
    made = built(landed("contentsquare", 3 * DAY, phone_batch(*events, now=7)))
    assert [(length(session), doubts(session)) for session in made.sessions] == [
        ((2, 2), ["late"]),
        ((0, 0), ["key_reused", "late", "time_replaced"]),
    ]


def test_a_server_time_that_cannot_be_is_replaced_by_the_landing_hour() -> None:
    times = [ms(2 * DAY), ms(-30 * YEAR), 0, -1, 2**63, 1e300, "yesterday", None]
    made = built(landed("activity_stream", 30, *(session_ping(0, 1000, timestamp=time, client_id=f"{time}") for time in times)))
    assert [(session["end_time"], session["session_duration"]) for session in made.sessions] == [(NOON, 1000)] * len(times)


# --- keys that are used again


@pytest.mark.parametrize("source", WITH_KEY_OF_CLIENT)
def test_a_key_that_is_used_for_months_is_a_session_each_time_and_all_but_the_first_say_so(source: str) -> None:
    months = [0, 30 * DAY, 60 * DAY, 90 * DAY]
    made = built(*(landed(source, month, *told(source, month, month + 3)) for month in months))
    assert [session["start_time"] for session in made.sessions] == [at(month) for month in months]
    assert [length(session) for session in made.sessions] == [(3, 3)] * 4
    assert [doubts(session) for session in made.sessions] == [[], ["key_reused"], ["key_reused"], ["key_reused"]]
    assert len({session["session_id"] for session in made.sessions}) == 4


def test_what_a_system_logged_under_a_key_before_does_not_make_it_used_again() -> None:
    events = {0: sunbird(0, "LOG"), 3 * DAY: sunbird(3 * DAY), 6 * DAY: sunbird(6 * DAY)}
    made = built(*(landed("sunbird", minutes, event) for minutes, event in events.items()))
    assert ([doubts(session) for session in made.sessions], made.unassigned()) == ([[], ["key_reused"]], 1)


def test_a_key_that_is_used_every_day_is_one_overlong_session_whose_nights_are_no_time_spent() -> None:
    """A sid that an app has hard-coded: without a silence of a day nothing ends it."""
    made = built(*(landed("sunbird", day * DAY, *told("sunbird", day * DAY, day * DAY + 3)) for day in range(30)))
    assert (length(only(made)), doubts(only(made))) == ((29 * DAY + 3, 30 * 3), ["overlong"])


def test_two_devices_that_share_a_sid_at_one_time_share_a_session_that_spends_no_minute_twice() -> None:
    """By the rules a sid is a session: it bears the first device and the last user. No flag says so."""
    one = [sunbird(minute, did="one", actor="first") for minute in (0, 2, 4)]
    other = [sunbird(minute, did="other", actor="second") for minute in (1, 3, 5)]
    session = only(built(landed("sunbird", 0, *one, *other)))
    assert (session["events"], length(session), session["device_id"], session["user_id"]) == (6, (5, 5), "one", "second")
    assert doubts(session) == []


def test_one_sid_in_two_channels_and_one_session_number_of_two_phones_are_two_sessions() -> None:
    phones = [phone_batch(phone_event(0), now=1, uid=uid) for uid in ("one", "other")]
    made = built(landed("sunbird", 0, sunbird(0), sunbird(1, channel="d")), landed("contentsquare", 0, *phones))
    assert len(made.sessions) == 4


# --- what lasts too long


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_a_session_of_exactly_a_day_is_not_overlong_and_one_a_millisecond_longer_is(source: str) -> None:
    """Of each kind: a browser reports its session, phones and Sunbird give a key, and visits are 20 minutes apart."""
    ends = [DAY, DAY + 1 / MINUTE_MS]
    made = built(landed(source, DAY, *(line for who, end in enumerate(ends) for line in told(source, *range(0, DAY, 20), end, who=who))))
    lengths = [(session["session_duration"], "overlong" in session["flags"]) for session in made.sessions]
    assert sorted(lengths) == [(DAY * MINUTE_MS, False), (DAY * MINUTE_MS + 1, True)]


def test_a_tab_left_open_over_a_weekend_is_one_overlong_session_as_long_as_the_browser_says() -> None:
    """60 hours, time spent too: the rules take the browser's word, for a ping tells nothing of idle time."""
    session = only(built(landed("activity_stream", 0, session_ping(0, 60 * HOUR * MINUTE_MS))))
    assert (session["start_time"], session["session_date"]) == (at(-60 * HOUR), TODAY - dt.timedelta(days=2))
    assert (length(session), session["pageviews"], doubts(session)) == ((60 * HOUR, 60 * HOUR), 1, ["overlong"])


def test_a_tab_left_open_takes_no_ping_from_a_short_session_of_its_tab() -> None:
    short = [session_ping(-30 * HOUR, 5 * MINUTE_MS), event_ping(-30 * HOUR - 2), event_ping(-30 * HOUR - 1)]
    made = built(landed("activity_stream", 0, session_ping(0, 60 * HOUR * MINUTE_MS), event_ping(-20 * HOUR), *short))
    assert [(length(session)[0], session["events"], "overlong" in session["flags"]) for session in made.sessions] == [
        (60 * HOUR, 2, True),
        (5, 3, False),
    ]


def test_a_homepage_left_open_is_one_visit_without_length() -> None:
    session = only(built(landed("homepagevisit", 0, visit(0))))
    assert (session["pageviews"], length(session), session["flags"]) == (1, (0, 0), ["zero_length"])


def test_a_homepage_that_reloads_itself_all_weekend_is_one_overlong_session_and_none_of_it_is_time_spent() -> None:
    session = only(built(landed("homepagevisit", 48 * HOUR, *(visit(minute) for minute in range(0, 48 * HOUR + 1, 20)))))
    assert (session["pageviews"], length(session), doubts(session)) == (145, (48 * HOUR, 0), ["late", "overlong"])


@pytest.mark.parametrize("source", WITH_KEY_OF_CLIENT)
def test_two_days_of_silence_within_a_key_belong_to_no_session(source: str) -> None:
    made = built(landed(source, 48 * HOUR, *told(source, 0, 2), *told(source, 48 * HOUR, 48 * HOUR + 1)))
    assert [(length(session), "key_reused" in session["flags"]) for session in made.sessions] == [((2, 2), False), ((1, 1), True)]


@pytest.mark.parametrize("sid", ["sid", None])
def test_heartbeats_hold_a_session_together_and_spend_no_time(sid: str | None) -> None:
    heartbeats = [sunbird(minute, "HEARTBEAT", sid=sid) for minute in range(5, 48 * HOUR, 5)]
    lines = [sunbird(0, "START", sid=sid), *heartbeats, sunbird(48 * HOUR, "END", sid=sid)]
    session = only(built(landed("sunbird", 48 * HOUR, *lines)))
    assert (length(session), doubts(session)) == ((48 * HOUR, 0), ["late", "overlong"])


def test_heartbeats_of_a_tab_that_nobody_came_back_to_lengthen_no_session() -> None:
    heartbeats = [sunbird(minute, "HEARTBEAT") for minute in range(5, 48 * HOUR, 5)]
    session = only(built(landed("sunbird", 48 * HOUR, sunbird(0), sunbird(3), *heartbeats)))
    assert (session["events"], length(session), session["end_time"]) == (2 + len(heartbeats), (3, 3), at(3))


def test_heartbeats_alone_are_no_session_and_all_are_counted() -> None:
    made = built(landed("sunbird", 48 * HOUR, *(sunbird(minute, "HEARTBEAT") for minute in range(0, 48 * HOUR, 20))))
    assert (made.sessions, made.unassigned()) == ([], 144)


@pytest.mark.parametrize("source", WITH_KEY_OF_CLIENT)
def test_what_happens_every_20_minutes_for_two_days_is_one_session_and_idle(source: str) -> None:
    """From every ten minutes on it counts as time spent: no rule tells a timer from a person."""
    lines = [told(source, *range(0, 48 * HOUR + 1, every), who=every) for every in (20, 10)]
    made = built(landed(source, 48 * HOUR, *itertools.chain(*lines)))
    assert {session["events"]: length(session) for session in made.sessions} == {145: (48 * HOUR, 0), 289: (48 * HOUR, 48 * HOUR)}
    assert [doubts(session) for session in made.sessions] == [["late", "overlong"]] * 2


def test_an_app_in_the_background_spends_no_time() -> None:
    events = [phone_event(0), phone_event(2, ea=2), phone_event(9, ea=1), phone_event(10)]
    assert length(only(built(landed("contentsquare", 0, phone_batch(*events, now=11))))) == (10, 3)


# --- ids that senders write when they have none


def test_a_sid_that_is_none_throws_no_two_people_together() -> None:
    sids = ["", None, "n/a", "N/A"]
    people = [sunbird(minute, sid=sids[minute % 4], did=f"device {minute}", actor=f"person {minute}") for minute in range(8)]
    made = built(landed("sunbird", 0, *people))
    assert [(session["events"], session["session_kind"], session["session_key"]) for session in made.sessions] == [(1, "derived", None)] * 8


def test_without_session_device_and_actor_an_event_is_kept_and_makes_no_session() -> None:
    nobody = itertools.product(["", None, "n/a"], ["", None, "n/a"], ["", "n/a"])
    events = [sunbird(minute, sid=sid, did=did, actor=actor) for minute, (sid, did, actor) in enumerate(nobody)]
    made = built(landed("sunbird", 0, *events))
    assert (made.sessions, keyless(made), made.rejected) == ([], 18, [])


def test_a_device_or_an_actor_alone_tells_people_apart() -> None:
    people: list[Row] = [
        {"did": "one", "actor": ""},
        {"did": "other", "actor": ""},
        {"did": None, "actor": "one"},
        {"did": None, "actor": "other"},
    ]
    made = built(landed("sunbird", 0, *(sunbird(minute, sid=None, **people[minute % 4]) for minute in range(8))))
    assert [session["events"] for session in made.sessions] == [2, 2, 2, 2]


def test_people_who_are_all_called_anonymous_and_have_no_device_share_a_session_of_nobody() -> None:
    """By the rules any actor id is part of the key, this one too; the session bears neither user nor device."""
    people = [sunbird(minute, sid=None, did=None, actor="anonymous") for minute in range(3)]
    session = only(built(landed("sunbird", 0, *people)))
    assert (session["events"], session["user_id"], session["device_id"], session["session_key"]) == (3, None, None, None)


def test_a_phone_without_an_id_is_refused_whole_and_kept() -> None:
    nobody = [phone_batch(phone_event(minute), now=1, uid=uid) for minute, uid in enumerate(["", None, "n/a", "N/A", 0])]
    made = built(landed("contentsquare", 0, *nobody, *told("contentsquare", 9)))
    assert (only(made)["events"], [row["path"] for row in made.rejected]) == (1, ["/uid"] * 5)
    assert [orjson.loads(row["raw"]) for row in made.rejected] == nobody


def test_an_event_without_a_session_number_is_refused_alone_and_kept() -> None:
    events = [phone_event(minute, sn=sn) for minute, sn in enumerate([0, -1, None, "", 1])]
    made = built(landed("contentsquare", 0, phone_batch(*events, now=5)))
    assert (only(made)["events"], [row["path"] for row in made.rejected]) == (1, ["/sn"] * 4)
    assert [orjson.loads(row["raw"])["pl"][0]["sn"] for row in made.rejected] == [0, -1, None, ""]


def test_events_that_came_without_their_phone_make_no_session() -> None:
    made = built(landed("contentsquare", 0, [phone_event(0), phone_event(1)], phone_event(2)))
    assert (made.sessions, keyless(made)) == ([], 3)


def test_a_browser_without_an_id_is_refused_and_kept() -> None:
    nobody = [session_ping(0, 1000, client_id=client_id) for client_id in ("", None, "n/a", "N/A")]
    made = built(landed("activity_stream", 0, *nobody, session_ping(1, 1000)))
    assert (only(made)["events"], [row["path"] for row in made.rejected]) == (1, ["/client_id"] * 4)
    assert [orjson.loads(row["raw"]) for row in made.rejected] == nobody


def test_a_session_id_that_is_none_joins_no_two_tabs() -> None:
    pings = [
        session_ping(5, 5 * MINUTE_MS, tab_id=1),
        event_ping(1, tab_id=1),
        session_ping(5, 5 * MINUTE_MS, tab_id=2),
        event_ping(3, tab_id=3),
    ]
    none = [{"client_id": f"browser {number}", "session_id": spelled} for number, spelled in enumerate(["", None, "n/a", "{}"])]
    made = built(landed("activity_stream", 0, *(ping | nobody for nobody in none for ping in pings)))
    assert (sorted(session["events"] for session in made.sessions), made.unassigned()) == ([1] * 4 + [2] * 4, 4)


def test_a_visit_of_no_wiki_makes_no_session_and_each_wiki_has_users_of_its_own() -> None:
    made = built(landed("homepagevisit", 0, visit(0, wiki=""), visit(1, wiki="n/a"), visit(2), visit(3, wiki="dewiki")))
    assert ([session["user_id"] for session in made.sessions], keyless(made)) == (["enwiki:456", "dewiki:456"], 2)


def test_visitors_of_user_id_0_share_sessions_as_any_user_does() -> None:
    """The format's schema takes the id, and the page is for people who have signed in: it is nobody's sentinel."""
    assert only(built(landed("homepagevisit", 0, visit(0, user_id=0), visit(1, user_id=0))))["pageviews"] == 2


# --- hours, days and the order of arrival


def test_a_session_over_hours_midnight_and_landing_partitions_is_one() -> None:
    minutes = [11 * HOUR + 55, 11 * HOUR + 59, 12 * HOUR, 12 * HOUR + 8, 13 * HOUR - 44]
    lines = [(source, *sent) for source in SOURCE_NAMES for sent in zip(minutes, told(source, *minutes), strict=True)]
    made = built(*(landed(*sent) for sent in lines))
    assert len({(event["landing_date"], event["landing_hour"]) for event in made.events}) == 2
    over_midnight = {
        source: (session["session_date"], session["end_time"].date(), length(session), doubts(session))
        for source, session in each(made).items()
    }
    assert over_midnight == dict.fromkeys(SOURCE_NAMES, (TODAY, TODAY + dt.timedelta(days=1), (21, 21), []))


def test_what_landed_gives_the_same_sessions_in_any_order() -> None:
    pieces = {0: [0, 2, 4], 3 * DAY: [1, 3], 30 * DAY: [30 * DAY, 30 * DAY + 1]}
    lines = {(source, landing): told(source, *minutes) for source in SOURCE_NAMES for landing, minutes in pieces.items()}
    for source in WITH_CLIENT_CLOCK:
        lines[source, 0] += told(source, 5, 6, clock=-25 * HOUR) + told(source, 7, clock=-3 * YEAR)
    in_order = built(*(landed(*place, *some) for place, some in lines.items()))
    assert len(in_order.sessions) == 3 + 3 + 3 + 3
    shuffled = random.Random(7)
    for _ in range(2):
        landings = [landed(*place, *shuffled.sample(some, len(some))) for place, some in lines.items()]
        made = built(*shuffled.sample(landings, len(landings)))
        assert (made.sessions, made.members) == (in_order.sessions, in_order.members)


# --- durations that a client made up


def test_a_duration_that_cannot_be_is_refused_and_kept_and_no_session() -> None:
    since_1970 = ms(0)
    absurd = [session_ping(1, duration) for duration in (-1, -5, -0.5, 2**31, since_1970, -since_1970, 1e300, "5", True, [5])]
    made = built(landed("activity_stream", 0, *absurd, session_ping(2, 2000), event_ping(1.99)))
    assert (only(made)["session_duration"], only(made)["events"]) == (2000, 2)
    assert [(row["reason"], row["path"]) for row in made.rejected] == [("schema_violation", "/session_duration")] * len(absurd)
    assert [orjson.loads(row["raw"]) for row in made.rejected] == absurd


def test_the_shortest_and_the_longest_duration_are_a_session_each() -> None:
    durations = [2**31 - 1, 1, 0, -0.4]
    made = built(landed("activity_stream", 0, *(session_ping(0, duration, client_id=f"{duration}") for duration in durations)))
    assert {session["end_time"] for session in made.sessions} == {NOON}
    assert [(session["session_duration"], session["flags"]) for session in made.sessions] == [
        (2**31 - 1, ["overlong"]),
        (1, []),
        (0, ["zero_length"]),
        (0, ["zero_length"]),
    ]


def test_a_session_without_a_duration_adds_none() -> None:
    session = only(built(landed("activity_stream", 0, session_ping(0, None))))
    assert (session["start_time"], session["session_duration"], session["timespent"]) == (NOON, None, None)


def test_a_session_ends_at_most_a_day_after_it_landed() -> None:
    made = built(landed("activity_stream", 0, session_ping(DAY, 1000), session_ping(DAY + 0.001, 1000)))
    assert [session["end_time"] for session in made.sessions] == [NOON, at(DAY)]


@pytest.mark.parametrize("source", WITH_CLIENT_CLOCK)
def test_an_event_happens_at_most_a_day_after_it_was_received_and_else_its_time_is_replaced(source: str) -> None:
    latest, later = told(source, 0, clock=DAY), told(source, 0.001, clock=DAY, sent=0, who=2)
    made = built(landed(source, 0, *latest, *later))
    assert [(event["event_time"], event["time_source"]) for event in made.events] == [(at(DAY), "client"), (NOON, "received")]
    assert [(session["start_time"], "time_replaced" in session["flags"]) for session in made.sessions] == [(NOON, True), (at(DAY), False)]


def test_a_summary_that_cannot_be_changes_nothing_of_the_session_but_is_flagged() -> None:
    absurd = list(itertools.product([-1, -5, 1e300, 1.7e308, "1e400", ms(0)], [-1, 0, 1e300, ms(3 * YEAR)]))
    lines = []
    for timespent, end in absurd:
        sid = f"{timespent} {end}"
        told_of_it = {"type": "session", "starttime": 0, "endtime": end, "timespent": timespent, "pageviews": 10**18, "interactions": -1}
        lines += [sunbird(0, sid=sid), sunbird(2, sid=sid), sunbird(3, "SUMMARY", sid=sid) | {"edata": told_of_it}]
    made = built(landed("sunbird", 0, *lines))
    assert len(made.sessions) == len(absurd)
    for session in made.sessions:
        assert (session["end_time"], length(session), session["pageviews"]) == (at(2), (2, 2), 0)
        assert session["flags"] == ["no_end", "reported_mismatch"]

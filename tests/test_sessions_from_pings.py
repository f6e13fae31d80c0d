"""Sessions from pings, rule by rule: a handful of pings in, the columns that matter out."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest
from session_rows import DAY, HOUR, MINUTE, NOON, Row, Sessions, built, event, session

from transforms.sessions.sessions import SessionRules


def ping(event_type: str, seconds: float = 0, **fields: Any) -> Row:
    """A ping of tab 1 of the one client; the server's time is all that is known of it."""
    return event(
        event_type, seconds, **({"source": "activity_stream", "kind": "reported", "client_time": None, "user": None, "tab": "1"} | fields)
    )


def ending(seconds: float, length: float | None = None, **fields: Any) -> Row:
    """A session ping: the session of this many seconds ends now."""
    return ping("session", seconds, **({"duration_ms": None if length is None else round(length * 1000), "page": "newtab"} | fields))


def taken_by(made: Sessions) -> dict[str, list[str]]:
    """Per session ping's id the ids of the pings that its session holds, by their sequence."""
    pings = {hashed(row["event_id"]): row["event_id"] for row in made.members}
    taken: dict[str, list[str]] = {}
    for row in made.members:
        taken.setdefault(pings[row["session_id"]], []).append(row["event_id"])
    return taken


def orphans(made: Sessions) -> int:
    return sum(day["count"] for chain in made.chains for day in chain["unassigned"])


def hashed(event_id: str) -> str:
    return hashlib.sha256(f'["activity_stream","{event_id}","2026-11-20"]'.encode()).hexdigest()


# --- the session itself


def test_a_session_ping_marks_the_end() -> None:
    row = session(ending(60, 45.5, session_key="{s}", max_scroll_depth=145, load_latency=12, load_reason="newtab", unload_reason="close"))
    assert (row["start_time"], row["end_time"]) == (NOON + dt.timedelta(seconds=14.5), NOON + dt.timedelta(seconds=60))
    assert (row["session_kind"], row["session_duration"], row["timespent"]) == ("reported", 45_500, 45.5)
    assert (row["pageviews"], row["interactions"], row["events"]) == (1, 0, 1)
    assert row["envsummary"] == [{"env": "", "timespent": 45.5, "visits": 1}]
    assert row["pagesummary"] == [{"id": "newtab", "type": None, "env": "", "timespent": 45.5, "visits": 1}]
    assert (row["entry_page"], row["exit_page"], row["session_key"]) == ("newtab", "newtab", "{s}")
    assert (row["max_scroll_depth"], row["load_latency"], row["load_reason"], row["unload_reason"]) == (145, 12, "newtab", "close")
    assert (row["transactions"], row["transaction_value"], row["variables"], row["reported"], row["flags"]) == (0, [], [], None, [])


def test_without_a_duration_a_session_has_neither_length_nor_time() -> None:
    row = session(ending(60))
    assert (row["start_time"], row["session_duration"], row["timespent"], row["flags"]) == (row["end_time"], None, None, [])
    assert row["envsummary"] == [{"env": "", "timespent": None, "visits": 1}]
    assert row["pagesummary"][0]["timespent"] is None


def test_a_session_of_duration_0_says_so() -> None:
    assert session(ending(60, 0))["flags"] == ["zero_length"]


def test_a_session_belongs_to_the_day_it_started() -> None:
    made = built(ending(12 * HOUR + 1, 2))
    assert (made.sessions[0]["session_date"], made.sessions[0]["end_time"].date()) == (DAY, DAY + dt.timedelta(days=1))
    assert made.members[0]["session_date"] == DAY


def test_interactions_are_the_joined_pings_of_three_types_and_events_are_all() -> None:
    types = ["interaction", "search", "share", "performance", "interaction"]
    row = session(ending(60, 60, event_name="end"), *(ping(name, seconds, event_name=name[0]) for seconds, name in enumerate(types)))
    assert (row["interactions"], row["events"], row["pageviews"]) == (4, 6, 1)
    assert row["eventssummary"] == [{"id": "end", "count": 1}, {"id": "i", "count": 2}, {"id": "p", "count": 1}, {"id": "s", "count": 2}]


def test_who_it_was_and_what_is_doubtful_is_known_from_all_pings() -> None:
    early = ping("interaction", 1, locale="", app_version="1", user_id="u", flags=["late"])
    row = session(early, ping("performance", 2, locale="en", flags=["clock_skew", "another"]), ending(3, 3, locale="de", app_version="2"))
    assert (row["locale"], row["app_version"], row["user_id"], row["flags"]) == ("en", "1", "u", ["clock_skew", "late"])


def test_the_ping_stands_among_its_pings_in_the_order_of_time() -> None:
    after, at_once = ping("interaction", 62, event_id="after"), ping("interaction", 60, event_id="s0")
    made = built(after, ending(60, 60, event_id="s1"), ping("interaction", 1, event_id="first"), at_once)
    assert taken_by(made) == {"s1": ["first", "s0", "s1", "after"]}
    assert [row["sequence"] for row in made.members] == [1, 2, 3, 4]


def test_the_id_is_a_hash_of_source_event_and_landing_date() -> None:
    assert session(ending(60, event_id="p"))["session_id"] == hashed("p")


# --- which session takes a ping


@pytest.mark.parametrize(("seconds", "taken"), [(-5.001, False), (-5, True), (0, True), (60, True), (65, True), (65.001, False)])
def test_a_ping_of_the_tab_belongs_to_a_session_up_to_5_seconds_away(seconds: float, taken: bool) -> None:
    made = built(ending(60, 60), ping("interaction", seconds))
    assert (made.sessions[0]["events"], orphans(made)) == ((2, 0) if taken else (1, 1))


def test_the_tolerance_is_that_of_the_rules() -> None:
    made = built(ending(60, 60), ping("interaction", 61.001), rules=SessionRules(tab_tolerance_ms=1_000))
    assert orphans(made) == 1


@pytest.mark.parametrize("other", [{"tab": "2"}, {"key": '["another"]'}, {"source": "another"}, {"tab": None}])
def test_a_ping_of_another_tab_or_client_is_an_orphan(other: dict[str, Any]) -> None:
    assert orphans(built(ending(60, 60), ping("interaction", 30, **other))) == 1


@pytest.mark.parametrize("unknown", [None, ""])
def test_a_ping_of_no_tab_and_no_session_id_is_an_orphan(unknown: str | None) -> None:
    assert orphans(built(ending(60, 60, tab=unknown, link=unknown), ping("interaction", 30, tab=unknown, link=unknown))) == 1


def test_a_session_that_holds_the_ping_comes_before_a_nearer_one() -> None:
    made = built(ending(60, 60, event_id="holds"), ending(29, 1, event_id="nearer"), ping("interaction", 30, event_id="p"))
    assert taken_by(made) == {"holds": ["p", "holds"], "nearer": ["nearer"]}


def test_of_several_that_hold_it_the_nearest_end_takes_it() -> None:
    made = built(ending(60, 60, event_id="far"), ending(40, 40, event_id="near"), ping("interaction", 30, event_id="p"))
    assert taken_by(made)["near"] == ["p", "near"]


def test_of_several_near_it_the_nearest_end_takes_it_and_not_the_nearest_start() -> None:
    made = built(ending(26, 1, event_id="before"), ending(60, 29.999, event_id="after"), ping("interaction", 30, event_id="p"))
    assert taken_by(made)["before"] == ["before", "p"]


def test_of_several_with_the_same_end_the_earlier_start_and_then_the_smaller_id_takes_it() -> None:
    assert taken_by(built(ending(60, 50, event_id="a"), ending(60, 60, event_id="b"), ping("share", 30, event_id="p")))["b"] == ["p", "b"]
    assert taken_by(built(ending(60, 60, event_id="b"), ending(60, 60, event_id="a"), ping("share", 30, event_id="p")))["a"] == ["p", "a"]


def test_a_ping_with_a_session_id_belongs_to_that_session_however_far_away() -> None:
    made = built(
        ending(60, 60, event_id="other"),
        ending(HOUR, 60, link="s", tab="2", event_id="own"),
        ping("interaction", 30, link="s", event_id="p"),
    )
    assert taken_by(made) == {"other": ["other"], "own": ["p", "own"]}


def test_a_session_id_that_no_session_of_the_client_bears_makes_an_orphan_whatever_the_tab_says() -> None:
    made = built(ending(60, 60), ending(60, 60, link="s", key='["another"]'), ping("interaction", 30, link="s"))
    assert orphans(made) == 1


def test_a_ping_without_a_session_id_may_belong_by_its_tab_to_a_session_with_one() -> None:
    assert session(ending(60, 60, link="s"), ping("interaction", 30, link=""))["events"] == 2


def test_of_several_sessions_of_one_id_the_one_that_holds_the_ping_then_a_near_one_then_the_nearest_end_takes_it() -> None:
    three = [ending(100, 60, link="s", event_id="1"), ending(200, 60, link="s", event_id="2"), ending(300, 60, link="s", event_id="3")]
    for seconds, number in [(41, "1"), (139, "2"), (131, "1"), (301, "3"), (900, "3"), (-900, "1")]:
        assert taken_by(built(*three, ping("interaction", seconds, link="s", event_id="p")))[number] in ([number, "p"], ["p", number])


def test_pings_of_type_other_join_nothing_and_are_no_orphans() -> None:
    made = built(ending(60, 60), ping("other", 30), ping("other", 9 * HOUR))
    assert (made.sessions[0]["events"], orphans(made), len(made.chains)) == (1, 0, 1)


def test_orphans_are_counted_by_their_dates() -> None:
    made = built(ping("interaction", 30, link="s"), ping("performance", 12 * HOUR, link="s"), ping("share", 12 * HOUR, link="s"))
    (chain,) = made.chains
    assert chain["unassigned"] == [{"event_date": DAY, "count": 1}, {"event_date": DAY + dt.timedelta(days=1), "count": 2}]
    assert (chain["sessions"], made.sessions, made.members) == ([], [], [])


# --- chains: what has to be looked at together


def spans(made: Sessions) -> list[tuple[float, float]]:
    return [((chain["first_time"] - NOON).total_seconds(), (chain["last_time"] - NOON).total_seconds()) for chain in made.chains]


def test_a_chain_covers_a_session_and_what_lies_within_the_tolerance_of_it() -> None:
    assert spans(built(ending(60, 30), ping("interaction", 25, tab="2"), ping("interaction", 65.001))) == [(25, 65), (65.001, 65.001)]


def test_sessions_whose_tolerances_touch_are_one_chain() -> None:
    assert spans(built(ending(60, 30), ending(100, 30, tab="2"))) == [(25, 105)]
    assert spans(built(ending(60, 30), ending(100, 29.999, tab="2"))) == [(25, 65), (65.001, 105)]


def test_a_session_within_a_longer_one_does_not_end_its_chain() -> None:
    assert spans(built(ending(60 * MINUTE, 3600), ending(10, 5), ping("share", 1000))) == [(-5, 3605)]


def test_pings_of_one_session_id_make_one_chain_of_all_that_lies_between_them() -> None:
    far, between, after = ping("interaction", 0, link="s"), ending(HOUR, 1), ping("interaction", 3 * HOUR)
    made = built(far, between, ending(2 * HOUR, 1, link="s"), after)
    assert spans(made) == [(0, 7205), (10_800, 10_800)]
    assert [chain["links"] for chain in made.chains] == [["s"], []]
    assert made.chains[0]["sessions"] == sorted(
        ({"session_id": row["session_id"], "session_date": DAY} for row in made.sessions), key=lambda held: held["session_id"]
    )


def test_a_chain_is_named_by_its_first_ping_and_dated_by_what_it_covers() -> None:
    (chain,) = built(ping("interaction", -12 * HOUR + 1, event_id="p"), ending(-12 * HOUR + 3, 1, event_id="s")).chains
    assert chain["chain_id"] == hashlib.sha256(b'["chain","activity_stream","k","p","2026-11-20"]').hexdigest()
    assert (chain["chain_date"], chain["kind"], chain["key"]) == (DAY - dt.timedelta(days=1), "reported", '["k"]')

"""Sessions from events, rule by rule: a handful of events in, the columns that matter out."""

from __future__ import annotations

import datetime as dt
import hashlib
import random

import pyarrow as pa
import pytest
from session_rows import DAY, HOUR, MINUTE, NOON, Row, built, event, members_of, rows_of, session

from transforms.sessions.sessions import INPUT, SessionRules, build

KEYED = {"kind": "keyed", "expects_end": False}


def system(event_type: str, seconds: float = 0, **fields: object) -> Row:
    """An event that carries no time."""
    return event(event_type, seconds, user=False, **fields)


# --- where sessions begin and end


@pytest.mark.parametrize(("kind", "silence"), [("derived", 30 * MINUTE), ("keyed", 24 * HOUR)])
def test_a_gap_of_exactly_the_silence_stays_in_the_session(kind: str, silence: float) -> None:
    assert session(event("interaction", kind=kind), event("interaction", silence, kind=kind))["events"] == 2


@pytest.mark.parametrize(("kind", "silence"), [("derived", 30 * MINUTE), ("keyed", 24 * HOUR)])
def test_a_gap_a_millisecond_longer_than_the_silence_starts_a_new_session(kind: str, silence: float) -> None:
    made = built(event("interaction", kind=kind), event("interaction", silence + 0.001, kind=kind))
    assert [row["events"] for row in made.sessions] == [1, 1]
    assert [(row["first_time"], row["last_time"]) for row in made.chains] == [(row["start_time"],) * 2 for row in made.sessions]


def test_the_silences_are_those_of_the_rules() -> None:
    events = [
        event("interaction"),
        event("interaction", 2),
        event("interaction", key='["l"]', **KEYED),
        event("interaction", 2, key='["l"]', **KEYED),
    ]
    assert [
        len(built(*events, rules=SessionRules(**one)).sessions) for one in ({}, {"derived_silence_ms": 1999}, {"keyed_silence_ms": 1999})
    ] == [2, 3, 3]


def test_sources_and_keys_are_told_apart() -> None:
    made = built(event("interaction"), event("interaction", source="sunbird"), event("interaction", key='["k",1]'))
    assert len(made.sessions) == len(made.chains) == 3


def test_a_session_over_midnight_is_one_row_of_the_day_it_started() -> None:
    made = built(event("interaction", 11.9 * HOUR), event("interaction", 12.1 * HOUR, landing_date=DAY + dt.timedelta(days=1)))
    (row,), (chain,) = made.sessions, made.chains
    assert (row["session_date"], row["end_time"].date()) == (DAY, DAY + dt.timedelta(days=1))
    assert (chain["chain_date"], chain["landing_dates"]) == (DAY, [DAY, DAY + dt.timedelta(days=1)])
    assert [member["session_date"] for member in made.members] == [DAY, DAY]


def test_system_events_hold_user_events_together() -> None:
    made = built(event("interaction"), system("log", 25 * MINUTE), event("interaction", 50 * MINUTE))
    assert [row["events"] for row in made.sessions] == [3]


def test_a_chain_without_a_user_event_is_no_session_and_its_events_are_counted_by_their_dates() -> None:
    made = built(system("log", 11.9 * HOUR), system("log", 11.95 * HOUR), system("audit", 12.1 * HOUR))
    (chain,) = made.chains
    assert (made.sessions, made.members, chain["sessions"]) == ([], [], [])
    assert chain["unassigned"] == [{"event_date": DAY, "count": 2}, {"event_date": DAY + dt.timedelta(days=1), "count": 1}]


def test_events_without_a_key_belong_nowhere() -> None:
    assert built(event("interaction", key=None), event("interaction") | {"session_input": None}) == ([], [], [])


def test_nothing_gives_nothing() -> None:
    assert list(build(iter([]), SessionRules())) == []
    assert list(build(iter([pa.RecordBatch.from_pylist([], schema=INPUT)]), SessionRules())) == []


# --- the order within a key


def test_at_one_time_start_comes_first_then_page_view_then_all_others_then_end() -> None:
    made = built(*(event(name, event_id=name) for name in ("end", "heartbeat", "interaction", "page_view", "start")))
    assert members_of(made, made.sessions[0]["session_id"]) == ["start", "page_view", "heartbeat", "interaction", "end"]


def test_client_time_comes_before_the_type_and_an_unknown_one_before_any() -> None:
    made = built(
        event("start", event_id="late", client_time=NOON + dt.timedelta(seconds=1)),
        event("end", event_id="unknown", client_time=None),
        event("end", event_id="early", client_time=NOON - dt.timedelta(days=1)),
    )
    assert members_of(made, made.sessions[0]["session_id"]) == ["unknown", "early", "late"]


def test_last_come_the_bytes_of_the_event_id_and_the_landing_date() -> None:
    names = ["é", "b", "\U0001d538", "\uffff", "Z"]
    again = event("interaction", event_id="Z", landing_date=DAY - dt.timedelta(days=40))
    made = built(*(event("interaction", event_id=name) for name in names), again)
    assert members_of(made, made.sessions[0]["session_id"]) == ["Z", "Z", "b", "é", "\uffff", "\U0001d538"]
    assert [row["landing_date"] for row in made.members][:2] == [again["landing_date"], DAY]
    assert [row["sequence"] for row in made.members] == [1, 2, 3, 4, 5, 6]


# --- time


def test_a_gap_of_exactly_the_idle_time_counts_and_a_longer_one_counts_nothing() -> None:
    row = session(event("interaction"), event("interaction", 600), event("interaction", 1200.001), event("interaction", 1200.251))
    assert (row["timespent"], row["session_duration"]) == (600.25, 1_200_251)


def test_duration_runs_over_user_events_alone() -> None:
    row = session(system("log"), event("interaction", 10), system("log", 15), event("interaction", 20), system("log", 30))
    assert (row["start_time"], row["end_time"]) == (NOON + dt.timedelta(seconds=10), NOON + dt.timedelta(seconds=20))
    assert (row["timespent"], row["session_duration"], row["events"]) == (10.0, 10_000, 5)


@pytest.mark.parametrize("following", ["interaction", "foreground", "end"])
def test_the_one_gap_directly_after_a_pause_counts_nothing(following: str) -> None:
    row = session(event("interaction"), event("background", 1, pauses=True), event(following, 3), event("interaction", 7))
    assert row["timespent"] == 5.0


def test_a_pause_of_no_user_stops_no_time() -> None:
    assert session(event("interaction"), system("interrupt", 1, pauses=True), event("interaction", 3))["timespent"] == 3.0


def test_a_session_of_no_length_says_so() -> None:
    assert session(event("interaction"), event("end"))["flags"] == ["zero_length"]
    assert session(event("interaction"), event("end", 0.001))["flags"] == []


# --- environments and pages


def test_a_gap_belongs_to_the_environment_of_the_event_that_opens_it() -> None:
    places = [("home", 0), (None, 1), ("", 3), ("home", 7), ("home", 15), ("play", 31)]
    row = session(*(event("interaction", seconds, environment=name) for name, seconds in places))
    assert row["envsummary"] == [
        {"env": "", "timespent": 6.0, "visits": 1},
        {"env": "home", "timespent": 25.0, "visits": 2},
        {"env": "play", "timespent": 0.0, "visits": 1},
    ]


def test_a_page_stays_open_until_the_next_page_view() -> None:
    row = session(
        event("interaction"),
        event("page_view", 1, page="a"),
        event("interaction", 3, page="elsewhere", environment="play"),
        event("page_view", 7, page="b"),
        event("interaction", 15),
    )
    assert [(page["id"], page["env"], page["timespent"], page["visits"]) for page in row["pagesummary"]] == [
        ("a", "", 6.0, 1),
        ("b", "", 8.0, 1),
    ]
    assert (row["timespent"], row["pageviews"], row["entry_page"], row["exit_page"]) == (15.0, 2, "a", "b")


@pytest.mark.parametrize("nowhere", [None, ""])
def test_a_page_view_without_a_page_closes_the_open_one_and_opens_none(nowhere: str | None) -> None:
    row = session(event("page_view", page="a"), event("page_view", 1, page=nowhere), event("interaction", 3))
    assert [(page["id"], page["timespent"]) for page in row["pagesummary"]] == [("a", 1.0)]
    assert (row["pageviews"], row["exit_page"]) == (2, "a")


def test_a_page_view_of_the_open_page_is_a_new_visit_of_the_page_and_not_of_the_environment() -> None:
    row = session(*(event("page_view", seconds, page="a", environment="home") for seconds in range(3)))
    assert (row["pagesummary"][0]["visits"], row["envsummary"][0]["visits"]) == (3, 1)


def test_the_same_page_in_another_environment_is_another_page() -> None:
    row = session(*(event("page_view", seconds, page="a", environment=name) for seconds, name in enumerate(["play", "home", "play"])))
    assert [(page["env"], page["visits"]) for page in row["pagesummary"]] == [("home", 1), ("play", 2)]


def test_a_page_has_the_last_type_that_was_seen_on_it() -> None:
    types = ["list", "view", None]
    row = session(
        *(event("page_view", seconds, page="a", page_type=name) for seconds, name in enumerate(types)), event("page_view", 9, page="b")
    )
    assert [page["type"] for page in row["pagesummary"]] == ["view", None]


def test_page_views_of_no_user_open_nothing() -> None:
    row = session(event("interaction"), system("page_view", 1, page="a"), event("interaction", 2))
    assert (row["pagesummary"], row["pageviews"], row["entry_page"]) == ([], 0, None)


# --- what is counted, and who it was


def test_every_event_counts_by_name_and_only_those_of_users_count_otherwise() -> None:
    late = {
        "user_id": "system",
        "device_id": "server",
        "flags": ["late", "clock_skew"],
        "max_scroll_depth": 9,
        "variable_key": "v",
        "environment": "job",
    }
    row = session(
        system("interaction", event_name="INTERACT", **late),
        system("transaction", event_name="transaction", value=1.0, **late),
        event("interaction", 1, event_name="INTERACT"),
        event("other", 2, event_name="Zeta"),
    )
    assert row["eventssummary"] == [{"id": "INTERACT", "count": 2}, {"id": "Zeta", "count": 1}, {"id": "transaction", "count": 1}]
    assert (row["events"], row["interactions"], row["transactions"]) == (4, 1, 0)
    assert (row["user_id"], row["device_id"], row["flags"], row["max_scroll_depth"], row["variables"]) == (None, None, [], None, [])
    assert [env["env"] for env in row["envsummary"]] == [""]


def test_the_user_is_the_last_one_and_everything_else_the_first_that_is_not_empty() -> None:
    names = ("user_id", "device_id", "session_key", "app_id", "app_version", "locale")
    values = [None, "", "b", "a", ""]
    row = session(*(event("interaction", seconds, **dict.fromkeys(names, value)) for seconds, value in enumerate(values)))
    assert [row[name] for name in names] == ["a", "b", "b", "b", "b", "b"]


def test_load_latency_is_that_of_the_first_page_view_known_or_not() -> None:
    first, second = event("page_view", 1, load_latency=None), event("page_view", 2, load_latency=7)
    assert session(event("start", load_latency=9), first, second)["load_latency"] is None
    assert session(event("start", load_latency=9), second)["load_latency"] == 7


def test_scroll_depth_is_the_deepest() -> None:
    assert session(*(event("interaction", max_scroll_depth=depth) for depth in (3, None, 12, 5)))["max_scroll_depth"] == 12


def test_transactions_add_up_per_currency_to_the_last_digit_in_any_order() -> None:
    values = [(0.1, "EUR"), (0.2, "EUR"), (1e17, "USD"), (-99_999_999_999_999_980.0, "USD"), (0.3, "USD"), (1.005, None), (None, "CHF")]
    random.Random(1).shuffle(values)
    row = session(*(event("transaction", seconds, value=value, currency=currency) for seconds, (value, currency) in enumerate(values)))
    assert row["transaction_value"] == [
        {"currency": None, "value": 1.005},
        {"currency": "EUR", "value": 0.3},
        {"currency": "USD", "value": 20.3},
    ]
    assert row["transactions"] == 7


def test_a_value_too_large_for_a_sum_is_left_out_and_flagged() -> None:
    row = session(*(event("transaction", value=value, currency="EUR") for value in (2.5, 1e18, -1e300)), event("end", 1))
    assert (row["transactions"], row["transaction_value"], row["flags"]) == (3, [{"currency": "EUR", "value": 2.5}], ["value_out_of_sums"])


def test_the_value_of_anything_but_a_transaction_is_no_money() -> None:
    row = session(event("assessment", value=1e300), event("end", 1))
    assert (row["transactions"], row["transaction_value"], row["flags"]) == (0, [], [])


def test_a_variable_keeps_its_last_value() -> None:
    fields = [("b", "1"), ("a", "2"), ("b", "3"), ("a", None), ("", "4")]
    row = session(*(event("variable", seconds, variable_key=key, variable_value=value) for seconds, (key, value) in enumerate(fields)))
    assert row["variables"] == [{"key": "", "value": "4"}, {"key": "a", "value": None}, {"key": "b", "value": "3"}]


# --- flags


@pytest.mark.parametrize(("of_event", "of_session"), [("late", "late"), ("sent_late", "late"), ("clock_skew", "clock_skew")])
def test_what_is_doubtful_about_one_event_is_doubtful_about_its_session(of_event: str, of_session: str) -> None:
    assert session(event("interaction"), event("end", 1, flags=["another", of_event]))["flags"] == [of_session]


def test_a_session_that_should_end_and_does_not_says_so() -> None:
    start = event("start", expects_end=True)
    assert session(start, event("interaction", 1, expects_end=True))["flags"] == ["no_end"]
    assert session(start, event("end", 1, expects_end=True))["flags"] == []
    assert session(start, event("interaction", 1), system("end", 2))["flags"] == ["no_end"]
    assert session(event("start"), event("interaction", 1))["flags"] == []


def test_later_sessions_of_a_keyed_key_say_that_it_is_reused() -> None:
    made = built(*(event("interaction", seconds, **KEYED) for start in (0, 25 * HOUR, 50 * HOUR) for seconds in (start, start + 1)))
    assert [row["flags"] for row in made.sessions] == [[], ["key_reused"], ["key_reused"]]


def test_a_keyed_key_is_not_reused_after_a_chain_that_is_no_session() -> None:
    made = built(system("log", **KEYED), event("interaction", 25 * HOUR, **KEYED), event("interaction", 25 * HOUR + 1, **KEYED))
    assert [row["flags"] for row in made.sessions] == [[]]


def test_a_derived_key_is_never_reused() -> None:
    made = built(*(event("interaction", seconds) for start in (0, HOUR) for seconds in (start, start + 1)))
    assert [row["flags"] for row in made.sessions] == [[], []]


# --- what the client fields itself


def summary(seconds: float = 0, rank: int = 0, **fields: object) -> Row:
    nothing = dict.fromkeys(
        ["timespent", "pageviews", "interactions", "start_time", "end_time", "envsummary", "eventssummary", "pagesummary"]
    )
    return system("session", seconds, reported=nothing | fields, reported_rank=rank)


def test_the_last_summary_of_the_best_rank_is_reported_whole() -> None:
    fields = {"start_time": NOON, "end_time": NOON, "envsummary": [{"env": "home", "timespent": 0.5, "visits": 2}]}
    summaries = [summary(1, timespent=1.0), summary(3, timespent=3.0, **fields), summary(5, rank=1, timespent=5.0), summary(7, rank=2)]
    reported = session(event("interaction"), *summaries, event("interaction", 8))["reported"]
    assert (reported["timespent"], reported["start_time"], reported["envsummary"]) == (3.0, NOON, fields["envsummary"])
    assert reported["pagesummary"] is None


def test_a_session_without_a_summary_reports_nothing() -> None:
    assert session(event("interaction"))["reported"] is None


@pytest.mark.parametrize(
    ("spent", "timespent", "mismatch"),
    [
        (5.0, 6.0, False),
        (5.0, 6.001, True),
        (5.0, 4.0, False),
        (5.0, 3.999, True),
        (500.0, 525.0, False),
        (500.0, 525.001, True),
        (500.0, 475.0, False),
        (500.0, 1e300, True),
        (500.0, None, False),
    ],
)
def test_reported_time_may_differ_by_a_second_or_by_five_percent(spent: float, timespent: float | None, mismatch: bool) -> None:
    row = session(event("interaction"), event("end", spent), summary(spent, timespent=timespent))
    assert row["flags"] == ["reported_mismatch"] * mismatch


@pytest.mark.parametrize(
    ("pageviews", "interactions", "mismatch"), [(1, 2, False), (2, 2, True), (1, 1, True), (None, None, False), (None, 3, True)]
)
def test_reported_counts_may_not_differ_at_all(pageviews: int | None, interactions: int | None, mismatch: bool) -> None:
    events = [event("page_view", page="a"), event("interaction", 1), event("interaction", 2)]
    row = session(*events, summary(2, timespent=2.0, pageviews=pageviews, interactions=interactions))
    assert row["flags"] == ["reported_mismatch"] * mismatch


# --- ids and shape


def test_ids_are_hashes_of_source_key_and_first_event() -> None:
    system_first = system("log", event_id='l"\\é', key='["a\\"",5,null]')
    made = built(system_first, *(event("interaction", 1, event_id=name, key='["a\\"",5,null]') for name in ("\U0001d539", "\U0001d538")))
    of_session = '["contentsquare","a\\"",5,null,"\U0001d538","2026-11-20"]'
    of_chain = '["chain","contentsquare","a\\"",5,null,"l\\"\\\\é","2026-11-20"]'
    assert made.sessions[0]["session_id"] == hashlib.sha256(of_session.encode()).hexdigest()
    assert made.chains[0]["chain_id"] == hashlib.sha256(of_chain.encode()).hexdigest()
    assert made.chains[0]["sessions"] == [{"session_id": made.sessions[0]["session_id"], "session_date": DAY}]


def test_batches_are_bounded_and_lose_nothing() -> None:
    rows = [event("interaction", number % 60, event_id=str(number), key=f'["{number % 11_000}"]') for number in range(25_000)]
    batches = list(build(iter(pa.Table.from_pylist(rows, schema=INPUT).to_batches(max_chunksize=7_000)), SessionRules()))
    made = rows_of(batches)
    assert max(batch.num_rows for batch in batches) == 10_000
    assert (len(made.sessions), len(made.members), len(made.chains)) == (11_000, 25_000, 11_000)

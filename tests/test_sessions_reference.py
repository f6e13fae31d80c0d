"""The sessions of random events are those of the plain reference, in whatever order and batches the events come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pytest
import sessions_reference as reference
from hypothesis import given
from hypothesis import strategies as st
from random_examples import examples
from session_rows import Row, Sessions, rows_of

from schemas.events import SESSION_INPUT
from transforms.sessions.sessions import INPUT, SessionRules, build

RULES = SessionRules()
EVENING = dt.datetime(2026, 11, 20, 22, tzinfo=dt.UTC)
DAYS = [EVENING.date() + dt.timedelta(days=number) for number in range(3)]
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
# Both sides of every limit in the rules, the limits themselves, and no gap at all.
GAPS = [0, 0, 0, 1, 250, 5 * SECOND, 5 * SECOND + 1, MINUTE, 10 * MINUTE, 10 * MINUTE + 1]
GAPS += [30 * MINUTE, 30 * MINUTE + 1, 24 * HOUR, 24 * HOUR + 1]
TEXTS = st.sampled_from([None, "", "a", "b", "é", "\U0001d538", '"', "\\", "\uffff"])


def built(rows: Sequence[Row], batch_size: int = 1_000) -> Sessions:
    table = pa.Table.from_pylist(list(rows), schema=INPUT)
    return rows_of(list(build(iter(table.to_batches(max_chunksize=batch_size)), RULES)))


def in_one_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: [str(row.get(name)) for name in ("chain_id", "session_id", "source", "event_id", "landing_date")])


def assert_as_reference(rows: Sequence[Row], batch_size: int) -> None:
    for actual, expected in zip(built(rows, batch_size), reference.build(rows, RULES), strict=True):
        assert in_one_order(actual) == in_one_order(expected)


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows without those that repeat the key of `events`."""
    return list({(row["source"], row["event_id"], row["landing_date"]): row for row in rows}.values())


@st.composite
def lines_of_events(draw: st.DrawFn, kinds: Sequence[tuple[str, str]], types: Sequence[str]) -> list[Row]:
    """Events of a few keys, those of each one after the other, all in a random order."""
    rows = []
    for number in range(draw(st.integers(1, 4))):
        source, kind = draw(st.sampled_from(kinds))
        key = draw(st.sampled_from(['["x"]', '["x","é"]', '["\\"",7]'])) if kind != "keyed" else f'["k",{number}]'
        time = EVENING
        for _ in range(draw(st.integers(1, 12))):
            time += dt.timedelta(milliseconds=draw(st.sampled_from(GAPS)))
            rows.append(draw(events_at(source, kind, key, time, types)))
    return draw(st.permutations(told_apart(rows)))


@st.composite
def events_at(draw: st.DrawFn, source: str, kind: str, key: str, time: dt.datetime, types: Sequence[str]) -> Row:
    summary = {"start_time": time, "end_time": time, "envsummary": [], "eventssummary": [{"id": "x", "count": 1}], "pagesummary": []}
    numbers = st.one_of(st.none(), st.integers(0, 2))
    seconds = st.sampled_from([None, 0.0, 0.25, 1.0, 1.001, 5.0, 60.0, 61.25, 600.001, 630.0, 1e300])
    event_type = draw(st.sampled_from(types))
    facts = dict.fromkeys(field.name for field in SESSION_INPUT) | {
        "key": draw(st.sampled_from([key] * 9 + [None])),
        "kind": kind,
        "user": draw(st.sampled_from([True, True, True, False, None])),
        "pauses": draw(st.sampled_from([False, False, None, True])),
        "expects_end": kind == "keyed",
        "page_type": draw(TEXTS),
        "tab": draw(st.sampled_from([None, "", "1", "1", "2"])),
        "link": draw(st.sampled_from([None, None, "", "l", "m"])),
        "load_latency": draw(numbers),
        "load_reason": draw(TEXTS),
        "unload_reason": draw(TEXTS),
        "max_scroll_depth": draw(numbers),
        "currency": draw(st.sampled_from([None, "EUR", "USD"])),
        "variable_key": draw(st.sampled_from([None, None, "", "a", "é"])),
        "variable_value": draw(TEXTS),
    }
    if draw(st.integers(0, 5)) == 0:
        totals = {"timespent": draw(seconds), "pageviews": draw(numbers), "interactions": draw(numbers)}
        facts |= {"reported": totals | summary, "reported_rank": draw(st.integers(0, 2))}
    return {
        "source": source,
        "event_id": draw(st.sampled_from(["a", "b", "c", "é", "\U0001d538", "\uffff", '"'])) + draw(st.sampled_from(["", "1", "2"])),
        "landing_date": draw(st.sampled_from(DAYS)),
        "event_type": event_type,
        "event_name": event_type.upper() + draw(st.sampled_from(["", "é"])),
        "event_time": time,
        "client_time": draw(st.sampled_from([None, time, time, time + dt.timedelta(hours=1), time + dt.timedelta(milliseconds=1)])),
        "user_id": draw(TEXTS),
        "device_id": draw(TEXTS),
        "session_key": draw(TEXTS),
        "app_id": draw(TEXTS),
        "app_version": draw(TEXTS),
        "locale": draw(TEXTS),
        "is_robot": draw(st.sampled_from([None, False, False, True])),
        "environment": draw(st.sampled_from([None, "", "home", "play"])),
        "page": draw(st.sampled_from([None, "", "p", "p", "q"])),
        "value": draw(st.sampled_from([None, 0.1, 0.2, -0.3, 1e-9, 2.5e-9, 123456789.123456789, 1e17, 1e18, -2e18, 0.1 + 0.2])),
        "duration_ms": draw(st.sampled_from([None, 0, 250, 5 * SECOND, MINUTE, 10 * MINUTE])),
        "flags": draw(st.sampled_from([[], [], [], ["late"], ["sent_late", "x"], ["clock_skew"], ["score_out_of_range"]])),
        "session_input": facts,
    }


EVENTS = lines_of_events(
    [("sunbird", "keyed"), ("sunbird", "derived"), ("contentsquare", "keyed"), ("homepagevisit", "derived")],
    ["start", "page_view", "page_view", "interaction", "interaction", "log", "transaction", "variable", "end", "session"],
)
PINGS = lines_of_events(
    [("activity_stream", "reported"), ("another", "reported")],
    ["session", "session", "interaction", "search", "share", "performance", "other"],
)


@examples(60)
@given(EVENTS, st.integers(1, 50))
def test_the_sessions_of_any_events_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@examples(60)
@given(PINGS, st.integers(1, 50))
def test_the_sessions_of_any_pings_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@pytest.mark.slow
@examples(1_000)
@given(st.one_of(EVENTS, PINGS), st.integers(1, 50))
def test_the_sessions_of_many_more_events_and_pings_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@examples(10)
@given(EVENTS, PINGS)
def test_events_and_pings_together_give_what_each_gives_alone(events: list[Row], pings: list[Row]) -> None:
    for together, of_events, of_pings in zip(built([*events, *pings]), built(events), built(pings), strict=True):
        assert in_one_order(together) == in_one_order([*of_events, *of_pings])


@examples(25)
@given(EVENTS)
def test_time_is_neither_lost_nor_counted_twice(rows: list[Row]) -> None:
    for session in built(rows).sessions:
        spent = round(session["timespent"] * 1000)
        assert sum(round(env["timespent"] * 1000) for env in session["envsummary"]) == spent <= session["session_duration"]
        assert sum(round(page["timespent"] * 1000) for page in session["pagesummary"]) <= spent


@examples(25)
@given(st.one_of(EVENTS, PINGS))
def test_every_event_with_a_key_is_in_one_session_or_counted_as_unassigned(rows: list[Row]) -> None:
    made = built(rows)
    with_key = [
        row for row in rows if row["session_input"]["key"] and (row["session_input"]["kind"], row["event_type"]) != ("reported", "other")
    ]
    assert len(made.members) + sum(day["count"] for chain in made.chains for day in chain["unassigned"]) == len(with_key)
    assert len(told_apart(made.members)) == len(made.members) == sum(session["events"] for session in made.sessions)
    for session in made.sessions:
        assert (
            sum(name["count"] for name in session["eventssummary"]) == session["events"] >= session["pageviews"] + session["interactions"]
        )


@examples(25)
@given(st.one_of(EVENTS, PINGS))
def test_chains_of_a_key_never_come_within_the_silence_of_each_other(rows: list[Row]) -> None:
    silence = {"keyed": RULES.keyed_silence_ms, "derived": RULES.derived_silence_ms, "reported": 0}
    chains = built(rows).chains
    for key in {(chain["source"], chain["key"]) for chain in chains}:
        of_key = sorted((chain for chain in chains if (chain["source"], chain["key"]) == key), key=lambda chain: chain["first_time"])
        for one, following in pairwise(of_key):
            assert following["first_time"] - one["last_time"] > dt.timedelta(milliseconds=silence[one["kind"]])

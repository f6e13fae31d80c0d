"""The sessions of random events are those of the plain reference, in whatever order and batches the events come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sessions_reference as reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import SESSION_INPUT
from transforms.sessions import BUILT, INPUT, SessionRules, build

Row = dict[str, Any]
RULES = SessionRules()
START = dt.datetime(2026, 11, 20, 22, 0, tzinfo=dt.UTC)
DAYS = [dt.date(2026, 11, 20) + dt.timedelta(days=n) for n in range(3)]
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
# Gaps on both sides of every limit in the rules, the limits themselves, and none at all.
GAPS = [0, 0, 0, 1, 250, 5 * SECOND, 5 * SECOND + 1, MINUTE, 10 * MINUTE, 10 * MINUTE + 1, 30 * MINUTE, 30 * MINUTE + 1, 24 * HOUR, 24 * HOUR + 1]
TEXTS = st.sampled_from([None, "", "a", "b", "é", "𝔸", '"', "\\", "\uffff"])
EXAMPLES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def built(rows: Sequence[Row], batch_size: int = 1_000) -> dict[str, list[Row]]:
    table = pa.Table.from_pylist(list(rows), schema=INPUT)
    batches = list(build(iter(table.to_batches(max_chunksize=batch_size)), RULES))
    assert all(batch.schema == BUILT for batch in batches)
    out: dict[str, list[Row]] = {name: [] for name in BUILT.names}
    for row in (row for batch in batches for row in batch.to_pylist()):
        (part,) = (name for name, value in row.items() if value is not None)
        out[part].append(row[part])
    return out


def in_any_order(rows: Sequence[Row], *key: str) -> list[Row]:
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in key))


def assert_as_reference(rows: Sequence[Row], batch_size: int) -> None:
    expected = reference.build(rows, RULES)
    actual = built(rows, batch_size)
    assert in_any_order(actual["session"], "session_id") == in_any_order(expected.sessions, "session_id")
    identity = ("source", "event_id", "landing_date")
    assert in_any_order(actual["member"], *identity) == in_any_order(expected.members, *identity)
    assert in_any_order(actual["chain"], "chain_id") == in_any_order(expected.chains, "chain_id")


def numbered(rows: Sequence[Row]) -> list[Row]:
    """The rows of which no other has the same key of `events`."""
    return list({(row["source"], row["event_id"], row["landing_date"]): row for row in rows}.values())


@st.composite
def lines_of_events(draw: st.DrawFn, kinds: Sequence[tuple[str, str]], types: Sequence[str]) -> list[Row]:
    """Events of a few keys, each key's one after the other by gaps of GAPS, all in a random order."""
    rows = []
    for number in range(draw(st.integers(1, 4))):
        source, kind = draw(st.sampled_from(kinds))
        key = draw(st.sampled_from(['["x"]', '["x","é"]', '["\\"",7]'])) if kind != "keyed" else f'["k",{number}]'
        time = START
        for _ in range(draw(st.integers(1, 12))):
            time += dt.timedelta(milliseconds=draw(st.sampled_from(GAPS)))
            rows.append(draw(events_at(source, kind, key, time, types)))
    return draw(st.permutations(numbered(rows)))


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
        said = {"timespent": draw(seconds), "pageviews": draw(numbers), "interactions": draw(numbers)}
        facts |= {"reported": said | summary, "reported_rank": draw(st.integers(0, 2))}
    return {
        "source": source,
        "event_id": draw(st.sampled_from(["a", "b", "c", "é", "𝔸", "\uffff", '"'])) + draw(st.sampled_from(["", "1", "2"])),
        "landing_date": draw(st.sampled_from(DAYS)),
        "event_type": event_type,
        "event_name": event_type.upper() + draw(st.sampled_from(["", "é"])),
        "event_time": time,
        "client_time": draw(st.sampled_from([None, time, time, time + dt.timedelta(hours=1), time + dt.timedelta(microseconds=1000)])),
        "user_id": draw(TEXTS),
        "device_id": draw(TEXTS),
        "session_key": draw(TEXTS),
        "app_id": draw(TEXTS),
        "app_version": draw(TEXTS),
        "locale": draw(TEXTS),
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


@EXAMPLES
@given(EVENTS, st.integers(1, 50))
def test_the_sessions_of_any_events_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@EXAMPLES
@given(PINGS, st.integers(1, 50))
def test_the_sessions_of_any_pings_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@settings(EXAMPLES, max_examples=50)
@given(EVENTS, PINGS)
def test_events_and_pings_together_give_what_each_gives_alone(events: list[Row], pings: list[Row]) -> None:
    together, alone = built([*events, *pings]), [built(events), built(pings)]
    for part, rows in together.items():
        assert in_any_order(rows, *rows[0] if rows else ()) == in_any_order([*alone[0][part], *alone[1][part]], *rows[0] if rows else ())


@EXAMPLES
@given(EVENTS)
def test_time_is_neither_lost_nor_counted_twice(rows: list[Row]) -> None:
    out = built(rows)
    for session in out["session"]:
        spent = round(session["timespent"] * 1000)
        assert sum(round(env["timespent"] * 1000) for env in session["envsummary"]) == spent <= session["session_duration"]
        assert sum(round(page["timespent"] * 1000) for page in session["pagesummary"]) <= spent
        assert sum(name["count"] for name in session["eventssummary"]) == session["events"] >= session["pageviews"] + session["interactions"]
    kept = sum(row["session_input"]["key"] is not None for row in rows)
    assert len(out["member"]) + sum(day["count"] for chain in out["chain"] for day in chain["unassigned"]) == kept


@EXAMPLES
@given(st.one_of(EVENTS, PINGS))
def test_chains_of_a_key_hold_their_events_and_never_meet(rows: list[Row]) -> None:
    silence = {"keyed": RULES.keyed_silence_ms, "derived": RULES.derived_silence_ms, "reported": 0}
    chains = built(rows)["chain"]
    for key in {(chain["source"], chain["key"]) for chain in chains}:
        spans = sorted((chain["first_time"], chain["last_time"], chain["kind"]) for chain in chains if (chain["source"], chain["key"]) == key)
        for (_, last, kind), (first, _, _) in zip(spans, spans[1:], strict=False):
            assert first - last > dt.timedelta(milliseconds=silence[kind])

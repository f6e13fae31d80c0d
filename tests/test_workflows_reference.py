"""The workflow summaries of random events are those of the plain reference, in batches of any size."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_examples import examples
from workflow_events import (
    DAY,
    DAY_MS,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Row,
    epoch_ms,
    event,
    event_counts,
    reference_workflows,
    values_of,
    workflows_of,
)

# Both sides of every limit in the rules, the limits themselves, and no gap at all.
SHORT = [0, 0, 0, 1, 4, 5, 6, 14, 15, SECOND, SECOND, 7 * SECOND, 31 * SECOND, 10 * MINUTE, 10 * MINUTE + 1]
GAPS = [*SHORT, *SHORT, *SHORT, 30 * MINUTE, 30 * MINUTE + 1, 30 * MINUTE, 30 * MINUTE + 1, DAY_MS, DAY_MS + 1]
# Seconds in the place of milliseconds, both ends of the calendar, and far beyond.
TIMES = [epoch_ms(NOON)] * 6 + [epoch_ms(NOON) + 12 * HOUR - 5, 1_700_000_000, 0, -1, -DAY_MS - 3, 1_515_764_448_000_000]
TIMES += [253_402_300_800_000 - 5, -62_135_596_800_000 - 5, -(10**15)]
TYPES = st.sampled_from(["App", "app", "", None, "Course", "Course", "course", "course", "content", "content", "É", "é"])
MODES = st.sampled_from([None, "", "", "play", "play", "Play"])
ACTIONS = st.sampled_from(["touch", "TOUCH", "Click", "removed", "other", "app", "", None])
PAGE_TYPES = st.sampled_from([None, None, None, "", "app", "view", "Edit"])
ENVIRONMENTS = st.sampled_from([None, "", *["a"] * 10, "b", "\uffff", "\U0001d538"])
PAGES = st.sampled_from([None, "", *["p"] * 8, "q", "é"])
ITEMS = st.sampled_from([None, "{}", '{"itemId":"é","score":1}', '{"qtitle":"\\"],["}'])
TEXTS = st.sampled_from([None, "", "x", "é"])
NAMES = st.sampled_from(["START"] * 5 + ["END"] * 4 + ["IMPRESSION"] * 6 + ["INTERACT"] * 3 + ["ASSESS", "SHARE", "\U0001d538", "\uffff"])
GROUPS = st.sampled_from([("d", "c", "p"), ("d", "c", ""), ("é", "c", "p"), ("", "c", "p"), ("", "c", ""), ('"', "\\", "\U0001d538")])


@st.composite
def any_event(draw: st.DrawFn, group: Sequence[str], ets: int, number: int) -> Row:
    name = draw(NAMES)
    return event(
        name,
        key=group if group[0] else [*group, ets // DAY_MS],
        ets=ets,
        event_id=draw(st.sampled_from(["a", "é", '"', "\U0001d538"])) + str(number),
        environment=draw(ENVIRONMENTS),
        page=draw(PAGES) if name == "IMPRESSION" else None,
        session_key=draw(TEXTS),
        landing_date=DAY + dt.timedelta(days=draw(st.integers(0, 2))),
        uid=draw(TEXTS),
        object_id=draw(TEXTS),
        object_type=draw(TEXTS),
        type=draw({"INTERACT": ACTIONS, "IMPRESSION": PAGE_TYPES}.get(name, TYPES)),
        mode=draw(MODES),
        item=draw(ITEMS) if name == "ASSESS" else None,
    )


@st.composite
def events_of_groups(draw: st.DrawFn) -> list[Row]:
    """Events of a few groups, those of each one after the other, all in a random order."""
    rows: list[Row] = []
    for group in draw(st.lists(GROUPS, min_size=1, max_size=4, unique=True)):
        ets = draw(st.sampled_from(TIMES))
        for _ in range(draw(st.integers(1, 40))):
            ets += draw(st.sampled_from(GAPS))
            rows.append(draw(any_event(group, ets, len(rows))))
    return draw(st.permutations(rows))


EVENTS = events_of_groups()


def assert_as_reference(rows: Sequence[Row], batch_size: int) -> None:
    for actual, expected in zip(workflows_of(rows, batch_size), reference_workflows(rows), strict=True):
        assert actual == expected


@examples(150)
@given(EVENTS, st.integers(1, 50))
def test_the_workflows_of_any_events_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@pytest.mark.slow
@examples(2_000)
@given(EVENTS, st.integers(1, 50))
def test_the_workflows_of_many_more_events_are_those_of_the_reference(rows: list[Row], batch_size: int) -> None:
    assert_as_reference(rows, batch_size)


@examples(30)
@given(EVENTS, st.integers(1, 50))
def test_the_size_of_batches_changes_nothing(rows: list[Row], batch_size: int) -> None:
    assert workflows_of(rows, batch_size) == workflows_of(rows)


def in_hundredths(seconds: float) -> int:
    return round(seconds * 100)


@examples(50)
@given(EVENTS)
def test_time_is_neither_lost_nor_counted_twice(rows: list[Row]) -> None:
    for summary in workflows_of(rows).summaries:
        spent = in_hundredths(summary["time_spent"])
        assert sum(in_hundredths(env["time_spent"]) for env in summary["env_summary"]) == spent > 0
        assert sum(in_hundredths(page["time_spent"]) for page in summary["page_summary"]) <= spent


@examples(50)
@given(EVENTS)
def test_a_workflow_holds_no_more_than_its_root(rows: list[Row]) -> None:
    summaries = workflows_of(rows).summaries
    roots = [row for row in summaries if row["parent_type"] is None]
    for summary in summaries:
        assert any(holds(root, summary) for root in roots)


def holds(root: Row, summary: Row) -> bool:
    same_group = all(root[name] == summary[name] for name in ("did", "channel", "pdata_id"))
    in_time = root["start_time"] <= summary["start_time"] and summary["end_time"] <= root["end_time"]
    more = all(root[name] >= summary[name] for name in ("time_diff", "time_spent", "interact_events_count"))
    return (
        same_group and in_time and more and all(event_counts(root).get(name, 0) >= count for name, count in event_counts(summary).items())
    )


@examples(50)
@given(EVENTS)
def test_every_summary_has_an_id_of_its_own_and_stands_in_one_chain(rows: list[Row]) -> None:
    workflows = workflows_of(rows)
    in_chains = [(entry["summary_id"], entry["summary_date"]) for chain in workflows.chains for entry in chain["summaries"]]
    assert sorted(in_chains, key=lambda entry: entry[0]) == values_of(workflows.summaries, "summary_id", "summary_date")
    assert len(dict(in_chains)) == len(in_chains)


@examples(50)
@given(EVENTS)
def test_chains_of_a_key_stand_more_than_a_day_apart_and_cover_all_its_events(rows: list[Row]) -> None:
    workflows = workflows_of(rows)
    for key in {row["key"] for row in rows}:
        spans = sorted((chain["first_ets"], chain["last_ets"]) for chain in workflows.chains if chain["key"] == key)
        assert all(following[0] - one[1] > DAY_MS for one, following in pairwise(spans))
        assert all(any(first <= row["ets"] <= last for first, last in spans) for row in rows if row["key"] == key)

"""Workflow summaries of worked examples: each holds of `summarise` and of the plain reference."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable

import pytest
from workflow_events import (
    DAY,
    DAY_MS,
    NOON,
    Row,
    Workflows,
    end,
    epoch_ms,
    event,
    event_counts,
    page_view,
    reference_workflows,
    span,
    start,
    touch,
    values_of,
    workflows_of,
)

from schemas.sessions import WORKFLOW_SUMMARIES

BuildWorkflows = Callable[..., Workflows]
BuildSummaries = Callable[..., list[Row]]


@pytest.fixture(params=["reference", "summarise"])
def build_workflows(request: pytest.FixtureRequest) -> BuildWorkflows:
    """The workflows of events, by either; summaries in order of their start, the longer ones first."""

    def build(*events: Row) -> Workflows:
        workflows = reference_workflows(events) if request.param == "reference" else workflows_of(events)
        return Workflows(
            sorted(workflows.summaries, key=lambda row: (row["start_time"], -row["end_time"], row["parent_type"] is not None)),
            sorted(workflows.chains, key=lambda row: row["first_ets"]),
        )

    return build


@pytest.fixture
def summaries(build_workflows: BuildWorkflows) -> BuildSummaries:
    return lambda *events: build_workflows(*events).summaries


# Where workflows start and end


def test_a_course_without_an_app_is_inside_a_synthetic_one_that_counts_its_start_twice(summaries: BuildSummaries) -> None:
    root, course = summaries(
        start(0, "Course", mode="play", session_key="s", uid="u", object_id="do_1", object_type="Content", environment="home"),
        page_view(10, "p", type="view", environment="home"),
        event("ASSESS", 25, item='{"itemId":"q"}', environment="home", uid="another"),
        end(40, "course", mode="play", environment="home"),
    )
    assert values_of([root, course], "type", "mode", "parent_type") == [("app", "", None), ("course", "play", "app")]
    assert event_counts(root) == {"ASSESS": 1, "END": 1, "IMPRESSION": 1, "START": 2}
    assert event_counts(course) == {"ASSESS": 1, "END": 1, "IMPRESSION": 1, "START": 1}
    for row in (root, course):
        assert (row["start_time"], row["end_time"]) == span(0, 40)
        assert (row["time_diff"], row["time_spent"], row["summary_date"]) == (40.0, 40.0, DAY)
        assert (row["sid"], row["uid"], row["object_id"], row["object_type"]) == ("s", "u", "do_1", "Content")
        assert (row["did"], row["channel"], row["pdata_id"]) == ("d", "c", "p")
        assert row["env_summary"] == [{"env": "home", "time_spent": 40.0, "count": 1}]
        assert row["page_summary"] == [{"id": "p", "type": "view", "env": "home", "time_spent": 30.0, "visit_count": 1}]
        assert row["item_responses"] == '[{"itemId":"q"}]'
        assert (row["interact_events_count"], row["interact_events_per_min"]) == (0, 0.0)


def test_every_column_but_run_id_is_there(summaries: BuildSummaries) -> None:
    (row,) = summaries(start(0, "app"), touch(1))
    assert [*row, "run_id"] == [column.name for column in WORKFLOW_SUMMARIES.columns]


def test_an_id_is_the_digest_of_the_group_the_first_event_and_the_depth(summaries: BuildSummaries) -> None:
    group = ("", "ç", "", epoch_ms(NOON) // DAY_MS)
    root, course = summaries(start(0, "course", event_id="é", key=group), touch(1, key=group))
    assert values_of([root, course], "did", "channel", "pdata_id") == [(None, "ç", None)] * 2
    for depth, row in enumerate((root, course)):
        assert row["summary_id"] == hashlib.sha256(f'["","ç","","é",{epoch_ms(NOON)},{depth}]'.encode()).hexdigest()


@pytest.mark.parametrize("kind", ["App", "app", "", None])
def test_a_start_of_an_app_is_itself_the_root(summaries: BuildSummaries, kind: str | None) -> None:
    (root,) = summaries(start(0, kind, mode="m"), touch(3))
    assert (root["type"], root["mode"], root["parent_type"]) == ("app", "m", None)
    assert event_counts(root) == {"INTERACT": 1, "START": 1}


def test_an_app_of_another_mode_is_a_child_of_the_app(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "app"), start(1, "app", mode="play"), touch(3))
    assert values_of(rows, "type", "mode", "parent_type", "time_spent") == [("app", "", None, 3.0), ("app", "play", "app", 2.0)]


def test_a_start_of_the_same_type_and_mode_opens_a_sibling(summaries: BuildSummaries) -> None:
    root, one, another = summaries(start(0, "course"), touch(4), start(10, "COURSE"), touch(15))
    assert (event_counts(root), root["time_spent"]) == ({"INTERACT": 2, "START": 3}, 15.0)
    assert (event_counts(one), one["start_time"], one["end_time"]) == ({"INTERACT": 1, "START": 1}, *span(0, 4))
    assert (event_counts(another), another["start_time"], another["end_time"]) == ({"INTERACT": 1, "START": 1}, *span(10, 15))
    assert (one["parent_type"], another["parent_type"]) == ("app", "app")


def test_a_start_that_matches_further_up_closes_everything_below(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course"), start(1, "content"), touch(2), start(3, "course"), touch(5))
    assert values_of(rows, "type", "parent_type", "time_spent") == [
        ("app", None, 5.0),
        ("course", "app", 2.0),
        ("content", "course", 1.0),
        ("course", "app", 2.0),
    ]


def test_another_mode_is_another_workflow(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course", mode="play"), start(1, "course", mode="Play"), touch(3))
    assert values_of(rows, "type", "mode", "parent_type") == [("app", "", None), ("course", "play", "app"), ("course", "Play", "course")]


def test_a_start_of_the_root_s_type_and_mode_opens_a_new_root(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course"), touch(2), start(3, "app"), touch(7))
    assert values_of(rows, "type", "parent_type", "time_spent") == [("app", None, 2.0), ("course", "app", 2.0), ("app", None, 4.0)]
    assert event_counts(rows[2]) == {"INTERACT": 1, "START": 1}


def test_an_end_closes_the_workflow_further_up_with_all_below_which_it_is_not_added_to(summaries: BuildSummaries) -> None:
    root, course, content = summaries(start(0, "course"), start(1, "content"), touch(2), end(5, "course"), touch(9))
    assert (event_counts(content), content["time_spent"]) == ({"INTERACT": 1, "START": 1}, 1.0)
    assert (event_counts(course), course["time_spent"]) == ({"END": 1, "INTERACT": 1, "START": 2}, 5.0)
    assert (event_counts(root), root["time_spent"]) == ({"END": 1, "INTERACT": 2, "START": 3}, 9.0)


def test_an_end_without_a_match_is_added_nowhere_and_splits_no_gap(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course"), end(0.004, "content"), end(0.004, "course", mode="play"), touch(0.008))
    assert values_of(rows, "type", "time_spent", "time_diff") == [("app", 0.01, 0.01), ("course", 0.01, 0.01)]
    assert [event_counts(row) for row in rows] == [{"INTERACT": 1, "START": 2}, {"INTERACT": 1, "START": 1}]


def test_after_the_end_of_the_root_the_next_event_opens_another(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "app"), end(3, None), touch(5), touch(6))
    assert [(row["start_time"], row["end_time"]) for row in rows] == [span(0, 3), span(5, 6)]


def test_an_event_without_a_workflow_opens_a_default_app_of_its_mode(summaries: BuildSummaries) -> None:
    (row,) = summaries(touch(0, mode="play"), touch(6, mode="edit"))
    assert (row["type"], row["mode"], row["parent_type"]) == ("app", "play", None)
    assert (row["interact_events_count"], row["interact_events_per_min"], row["time_spent"]) == (2, 2.0, 6.0)


def test_a_workflow_in_the_default_app_is_its_child(summaries: BuildSummaries) -> None:
    root, course = summaries(touch(0), start(2, "course"), touch(6))
    assert values_of([root, course], "parent_type", "time_spent") == [(None, 6.0), ("app", 4.0)]
    assert event_counts(root) == {"INTERACT": 2, "START": 1}


def test_a_workflow_without_time_is_not_emitted(summaries: BuildSummaries) -> None:
    assert summaries(start(0, "course"), touch(0.004), end(0.008, "course")) == []


# Where workflows break, and where they are forgotten


def test_after_a_break_the_open_workflows_go_on_as_new_segments(summaries: BuildSummaries) -> None:
    rows = summaries(
        start(0, "course", session_key="s"),
        touch(5),
        touch(1_806, session_key="t"),
        touch(1_809),
        end(1_810, "course"),
    )
    assert [(row["type"], (row["start_time"], row["end_time"]), row["time_spent"]) for row in rows] == [
        ("app", span(0, 5), 5.0),
        ("course", span(0, 5), 5.0),
        ("app", span(1_806, 1_810), 4.0),
        ("course", span(1_806, 1_810), 4.0),
    ]
    assert values_of(rows, "sid", "parent_type", "interact_events_count") == [
        ("s", None, 1),
        ("s", "app", 1),
        ("s", None, 2),
        ("s", "app", 2),
    ]
    assert event_counts(rows[3]) == {"END": 1, "INTERACT": 2}
    assert [row["time_diff"] for row in rows] == [5.0, 5.0, 4.0, 4.0]
    assert rows[3]["summary_id"] == hashlib.sha256(f'["d","c","p","INTERACT at 1806",{span(1_806)[0]},1]'.encode()).hexdigest()


@pytest.mark.parametrize(("seconds", "kind"), [(1_800, "TOUCH"), (1_800.001, "App"), (86_400, "app")])
def test_neither_thirty_minutes_nor_an_app_break_a_workflow(summaries: BuildSummaries, seconds: float, kind: str) -> None:
    (row,) = summaries(start(0, "app"), touch(5), event("SHARE", 5 + seconds, type=kind))
    assert (row["time_diff"], row["time_spent"]) == (round(5 + seconds, 2), 5.0)


@pytest.mark.parametrize("kind", [None, "", "course"])
def test_a_millisecond_over_thirty_minutes_breaks_a_workflow_unless_it_says_app(summaries: BuildSummaries, kind: str | None) -> None:
    rows = summaries(start(0, "app"), touch(5), event("SHARE", 1_805.001, type=kind), touch(1_808.001))
    assert [((row["start_time"], row["end_time"]), row["time_spent"]) for row in rows] == [
        (span(0, 5), 5.0),
        (span(1_805.001, 1_808.001), 3.0),
    ]


def test_an_unmatched_end_breaks_but_begins_no_segment(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course"), touch(5), end(2_000, "content"), touch(2_010), touch(2_012))
    assert [(row["start_time"], row["end_time"]) for row in rows] == [span(0, 5), span(0, 5), span(2_010, 2_012), span(2_010, 2_012)]


def test_an_unmatched_end_half_way_keeps_a_workflow_from_breaking(summaries: BuildSummaries) -> None:
    rows = summaries(start(0, "course"), touch(5), end(1_000, "content"), touch(2_010), touch(2_012))
    assert values_of(rows, "type", "time_diff", "time_spent") == [("app", 2_012.0, 7.0), ("course", 2_012.0, 7.0)]


def test_a_segment_has_no_page_open_and_enters_its_environment_anew(summaries: BuildSummaries) -> None:
    one, another = summaries(
        start(0, "app", environment="home"),
        page_view(1, "p", environment="home"),
        touch(5, environment="home"),
        touch(2_000, environment="home"),
        touch(2_003, environment="home"),
    )
    assert [entry["time_spent"] for entry in one["page_summary"]] == [4.0]
    assert another["page_summary"] == []
    assert another["env_summary"] == [{"env": "home", "time_spent": 3.0, "count": 1}]


def test_a_silence_of_more_than_a_day_closes_and_forgets_everything(build_workflows: BuildWorkflows) -> None:
    one, another = span(0, 86_402.001)
    rows, chains = build_workflows(
        start(0, "course"),
        touch(2),
        touch(86_402.001, type="app"),
        touch(86_403, landing_date=DAY + dt.timedelta(days=1)),
        end(86_404, "course"),
    )
    assert values_of(rows, "type", "start_time", "time_spent") == [("app", one, 2.0), ("course", one, 2.0), ("app", another, 1.0)]
    assert values_of(chains, "first_ets", "last_ets") == [span(0, 2), span(86_402.001, 86_404)]
    assert [chain["landing_dates"] for chain in chains] == [[DAY], [DAY, DAY + dt.timedelta(days=1)]]
    assert [chain["chain_date"] for chain in chains] == [DAY, DAY + dt.timedelta(days=1)]
    assert [[entry["summary_id"] for entry in chain["summaries"]] for chain in chains] == [
        sorted(row["summary_id"] for row in rows[:2]),
        [rows[2]["summary_id"]],
    ]
    assert {(entry["summary_id"], entry["summary_date"]) for chain in chains for entry in chain["summaries"]} == set(
        values_of(rows, "summary_id", "summary_date")
    )


def test_a_chain_bears_the_digest_of_its_key_and_first_event(build_workflows: BuildWorkflows) -> None:
    ((), (chain,)) = build_workflows(end(0, "course", event_id="e"))
    assert chain["chain_id"] == hashlib.sha256(f'["workflow","d","c","p","e",{epoch_ms(NOON)}]'.encode()).hexdigest()
    assert (chain["key"], chain["summaries"], chain["chain_date"]) == ('["d","c","p"]', [], DAY)


def test_groups_are_told_apart(build_workflows: BuildWorkflows) -> None:
    rows, chains = build_workflows(start(0, "course"), touch(1, key=("d", "c", "q")), touch(2), end(3, "course", key=("d", "c", "q")))
    assert values_of(rows, "pdata_id", "type", "time_spent") == [("p", "app", 2.0), ("p", "course", 2.0)]
    assert len(chains) == 2


@pytest.mark.parametrize(
    ("ets", "date"), [(-1, dt.date(1969, 12, 31)), (253_402_300_799_000, dt.date(9999, 12, 31)), (253_402_300_800_000, None)]
)
def test_times_are_taken_as_sent_and_have_a_date_where_there_is_one(
    build_workflows: BuildWorkflows, ets: int, date: dt.date | None
) -> None:
    (row,), (chain,) = build_workflows(event("START", ets=ets, type="app"), touch(0, ets=ets + 20))
    assert (row["start_time"], row["time_diff"], row["summary_date"], chain["chain_date"]) == (ets, 0.02, date, date)


def test_ties_in_time_stand_as_they_landed(summaries: BuildSummaries) -> None:
    (row,) = summaries(touch(1, event_id="last"), touch(0, event_id="z", session_key="z"), touch(0, event_id="a", session_key="a"))
    assert row["sid"] == "z"


# Time and counts


@pytest.mark.parametrize(("ms", "spent"), [(4, None), (5, 0.03), (14, 0.03), (15, 0.06)])
def test_each_gap_is_rounded_by_itself_to_hundredths(summaries: BuildSummaries, ms: int, spent: float | None) -> None:
    rows = summaries(start(0, "app"), *(touch(number * ms / 1000) for number in (1, 2, 3)))
    assert [row["time_spent"] for row in rows] == ([] if spent is None else [spent])


def test_time_diff_is_rounded_as_a_whole(summaries: BuildSummaries) -> None:
    (row,) = summaries(start(0, "app"), touch(0.005), touch(0.01), touch(0.014))
    assert (row["time_spent"], row["time_diff"]) == (0.02, 0.01)


@pytest.mark.parametrize(("seconds", "spent"), [(600, 602.0), (600.001, 2.0)])
def test_ten_minutes_count_and_more_is_idle(summaries: BuildSummaries, seconds: float, spent: float) -> None:
    (row,) = summaries(start(0, "app"), touch(2), touch(2 + seconds))
    assert row["time_spent"] == spent


def test_the_gap_after_a_background_event_counts(summaries: BuildSummaries) -> None:
    (row,) = summaries(start(0, "app"), event("INTERRUPT", 2, type="background"), touch(9))
    assert row["time_spent"] == 9.0


@pytest.mark.parametrize(
    ("interactions", "seconds", "per_minute"),
    [
        (3, 59.99, 3.0),  # under a minute: the count itself
        (3, 60, 3.0),
        (1, 480, 0.13),  # 0.125
        (2, 600, 0.2),
        (7, 61.44, 6.84),  # 6.8359…
        (0, 60, 0.0),
    ],
)
def test_interactions_per_minute(summaries: BuildSummaries, interactions: int, seconds: float, per_minute: float) -> None:
    (row,) = summaries(start(0, "app"), *(touch(0, event_id=str(number)) for number in range(interactions)), event("SHARE", seconds))
    assert (row["interact_events_count"], row["interact_events_per_min"]) == (interactions, per_minute)


def test_halves_of_a_hundredth_per_minute_are_rounded_up(summaries: BuildSummaries) -> None:
    # 201 in 200 minutes are 1.005 a minute, which no double holds.
    (row,) = summaries(*(touch(minute * 60) for minute in range(201)))
    assert (row["time_spent"], row["interact_events_per_min"]) == (12_000.0, 1.01)


def test_interactions_count_only_when_of_a_counted_type(summaries: BuildSummaries) -> None:
    kinds = ["TOUCH", "Drag", "removed", "other", "", None, "app", "touch "]
    (row,) = summaries(
        start(0, "app"), *(touch(1 + number, type=kind) for number, kind in enumerate(kinds)), event("SHARE", 60, type="touch")
    )
    assert row["interact_events_count"] == 3
    assert event_counts(row) == {"INTERACT": 8, "SHARE": 1, "START": 1}


def test_a_first_event_that_is_a_touch_counts(summaries: BuildSummaries) -> None:
    (row,) = summaries(touch(0), event("SHARE", 1))
    assert row["interact_events_count"] == 1


def test_item_responses_stand_in_order_and_an_assessment_without_an_item_adds_none(summaries: BuildSummaries) -> None:
    (row,) = summaries(event("ASSESS", 0, item='{"b":1}'), event("ASSESS", 1), event("ASSESS", 2, item='{"a":1}'))
    assert row["item_responses"] == '[{"b":1},{"a":1}]'
    assert summaries(touch(0), touch(1))[0]["item_responses"] == "[]"


def test_time_goes_to_the_environment_and_page_that_are_open_when_a_gap_begins(summaries: BuildSummaries) -> None:
    (row,) = summaries(
        start(0, "app"),
        page_view(1, "p", environment="a", type="view"),
        page_view(3, "p", environment="a", type="edit"),
        touch(7, environment=""),
        page_view(15, "", environment="a"),
        page_view(31, "p", environment="b"),
        page_view(63, "p", environment="a"),
    )
    assert row["env_summary"] == [
        {"env": "", "time_spent": 9.0, "count": 2},
        {"env": "a", "time_spent": 22.0, "count": 3},
        {"env": "b", "time_spent": 32.0, "count": 1},
    ]
    assert row["page_summary"] == [
        {"id": "p", "type": "edit", "env": "a", "time_spent": 14.0, "visit_count": 3},
        {"id": "p", "type": None, "env": "b", "time_spent": 32.0, "visit_count": 1},
    ]


def test_a_child_s_pages_are_those_opened_in_it(summaries: BuildSummaries) -> None:
    root, course = summaries(page_view(0, "p"), start(1, "course"), page_view(3, "q"), end(7, "course"), touch(15))
    assert [(page["id"], page["time_spent"]) for page in root["page_summary"]] == [("p", 3.0), ("q", 12.0)]
    assert [(page["id"], page["time_spent"]) for page in course["page_summary"]] == [("q", 4.0)]

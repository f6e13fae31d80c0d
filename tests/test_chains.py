"""Which chains a change affects: rows in, rows out."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.catalog import TABLES
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, WORKFLOW_CHAINS
from transforms.affected_rows import AFFECTED_ROWS, partition_name, rows_by_id
from transforms.sessions.chains import EVENT_COLUMNS, affected_chains, affected_rows, changed_spans, events_in_spans
from transforms.sessions.sessions import SessionRules
from transforms.workflows import chains as workflows
from transforms.workflows.summaries import WorkflowRules

RULES = SessionRules()
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
EVENT = pa.schema([EVENTS.arrow.remove_metadata().field(name) for name in EVENT_COLUMNS])
CHAIN = SESSION_CHAINS.arrow.remove_metadata()


def at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def event(
    key: str | None, kind: str | None, minute: float, link: str | None = None, duration_ms: int | None = None, user: bool = True
) -> pa.Table:
    session_input = {"key": key, "kind": kind, "user": user, "link": link}
    row = {"source": "s", "event_time": at(minute), "duration_ms": duration_ms, "session_input": session_input}
    return pa.Table.from_pylist([row], schema=EVENT)


def changes(*events: tuple[str | None, str | None, float, str | None], duration_ms: int | None = None, user: bool = True) -> pa.Table:
    """The spans of events that were added or removed (key, kind, minute, link), each read by a task of its own."""
    return pa.concat_tables([changed_spans([event(*one, duration_ms=duration_ms, user=user)], RULES) for one in events])


def chains(*rows: tuple[str, str, str, float, float, list[str]]) -> pa.Table:
    """Chains: id, key, kind, first and last minute, links; one whose id says that it is loose has no session."""
    made = []
    for name, key, kind, first, last, links in rows:
        loose = [{"event_date": NOON.date(), "count": 1}] if "loose" in name else []
        row = {"chain_id": name, "source": "s", "key": key, "kind": kind, "first_time": at(first), "last_time": at(last), "links": links}
        made.append(row | {"unassigned": loose, "chain_date": at(first).date(), "landing_dates": [at(first).date()], "sessions": []})
    return pa.Table.from_pylist(made, schema=CHAIN)


def ids(decided: pa.Table) -> list[str]:
    """The chains that are affected; in brackets those that show that their key was used before."""
    return sorted(f"({row['chain_id']})" if row["is_used_key"] else row["chain_id"] for row in decided.to_pylist())


def test_a_chain_within_the_silence_is_affected_and_one_beyond_it_is_not() -> None:
    known = chains(
        ("exactly", "k", "derived", -40, -30, []),
        ("beyond", "k", "derived", -60, -30.001, []),
        ("after", "k", "derived", 30, 50, []),
    )
    assert ids(affected_chains(known, changes(("k", "derived", 0, None)))) == ["after", "exactly"]


def test_a_chain_of_another_key_is_not_affected_chains() -> None:
    assert ids(affected_chains(chains(("other", "l", "derived", 0, 1, [])), changes(("k", "derived", 0, None)))) == []


def test_a_key_that_its_client_gave_out_is_affected_whole_when_its_first_session_may_change() -> None:
    known = chains(("first", "k", "keyed", -5, 5, []), ("later", "k", "keyed", 99_000, 100_000, []))
    assert ids(affected_chains(known, changes(("k", "keyed", 0, None)))) == ["first", "later"]
    assert ids(affected_chains(known, changes(("k", "keyed", -90_000, None)))) == ["first", "later"]
    assert ids(affected_chains(known, changes(("k", "keyed", 1445, None)))) == ["first", "later"]


def test_of_a_key_whose_first_session_lies_before_all_changes_the_later_chains_alone_are_affected_chains() -> None:
    known = chains(
        ("loose", "k", "keyed", -300_000, -299_000, []),
        ("first", "k", "keyed", -200_000, -199_000, []),
        ("second", "k", "keyed", -100_000, -99_000, []),
        ("now", "k", "keyed", -5, 5, []),
    )
    assert ids(affected_chains(known, changes(("k", "keyed", 0, None)))) == ["(first)", "now"]
    assert ids(affected_chains(known, changes(("k", "keyed", 1446, None)))) == ["(first)"]


def test_chains_without_a_session_do_not_make_a_key_used() -> None:
    known = chains(("loose", "k", "keyed", -200_000, -199_000, []), ("now", "k", "keyed", -5, 5, []))
    assert ids(affected_chains(known, changes(("k", "keyed", 1440 + 5, None)))) == ["loose", "now"]


def test_a_session_ping_affects_what_it_spans() -> None:
    known = chains(("inside", "k", "reported", -50, -40, []), ("before", "k", "reported", -70, -61, []))
    assert ids(affected_chains(known, changes(("k", "reported", 0, None), duration_ms=3_600_000))) == ["inside"]


def test_a_ping_affects_the_chain_with_its_session_id_and_all_between() -> None:
    known = chains(
        ("linked", "k", "reported", -900, -890, ["a", "b"]),
        ("between", "k", "reported", -500, -490, []),
        ("before", "k", "reported", -990, -980, []),
    )
    assert ids(affected_chains(known, changes(("k", "reported", 0, "b"), user=False))) == ["between", "linked"]


def test_pings_of_one_session_id_affect_all_that_lies_between_them() -> None:
    known = chains(("between", "k", "reported", -500, -490, []))
    assert ids(affected_chains(known, changes(("k", "reported", -900, "b"), ("k", "reported", 0, "b"), user=False))) == ["between"]


def test_events_without_a_session_key_affect_nothing() -> None:
    assert changes((None, None, 0, None)).num_rows == 0


def test_all_that_tasks_find_of_one_session_id_is_one_span() -> None:
    pings = (("k", "reported", -900, "b"), ("k", "reported", 0, "b"))
    together = changed_spans([event(*ping, user=False) for ping in pings], RULES)
    known = chains(("between", "k", "reported", -500, -490, []), ("before", "k", "reported", -990, -980, []))
    assert affected_chains(known, together) == affected_chains(known, changes(*pings, user=False))


def test_an_affected_chain_has_the_events_of_its_key_from_its_first_to_its_last_time() -> None:
    given = [event(key, "derived", minute) for key, minute in (("k", 0), ("k", 10), ("k", 10.001), ("k", -0.001), ("l", 5), (None, 5))]
    known = chains(("one", "k", "derived", 0, 10, []), ("same", "k", "derived", 5, 10, []))
    affected = affected_rows(known, changes(("k", "derived", 5, None)))
    found = events_in_spans(pa.concat_tables(given), affected.filter(pc.equal(affected["table"], "events")))
    assert found["event_time"].to_pylist() == [at(0), at(10)]
    assert found.schema == EVENT


def test_what_is_built_again_are_the_events_of_a_chain_its_sessions_their_events_and_the_chain() -> None:
    dates = [dt.date(2026, 11, 20), dt.date(2026, 11, 21)]
    session = {"session_id": "one", "session_date": dates[0]}
    (known,) = chains(("now", "k", "derived", 0, 10, [])).to_pylist()
    known |= {"landing_dates": dates, "sessions": [session]}

    rows = affected_rows(pa.Table.from_pylist([known], schema=CHAIN), changes(("k", "derived", 0, None)))

    first, last = (round(at(minute).timestamp()) * 1_000_000 for minute in (0, 10))
    assert rows.schema == AFFECTED_ROWS
    assert {tuple(row.values()) for row in rows.to_pylist()} == {
        ("events", "2026-11-20/s", None, "k", first, last),
        ("events", "2026-11-21/s", None, "k", first, last),
        ("sessions", "2026-11-20/s", "one", None, None, None),
        ("session_events", "2026-11-20/s", "one", None, None, None),
        ("session_chains", "2026-11-20/s", "now", None, None, None),
    }


def test_of_a_key_that_was_used_before_its_source_and_name_are_given() -> None:
    known = chains(("first", "k", "keyed", -200_000, -199_000, []))
    rows = affected_rows(known, changes(("k", "keyed", 0, None)))
    assert rows.to_pylist() == [{"table": "used_key", "partition": "s", "id": None, "key": "k", "first": None, "last": None}]


def test_of_workflows_the_chains_within_a_cut_are_affected_and_their_events_lie_in_each_source_that_has_workflows() -> None:
    chain = {"key": "g", "first_ets": 100, "last_ets": 200, "landing_dates": [dt.date(2026, 11, 20)], "chain_id": "near"}
    chain |= {"summaries": [{"summary_id": "one", "summary_date": None}], "chain_date": None}
    other = chain | {"chain_id": "far", "first_ets": 301, "last_ets": 400}
    known = pa.Table.from_pylist([chain, other], schema=WORKFLOW_CHAINS.arrow.remove_metadata())
    spans = pa.Table.from_pylist([{"key": "g", "lo": 200, "hi": 300}, {"key": "g", "lo": 150, "hi": 160}], schema=workflows.SPANS)

    rows = workflows.affected_rows(known, spans, ["s", "t"])

    assert {tuple(row.values()) for row in rows.to_pylist()} == {
        ("events", "2026-11-20/s", None, "g", 100, 200),
        ("events", "2026-11-20/t", None, "g", 100, 200),
        ("workflow_summaries", "", "one", None, None, None),
        ("workflow_chains", "", "near", None, None, None),
    }


@pytest.mark.parametrize("ets", [5 * 10**18, 2**63 - 1, -5 * 10**18, -(2**63), 0])
def test_of_workflows_a_change_affects_the_chain_in_which_it_lies_and_the_one_next_to_it_at_any_time(ets: int) -> None:
    chain = {"key": "g", "landing_dates": [], "summaries": [], "chain_date": None}
    near = ets - 1_000 if ets > 0 else ets + 1_000
    known = [chain | {"chain_id": name, "first_ets": at, "last_ets": at} for name, at in (("own", ets), ("near", near))]
    step = dict.fromkeys(workflows.EVENT_COLUMNS) | {"workflow_input": {"key": "g", "ets": ets}}
    added = pa.Table.from_pylist([step], schema=pa.schema([EVENTS.arrow.remove_metadata().field(name) for name in step]))

    spans = workflows.changed_spans([added], WorkflowRules())

    chains_of_group = pa.Table.from_pylist(known, schema=WORKFLOW_CHAINS.arrow.remove_metadata())
    assert workflows.affected_chains(chains_of_group, spans).num_rows == 2


@pytest.mark.parametrize("name", ["events", "sessions", "session_events", "session_chains", "workflow_summaries", "workflow_chains"])
def test_a_file_and_the_rows_in_it_name_their_partition_alike(name: str) -> None:
    table = TABLES[name]
    for date in (dt.date(1, 1, 1), dt.date(2026, 11, 20), None):
        value = {column: date if column.endswith("_date") else "s" for column in table.partitioned_by}
        of_rows = rows_by_id(table, pa.array(["id"]), {column: pa.array([one], table[column].type) for column, one in value.items()})
        of_file = partition_name(table, {column: None if one is None else str(one) for column, one in value.items()})
        assert of_rows["partition"].to_pylist() == [of_file]

"""Which chains a change touches: rows in, rows out."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS
from transforms.sessions.chains import COLUMNS, EVENT_COLUMNS, changed_spans, events_of, merged_spans, touched
from transforms.sessions.sessions import SessionRules

RULES = SessionRules()
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
EVENT = pa.schema([EVENTS.arrow.remove_metadata().field(name) for name in EVENT_COLUMNS])
CHAIN = pa.schema([("chain_id", pa.string()), *(SESSION_CHAINS.arrow.field(name) for name in COLUMNS)])


def at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def event(
    key: str | None, kind: str | None, minute: float, link: str | None = None, duration_ms: int | None = None, user: bool = True
) -> pa.Table:
    told = {"key": key, "kind": kind, "user": user, "link": link}
    row = {"source": "s", "event_time": at(minute), "duration_ms": duration_ms, "session_input": told}
    return pa.Table.from_pylist([row], schema=EVENT)


def changes(*events: tuple[str | None, str | None, float, str | None], duration_ms: int | None = None, user: bool = True) -> pa.Table:
    """The spans of events that came or went (key, kind, minute, link): of each event alone, and put together."""
    alone = [changed_spans([event(*one, duration_ms=duration_ms, user=user)], RULES) for one in events]
    together = changed_spans([event(*one, duration_ms=duration_ms, user=user) for one in events], RULES)
    merged = merged_spans(pa.concat_tables(alone))
    order = [(name, "ascending") for name in merged.column_names]
    assert merged.sort_by(order) == together.sort_by(order)
    return merged


def chains(*rows: tuple[str, str, str, float, float, list[str]]) -> pa.Table:
    """Chains: id, key, kind, first and last minute, links; one whose id says that it is loose has no session."""
    made = []
    for name, key, kind, first, last, links in rows:
        loose = [{"event_date": NOON.date(), "count": 1}] if "loose" in name else []
        row = {"chain_id": name, "source": "s", "key": key, "kind": kind, "first_time": at(first), "last_time": at(last), "links": links}
        made.append(row | {"unassigned": loose, "chain_date": at(first).date()})
    return pa.Table.from_pylist(made, schema=CHAIN)


def ids(found: pa.Table) -> list[str]:
    """The chains that are touched; in brackets those that stay and tell that their key was used before."""
    return sorted(f"({row['chain_id']})" if row["stays"] else row["chain_id"] for row in found.to_pylist())


def test_a_chain_within_the_silence_is_touched_and_one_beyond_it_is_not() -> None:
    known = chains(
        ("exactly", "k", "derived", -40, -30, []),
        ("beyond", "k", "derived", -60, -30.001, []),
        ("after", "k", "derived", 30, 50, []),
    )
    assert ids(touched(known, changes(("k", "derived", 0, None)))) == ["after", "exactly"]


def test_a_chain_of_another_key_is_not_touched() -> None:
    assert ids(touched(chains(("other", "l", "derived", 0, 1, [])), changes(("k", "derived", 0, None)))) == []


def test_a_key_that_its_client_gave_out_is_touched_whole_when_its_first_session_may_change() -> None:
    known = chains(("first", "k", "keyed", -5, 5, []), ("later", "k", "keyed", 99_000, 100_000, []))
    assert ids(touched(known, changes(("k", "keyed", 0, None)))) == ["first", "later"]
    assert ids(touched(known, changes(("k", "keyed", -90_000, None)))) == ["first", "later"]
    assert ids(touched(known, changes(("k", "keyed", 1445, None)))) == ["first", "later"]


def test_of_a_key_whose_first_session_lies_before_all_changes_the_later_chains_alone_are_touched() -> None:
    known = chains(
        ("loose", "k", "keyed", -300_000, -299_000, []),
        ("first", "k", "keyed", -200_000, -199_000, []),
        ("second", "k", "keyed", -100_000, -99_000, []),
        ("now", "k", "keyed", -5, 5, []),
    )
    assert ids(touched(known, changes(("k", "keyed", 0, None)))) == ["(first)", "now"]
    assert ids(touched(known, changes(("k", "keyed", 1446, None)))) == ["(first)"]


def test_chains_without_a_session_do_not_make_a_key_used() -> None:
    known = chains(("loose", "k", "keyed", -200_000, -199_000, []), ("now", "k", "keyed", -5, 5, []))
    assert ids(touched(known, changes(("k", "keyed", 1440 + 5, None)))) == ["loose", "now"]


def test_a_session_ping_touches_what_it_spans() -> None:
    known = chains(("inside", "k", "reported", -50, -40, []), ("before", "k", "reported", -70, -61, []))
    assert ids(touched(known, changes(("k", "reported", 0, None), duration_ms=3_600_000))) == ["inside"]


def test_a_ping_touches_the_chain_that_bears_its_session_id_and_all_between() -> None:
    known = chains(
        ("linked", "k", "reported", -900, -890, ["a", "b"]),
        ("between", "k", "reported", -500, -490, []),
        ("before", "k", "reported", -990, -980, []),
    )
    assert ids(touched(known, changes(("k", "reported", 0, "b"), user=False))) == ["between", "linked"]


def test_pings_of_one_session_id_touch_all_that_lies_between_them() -> None:
    known = chains(("between", "k", "reported", -500, -490, []))
    assert ids(touched(known, changes(("k", "reported", -900, "b"), ("k", "reported", 0, "b"), user=False))) == ["between"]


def test_events_without_a_session_key_touch_nothing() -> None:
    assert changes((None, None, 0, None)).num_rows == 0


def test_a_touched_chain_has_the_events_of_its_key_from_its_first_to_its_last_time() -> None:
    given = [event(key, "derived", minute) for key, minute in (("k", 0), ("k", 10), ("k", 10.001), ("k", -0.001), ("l", 5), (None, 5))]
    known = chains(("one", "k", "derived", 0, 10, []), ("same", "k", "derived", 5, 10, []))
    found = events_of(pa.concat_tables(given), known)
    assert found["event_time"].to_pylist() == [at(0), at(10)]
    assert found.schema == EVENT

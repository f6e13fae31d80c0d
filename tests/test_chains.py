"""Which chains a change touches: rows in, rows out."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
from pyspark.sql import SparkSession

from schemas.sessions import SESSION_CHAINS
from transforms.chains import COLUMNS, changed_spans, events_of, touched
from transforms.sessions import SessionRules

RULES = SessionRules()
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
EVENT = (
    "source string, event_time timestamp, duration_ms bigint, session_input struct<key: string, kind: string, user: boolean, link: string>"
)
CHAIN = pa.schema([("chain_id", pa.string()), *(SESSION_CHAINS.arrow.field(name) for name in COLUMNS)])


def at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def changes(
    spark: SparkSession, *events: tuple[str, str, float, str | None], duration_ms: int | None = None, user: bool = True
) -> pa.Table:
    """Events that came or went: key, kind, minute, link."""
    rows = [("s", at(minute), duration_ms, (key, kind, user, link)) for key, kind, minute, link in events]
    return changed_spans(spark.createDataFrame(rows, EVENT), RULES).toArrow()


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


def test_a_chain_within_the_silence_is_touched_and_one_beyond_it_is_not(spark: SparkSession) -> None:
    known = chains(
        ("exactly", "k", "derived", -40, -30, []),
        ("beyond", "k", "derived", -60, -30.001, []),
        ("after", "k", "derived", 30, 50, []),
    )
    assert ids(touched(known, changes(spark, ("k", "derived", 0, None)))) == ["after", "exactly"]


def test_a_chain_of_another_key_is_not_touched(spark: SparkSession) -> None:
    assert ids(touched(chains(("other", "l", "derived", 0, 1, [])), changes(spark, ("k", "derived", 0, None)))) == []


def test_a_key_that_its_client_gave_out_is_touched_whole_when_its_first_session_may_change(spark: SparkSession) -> None:
    known = chains(("first", "k", "keyed", -5, 5, []), ("later", "k", "keyed", 99_000, 100_000, []))
    assert ids(touched(known, changes(spark, ("k", "keyed", 0, None)))) == ["first", "later"]
    assert ids(touched(known, changes(spark, ("k", "keyed", -90_000, None)))) == ["first", "later"]
    assert ids(touched(known, changes(spark, ("k", "keyed", 1445, None)))) == ["first", "later"]


def test_of_a_key_whose_first_session_lies_before_all_changes_the_later_chains_alone_are_touched(spark: SparkSession) -> None:
    known = chains(
        ("loose", "k", "keyed", -300_000, -299_000, []),
        ("first", "k", "keyed", -200_000, -199_000, []),
        ("second", "k", "keyed", -100_000, -99_000, []),
        ("now", "k", "keyed", -5, 5, []),
    )
    assert ids(touched(known, changes(spark, ("k", "keyed", 0, None)))) == ["(first)", "now"]
    assert ids(touched(known, changes(spark, ("k", "keyed", 1446, None)))) == ["(first)"]


def test_chains_without_a_session_do_not_make_a_key_used(spark: SparkSession) -> None:
    known = chains(("loose", "k", "keyed", -200_000, -199_000, []), ("now", "k", "keyed", -5, 5, []))
    assert ids(touched(known, changes(spark, ("k", "keyed", 1440 + 5, None)))) == ["loose", "now"]


def test_a_session_ping_touches_what_it_spans(spark: SparkSession) -> None:
    known = chains(("inside", "k", "reported", -50, -40, []), ("before", "k", "reported", -70, -61, []))
    assert ids(touched(known, changes(spark, ("k", "reported", 0, None), duration_ms=3_600_000))) == ["inside"]


def test_a_ping_touches_the_chain_that_bears_its_session_id_and_all_between(spark: SparkSession) -> None:
    known = chains(
        ("linked", "k", "reported", -900, -890, ["a", "b"]),
        ("between", "k", "reported", -500, -490, []),
        ("before", "k", "reported", -990, -980, []),
    )
    assert ids(touched(known, changes(spark, ("k", "reported", 0, "b"), user=False))) == ["between", "linked"]


def test_pings_of_one_session_id_touch_all_that_lies_between_them(spark: SparkSession) -> None:
    known = chains(("between", "k", "reported", -500, -490, []))
    assert ids(touched(known, changes(spark, ("k", "reported", -900, "b"), ("k", "reported", 0, "b"), user=False))) == ["between"]


def test_events_without_a_session_key_touch_nothing(spark: SparkSession) -> None:
    rows = [("s", at(0), None, (None, None, None, None))]
    assert changed_spans(spark.createDataFrame(rows, EVENT), RULES).count() == 0


def test_a_touched_chain_has_the_events_of_its_key_from_its_first_to_its_last_time(spark: SparkSession) -> None:
    rows = [
        ("s", at(minute), None, (key, "derived", True, None))
        for key, minute in (("k", 0), ("k", 10), ("k", 10.001), ("k", -0.001), ("l", 5))
    ]
    (chain,) = chains(("one", "k", "derived", 0, 10, [])).select(["source", "key", "first_time", "last_time"]).to_pylist()
    known = spark.createDataFrame([tuple(chain.values())], "source string, key string, first_time timestamp, last_time timestamp")
    found = events_of(spark.createDataFrame(rows, EVENT), known)
    assert sorted(row["event_time"] for row in found.select("event_time").toArrow().to_pylist()) == [at(0), at(10)]

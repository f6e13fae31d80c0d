"""What the rules of a table find: rows in, counts out."""

from __future__ import annotations

import pyarrow as pa

from schemas.suite import suite
from schemas.table import BIGINT, STRING, Check, Table, column
from transforms.observations import columns_needed, observe

TABLE = Table(
    name="things",
    one_row_per="thing",
    key=("id", "part"),
    partitioned_by=("part",),
    columns=(
        column("id", STRING, "its id", required=True),
        column("part", STRING, "its part", required=True),
        column("size", BIGINT, "its size", minimum=0, maximum=10),
        column("kind", STRING, "its kind", values=("a", "b")),
        column("note", STRING, "a note"),
    ),
    checks=(Check("a thing of kind a is small", "kind <> 'a' OR size < 5", "warning"),),
)


Thing = tuple[str | None, str | None, int | None, str | None]


def things(*rows: Thing) -> pa.Table:
    schema = pa.schema([("id", STRING), ("part", STRING), ("size", BIGINT), ("kind", STRING)])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def found(*rows: Thing) -> dict[str, int]:
    return observe([things(*rows)], [], TABLE)


GOOD = ("x", "p", 3, "a")


def test_rows_that_keep_the_contract_break_no_rule() -> None:
    assert set(found(GOOD, ("x", "q", None, None)).values()) == {0}


def test_each_rule_counts_the_rows_that_break_it() -> None:
    bad: list[Thing] = [("x", "p", 3, "b"), ("y", None, -1, "c"), ("z", "p", 11, "a"), (None, "p", 10, "a")]
    assert found(GOOD, *bad) == {
        "id, part is unique": 1,
        "part is filled": 1,
        "size is at least 0": 1,
        "size is at most 10": 1,
        "kind is one of its values": 1,
        "a thing of kind a is small": 2,
    }


def test_an_empty_table_breaks_no_rule() -> None:
    assert set(found().values()) == {0}


def test_a_required_column_that_no_partition_holds_is_counted_when_it_is_written() -> None:
    kinds = {rule.name: rule.kind for rule in suite(TABLE)}
    assert (kinds["id is filled"], kinds["part is filled"]) == ("filled", "condition")


def test_columns_that_no_rule_looks_at_are_not_read() -> None:
    assert columns_needed(TABLE) == ("id", "part", "size", "kind")


def test_rows_that_stand_beside_the_new_ones_count_for_the_key_alone() -> None:
    rows = [things(("x", "p", 3, "a")), things(("y", "p", 12, "b"))]
    beside = [things(("x", "p", 99, "?"), ("z", "p", 99, "?")).select(["id", "part"])]
    counted = observe(rows, beside, TABLE)
    assert {rule: count for rule, count in counted.items() if count} == {"id, part is unique": 1, "size is at most 10": 1}

"""What the rules of a table find: rows in, counts out."""

from __future__ import annotations

from pyspark.sql import SparkSession

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


def found(spark: SparkSession, *rows: tuple[str | None, str | None, int | None, str | None, str | None]) -> dict[str, int]:
    frame = spark.createDataFrame(list(rows), "id string, part string, size bigint, kind string, note string")
    return {row["rule"]: row["observed"] for row in observe(frame, None, TABLE).toArrow().to_pylist()}


GOOD = ("x", "p", 3, "a", None)


def test_rows_that_keep_the_contract_break_no_rule(spark: SparkSession) -> None:
    assert set(found(spark, GOOD, ("x", "q", None, None, None)).values()) == {0}


def test_each_rule_counts_the_rows_that_break_it(spark: SparkSession) -> None:
    bad = [("x", "p", 3, "b", "the key again"), ("y", None, -1, "c", ""), ("z", "p", 11, "a", ""), (None, "p", 10, "a", "")]
    assert found(spark, GOOD, *bad) == {
        "id, part is unique": 1,
        "part is filled": 1,
        "size is at least 0": 1,
        "size is at most 10": 1,
        "kind is one of its values": 1,
        "a thing of kind a is small": 2,
    }


def test_an_empty_table_breaks_no_rule(spark: SparkSession) -> None:
    assert set(found(spark).values()) == {0}


def test_a_required_column_that_no_partition_holds_is_counted_when_it_is_written() -> None:
    kinds = {rule.name: rule.kind for rule in suite(TABLE)}
    assert (kinds["id is filled"], kinds["part is filled"]) == ("filled", "condition")


def test_columns_that_no_rule_looks_at_are_not_read() -> None:
    assert columns_needed(TABLE) == ("id", "part", "size", "kind")


def test_rows_that_stand_beside_the_new_ones_count_for_the_key_alone(spark: SparkSession) -> None:
    columns = "id string, part string, size bigint, kind string"
    rows = spark.createDataFrame([("x", "p", 3, "a"), ("y", "p", 12, "b")], columns)
    beside = spark.createDataFrame([("x", "p", 99, "?"), ("z", "p", 99, "?")], columns)
    counted = {row["rule"]: row["observed"] for row in observe(rows, beside, TABLE).toArrow().to_pylist()}
    assert {rule: count for rule, count in counted.items() if count} == {"id, part is unique": 1, "size is at most 10": 1}

"""What the rules of a table find: rows in, counts out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from rule_counts import observe

from schemas.suite import suite
from schemas.table import BIGINT, STRING, Check, Table, column, ordered
from transforms.quality.rule_violations import columns_needed, rule_violations

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


def found(spark: SparkSession, *rows: Thing) -> dict[str, int]:
    return observe(spark, [things(*rows)], [], TABLE)


GOOD = ("x", "p", 3, "a")


def test_rows_that_keep_the_contract_break_no_rule(spark: SparkSession) -> None:
    assert set(found(spark, GOOD, ("x", "q", None, None)).values()) == {0}


def test_each_rule_counts_the_rows_that_break_it(spark: SparkSession) -> None:
    bad: list[Thing] = [("x", "p", 3, "b"), ("y", None, -1, "c"), ("z", "p", 11, "a"), (None, "p", 10, "a")]
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


def test_a_required_column_that_is_in_no_partition_path_is_counted_when_it_is_written() -> None:
    kinds = {rule.name: rule.kind for rule in suite(TABLE)}
    assert (kinds["id is filled"], kinds["part is filled"]) == ("filled", "condition")


def test_each_rule_is_the_expectation_that_it_means() -> None:
    between = "expect_column_values_to_be_between"
    assert {rule.name: (rule.expectation.type, rule.expectation.arguments) for rule in suite(TABLE)} == {
        "id, part is unique": ("expect_compound_columns_to_be_unique", {"column_list": ["id", "part"]}),
        "id is filled": ("expect_column_values_to_not_be_null", {"column": "id"}),
        "part is filled": ("expect_column_values_to_not_be_null", {"column": "part"}),
        "size is at least 0": (between, {"column": "size", "min_value": 0}),
        "size is at most 10": (between, {"column": "size", "max_value": 10}),
        "kind is one of its values": ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["a", "b"]}),
        "a thing of kind a is small": (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT * FROM {batch} WHERE NOT (kind <> 'a' OR size < 5)"},
        ),
    }
    one_column = dataclasses.replace(TABLE, key=("id",), checks=(ordered("a range", "first", "last"),))
    assert [rule.expectation.type for rule in (suite(one_column)[0], suite(one_column)[-1])] == [
        "expect_column_values_to_be_unique",
        "expect_column_pair_values_a_to_be_greater_than_b",
    ]


def test_columns_that_no_rule_looks_at_are_not_read() -> None:
    assert columns_needed(TABLE) == ("id", "part", "size", "kind")


def test_unchanged_rows_count_for_the_key_alone(spark: SparkSession) -> None:
    rows = [things(("x", "p", 3, "a")), things(("y", "p", 12, "b"))]
    unchanged = [things(("x", "p", 99, "?"), ("z", "p", 99, "?")).select(["id", "part"])]
    counted = observe(spark, rows, unchanged, TABLE)
    assert {rule: count for rule, count in counted.items() if count} == {"id, part is unique": 1, "size is at most 10": 1}


def test_a_row_for_which_a_rule_cannot_be_evaluated_breaks_it_and_hides_no_other(spark: SparkSession) -> None:
    table = dataclasses.replace(TABLE, checks=(Check("size is a time", "epoch_ms(size) > TIMESTAMP '1970-01-01'"),))
    rows = things(("w", "p", 0, "a"), ("x", "p", 1, "a"), ("y", "p", None, "a"), ("z", "p", 2**63 - 1, "a"))
    assert observe(spark, [rows], [], table)["size is a time"] == 2


PARTIAL = "table string, rule string, amount bigint, shard int, hashes binary"
VIOLATIONS = "table string, rule string, observed bigint"


def packed(*hashes: tuple[int, int]) -> bytes:
    """Hashes of 128 bits, as the two halves of each."""
    return np.array(hashes, np.uint64).tobytes()


def test_violations_are_sums_over_all_files_and_of_a_key_the_rows_beyond_the_first(spark: SparkSession) -> None:
    of_files = [
        ("events", "id is unique", 0, 0, packed((1, 1), (1, 2))),
        ("events", "id is unique", 1, 0, packed((2, 1), (1, 1))),
        ("events", "id is unique", 0, 1, packed((2**64 - 1, 2**64 - 1))),
        ("events", "size is at least 0", 3, None, None),
        ("events", "size is at least 0", 4, None, None),
        ("sessions", "id is unique", 0, 0, packed((1, 1))),
        ("sessions", "size is at least 0", 0, None, None),
    ]
    expected = [
        ("events", "id is unique", 2),
        ("events", "size is at least 0", 7),
        ("sessions", "id is unique", 0),
        ("sessions", "size is at least 0", 0),
    ]
    made = rule_violations(spark.createDataFrame(of_files, PARTIAL))
    assert_df_equality(made, spark.createDataFrame(expected, VIOLATIONS), ignore_row_order=True, ignore_nullable=True)

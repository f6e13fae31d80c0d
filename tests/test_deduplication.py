"""Which copy of a record is the event, and which are its duplicates: rows in, rows out."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from transforms.deduplication import HASHES, REPEATED, changed_copies, repeated_hashes, with_earlier_copy

COPY = "source string, event_hash bigint, event_id string, landing_date date, landing_hour int, file string, record bigint, position int"
WINDOW = 30


def day(number: int) -> dt.date:
    return dt.date(2026, 11, 1) + dt.timedelta(days=number)


def copy(
    event_id: str,
    landed: int,
    hour: int | None = 0,
    file: str = "a",
    record: int = 1,
    position: int = 0,
    source: str = "sunbird",
    hashed: int = 7,
) -> tuple[Any, ...]:
    return (source, hashed, event_id, day(landed), hour, file, record, position)


def assert_earlier_copies(spark: SparkSession, copies: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Of these copies, each has the expected earlier copy: (event_id, landing_date, record, earlier_landing_date, earlier_record)."""
    rows = with_earlier_copy(spark.createDataFrame(copies, COPY), WINDOW)

    columns = "event_id string, landing_date date, record bigint, earlier_landing_date date, earlier_record bigint"
    assert_rows(rows, expected, columns)


def assert_rows(rows: DataFrame, expected: list[tuple[Any, ...]], columns: str) -> None:
    """These columns of a DataFrame, given as DDL, hold the expected rows, in any order."""
    expected_rows = rows.sparkSession.createDataFrame(expected, columns)
    assert_df_equality(rows.select(*expected_rows.columns), expected_rows, ignore_row_order=True, ignore_nullable=True)


def test_the_copy_that_landed_first_is_the_event(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 1, record=5), copy("e", 1, record=2), copy("e", 0, record=9)],
        [("e", day(0), 9, None, None), ("e", day(1), 2, day(0), 9), ("e", day(1), 5, day(1), 2)],
    )


def test_a_copy_exactly_the_window_later_is_a_duplicate_and_one_a_day_later_than_that_is_an_event(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0), copy("e", WINDOW), copy("f", 0), copy("f", WINDOW + 1)],
        [
            ("e", day(0), 1, None, None),
            ("e", day(WINDOW), 1, day(0), 1),
            ("f", day(0), 1, None, None),
            ("f", day(WINDOW + 1), 1, None, None),
        ],
    )


def test_a_copy_of_a_duplicate_is_a_duplicate_even_if_the_event_lies_outside_the_window(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0), copy("e", 20), copy("e", 40)],
        [("e", day(0), 1, None, None), ("e", day(20), 1, day(0), 1), ("e", day(40), 1, day(20), 1)],
    )


def test_a_file_without_an_hour_comes_before_all_hours_of_its_date(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0, hour=0, record=1), copy("e", 0, hour=None, record=2)],
        [("e", day(0), 2, None, None), ("e", day(0), 1, day(0), 2)],
    )


def test_files_are_ordered_by_the_bytes_of_their_names(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0, file="é", record=1), copy("e", 0, file="Z", record=2), copy("e", 0, file="a", record=3)],
        [("e", day(0), 2, None, None), ("e", day(0), 3, day(0), 2), ("e", day(0), 1, day(0), 3)],
    )


def test_the_same_id_of_another_source_is_another_event(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0), copy("e", 0, source="contentsquare", record=2)],
        [("e", day(0), 1, None, None), ("e", day(0), 2, None, None)],
    )


def test_two_ids_with_one_hash_are_two_events(spark: SparkSession) -> None:
    assert_earlier_copies(
        spark,
        [copy("e", 0), copy("f", 0, record=2)],
        [("e", day(0), 1, None, None), ("f", day(0), 2, None, None)],
    )


def test_only_rows_whose_earlier_copy_is_now_another_one_have_changed(spark: SparkSession) -> None:
    rows = with_earlier_copy(spark.createDataFrame([copy("e", 0), copy("e", 1), copy("e", 2)], COPY), WINDOW)
    # All three were duplicates of the first copy before: now the first is an event, and the third repeats the second.
    was = {"earlier_landing_date": day(0), "earlier_landing_hour": 0, "earlier_file": "a", "earlier_record": 1, "earlier_position": 0}
    known = rows.select("*", *(F.lit(value).alias(f"recorded_{name}") for name, value in was.items()))

    changed = changed_copies(known)

    assert_rows(changed, [(day(0),), (day(2),)], "landing_date date")


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_hash_is_repeated_if_a_new_or_removed_record_shares_it_with_another_record(size: int) -> None:
    """Given rows in batches of any size, the order of which does not matter."""
    rows = [
        ("two new records", 1, True, False),
        ("one new record", 2, True, False),
        ("a new record with an unchanged one", 3, True, False),
        ("two unchanged records", 4, False, False),
        ("a removed record with an unchanged one", -5, False, True),
        ("one removed record", 6, False, True),
        ("a removed record with its replacement", 7, False, True),
        ("two new records", 1, True, False),
        ("an unchanged record with a new one", 3, False, False),
        ("two unchanged records", 4, False, False),
        ("an unchanged record with a removed one", -5, False, False),
        ("the replacement of a removed record", 7, True, False),
    ]
    given = [
        {"number": number, "event_hash": event_hash, "is_new": is_new, "is_removed": is_removed}
        for number, (_, event_hash, is_new, is_removed) in enumerate(rows)
    ]
    batches = pa.Table.from_pylist(given, schema=HASHES).to_batches(size)

    repeated = pa.Table.from_batches(repeated_hashes(batches), REPEATED).to_pylist()

    expected = [
        "two new records",
        "two new records",
        "a new record with an unchanged one",
        "an unchanged record with a new one",
        "an unchanged record with a removed one",
    ]
    assert sorted(rows[row["number"]][0] for row in repeated) == sorted(expected)
    assert all(row["event_hash"] == rows[row["number"]][1] for row in repeated)


def test_no_rows_have_no_repeated_hashes() -> None:
    assert list(repeated_hashes([])) == []

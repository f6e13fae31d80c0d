"""Which record is the event and which repeats it: rows in, rows out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from transforms.deduplication import changed, with_earlier_copy

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


def verdicts(spark: SparkSession, *copies: tuple[Any, ...]) -> DataFrame:
    judged = with_earlier_copy(spark.createDataFrame(list(copies), COPY), WINDOW)
    return judged.select("event_id", "landing_date", "record", "earlier_landing_date", "earlier_record")


def expected(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(
        list(rows), "event_id string, landing_date date, record bigint, earlier_landing_date date, earlier_record bigint"
    )


def same(found: DataFrame, wanted: DataFrame) -> None:
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True)


def test_the_copy_that_landed_first_is_the_event(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 1, record=5), copy("e", 1, record=2), copy("e", 0, record=9))
    same(found, expected(spark, ("e", day(0), 9, None, None), ("e", day(1), 2, day(0), 9), ("e", day(1), 5, day(1), 2)))


def test_a_copy_exactly_the_window_later_is_a_duplicate_and_one_day_more_is_not(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0), copy("e", WINDOW), copy("f", 0), copy("f", WINDOW + 1))
    wanted = expected(
        spark,
        ("e", day(0), 1, None, None),
        ("e", day(WINDOW), 1, day(0), 1),
        ("f", day(0), 1, None, None),
        ("f", day(WINDOW + 1), 1, None, None),
    )
    same(found, wanted)


def test_a_duplicate_of_a_duplicate_is_one_even_where_the_event_lies_outside_the_window(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0), copy("e", 20), copy("e", 40))
    same(found, expected(spark, ("e", day(0), 1, None, None), ("e", day(20), 1, day(0), 1), ("e", day(40), 1, day(20), 1)))


def test_no_hour_comes_before_any_hour(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0, hour=0, record=1), copy("e", 0, hour=None, record=2))
    same(found, expected(spark, ("e", day(0), 2, None, None), ("e", day(0), 1, day(0), 2)))


def test_files_are_ordered_by_their_bytes(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0, file="é", record=1), copy("e", 0, file="Z", record=2), copy("e", 0, file="a", record=3))
    same(found, expected(spark, ("e", day(0), 2, None, None), ("e", day(0), 3, day(0), 2), ("e", day(0), 1, day(0), 3)))


def test_the_same_id_of_another_source_is_another_event(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0), copy("e", 0, source="contentsquare", record=2))
    same(found, expected(spark, ("e", day(0), 1, None, None), ("e", day(0), 2, None, None)))


def test_two_ids_with_one_hash_are_two_events(spark: SparkSession) -> None:
    found = verdicts(spark, copy("e", 0), copy("f", 0, record=2))
    same(found, expected(spark, ("e", day(0), 1, None, None), ("f", day(0), 2, None, None)))


def test_only_rows_whose_copy_before_is_another_one_than_it_was_have_changed(spark: SparkSession) -> None:
    judged = with_earlier_copy(spark.createDataFrame([copy("e", 0), copy("e", 1), copy("e", 2)], COPY), WINDOW)
    was = {"earlier_landing_date": day(0), "earlier_landing_hour": 0, "earlier_file": "a", "earlier_record": 1, "earlier_position": 0}
    known = judged.select("*", *(F.lit(value).alias(f"was_{name}") for name, value in was.items()))
    found = changed(known).select("landing_date")
    # The first was a duplicate and is none now; the second still repeats the first; the third repeated it and now repeats the second.
    same(found, spark.createDataFrame([(day(0),), (day(2),)], "landing_date date"))

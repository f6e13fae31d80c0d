"""Daily metrics: rows in, rows out."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from transforms import metrics

DAY = dt.date(2026, 11, 20)
METRIC = (
    "metric_date date, source string, metric string, dimension string, dimension_value string,"
    " value double, numerator double, denominator double"
)
EVENT = "event_date date, source string, event_type string, user_id string, device_id string, flags array<string>, landing_date date"
SESSION = (
    "session_date date, source string, session_kind string, session_duration bigint, timespent double, pageviews bigint,"
    " interactions bigint, reported struct<pageviews: bigint>, flags array<string>"
)
FILE = "landing_date date, source string, status string, records bigint, accepted bigint, duplicates bigint, rejected bigint"


def event(event_type: str = "interaction", user: str | None = None, device: str | None = None, *flags: str) -> tuple[Any, ...]:
    return (DAY, "s", event_type, user, device, list(flags), DAY)


def session(duration: int | None, spent: float | None = None, views: int = 1, summary: bool = False, *flags: str) -> tuple[Any, ...]:
    return (DAY, "s", "keyed", duration, spent, views, 0, (views,) if summary else None, list(flags))


def totals(frame: DataFrame) -> dict[str, tuple[float, float | None, float | None]]:
    rows = frame.where("dimension = 'all'").toArrow().to_pylist()
    return {row["metric"]: (row["value"], row["numerator"], row["denominator"]) for row in rows}


def test_events_users_and_devices_are_counted_without_test_events(spark: SparkSession) -> None:
    events = [
        event("page_view", "u", "d"),
        event("page_view", "u", "e"),
        event("interaction", None, "d"),
        event("other", "x", "y", "canary"),
    ]
    found = metrics.of_events(spark.createDataFrame(events, EVENT))
    wanted = [
        (DAY, "s", "events", "all", "all", 3.0, None, None),
        (DAY, "s", "users", "all", "all", 1.0, None, None),
        (DAY, "s", "devices", "all", "all", 2.0, None, None),
        (DAY, "s", "events", "event_type", "page_view", 2.0, None, None),
        (DAY, "s", "events", "event_type", "interaction", 1.0, None, None),
    ]
    assert_df_equality(found, spark.createDataFrame(wanted, METRIC), ignore_row_order=True, ignore_nullable=True)


def test_the_median_is_a_value_that_occurs_and_means_have_their_parts(spark: SparkSession) -> None:
    found = totals(
        metrics.of_sessions(
            spark.createDataFrame([session(10, 0.01, 3), session(30, 0.02), session(1_000, 0.5, 2), session(2_000, 1.0)], SESSION)
        )
    )
    assert found["median_session_duration"] == (30.0, None, 4.0)
    assert found["p95_session_duration"] == (2_000.0, None, 4.0)
    assert found["timespent_per_session"] == (pytest.approx(0.3825), 1.53, 4.0)
    assert found["pageviews_per_session"] == (1.75, 7.0, 4.0)


def test_sessions_without_a_duration_count_as_sessions_alone(spark: SparkSession) -> None:
    found = totals(metrics.of_sessions(spark.createDataFrame([session(None)], SESSION)))
    assert found["sessions"] == (1.0, None, None)
    assert not {"median_session_duration", "p95_session_duration", "timespent_per_session", "reported_mismatch_rate"} & set(found)


def test_mismatches_are_a_share_of_the_sessions_with_a_summary(spark: SparkSession) -> None:
    rows = [session(1, 0.0, 1, True, "reported_mismatch"), session(1, 0.0, 1, True), session(1, 0.0)]
    assert totals(metrics.of_sessions(spark.createDataFrame(rows, SESSION)))["reported_mismatch_rate"] == (0.5, 1.0, 2.0)


def test_rates_of_what_landed(spark: SparkSession) -> None:
    files = spark.createDataFrame([(DAY, "s", "done", 10, 6, 2, 2), (DAY, "s", "unreadable", None, None, None, None)], FILE)
    events = spark.createDataFrame([event("other", None, None, "late"), *[event()] * 3], EVENT)
    rejected = spark.createDataFrame(
        [(DAY, "s", "invalid_json"), (DAY, "s", "invalid_json")], "landing_date date, source string, reason string"
    )
    found = metrics.of_landing(files, events, rejected)
    assert totals(found) == {
        "records": (10.0, None, None),
        "rejected": (2.0, None, None),
        "unreadable_files": (1.0, None, None),
        "accepted_rate": (0.8, 8.0, 10.0),
        "rejected_rate": (0.2, 2.0, 10.0),
        "duplicate_rate": (0.25, 2.0, 8.0),
        "late_rate": (0.25, 1.0, 4.0),
    }
    by_reason = found.where("dimension = 'reason'").select("metric", "dimension_value", "value").toArrow().to_pylist()
    assert by_reason == [{"metric": "rejected", "dimension_value": "invalid_json", "value": 2.0}]


def test_a_ratio_without_a_denominator_is_no_row(spark: SparkSession) -> None:
    files = spark.createDataFrame([(DAY, "s", "unreadable", None, None, None, None)], FILE)
    nothing = spark.createDataFrame([], "landing_date date, source string, reason string")
    found = totals(metrics.of_landing(files, spark.createDataFrame([], EVENT), nothing))
    assert found == {"records": (0.0, None, None), "rejected": (0.0, None, None), "unreadable_files": (1.0, None, None)}


def test_events_without_a_session_are_orphans_when_they_are_pings(spark: SparkSession) -> None:
    schema = "source string, kind string, unassigned array<struct<event_date: date, count: bigint>>"
    rows = [("s", "reported", [(DAY, 2)]), ("s", "keyed", [(DAY, 3)]), ("s", "derived", [(DAY, 4)]), ("s", "keyed", [])]
    assert totals(metrics.of_chains(spark.createDataFrame(rows, schema))) == {
        "orphan_events": (2.0, None, None),
        "sessionless_events": (7.0, None, None),
    }

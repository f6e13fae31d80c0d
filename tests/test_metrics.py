"""Daily metrics: rows in, rows out."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from schemas.bookkeeping import FILES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import Table, spark_schema
from transforms import metrics

DAY = dt.date(2026, 11, 20)
Row = dict[str, Any]


def event(event_type: str = "interaction", user: str | None = None, device: str | None = None, *flags: str, is_robot: bool = False) -> Row:
    dates = {"event_date": DAY, "landing_date": DAY}
    key = None if "canary" in flags else "k"
    who = {"user_id": user, "device_id": device, "visitor_id": user or device, "session_input.key": key}
    return {"source": "s", "event_type": event_type, "flags": list(flags), "is_robot": is_robot} | who | dates


def session(
    duration: int | None, spent: float | None = None, views: int = 1, summary: bool = False, *flags: str, is_robot: bool = False
) -> Row:
    optional = {"reported": {"pageviews": views} if summary else None, "flags": list(flags), "is_robot": is_robot}
    counts = {"session_duration": duration, "timespent": spent, "pageviews": views, "interactions": 0}
    return {"session_date": DAY, "source": "s", "session_kind": "keyed", **counts, **optional}


def file(status: str, *counts: int | None) -> Row:
    return {"landing_date": DAY, "source": "s", "status": status} | dict(zip(COUNTS, counts, strict=True))


COUNTS = ("records", "accepted", "duplicates", "rejected")


Metrics = Callable[..., list[Row]]


@pytest.fixture
def found(spark: SparkSession) -> Metrics:
    """The metrics of rows of a table, half of them in a file of its own."""

    def found(measure: Any, table: Table, *rows: Row) -> list[Row]:
        made = [metrics.totals(spark.createDataFrame(measured(measure, table, *rows), spark_schema(metrics.MEASURES)))]
        if measure is metrics.measure_sessions:
            durations = spark.createDataFrame(measured(metrics.measure_durations, table, *rows), spark_schema(metrics.MEASURES))
            made.append(metrics.percentiles(durations).select(metrics.TOTALS.names))
        totals = pa.concat_tables([frame.toArrow().cast(metrics.TOTALS) for frame in made])
        return metrics.daily_metrics(totals).to_pylist()  # type: ignore[no-any-return]

    return found


def measured(measure: Any, table: Table, *rows: Row) -> pa.Table:
    columns = list(rows[0]) if rows else [*table.names, *(["session_input.key"] if table is EVENTS else [])]
    schema = pa.schema([pa.field(name, pa.string() if "." in name else table[name].type) for name in columns])
    half = len(rows) // 2
    files = [pa.Table.from_pylist(list(part), schema=schema) for part in (rows[:half], rows[half:])]
    return pa.concat_tables([measure([file], table, columns) for file in files])


def totals(rows: list[Row]) -> dict[str, tuple[float, float | None, float | None]]:
    return {row["metric"]: (row["value"], row["numerator"], row["denominator"]) for row in rows if row["dimension"] == "all"}


def split(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    """The values that are not totals."""
    return {(row["metric"], row["dimension"], row["dimension_value"]): row["value"] for row in rows if row["dimension"] != "all"}


def test_events_users_and_devices_are_counted_without_test_events(found: Metrics) -> None:
    events = [
        event("page_view", "u", "d"),
        event("page_view", "u", "e"),
        event("interaction", None, "d"),
        event("other", "x", "y", "canary"),
    ]
    rows = found(metrics.measure_events, EVENTS, *events)
    assert {(row["metric_date"], row["source"]) for row in rows} == {(DAY, "s")}
    assert totals(rows) == {
        "events": (3.0, None, None),
        "users": (1.0, None, None),
        "devices": (2.0, None, None),
        "visitors": (2.0, None, None),
        "keyless_events": (1.0, None, None),
    }
    assert split(rows) == {("events", "event_type", "page_view"): 2.0, ("events", "event_type", "interaction"): 1.0}


def test_a_source_without_users_has_no_row_of_users(found: Metrics) -> None:
    rows = totals(found(metrics.measure_events, EVENTS, event("page_view", None, "d"), event("page_view", None, "e")))
    assert {name: rows[name][0] for name in rows.keys() & {"users", "devices", "visitors"}} == {"devices": 2.0, "visitors": 2.0}


def test_a_source_without_devices_has_none(found: Metrics) -> None:
    rows = totals(found(metrics.measure_events, EVENTS, event("page_view", "u")))
    assert {name: rows[name][0] for name in ("users", "devices", "visitors")} == {"users": 1.0, "devices": 0.0, "visitors": 1.0}


def test_events_of_robots_are_events_but_robots_are_no_users(found: Metrics) -> None:
    events = [event("page_view", "u", "d"), event("page_view", "r", "s", is_robot=True), event("page_view", "r", "t", is_robot=True)]
    rows = found(metrics.measure_events, EVENTS, *events)
    assert totals(rows) == {
        "events": (3.0, None, None),
        "users": (1.0, None, None),
        "devices": (3.0, None, None),
        "visitors": (1.0, None, None),
        "keyless_events": (0.0, None, None),
        "robot_events": (2.0, None, None),
    }
    assert split(rows) == {("events", "event_type", "page_view"): 3.0}


def test_sessions_of_robots_are_sessions_and_in_no_average(found: Metrics) -> None:
    rows = [session(10, 1.0), session(9_000, 9.0, 7, is_robot=True)]
    assert totals(found(metrics.measure_sessions, SESSIONS, *rows)) == {
        "sessions": (2.0, None, None),
        "robot_sessions": (1.0, None, None),
        "median_session_duration": (10.0, None, 1.0),
        "p95_session_duration": (10.0, None, 1.0),
        "timespent_per_session": (1.0, 1.0, 1.0),
        "pageviews_per_session": (1.0, 1.0, 1.0),
        "interactions_per_session": (0.0, 0.0, 1.0),
    }


def test_a_day_of_robots_alone_has_sessions_and_no_average(found: Metrics) -> None:
    assert totals(found(metrics.measure_sessions, SESSIONS, session(9_000, 9.0, 7, is_robot=True))) == {
        "sessions": (1.0, None, None),
        "robot_sessions": (1.0, None, None),
    }


def test_ids_of_many_dates_and_sources_in_one_file_are_counted_where_they_belong(found: Metrics) -> None:
    days = [DAY + dt.timedelta(days=number) for number in range(20)]
    expected = {(day, source): (7 * number) % 11 + 1 for number, (day, source) in enumerate(itertools.product(days, ("a", "b", "c")))}
    events = [
        event("other", f"{source} {day} {user}", f"{source} {user % 5}") | {"source": source, "event_date": day}
        for (day, source), users in expected.items()
        for user in range(users)
    ]
    rows = found(metrics.measure_events, EVENTS, *events)
    counted = {(row["metric"], row["metric_date"], row["source"]): row["value"] for row in rows if row["metric"] in ("users", "devices")}
    users = {("users", *place): number for place, number in expected.items()}
    assert counted == users | {("devices", *place): min(number, 5) for place, number in expected.items()}


def test_the_median_is_a_value_that_occurs_and_means_have_their_parts(found: Metrics) -> None:
    rows = [session(1_000, 0.5, 2), session(30, 0.02), session(10, 0.01, 3), session(2_000, 1.0)]
    found_totals = totals(found(metrics.measure_sessions, SESSIONS, *rows))
    assert found_totals["median_session_duration"] == (30.0, None, 4.0)
    assert found_totals["p95_session_duration"] == (2_000.0, None, 4.0)
    assert found_totals["timespent_per_session"] == (pytest.approx(0.3825), 1.53, 4.0)
    assert found_totals["pageviews_per_session"] == (1.75, 7.0, 4.0)


@pytest.mark.parametrize(("count", "median", "p95"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (21, 11, 20), (100, 50, 95)])
def test_a_percentile_is_the_first_value_with_that_share_up_to_it(count: int, median: int, p95: int, found: Metrics) -> None:
    found_totals = totals(found(metrics.measure_sessions, SESSIONS, *(session(value) for value in range(count, 0, -1))))
    assert (found_totals["median_session_duration"][0], found_totals["p95_session_duration"][0]) == (median, p95)


def test_sessions_without_a_duration_count_as_sessions_alone(found: Metrics) -> None:
    found_totals = totals(found(metrics.measure_sessions, SESSIONS, session(None)))
    assert found_totals["sessions"] == (1.0, None, None)
    assert not {"median_session_duration", "p95_session_duration", "timespent_per_session", "reported_mismatch_rate"} & set(found_totals)


def test_mismatches_are_a_share_of_the_sessions_with_a_summary(found: Metrics) -> None:
    rows = [session(1, 0.0, 1, True, "reported_mismatch"), session(1, 0.0, 1, True), session(1, 0.0)]
    assert totals(found(metrics.measure_sessions, SESSIONS, *rows))["reported_mismatch_rate"] == (0.5, 1.0, 2.0)


def test_rates_of_what_landed(found: Metrics) -> None:
    files = [file("done", 10, 6, 2, 2), file("unreadable", None, None, None, None)]
    assert totals(found(metrics.measure_files, FILES, *files)) == {
        "records": (10.0, None, None),
        "rejected": (2.0, None, None),
        "unreadable_files": (1.0, None, None),
        "accepted_rate": (0.8, 8.0, 10.0),
        "rejected_rate": (0.2, 2.0, 10.0),
        "duplicate_rate": (0.25, 2.0, 8.0),
    }
    late = found(metrics.measure_lateness, EVENTS, event("other", None, None, "late"), *[event()] * 3)
    assert totals(late) == {"late_rate": (0.25, 1.0, 4.0)}
    refused = [{"landing_date": DAY, "source": "s", "reason": "invalid_json"}] * 2
    assert split(found(metrics.measure_refusals, REJECTED_EVENTS, *refused)) == {("rejected", "reason", "invalid_json"): 2.0}


def test_a_ratio_without_a_denominator_is_no_row(found: Metrics) -> None:
    found_totals = totals(found(metrics.measure_files, FILES, file("unreadable", None, None, None, None)))
    assert found_totals == {"records": (0.0, None, None), "rejected": (0.0, None, None), "unreadable_files": (1.0, None, None)}


def test_no_rows_make_no_metrics(found: Metrics) -> None:
    for family, table in ((metrics.measure_events, EVENTS), (metrics.measure_sessions, SESSIONS), (metrics.measure_files, FILES)):
        assert found(family, table) == []


def test_events_without_a_session_are_orphans_when_they_are_pings(found: Metrics) -> None:
    given = [("reported", [2]), ("keyed", [3]), ("derived", [4]), ("keyed", [])]
    rows = [
        {"source": "s", "kind": kind, "unassigned": [{"event_date": DAY, "count": count} for count in counts]} for kind, counts in given
    ]
    assert totals(found(metrics.measure_chains, SESSION_CHAINS, *rows)) == {
        "orphan_events": (2.0, None, None),
        "sessionless_events": (7.0, None, None),
    }


TOTALS = "metric_date date, source string, measure string, label string, amount bigint"
MEASURES = spark_schema(metrics.MEASURES)
ONE, OTHER = (number.to_bytes(16, "little") for number in (1, 2))  # hashes
NEXT_DAY = DAY + dt.timedelta(days=1)


@pytest.mark.parametrize("in_one_task", [True, False])
def test_totals_are_sums_over_all_files_and_count_an_id_once(spark: SparkSession, in_one_task: bool) -> None:
    """Given measures of three files, in which the same id occurs twice, once in another source, and once in another shard."""
    of_files = [
        (DAY, "s", "events", "click", None, None, None, 2),
        (DAY, "s", "events", "click", None, None, None, 3),
        (DAY, "s", "events", "view", None, None, None, 1),
        (NEXT_DAY, "s", "events", "click", None, None, None, 4),
        (DAY, "s", "users", None, 1, ONE, None, 0),
        (DAY, "s", "users", None, 1, ONE + OTHER, None, 0),
        (DAY, "s", "users", None, 2, ONE, None, 0),
        (DAY, "t", "users", None, 1, ONE, None, 0),
    ]
    expected = [
        (DAY, "s", "events", "click", 5),
        (DAY, "s", "events", "view", 1),
        (NEXT_DAY, "s", "events", "click", 4),
        (DAY, "s", "users", None, 3),
        (DAY, "t", "users", None, 1),
    ]
    made = metrics.totals(spark.createDataFrame(of_files, MEASURES), in_one_task=in_one_task)
    assert_df_equality(made, spark.createDataFrame(expected, TOTALS), ignore_row_order=True, ignore_nullable=True)


def test_percentiles_are_values_that_occur_however_often_each_does(spark: SparkSession) -> None:
    of_files = [(DAY, "s", "session_duration", None, None, None, value, amount) for value, amount in ((10, 1), (30, 17), (99, 1), (10, 1))]
    expected = [(DAY, "s", "p50_session_duration", None, 30), (DAY, "s", "p95_session_duration", None, 30)]
    made = metrics.percentiles(spark.createDataFrame(of_files, MEASURES))
    assert_df_equality(made, spark.createDataFrame(expected, TOTALS), ignore_row_order=True, ignore_nullable=True)

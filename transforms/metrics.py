"""Daily metrics, a function per family: one row per date, source, metric and value of a dimension.

Every function takes the rows of whole dates, a part at a time, and gives the columns of `DAILY` below; what each metric means
stands in schemas/metrics.py. No row where the denominator is 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.account import DAILY_METRICS
from schemas.table import Table
from transforms import in_memory

DAILY = pa.schema([pa.field(column.name, column.type) for column in DAILY_METRICS.columns if column.name != "run_id"])


def of_events(events: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Events, users and devices per event_date, out of rows of `events`."""
    return _asked(
        f"""
        WITH real AS MATERIALIZED (SELECT * FROM parts WHERE NOT list_contains(flags, 'canary')),
        by_date AS (
            SELECT event_date AS metric_date, source, count(*) AS events,
                count(DISTINCT user_id) AS users, count(DISTINCT device_id) AS devices
            FROM real GROUP BY ALL
        ),
        by_type AS (SELECT event_date AS metric_date, source, event_type, count(*) AS events FROM real GROUP BY ALL)
        {_count("events")} FROM by_date UNION ALL {_count("users")} FROM by_date UNION ALL {_count("devices")} FROM by_date
        UNION ALL {_count("events", "event_type")} FROM by_type
        """,
        parts=_reader(events, table, columns),
    )


def of_chains(chains: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Events without a session per event_date, out of rows of `session_chains`."""
    return _asked(
        f"""
        WITH loose AS (SELECT source, kind = 'reported' AS is_ping, unnest(unassigned) AS event FROM parts),
        by_date AS (
            SELECT event.event_date AS metric_date, source, sum(event.count) FILTER (is_ping) AS orphan_events,
                sum(event.count) FILTER (NOT is_ping) AS sessionless_events
            FROM loose GROUP BY ALL
        )
        {_count("orphan_events")} FROM by_date UNION ALL {_count("sessionless_events")} FROM by_date
        """,
        parts=_reader(chains, table, columns),
    )


def of_sessions(sessions: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Sessions, their durations and what a session holds on average, per session_date, out of rows of `sessions`."""
    return _asked(
        f"""
        WITH held AS MATERIALIZED (
            SELECT session_date AS metric_date, source, session_kind, session_duration, CAST(round(timespent * 1000) AS BIGINT) AS spent_ms,
                pageviews, interactions, reported IS NOT NULL AS has_summary, list_contains(flags, 'reported_mismatch') AS mismatches
            FROM parts
        ),
        by_date AS (
            SELECT metric_date, source, count(*) AS sessions, count(session_duration) AS with_duration,
                list_sort(list(session_duration) FILTER (session_duration IS NOT NULL)) AS durations,
                CAST(sum(spent_ms) AS DOUBLE) / 1000 AS spent, count(spent_ms) AS with_time,
                sum(pageviews) AS pageviews, sum(interactions) AS interactions,
                count_if(mismatches) AS mismatched, count_if(has_summary) AS with_summary
            FROM held GROUP BY ALL
        ),
        by_kind AS (SELECT metric_date, source, session_kind, count(*) AS sessions FROM held GROUP BY ALL)
        {_count("sessions")} FROM by_date
        UNION ALL {_percentile("median_session_duration", "durations", 50)} FROM by_date
        UNION ALL {_percentile("p95_session_duration", "durations", 95)} FROM by_date
        UNION ALL {_ratio("timespent_per_session", "spent", "with_time")} FROM by_date
        UNION ALL {_ratio("pageviews_per_session", "pageviews", "sessions")} FROM by_date
        UNION ALL {_ratio("interactions_per_session", "interactions", "sessions")} FROM by_date
        UNION ALL {_ratio("reported_mismatch_rate", "mismatched", "with_summary")} FROM by_date
        UNION ALL {_count("sessions", "session_kind")} FROM by_kind
        """,
        parts=_reader(sessions, table, columns),
    )


def of_files(files: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """What landed and what became of it per landing_date, out of rows of `files`."""
    sums = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in ("records", "accepted", "duplicates", "rejected"))
    return _asked(
        f"""
        WITH account AS (
            SELECT landing_date AS metric_date, source, {sums}, count_if(status = 'unreadable') AS unreadable FROM parts GROUP BY ALL
        ),
        by_date AS (SELECT *, accepted + duplicates AS valid FROM account)
        {_count("records")} FROM by_date UNION ALL {_count("rejected")} FROM by_date
        UNION ALL {_count("unreadable_files", column="unreadable")} FROM by_date
        UNION ALL {_ratio("accepted_rate", "valid", "records")} FROM by_date
        UNION ALL {_ratio("rejected_rate", "rejected", "records")} FROM by_date
        UNION ALL {_ratio("duplicate_rate", "duplicates", "valid")} FROM by_date
        """,
        parts=_reader(files, table, columns),
    )


def of_lateness(events: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """The share of late events per landing_date, out of rows of `events`."""
    return _asked(
        f"""
        WITH by_date AS (
            SELECT landing_date AS metric_date, source, count_if(list_contains(flags, 'late')) AS late, count(*) AS accepted
            FROM parts GROUP BY ALL
        )
        {_ratio("late_rate", "late", "accepted")} FROM by_date
        """,
        parts=_reader(events, table, columns),
    )


def of_refusals(rejected: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Refused records by reason per landing_date, out of rows of `rejected_events`."""
    return _asked(
        f"""
        WITH by_reason AS (SELECT landing_date AS metric_date, source, reason, count(*) AS refused FROM parts GROUP BY ALL)
        {_count("rejected", "reason", column="refused")} FROM by_reason
        """,
        parts=_reader(rejected, table, columns),
    )


def _asked(sql: str, parts: pa.RecordBatchReader) -> pa.Table:
    rows = in_memory.query(sql, parts=parts)
    return rows.filter(rows["value"].is_valid()).cast(DAILY)


def _reader(parts: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.RecordBatchReader:
    schema = pa.schema([pa.field(name, table[name].type) for name in columns])
    return pa.RecordBatchReader.from_batches(schema, (batch for part in parts for batch in part.select(schema.names).to_batches()))


def _entry(metric: str, dimension: str | None, value: str, numerator: str = "NULL", denominator: str = "NULL") -> str:
    """A SELECT of the rows of one metric."""
    of = f"'{dimension}' AS dimension, {dimension} AS dimension_value" if dimension else "'all' AS dimension, 'all' AS dimension_value"
    return (
        f"SELECT metric_date, source, '{metric}' AS metric, {of},"
        f" CAST({value} AS DOUBLE) AS value, CAST({numerator} AS DOUBLE) AS numerator, CAST({denominator} AS DOUBLE) AS denominator"
    )


def _count(metric: str, dimension: str | None = None, column: str | None = None) -> str:
    return _entry(metric, dimension, column or metric)


def _ratio(metric: str, numerator: str, denominator: str) -> str:
    return _entry(metric, None, f"CAST({numerator} AS DOUBLE) / nullif(CAST({denominator} AS DOUBLE), 0)", numerator, denominator)


def _percentile(metric: str, values: str, percent: int) -> str:
    """A discrete percentile: the first of the sorted values that has at least so many percent of them up to it."""
    place = f"(len({values}) * {percent} + 99) // 100"
    return _entry(metric, None, f"{values}[{place}]", "NULL", f"len({values})")

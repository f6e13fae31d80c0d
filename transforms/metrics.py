"""Daily metrics: rows of tables are measured file by file, measures are added up by the engine, and metrics follow from the totals.

A function `measure_…` takes rows of one file, a part at a time, and gives MEASURES. `totals` and `percentiles` are DataFrame →
DataFrame: they add up the measures of all files. `daily_metrics` divides. schemas/metrics.py defines each metric.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.bookkeeping import DAILY_METRICS
from schemas.table import BIGINT, BINARY, DATE, INTEGER, STRING, Table, spark_schema
from transforms import duckdb_query, packed_hashes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Raised whenever the same rows make other metrics: those of a lake are then computed again by `millrace rebuild`.
METRICS_VERSION = 3
DAILY = pa.schema([pa.field(column.name, column.type) for column in DAILY_METRICS.columns if column.name != "run_id"])
# What is counted of a date and a source: an amount, of a label where the measure is split by one. A measure that counts different
# ids has a row per shard of their hashes; a percentile needs a row per `value`.
MEASURES = pa.schema(
    [
        ("metric_date", DATE),
        ("source", STRING),
        ("measure", STRING),
        ("label", STRING),
        ("shard", INTEGER),
        ("hashes", BINARY),
        ("value", BIGINT),
        ("amount", BIGINT),
    ]
)
TOTALS = pa.schema([MEASURES.field(name) for name in ("metric_date", "source", "measure", "label", "amount")])
# Whom the averages are about, as SQL over a row of `events` or `sessions`.
PEOPLE, EVERYONE = "is_robot IS NOT TRUE", "TRUE"
_PERCENTS = (50, 95)
# Different ids of a date and source are counted in so many parts.
_SHARDS = 16


# Measures: rows of a table in, MEASURES out


def measure_events(events: Iterable[pa.Table], table: Table, columns: Iterable[str], *, who: str = PEOPLE) -> pa.Table:
    """Events, users, devices, visitors and events without a session key per event_date, out of rows of `events`.

    Users and visitors are those among `who`.
    """
    rows = duckdb_query.query(
        f"""
        WITH parts AS MATERIALIZED (SELECT * FROM given), real AS (SELECT * FROM parts WHERE NOT list_contains(flags, 'canary'))
        SELECT *, NULL AS id FROM (
            {_measure("event_date", "keyless_events", 'count_if("session_input.key" IS NULL)')} FROM parts GROUP BY ALL
            UNION ALL {_measure("event_date", "robot_events", "count_if(is_robot)")} FROM parts GROUP BY ALL
            UNION ALL {_measure("event_date", "events", "count(*)", label="event_type")} FROM real GROUP BY ALL
        )
        UNION ALL {_different("event_date", "users", "user_id")} FROM real WHERE user_id IS NOT NULL AND {who}
        UNION ALL {_different("event_date", "devices", "device_id")} FROM real WHERE device_id IS NOT NULL
        UNION ALL {_different("event_date", "visitors", "visitor_id")} FROM real WHERE visitor_id IS NOT NULL AND {who}
        """,
        given=_reader(events, table, columns),
    )
    is_id = pc.is_valid(rows["id"])
    return pa.concat_tables([rows.filter(pc.invert(is_id)).select(MEASURES.names).cast(MEASURES), _in_shards(rows.filter(is_id))])


def _in_shards(ids: pa.Table) -> pa.Table:
    """The hashes of different ids per date, source and measure, in shards, as MEASURES."""
    names = ["metric_date", "source", "measure"]
    hashed = duckdb_query.query(
        f"""
        SELECT {", ".join(names)}, list(high) AS high, list(low) AS low
        FROM (SELECT {", ".join(names)}, {packed_hashes.columns("id")} FROM ids) GROUP BY ALL
        """,
        ids=ids,
    )
    rows: list[dict[str, Any]] = []
    for group, high, low in zip(hashed.select(names).to_pylist(), hashed["high"], hashed["low"], strict=True):
        for shard, _, hashes in packed_hashes.shards(high.values.to_numpy(), low.values.to_numpy(), _SHARDS):
            rows.append({**group, "shard": shard, "hashes": hashes, "amount": 0})
    return pa.Table.from_pylist(rows, schema=MEASURES)


def measure_chains(chains: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Events without a session per event_date, out of rows of `session_chains`."""
    return _measured(
        f"""
        WITH loose AS (
            SELECT source, if(kind = 'reported', 'orphan_events', 'sessionless_events') AS measure, unnest(unassigned) AS event FROM parts
        )
        SELECT event.event_date AS metric_date, source, measure, {_NO_SPLIT_COLUMNS}, CAST(sum(event.count) AS BIGINT) AS amount
        FROM loose GROUP BY ALL
        """,
        parts=_reader(chains, table, columns),
    )


def measure_sessions(sessions: Iterable[pa.Table], table: Table, columns: Iterable[str], *, who: str = PEOPLE) -> pa.Table:
    """Sessions, and what those of `who` hold, per session_date, out of rows of `sessions`."""
    of = "session_date"
    return _measured(
        f"""
        WITH parts AS MATERIALIZED (SELECT * FROM given), people AS (SELECT * FROM parts WHERE {who})
        {_measure(of, "sessions", "count(*)", label="session_kind")} FROM parts GROUP BY ALL
        UNION ALL {_measure(of, "robot_sessions", "count_if(is_robot)")} FROM parts GROUP BY ALL
        UNION ALL {_measure(of, "people_sessions", "count(*)")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "with_duration", "count(session_duration)")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "with_time", "count(timespent)")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "spent_ms", "sum(CAST(round(timespent * 1000) AS BIGINT))")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "pageviews", "sum(pageviews)")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "interactions", "sum(interactions)")} FROM people GROUP BY ALL
        UNION ALL {_measure(of, "with_summary", "count(reported)")} FROM parts GROUP BY ALL
        UNION ALL {_measure(of, "mismatched", "count_if(list_contains(flags, 'reported_mismatch'))")} FROM parts GROUP BY ALL
        """,
        given=_reader(sessions, table, columns),
    )


def measure_durations(sessions: Iterable[pa.Table], table: Table, columns: Iterable[str], *, who: str = PEOPLE) -> pa.Table:
    """How many sessions of `who` have which duration (ms) per session_date, out of rows of `sessions`."""
    return _measured(
        f"""
        SELECT session_date AS metric_date, source, 'session_duration' AS measure, CAST(NULL AS VARCHAR) AS label,
            CAST(NULL AS INTEGER) AS shard, CAST(NULL AS BLOB) AS hashes, session_duration AS value, count(*) AS amount
        FROM parts WHERE session_duration IS NOT NULL AND {who} GROUP BY ALL
        """,
        parts=_reader(sessions, table, columns),
    )


def measure_files(files: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """What landed and what became of it per landing_date, out of rows of `files`."""
    sums = " UNION ALL ".join(
        f"{_measure('landing_date', name, f'coalesce(sum({name}), 0)')} FROM parts GROUP BY ALL"
        for name in ("records", "accepted", "duplicates", "rejected")
    )
    return _measured(
        f"""
        WITH parts AS MATERIALIZED (SELECT * FROM given)
        {sums} UNION ALL {_measure("landing_date", "unreadable_files", "count_if(status = 'unreadable')")} FROM parts GROUP BY ALL
        """,
        given=_reader(files, table, columns),
    )


def measure_lateness(events: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """How many events landed, and how many of them late, per landing_date, out of rows of `events`."""
    return _measured(
        f"""
        WITH parts AS MATERIALIZED (SELECT * FROM given)
        {_measure("landing_date", "landed_events", "count(*)")} FROM parts GROUP BY ALL
        UNION ALL {_measure("landing_date", "late_events", "count_if(list_contains(flags, 'late'))")} FROM parts GROUP BY ALL
        """,
        given=_reader(events, table, columns),
    )


def measure_refusals(rejected: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.Table:
    """Refused records by reason per landing_date, out of rows of `rejected_events`."""
    return _measured(
        f"{_measure('landing_date', 'refused', 'count(*)', label='reason')} FROM parts GROUP BY ALL",
        parts=_reader(rejected, table, columns),
    )


# Totals: measures of all files in, one row per date, source, measure and label out


def totals(measures: DataFrame, *, in_one_task: bool = False) -> DataFrame:
    """Add up measures: amounts as a sum, hashes as how many different ones there are.

    In: rows of MEASURES without values. Out: TOTALS.
    """
    from pyspark.sql import functions as F

    shards = measures.coalesce(1) if in_one_task else measures.repartition("metric_date", "source", "measure", "shard")
    added_up = shards.mapInArrow(_add_up, spark_schema(TOTALS))
    return added_up.groupBy("metric_date", "source", "measure", "label").agg(F.sum("amount").alias("amount"))


def _add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add up the measures of a task. In: MEASURES, all rows of each shard. Out: TOTALS, which are still to be added up."""
    amounts: Counter[tuple[dt.date, str, str, str | None]] = Counter()
    hashes: dict[tuple[dt.date, str, str, int], list[bytes]] = {}
    for batch in batches:
        for row in batch.to_pylist():
            date, source, measure = row["metric_date"], row["source"], row["measure"]
            if row["amount"] is not None:  # a sum of no values is null
                amounts[date, source, measure, row["label"]] += row["amount"]
            if row["hashes"] is not None:
                hashes.setdefault((date, source, measure, row["shard"]), []).append(row["hashes"])
    for (date, source, measure, _), of_shard in hashes.items():
        amounts[date, source, measure, None] += packed_hashes.count(of_shard)[1]
    rows = [dict(zip(TOTALS.names, (*key, amount), strict=True)) for key, amount in amounts.items()]
    yield pa.RecordBatch.from_pylist(rows, schema=TOTALS)


def percentiles(measures: DataFrame) -> DataFrame:
    """The median and the 95th percentile of measures with values: the first value with at least so many percent up to it.

    In: rows of MEASURES with values. Out: TOTALS, with the value as amount; the measure is called `p50_…` and `p95_…`.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    per_value = measures.groupBy("metric_date", "source", "measure", "value").agg(F.sum("amount").alias("amount"))
    of_measure = Window.partitionBy("metric_date", "source", "measure")
    in_order = of_measure.orderBy("value").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = per_value.select("*", F.sum("amount").over(in_order).alias("up_to"), F.sum("amount").over(of_measure).alias("all"))
    # A select of its own: in the select of the windows, Sail explodes first, and the windows count every row twice.
    ranked = ranked.select("*", F.explode(F.array(*(F.lit(percent) for percent in _PERCENTS))).alias("percent"))
    rank = F.ceil(F.col("all") * F.col("percent") / 100)
    is_first = (F.col("up_to") >= rank) & (F.col("up_to") - F.col("amount") < rank)
    return ranked.where(is_first).select(
        "metric_date",
        "source",
        F.concat(F.lit("p"), F.col("percent").cast("string"), F.lit("_"), F.col("measure")).alias("measure"),
        F.lit(None).cast("string").alias("label"),
        F.col("value").alias("amount"),
    )


def daily_metrics(totals: pa.Table) -> pa.Table:
    """The metrics of the dates in TOTALS, as DAILY; there is no row where a denominator is 0."""
    split = {"events": "event_type", "sessions": "session_kind", "refused": "reason"}
    whole = ", ".join(f"sum(amount) FILTER (measure = '{name}') AS {name}" for name in _SUMMED)
    rows = duckdb_query.query(
        f"""
        WITH totals AS MATERIALIZED (SELECT * FROM given),
        summed AS (SELECT metric_date, source, {whole} FROM totals GROUP BY ALL),
        by_date AS (
            SELECT * REPLACE (CASE WHEN events IS NOT NULL THEN coalesce(devices, 0) END AS devices),
                accepted + duplicates AS valid, CAST(spent_ms AS DOUBLE) / 1000 AS spent
            FROM summed
        )
        {_count("robot_events", "nullif(robot_events, 0)")} UNION ALL {_count("robot_sessions", "nullif(robot_sessions, 0)")}
        UNION ALL {_count("keyless_events")} UNION ALL {_count("events")} UNION ALL {_count("users")} UNION ALL {_count("devices")}
        UNION ALL {_count("visitors")}
        UNION ALL {_count("orphan_events")} UNION ALL {_count("sessionless_events")} UNION ALL {_count("sessions")}
        UNION ALL {_entry("median_session_duration", "p50_session_duration", "NULL", "with_duration")}
        UNION ALL {_entry("p95_session_duration", "p95_session_duration", "NULL", "with_duration")}
        UNION ALL {_ratio("timespent_per_session", "spent", "with_time")}
        UNION ALL {_ratio("pageviews_per_session", "pageviews", "people_sessions")}
        UNION ALL {_ratio("interactions_per_session", "interactions", "people_sessions")}
        UNION ALL {_ratio("reported_mismatch_rate", "mismatched", "with_summary")}
        UNION ALL {_count("records")} UNION ALL {_count("rejected")} UNION ALL {_count("unreadable_files")}
        UNION ALL {_ratio("accepted_rate", "valid", "records")}
        UNION ALL {_ratio("rejected_rate", "rejected", "records")}
        UNION ALL {_ratio("duplicate_rate", "duplicates", "valid")}
        UNION ALL {_ratio("late_rate", "late_events", "landed_events")}
        UNION ALL {" UNION ALL ".join(_split(measure, dimension) for measure, dimension in split.items())}
        """,
        given=totals,
    )
    return rows.filter(rows["value"].is_valid()).cast(DAILY)


_SUMMED = (
    *("robot_events", "robot_sessions", "people_sessions"),
    *("keyless_events", "events", "users", "devices", "visitors", "orphan_events", "sessionless_events"),
    *("sessions", "with_duration", "with_time", "spent_ms", "pageviews", "interactions", "with_summary", "mismatched"),
    *("p50_session_duration", "p95_session_duration"),
    *("records", "accepted", "duplicates", "rejected", "unreadable_files", "landed_events", "late_events"),
)
# A metric that is split is called as its measure is, but for refused records, whose total `files` counts too.
_METRIC_OF_SPLIT = {"refused": "rejected"}
_NO_SHARD_OR_VALUE = "CAST(NULL AS INTEGER) AS shard, CAST(NULL AS BLOB) AS hashes, CAST(NULL AS BIGINT) AS value"
_NO_SPLIT_COLUMNS = f"CAST(NULL AS VARCHAR) AS label, {_NO_SHARD_OR_VALUE}"


def _measured(sql: str, **inputs: pa.RecordBatchReader) -> pa.Table:
    return duckdb_query.query(sql, **inputs).cast(MEASURES)


def _measure(date: str, measure: str, amount: str, *, label: str | None = None) -> str:
    split_columns = f"{label} AS label, {_NO_SHARD_OR_VALUE}" if label else _NO_SPLIT_COLUMNS
    return f"SELECT {date} AS metric_date, source, '{measure}' AS measure, {split_columns}, CAST({amount} AS BIGINT) AS amount"


def _different(date: str, measure: str, identity: str) -> str:
    """A SELECT of the different ids of each date, as the column `id`."""
    return f"SELECT DISTINCT {date} AS metric_date, source, '{measure}' AS measure, {_NO_SPLIT_COLUMNS}, 0 AS amount, {identity} AS id"


def _reader(parts: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.RecordBatchReader:
    schema = pa.schema([pa.field(name, _type_of(table, name)) for name in columns])
    return pa.RecordBatchReader.from_batches(schema, (batch for part in parts for batch in part.select(schema.names).to_batches()))


def _type_of(table: Table, name: str) -> pa.DataType:
    """The type of a column, or of a field of a struct: `session_input.key`."""
    column, _, part = name.partition(".")
    return table[column].type.field(part).type if part else table[column].type


def _entry(metric: str, value: str, numerator: str = "NULL", denominator: str = "NULL") -> str:
    """A SELECT of the rows of one metric of whole dates."""
    return (
        f"SELECT metric_date, source, '{metric}' AS metric, 'all' AS dimension, 'all' AS dimension_value,"
        f" CAST({value} AS DOUBLE) AS value, CAST({numerator} AS DOUBLE) AS numerator, CAST({denominator} AS DOUBLE) AS denominator"
        " FROM by_date"
    )


def _count(metric: str, amount: str | None = None) -> str:
    return _entry(metric, amount or metric)


def _ratio(metric: str, numerator: str, denominator: str) -> str:
    return _entry(metric, f"CAST({numerator} AS DOUBLE) / nullif(CAST({denominator} AS DOUBLE), 0)", numerator, denominator)


def _split(measure: str, dimension: str) -> str:
    return (
        f"SELECT metric_date, source, '{_METRIC_OF_SPLIT.get(measure, measure)}' AS metric, '{dimension}' AS dimension,"
        " label AS dimension_value, CAST(amount AS DOUBLE) AS value, NULL AS numerator, NULL AS denominator"
        f" FROM totals WHERE measure = '{measure}'"
    )

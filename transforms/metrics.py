"""Daily metrics, a function per family: one row per date, source, metric and value of a dimension.

Every function gives the columns `metric_date`, `source`, `metric`, `dimension`, `dimension_value`, `value`,
`numerator`, `denominator`; what each metric means stands in schemas/metrics.py. No row where the denominator is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def of_events(events: DataFrame) -> DataFrame:
    """Events, users and devices per event_date.

    In: `events`, whole for the dates that are asked for.
    """
    from pyspark.sql import functions as F

    real = events.where(~F.array_contains("flags", "canary"))
    by_date = real.groupBy(F.col("event_date").alias("metric_date"), "source").agg(
        F.count("*").alias("events"), F.count_distinct("user_id").alias("users"), F.count_distinct("device_id").alias("devices")
    )
    by_type = real.groupBy(F.col("event_date").alias("metric_date"), "source", "event_type").agg(F.count("*").alias("events"))
    return _long(by_date, _count("events"), _count("users"), _count("devices")).unionByName(_long(by_type, _count("events", "event_type")))


def of_chains(chains: DataFrame) -> DataFrame:
    """Events without a session per event_date.

    In: `session_chains`, all that cover the dates that are asked for.
    """
    from pyspark.sql import functions as F

    loose = chains.select("source", "kind", F.inline("unassigned"))
    is_ping = F.col("kind") == "reported"
    metric = F.when(is_ping, "orphan_events").otherwise("sessionless_events")
    counted = loose.groupBy(F.col("event_date").alias("metric_date"), "source", metric.alias("metric")).agg(
        F.sum("count").cast("double").alias("value")
    )
    return counted.select("metric_date", "source", "metric", *_whole(), "value", *_no_ratio())


def of_sessions(sessions: DataFrame) -> DataFrame:
    """Sessions, their durations and what a session holds on average, per session_date.

    In: `sessions`, whole for the dates that are asked for.
    """
    from pyspark.sql import functions as F

    has_summary, mismatches = F.col("reported").isNotNull(), F.array_contains("flags", "reported_mismatch")
    spent_ms = F.round(F.col("timespent") * 1000).cast("bigint")
    by_date = sessions.groupBy(F.col("session_date").alias("metric_date"), "source").agg(
        F.count("*").alias("sessions"),
        F.count("session_duration").alias("with_duration"),
        F.expr("percentile_disc(0.5) WITHIN GROUP (ORDER BY session_duration)").alias("median"),
        F.expr("percentile_disc(0.95) WITHIN GROUP (ORDER BY session_duration)").alias("p95"),
        (F.sum(spent_ms) / 1000.0).alias("spent"),
        F.count("timespent").alias("with_time"),
        F.sum("pageviews").alias("pageviews"),
        F.sum("interactions").alias("interactions"),
        F.count_if(mismatches).alias("mismatches"),
        F.count_if(has_summary).alias("with_summary"),
    )
    by_kind = sessions.groupBy(F.col("session_date").alias("metric_date"), "source", "session_kind").agg(F.count("*").alias("sessions"))
    return _long(
        by_date,
        _count("sessions"),
        _point("median_session_duration", "median", "with_duration"),
        _point("p95_session_duration", "p95", "with_duration"),
        _ratio("timespent_per_session", "spent", "with_time"),
        _ratio("pageviews_per_session", "pageviews", "sessions"),
        _ratio("interactions_per_session", "interactions", "sessions"),
        _ratio("reported_mismatch_rate", "mismatches", "with_summary"),
    ).unionByName(_long(by_kind, _count("sessions", "session_kind")))


def of_landing(files: DataFrame, events: DataFrame, rejected: DataFrame) -> DataFrame:
    """What landed and what became of it, per landing_date.

    In: `files`, `events` and `rejected_events`, whole for the dates that are asked for.
    """
    from pyspark.sql import functions as F

    date = F.col("landing_date").alias("metric_date")
    account = files.groupBy(date, "source").agg(
        *(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in ("records", "accepted", "duplicates", "rejected")),
        F.count_if(F.col("status") == "unreadable").alias("unreadable"),
    )
    valid = account.withColumn("valid", F.col("accepted") + F.col("duplicates"))
    lateness = events.groupBy(date, "source").agg(
        F.count_if(F.array_contains("flags", "late")).alias("late"), F.count("*").alias("accepted")
    )
    reasons = rejected.groupBy(date, "source", "reason").agg(F.count("*").alias("refused"))
    landed = _long(
        valid,
        _count("records"),
        _count("rejected"),
        _count("unreadable_files", column="unreadable"),
        _ratio("accepted_rate", "valid", "records"),
        _ratio("rejected_rate", "rejected", "records"),
        _ratio("duplicate_rate", "duplicates", "valid"),
    )
    late = _long(lateness, _ratio("late_rate", "late", "accepted"))
    return landed.unionByName(late).unionByName(_long(reasons, _count("rejected", "reason", column="refused")))


def _long(wide: DataFrame, *metrics: Column) -> DataFrame:
    """One row per metric out of one row per date and source; what has no value is left out."""
    from pyspark.sql import functions as F

    rows = wide.select("metric_date", "source", F.inline(F.array(*metrics)))
    return rows.where(F.col("value").isNotNull()).select(
        "metric_date", "source", "metric", "dimension", "dimension_value", "value", "numerator", "denominator"
    )


def _entry(metric: str, dimension: str | None, value: Column, numerator: Column | None = None, denominator: Column | None = None) -> Column:
    from pyspark.sql import functions as F

    nothing = F.lit(None).cast("double")
    return F.struct(
        F.lit(metric).alias("metric"),
        F.lit(dimension or "all").alias("dimension"),
        (F.col(dimension) if dimension else F.lit("all")).alias("dimension_value"),
        value.cast("double").alias("value"),
        (nothing if numerator is None else numerator.cast("double")).alias("numerator"),
        (nothing if denominator is None else denominator.cast("double")).alias("denominator"),
    )


def _count(metric: str, dimension: str | None = None, column: str | None = None) -> Column:
    from pyspark.sql import functions as F

    return _entry(metric, dimension, F.col(column or metric))


def _ratio(metric: str, numerator: str, denominator: str) -> Column:
    from pyspark.sql import functions as F

    above, below = F.col(numerator).cast("double"), F.col(denominator).cast("double")
    return _entry(metric, None, F.when(below != 0, F.try_divide(above, below)), above, below)


def _point(metric: str, value: str, count: str) -> Column:
    """A median or percentile, with the number of values that it is of."""
    from pyspark.sql import functions as F

    return _entry(metric, None, F.col(value), None, F.col(count))


def _whole() -> tuple[Column, Column]:
    from pyspark.sql import functions as F

    return F.lit("all").alias("dimension"), F.lit("all").alias("dimension_value")


def _no_ratio() -> tuple[Column, Column]:
    from pyspark.sql import functions as F

    return F.lit(None).cast("double").alias("numerator"), F.lit(None).cast("double").alias("denominator")

"""Decide which of several records with the same id is the event, and which are duplicates.

Rules: docs/rules/sources.md, "Ids and repeats". A valid record is a duplicate if a valid record of the same source with the same
event_id landed before it, by at most a window of days. That earlier record may be a duplicate too. So only landed records decide,
not the order of runs, and the copy directly before a record is enough to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Raised with every change of this decision. `millrace rebuild` then builds the tables of a lake again.
DEDUPLICATION_VERSION = 1
# The columns by which landed records are ordered, earliest first: a null hour before any hour, text by its bytes.
LANDING_ORDER = ("landing_date", "landing_hour", "file", "record", "position")
EARLIER = tuple(f"earlier_{name}" for name in LANDING_ORDER)
RECORDED_EARLIER = tuple(f"recorded_{name}" for name in EARLIER)


def repeated_hashes(hashes: DataFrame) -> DataFrame:
    """The rows whose record may become a duplicate, or cease to be one, by the hash of its id alone.

    Nearly every record is the only one with its hash. So only few records have to be read with all columns and ordered.

    In: one row per valid record, with `event_hash`, `is_new` and `is_removed`. Rows with neither are of unchanged partitions.
    Out: rows that are not removed and share their hash with other rows, of which at least one is new or removed.
    """
    from pyspark.sql import functions as F

    # A window would need one shuffle in place of two, but Sail takes five times as long for it.
    per_hash = hashes.groupBy("event_hash").agg(
        F.count_if("is_new").alias("new"),
        F.count_if("is_removed").alias("removed"),
        F.count("event_hash").alias("all"),
    )
    shares_a_new_one = (F.col("new") > 0) & (F.col("all") - F.col("removed") > 1)
    loses_one = (F.col("removed") > 0) & (F.col("all") > F.col("new") + F.col("removed"))
    repeated = per_hash.where(shares_a_new_one | loses_one).select("event_hash")
    return hashes.where(~F.col("is_removed")).join(repeated, on="event_hash", how="leftsemi")


def with_earlier_copy(copies: DataFrame, window_days: int) -> DataFrame:
    """Add to each valid record the location of the copy directly before it, if that copy is within the window of days.

    In: one row per valid record: `source`, `event_hash`, `event_id` and the columns of LANDING_ORDER.
    Out: the same rows with the columns of EARLIER, which are null for a record that is no duplicate.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    in_landing_order = Window.partitionBy("source", "event_hash", "event_id").orderBy(
        F.col("landing_date"), F.col("landing_hour").asc_nulls_first(), "file", "record", "position"
    )
    before = F.lag(F.struct(*LANDING_ORDER)).over(in_landing_order)
    in_window = F.datediff("landing_date", "before.landing_date") <= window_days
    earlier = [F.when(in_window, F.col(f"before.{name}")).alias(f"earlier_{name}") for name in LANDING_ORDER]
    return copies.withColumn("before", before).select(*copies.columns, *earlier)


def changed_copies(with_earlier: DataFrame) -> DataFrame:
    """The rows whose copy directly before has changed.

    In: rows with the columns of EARLIER (the copy now) and RECORDED_EARLIER (the copy before this run; null for a new record).
    """
    from pyspark.sql import functions as F

    same = F.lit(True)
    for now, before in zip(EARLIER, RECORDED_EARLIER, strict=True):
        same &= F.col(now).eqNullSafe(F.col(before))
    return with_earlier.where(~same)

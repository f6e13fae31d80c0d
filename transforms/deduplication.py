"""Which record is the event and which repeats it.

A valid record is a duplicate when an earlier-landed valid record with the same event_id, of the same source, lies at
most a window of landing days before it, whether or not that one was a duplicate itself. So the answer depends on what
has landed alone, and the copy directly before is all that decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Where a record landed; in this order, earliest first, no hour before any hour, text by its bytes.
PLACE = ("landing_date", "landing_hour", "file", "record", "position")
EARLIER = tuple(f"earlier_{name}" for name in PLACE)


def with_earlier_copy(copies: DataFrame, window_days: int) -> DataFrame:
    """Give each valid record the place of the copy directly before it, where that lies within the window.

    In: one row per valid record: `source`, `event_hash`, `event_id` and the columns of PLACE.
    Out: the same rows with the columns of EARLIER, all null for a record that is no duplicate.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    in_landing_order = Window.partitionBy("source", "event_hash", "event_id").orderBy(
        F.col("landing_date"), F.col("landing_hour").asc_nulls_first(), "file", "record", "position"
    )
    before = F.lag(F.struct(*PLACE)).over(in_landing_order)
    in_window = F.datediff("landing_date", "before.landing_date") <= window_days
    earlier = [F.when(in_window, F.col(f"before.{name}")).alias(f"earlier_{name}") for name in PLACE]
    return copies.withColumn("before", before).select(*copies.columns, *earlier)


def changed(judged: DataFrame) -> DataFrame:
    """The rows whose copy directly before is another one than it was.

    In: rows with the columns of EARLIER as they now are, and as `was_earlier_…` as they were.
    """
    from pyspark.sql import functions as F

    same = F.lit(True)
    for name in EARLIER:
        same &= F.col(name).eqNullSafe(F.col(f"was_{name}"))
    return judged.where(~same)

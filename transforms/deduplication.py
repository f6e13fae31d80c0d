"""Decide which of several records with the same id is the event, and which are duplicates.

Rules: docs/rules/sources.md, "Ids and repeats". A valid record is a duplicate if a valid record of the same source with the same
event_id landed before it, by at most a window of days. That earlier record may be a duplicate too. So only landed records decide,
not the order of runs, and the copy directly before a record is enough to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas.events import LANDING_ORDER
from schemas.table import BIGINT, BOOLEAN, INTEGER

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Raised with every change of this decision. `millrace rebuild` then builds the tables of a lake again.
DEDUPLICATION_VERSION = 1
# A valid record: the number of the file in which it is, the hash of its id, and whether it is of a file that the run reads or replaces.
# Rows that are neither new nor removed are of unchanged partitions.
HASHES = pa.schema([("number", INTEGER), ("event_hash", BIGINT), ("is_new", BOOLEAN), ("is_removed", BOOLEAN)])
REPEATED = pa.schema([HASHES.field(name) for name in ("number", "event_hash")])
EARLIER = tuple(f"earlier_{name}" for name in LANDING_ORDER)
RECORDED_EARLIER = tuple(f"recorded_{name}" for name in EARLIER)


def repeated_hashes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows whose record may become a duplicate, or cease to be one, by the hash of its id alone.

    Nearly every record is the only one with its hash. So only few records have to be read with all columns and ordered.

    In: HASHES, one row per valid record. All rows with the same hash must be in one call.
    Out: REPEATED, the rows that are not removed and share their hash with other rows, of which at least one is new or removed.
    """
    rows = pa.Table.from_batches(batches, HASHES)
    if not rows.num_rows:
        return
    hashes, is_new, is_removed = (rows[name].to_numpy() for name in ("event_hash", "is_new", "is_removed"))
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    starts = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
    # Of each hash: all its rows, the new ones and the removed ones.
    all_rows = np.diff(np.append(starts, len(order)))
    new, removed = (np.add.reduceat(flag[order].astype(np.int64), starts) for flag in (is_new, is_removed))
    shares_a_new_one = (new > 0) & (all_rows - removed > 1)
    loses_one = (removed > 0) & (all_rows > new + removed)
    repeated = order[np.repeat(shares_a_new_one | loses_one, all_rows) & ~is_removed[order]]
    yield from rows.select(REPEATED.names).take(pa.array(repeated)).combine_chunks().to_batches()


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

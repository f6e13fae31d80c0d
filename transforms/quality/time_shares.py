"""Find the files with most implausible client times: a task counts in the files that it reads, and the engine adds the counts up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.events import EVENTS
from schemas.table import BIGINT, DOUBLE, STRING
from transforms import duckdb_query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

COLUMNS = ("source", "file", "flags")
# Of a landed file: all events, and those flagged `time_replaced`.
EVENT_COUNTS = pa.schema([("source", STRING), ("file", STRING), ("events", BIGINT), ("replaced", BIGINT)])
SHARES = pa.schema([("source", STRING), ("file", STRING), ("share", DOUBLE)])


def count_events(events: Iterable[pa.Table]) -> pa.Table:
    """Count the events of each landed file, and those flagged `time_replaced`.

    In: rows of `events` with COLUMNS, a part at a time. Out: EVENT_COUNTS.
    """
    schema = pa.schema([pa.field(name, EVENTS[name].type) for name in COLUMNS])
    batches = (batch for part in events for batch in part.select(schema.names).to_batches())
    rows = duckdb_query.query(
        "SELECT source, file, count(*) AS events, count_if(list_contains(flags, 'time_replaced')) AS replaced FROM parts GROUP BY ALL",
        parts=pa.RecordBatchReader.from_batches(schema, batches),
    )
    return rows.cast(EVENT_COUNTS)


def worst_files(event_counts: DataFrame, events_minimum: Mapping[str, int]) -> DataFrame:
    """Per source the landed file with the largest share of events flagged `time_replaced`; of equal shares, the first by name.

    In: EVENT_COUNTS of all files. `events_minimum` has the events per source that a file must have at least. Out: SHARES; no row of a
    source where no file has so many events.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    per_file = event_counts.groupBy("source", "file").agg(F.sum("events").alias("events"), F.sum("replaced").alias("replaced"))
    minimum = F.coalesce(*(F.when(F.col("source") == source, F.lit(least).cast("bigint")) for source, least in events_minimum.items()))
    shares = per_file.where(F.col("events") >= minimum).select("source", "file", (F.col("replaced") / F.col("events")).alias("share"))
    largest_first = Window.partitionBy("source").orderBy(F.col("share").desc(), F.col("file"))
    ranked = shares.select("*", F.row_number().over(largest_first).alias("rank"))
    return ranked.where(F.col("rank") == 1).select(*SHARES.names)

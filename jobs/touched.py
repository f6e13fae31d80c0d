"""What a change touches beyond its own partitions: chains of events, the events in them, and the rows made of them.

Shared by the steps that build rows from chains: sessions and workflow summaries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import workers
from jobs.lake import Change, Lake, TableFile, read_parquet
from jobs.table_files import NO_VALUE
from schemas.events import EVENTS
from schemas.table import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Rows:
    """Rows of a table that are to go: their ids, and the partitions in which they stand."""

    table: Table
    id_column: str
    ids: pa.Array
    partitions: Collection[tuple[str, ...]]  # values of the partition's columns, as text


def places(*values: pa.Array) -> set[tuple[str, ...]]:
    """The distinct partitions that these values of the partition's columns name, row by row."""
    return set(zip(*(pc.fill_null(column.cast(pa.string()), NO_VALUE).to_pylist() for column in values), strict=True))


def candidates(spark: SparkSession, lake: Lake, chains: Table, files: list[TableFile], spans: DataFrame, folder: Path) -> DataFrame:
    """The chains of all keys in `spans`, whole; found by a look into the column `key` of these files.

    `spans` is written below `folder`, once, and may be read from there: see `written_spans`.
    """
    spans.write.mode("overwrite").parquet(str(_spans(folder)))
    keys = pc.unique(pq.read_table(_spans(folder), columns=["key"])["key"]).drop_null()
    probe = workers.Probe(chains, lake.root / chains.name, files, "key", tuple(chains.names))
    found = probe.find(spark, keys, folder / "chains")
    return spark.read.schema(chains.spark()).parquet(*map(str, found)) if found else spark.createDataFrame([], chains.spark())


def written_spans(spark: SparkSession, folder: Path) -> DataFrame:
    """The spans that `candidates` was given."""
    return spark.read.parquet(str(_spans(folder)))


def _spans(folder: Path) -> Path:
    return folder / "spans"


def events_beside(
    spark: SparkSession, lake: Lake, change: Change, sources: Collection[str], dates: Collection[dt.date], columns: Iterable[str]
) -> DataFrame:
    """The events of the lake that stay, of these sources and landing dates."""
    gone = {file.path for file in change.removed}
    paths = [
        file.path
        for file in lake.files(EVENTS.name)
        if file.path not in gone and file.partition["source"] in sources and dt.date.fromisoformat(file.partition["landing_date"]) in dates
    ]
    return read_parquet(spark, EVENTS, lake.root / EVENTS.name, paths, *columns)


def drop(spark: SparkSession, lake: Lake, folder: Path, going: Iterable[Rows], changes: Mapping[str, Change]) -> None:
    """Write the files that hold such rows again without them, and note that in `changes`."""
    going = list(going)
    files = [
        (rows.table.name, file)
        for rows in going
        for file in lake.files(rows.table.name)
        if tuple(file.partition[name] for name in rows.table.partitioned_by) in rows.partitions
    ]
    ids = pa.concat_tables([pa.table({"table": pa.repeat(pa.scalar(rows.table.name), len(rows.ids)), "id": rows.ids}) for rows in going])
    reports = workers.write_without(spark, lake.root, folder, files, ids, {rows.table.name: rows.id_column for rows in going})
    gone = workers.removed_files(reports)
    for name, file in files:
        if f"{name}/{file.path}" in gone:
            changes[name].removed.append(file)
    for written in workers.written_files(reports):
        changes[written.table].added.append(written)

"""Decide which of the staged records are events and which repeat one, and write both, with those that were refused.

    A step of the night: millrace run --date 2026-11-20

Copies are told apart on narrow rows. A partition that is replaced may also change what records of other partitions are:
those are moved between `events` and `duplicate_events`, and only the files that hold them are written again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from jobs import workers
from jobs.ingest import STAGED, StagedFile
from jobs.lake import Change, Lake, TableFile
from jobs.landing import Partition
from jobs.table_files import WrittenFile, write_partitioned
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS
from schemas.table import Table, spark_schema
from transforms import deduplication
from transforms.deduplication import EARLIER, PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_IDENTITY = ("source", "event_hash", "event_id", *PLACE)
_WAS = tuple(f"was_{name}" for name in EARLIER)
_PLACED = (EVENTS.name, DUPLICATE_EVENTS.name)


@dataclass
class Deduplicated:
    """What the staged records became, and what moved in partitions that were not read."""

    changes: dict[str, Change] = field(default_factory=lambda: {t.name: Change() for t in (EVENTS, DUPLICATE_EVENTS, REJECTED_EVENTS)})
    # Per kind (accepted, duplicates, rejected): how many records of each landed file were written as such.
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    # Per partition and landed file that was not read: how many records became duplicates (negative: events).
    moved: Counter[tuple[Partition, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Inputs:
    """What the step works on."""

    lake: Lake
    folder: Path  # the run's staging folder
    run_id: str
    window_days: int
    replaced: frozenset[Partition]
    staged: Sequence[StagedFile]
    unreadable: frozenset[str]


def deduplicate(spark: SparkSession, inputs: Inputs) -> Deduplicated:
    """Write the tables of records for the partitions that were read, and move what must move in the others."""
    result = Deduplicated()
    files = {name: inputs.lake.files(name) for name in result.changes}
    for name, change in result.changes.items():
        change.removed = [file for file in files[name] if _partition(file) in inputs.replaced]
    judged_path = _judge(spark, inputs, files)
    _write_staged(spark, inputs, judged_path, result)
    if judged_path is not None:
        _move(spark, inputs, judged_path, files, result)
    return result


def _judge(spark: SparkSession, inputs: Inputs, files: dict[str, list[TableFile]]) -> Path | None:
    """Write one narrow row per staged duplicate and per lake row whose copy directly before has changed; None where there is none."""
    if not inputs.replaced:
        return None
    first, last = min(p.landing_date for p in inputs.replaced), max(p.landing_date for p in inputs.replaced)
    window = dt.timedelta(days=inputs.window_days)
    sources = {partition.source for partition in inputs.replaced}

    def near(file: TableFile) -> bool:
        partition = _partition(file)
        return partition.source in sources and first - window <= partition.landing_date <= last + window

    removed = {name: [file for file in files[name] if _partition(file) in inputs.replaced] for name in _PLACED}
    others = {name: [file for file in files[name] if near(file) and _partition(file) not in inputs.replaced] for name in _PLACED}
    if not inputs.staged and not any(removed.values()):
        return None
    copies = _staged_copies(spark, inputs)
    if any(others.values()):
        copies = copies.unionByName(_lake_copies(spark, inputs, others, _changed_hashes(inputs, removed)))
    judged = deduplication.with_earlier_copy(copies, inputs.window_days)
    path = inputs.folder / "_judged"
    _noteworthy(judged, first).repartition("stage").sortWithinPartitions("stage", "row").write.mode("overwrite").parquet(str(path))
    # Where there is no row, Spark writes an empty file, and Sail none.
    return path if path.is_dir() else None


def _noteworthy(judged: DataFrame, first: dt.date) -> DataFrame:
    """Staged duplicates, and lake rows that change: those landed before the first partition that was read cannot."""
    from pyspark.sql import functions as F

    staged_duplicates = judged.where((F.col("origin") == "stage") & F.col("earlier_file").isNotNull())
    changed = deduplication.changed(judged.where((F.col("origin") != "stage") & (F.col("landing_date") >= F.lit(first))))
    return staged_duplicates.unionByName(changed)


def _staged_copies(spark: SparkSession, inputs: Inputs) -> DataFrame:
    from pyspark.sql import functions as F

    names = ("status", *_IDENTITY, "stage", "row")
    schema = spark_schema(pa.schema([STAGED.field(name) for name in names]))
    paths = [str(inputs.folder / "_records" / file.stage) for file in inputs.staged]
    staged = spark.read.schema(schema).parquet(*paths) if paths else spark.createDataFrame([], schema)
    accepted = staged.where(F.col("status") == "accepted")
    if inputs.unreadable:
        accepted = accepted.where(~F.col("file").isin(sorted(inputs.unreadable)))
    nothing = [F.lit(None).cast(DUPLICATE_EVENTS.spark(name)[0].dataType).alias(f"was_{name}") for name in EARLIER]
    return accepted.select(*_IDENTITY, "stage", "row", F.lit("stage").alias("origin"), *nothing)


def _changed_hashes(inputs: Inputs, removed: Mapping[str, Sequence[TableFile]]) -> pa.Array:
    """The hashes of all ids of which a copy comes or goes."""
    paths = [inputs.folder / "_records" / file.stage for file in inputs.staged]
    paths += [inputs.lake.root / name / file.path for name, files in removed.items() for file in files]
    return pc.unique(
        pa.chunked_array([pq.read_table(path, columns=["event_hash"])["event_hash"].combine_chunks() for path in paths])
    ).drop_null()


def _lake_copies(spark: SparkSession, inputs: Inputs, files: Mapping[str, Sequence[TableFile]], hashes: pa.Array) -> DataFrame:
    """The rows of these files that may be copies of what comes or goes: a look at their hashes finds them."""
    from pyspark.sql import functions as F

    frames = []
    for name, chosen in files.items():
        table, has_earlier = TABLES[name], name == DUPLICATE_EVENTS.name
        columns = (*_IDENTITY, *(EARLIER if has_earlier else ()))
        found = workers.Probe(table, inputs.lake.root / name, chosen, "event_hash", columns).find(
            spark, hashes, inputs.folder / "_copies" / name
        )
        schema = spark_schema(pa.schema([pa.field(column, table[column].type) for column in columns]))
        frame = spark.read.schema(schema).parquet(*map(str, found)) if found else spark.createDataFrame([], schema)
        was = [
            (F.col(column) if has_earlier else F.lit(None)).cast(DUPLICATE_EVENTS.spark(column)[0].dataType).alias(f"was_{column}")
            for column in EARLIER
        ]
        frames.append(
            frame.select(*_IDENTITY, F.lit("").alias("stage"), F.lit(None).cast("int").alias("row"), F.lit(name).alias("origin"), *was)
        )
    return reduce(lambda left, right: left.unionByName(right), frames)


# Writing: what a worker does with one staged file


def _write_staged(spark: SparkSession, inputs: Inputs, judged: Path | None, result: Deduplicated) -> None:
    if not inputs.staged:
        return
    stages = [file.stage for file in inputs.staged]
    rows = workers.run(spark, len(stages), _settle(stages, inputs, judged))
    for file in workers.written_files(rows):
        result.changes[file.table].added.append(file)
    result.counts = workers.counted(rows)


def _settle(stages: Sequence[str], inputs: Inputs, judged: Path | None) -> Callable[[int], Iterator[pa.RecordBatch]]:
    """The function that turns one staged file into files of the three tables."""
    folder, run_id, unreadable = inputs.folder, inputs.run_id, sorted(inputs.unreadable)

    def settle(number: int) -> Iterator[pa.RecordBatch]:
        stage = stages[number]
        rows = pq.read_table(folder / "_records" / stage).drop_columns(["stage", "row"])
        rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
        repeats = (
            ds.dataset(judged, format="parquet").to_table(filter=(pc.field("origin") == "stage") & (pc.field("stage") == stage))
            if judged
            else None
        )
        for name in EARLIER:
            kind = DUPLICATE_EVENTS[name].type
            rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
        if repeats is not None and repeats.num_rows:
            places = pc.index_in(pa.array(range(rows.num_rows), pa.int32()), value_set=repeats["row"].combine_chunks())
            for name in EARLIER:
                at = rows.schema.get_field_index(name)
                rows = rows.set_column(at, name, repeats[name].combine_chunks().cast(DUPLICATE_EVENTS[name].type).take(places))
        if unreadable:
            rows = rows.filter(pc.invert(pc.is_in(rows["file"], value_set=pa.array(unreadable, pa.string()))))
        accepted = pc.equal(rows["status"], "accepted")
        repeated = pc.is_valid(rows["earlier_file"])
        kinds = {
            "accepted": (EVENTS, rows.filter(pc.and_(accepted, pc.invert(repeated)))),
            "duplicates": (DUPLICATE_EVENTS, rows.filter(pc.and_(accepted, repeated))),
            "rejected": (REJECTED_EVENTS, rows.filter(pc.invert(accepted))),
        }
        written = [file for table, chosen in kinds.values() for file in _written(table, chosen, folder)]
        yield from workers.report(written, {kind: _per_file(chosen) for kind, (_, chosen) in kinds.items()})

    return settle


def _per_file(rows: pa.Table) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in pc.value_counts(rows["file"]).to_pylist()})


def _written(table: Table, rows: pa.Table, folder: Path) -> list[WrittenFile]:
    return write_partitioned(table, rows.select(table.names), folder / table.name)


# Moving: what a worker does with one file of a partition that was not read


def _move(spark: SparkSession, inputs: Inputs, judged: Path, files: dict[str, list[TableFile]], result: Deduplicated) -> None:
    moves = ds.dataset(judged, format="parquet").to_table(
        columns=["origin", "landing_date", "source", "file", "earlier_file"], filter=pc.field("origin") != "stage"
    )
    if moves.num_rows == 0:
        return
    held: set[tuple[str, Partition]] = set()
    for row in moves.to_pylist():
        partition = Partition(row["landing_date"], row["source"])
        held.add((row["origin"], partition))
        if (row["origin"] == EVENTS.name) == (row["earlier_file"] is not None):
            result.moved[partition, row["file"]] += 1 if row["earlier_file"] is not None else -1
    candidates = [(name, file) for name in _PLACED for file in files[name] if (name, _partition(file)) in held]
    rows = workers.run(spark, len(candidates), _rewrite(candidates, inputs, judged))
    gone = workers.removed_files(rows)
    for name, file in candidates:
        if f"{name}/{file.path}" in gone:
            result.changes[name].removed.append(file)
    for written in workers.written_files(rows):
        result.changes[written.table].added.append(written)


def _rewrite(candidates: Sequence[tuple[str, TableFile]], inputs: Inputs, judged: Path) -> Callable[[int], Iterator[pa.RecordBatch]]:
    """The function that writes one file of the lake again without the rows that move, and those where they belong."""
    root, folder, run_id = inputs.lake.root, inputs.folder, inputs.run_id

    def rewrite(number: int) -> Iterator[pa.RecordBatch]:
        name, file = candidates[number]
        partition = _partition(file)
        moves = ds.dataset(judged, format="parquet").to_table(
            filter=(pc.field("origin") == name)
            & (pc.field("source") == partition.source)
            & (pc.field("landing_date") == pa.scalar(partition.landing_date))
        )
        rows = workers.read_whole(TABLES[name], root / name, file)
        places = pc.index_in(_keys(rows), value_set=_keys(moves).combine_chunks())
        moving = pc.is_valid(places)
        if not pc.any(moving).as_py():
            return
        moved = rows.filter(moving)
        moved = moved.select([column for column in EVENTS.names if column != "run_id"])
        moved = moved.append_column("run_id", pa.repeat(pa.scalar(run_id), moved.num_rows))
        found = places.filter(moving).combine_chunks()
        for column in EARLIER:
            moved = moved.append_column(column, moves[column].combine_chunks().cast(DUPLICATE_EVENTS[column].type).take(found))
        repeated = pc.is_valid(moved["earlier_file"])
        written = [
            *_written(TABLES[name], rows.filter(pc.invert(moving)), folder),
            *_written(EVENTS, moved.filter(pc.invert(repeated)), folder),
            *_written(DUPLICATE_EVENTS, moved.filter(repeated), folder),
        ]
        yield from workers.report(written, removed=f"{name}/{file.path}")

    return rewrite


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    """Where each row landed within its partition, as one text."""
    return pc.binary_join_element_wise(rows["file"], rows["record"].cast(pa.string()), rows["position"].cast(pa.string()), "\x1f")


def _partition(file: TableFile) -> Partition:
    return Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])

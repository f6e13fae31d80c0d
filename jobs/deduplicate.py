"""Decide which of the staged records are events and which repeat one, and write both, with those that were refused.

    A step of the night: millrace run --date 2026-11-20

Copies are told apart on narrow rows. A partition that is replaced may also change what records of other partitions are:
those are moved between `events` and `duplicate_events`, and only the files that hold them are written again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
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
    from pyspark.sql import DataFrame

    from jobs.session import Engine

_IDENTITY = ("source", "event_hash", "event_id", *PLACE)
_STAGE = "stage"
_STAGED = ("status", *_IDENTITY, "stage", "row")
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


def find_copies(engine: Engine, inputs: Inputs) -> Path | None:
    """Write one narrow row per staged duplicate and per lake row whose copy directly before has changed.

    Gives the folder; None where there is no such row.
    """
    if not inputs.replaced:
        return None
    first, last = min(p.landing_date for p in inputs.replaced), max(p.landing_date for p in inputs.replaced)
    window = dt.timedelta(days=inputs.window_days)
    sources = {partition.source for partition in inputs.replaced}

    def near(file: TableFile) -> bool:
        partition = _partition(file)
        return partition.source in sources and first - window <= partition.landing_date <= last + window

    files = {name: inputs.lake.files(name) for name in _PLACED}
    removed = {name: [file for file in files[name] if _partition(file) in inputs.replaced] for name in _PLACED}
    others = {name: [file for file in files[name] if near(file) and _partition(file) not in inputs.replaced] for name in _PLACED}
    if not inputs.staged and not any(removed.values()):
        return None
    copies = _copies(engine, inputs, removed, others)
    if copies is None:
        return None
    judged = deduplication.with_earlier_copy(copies, inputs.window_days)
    path = inputs.folder / "_judged"
    _noteworthy(judged, first).repartition("stage").sortWithinPartitions("stage", "row").write.mode("overwrite").parquet(str(path))
    # Where there is no row, Spark writes an empty file, and Sail none.
    return path if path.is_dir() else None


def write(engine: Engine, inputs: Inputs, judged: Path | None) -> Deduplicated:
    """Write the tables of records for the partitions that were read, and move what must move in the others."""
    result = Deduplicated()
    files = {name: inputs.lake.files(name) for name in result.changes}
    for name, change in result.changes.items():
        change.removed = [file for file in files[name] if _partition(file) in inputs.replaced]
    _write_staged(engine, inputs, judged, result)
    if judged is not None:
        _move(engine, inputs, judged, files, result)
    return result


# Finding copies


def _noteworthy(judged: DataFrame, first: dt.date) -> DataFrame:
    """Staged duplicates, and lake rows that change: those landed before the first partition that was read cannot."""
    from pyspark.sql import functions as F

    staged_duplicates = judged.where((F.col("origin") == _STAGE) & F.col("earlier_file").isNotNull())
    changed = deduplication.changed(judged.where((F.col("origin") != _STAGE) & (F.col("landing_date") >= F.lit(first))))
    return staged_duplicates.unionByName(changed)


def _copies(
    engine: Engine, inputs: Inputs, removed: Mapping[str, Sequence[TableFile]], others: Mapping[str, Sequence[TableFile]]
) -> DataFrame | None:
    """One narrow row per valid record of which there may be a copy, staged or in the lake; None where there is none.

    Nearly every record is the only one of its hash, so hashes are looked at first, and only what shares one is told apart.
    """
    folder = inputs.folder / "_copies"
    staged_paths = [inputs.folder / "_records" / file.stage for file in inputs.staged]
    staged_hashes = _hashes(staged_paths)
    found: dict[str, list[Path]] = {}
    if any(others.values()):
        removed_hashes = _hashes(inputs.lake.root / name / file.path for name, files in removed.items() for file in files)
        sought = pa.array(np.unique(np.concatenate([staged_hashes, removed_hashes])))
        for name, files in others.items():
            columns = (*_IDENTITY, *(EARLIER if name == DUPLICATE_EVENTS.name else ()))
            probe = workers.Probe.of_table(TABLES[name], inputs.lake.root, files, "event_hash", columns)
            found[name] = probe.find(engine, sought, folder / name)
    ordered = np.sort(staged_hashes)
    shared = np.concatenate([ordered[1:][ordered[1:] == ordered[:-1]], _hashes(path for paths in found.values() for path in paths)])
    probe = workers.Probe(STAGED, [(path, {}) for path in staged_paths], "event_hash", _STAGED)
    found[_STAGE] = probe.find(engine, pa.array(shared), folder / _STAGE)
    frames = [_frame(engine, inputs, origin, paths) for origin, paths in found.items() if paths]
    return reduce(lambda left, right: left.unionByName(right), frames) if frames else None


def _hashes(paths: Iterable[Path]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The hashes of the ids in these files, as often as they stand there."""
    columns = [pq.ParquetFile(path).read(columns=["event_hash"])["event_hash"].drop_null().to_numpy() for path in paths]
    return np.concatenate([np.array([], np.int64), *columns])


def _frame(engine: Engine, inputs: Inputs, origin: str, paths: Sequence[Path]) -> DataFrame:
    """What was found in the stage or in a table of the lake, each row with its copy directly before as the lake has it (`was_…`)."""
    from pyspark.sql import functions as F

    is_staged, has_earlier = origin == _STAGE, origin == DUPLICATE_EVENTS.name
    if is_staged:
        schema = pa.schema([STAGED.field(name) for name in _STAGED])
    else:
        table = TABLES[origin]
        schema = pa.schema([pa.field(name, table[name].type) for name in (*_IDENTITY, *(EARLIER if has_earlier else ()))])
    rows = engine.spark.read.schema(spark_schema(schema)).parquet(*map(str, paths))
    if is_staged:
        rows = rows.where(F.col("status") == "accepted")
        if inputs.unreadable:
            rows = rows.where(~F.col("file").isin(sorted(inputs.unreadable)))
    else:
        rows = rows.withColumns({"stage": F.lit(""), "row": F.lit(None).cast("int")})
    was = [
        (F.col(name) if has_earlier else F.lit(None)).cast(DUPLICATE_EVENTS.spark(name)[0].dataType).alias(f"was_{name}")
        for name in EARLIER
    ]
    return rows.select(*_IDENTITY, "stage", "row", F.lit(origin).alias("origin"), *was)


# Writing: what a worker does with one staged file


def _write_staged(engine: Engine, inputs: Inputs, judged: Path | None, result: Deduplicated) -> None:
    if not inputs.staged:
        return
    stages = [file.stage for file in inputs.staged]
    rows = workers.run(engine, len(stages), _settle(stages, inputs, judged))
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
            ds.dataset(judged, format="parquet").to_table(filter=(pc.field("origin") == _STAGE) & (pc.field("stage") == stage))
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


def _move(engine: Engine, inputs: Inputs, judged: Path, files: dict[str, list[TableFile]], result: Deduplicated) -> None:
    moves = ds.dataset(judged, format="parquet").to_table(
        columns=["origin", "landing_date", "source", "file", "earlier_file"], filter=pc.field("origin") != _STAGE
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
    rows = workers.run_over(engine, candidates, _rewrite(inputs, judged))
    gone = workers.removed_files(rows)
    for name, file in candidates:
        if f"{name}/{file.path}" in gone:
            result.changes[name].removed.append(file)
    for written in workers.written_files(rows):
        result.changes[written.table].added.append(written)


def _rewrite(inputs: Inputs, judged: Path) -> Callable[[tuple[str, TableFile]], Iterator[pa.RecordBatch]]:
    """The function that writes one file of the lake again without the rows that move, and those where they belong."""
    root, folder, run_id = inputs.lake.root, inputs.folder, inputs.run_id

    def rewrite(candidate: tuple[str, TableFile]) -> Iterator[pa.RecordBatch]:
        name, file = candidate
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

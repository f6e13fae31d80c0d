"""Decide which of the staged records are events and which repeat one, and write both, with those that were refused.

    A step of the night: millrace run --date 2026-11-20

Copies are found on narrow rows, which the engine joins, sorts and sends to the task of their file. A partition that is
replaced may also change what records of other partitions are: those are moved between `events` and `duplicate_events`, and only
the files that hold them are written again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import FILES, StoredFile
from jobs.engine.packed_rows import PACKED, Packing
from jobs.engine.processes import Batches
from jobs.ingest import StagedFile
from jobs.lake import table_rows
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import WrittenFile, write_partitioned
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.storage.parquet_files import open_parquet
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS, LANDING_ORDER, REJECTED_EVENTS
from schemas.table import INTEGER, Table, spark_schema
from transforms.deduplication import (
    EARLIER,
    HASHES,
    RECORDED_EARLIER,
    REPEATED,
    changed_copies,
    repeated_hashes,
    with_earlier_copy,
)
from transforms.ingest.records import RECORDS
from transforms.times import shifted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# The table name of files of staged records, which are numbered together with files of the lake's tables.
_STAGED = "_records"
_TABLES = (EVENTS, DUPLICATE_EVENTS)
# Hashes of ids that one task compares, about.
_HASHES_OF_A_TASK = 1_000_000
_ROW = pa.field("row", INTEGER)  # within its file
_IDENTITY = ("source", "event_hash", "event_id", *LANDING_ORDER)
_COPIES = pa.schema(
    [
        FILES.field("number"),
        _ROW,
        *(pa.field(name, EVENTS[name].type) for name in _IDENTITY),
        *(pa.field(recorded, DUPLICATE_EVENTS[name].type) for recorded, name in zip(RECORDED_EARLIER, EARLIER, strict=True)),
    ]
)


@dataclass
class Deduplicated:
    """What the staged records became, and what moved in partitions that were not read."""

    changes: dict[str, Change] = field(default_factory=lambda: {t.name: Change() for t in (*_TABLES, REJECTED_EVENTS)})
    # Per kind (accepted, duplicates, rejected): how many records of each landed file were written as such.
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    # Per partition and landed file that was not read: how many records became duplicates (negative: events).
    moved: Counter[tuple[Partition, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Records:
    """The staged records, and the partitions of the lake whose rows they replace."""

    lake: Lake
    output: RunOutput
    window_days: int
    replaced: frozenset[Partition]
    staged: Sequence[StagedFile]
    unreadable: frozenset[str]


@dataclass(frozen=True)
class Repeats:
    """The records that repeat another one, or did, where that is new."""

    rows: DataFrame  # their file's number, their row in it, and the copy directly before, all null where there is none
    files: Mapping[int, StoredFile]
    counts: Sequence[tuple[int, str, bool, int]]  # per file's number, landed file, and whether they are duplicates: how many


def find_repeats(engine: Engine, records: Records) -> Repeats | None:
    """The staged duplicates and the rows of the lake whose copy directly before has changed; None where there is no such row."""
    # A rebuild of what is made of events alone reads no partition again.
    return _find_repeats(engine, records, _staged(records), *_lake_files(records)) if records.replaced else None


def find_repeats_of_removed(
    engine: Engine, records: Records, removed: Sequence[StoredFile], others: Sequence[StoredFile]
) -> Repeats | None:
    """The same when rows are removed. In: files of the removed rows, and all files of events and repeats that may hold copies of them."""
    return _find_repeats(engine, records, [], removed, others)


def _find_repeats(
    engine: Engine, records: Records, staged: Sequence[StoredFile], removed: Sequence[StoredFile], unreplaced: Sequence[StoredFile]
) -> Repeats | None:
    from pyspark.sql import functions as F

    files = dict(enumerate([*staged, *removed, *unreplaced]))
    if not staged and not removed:
        return None
    few = file_tasks.are_few(files.values())
    parts = 1 if few else 1 + sum(file.rows for file in files.values()) // _HASHES_OF_A_TASK
    packing, folder = Packing(HASHES, ("event_hash",), parts), records.output.local_folder
    read_hashes = packing.pack_output_of(_read_hashes(records.unreadable, len(staged), len(removed)))
    hashes = file_tasks.spread(engine, files, few=few).mapInArrow(engine.in_processes(read_hashes), spark_schema(PACKED))
    repeated = engine.map_by_key(hashes, packing, repeated_hashes, REPEATED, folder / "_hashes")
    repeated = engine.hold(repeated, folder / "_repeated_hashes")
    holding = [row["number"] for row in repeated.select("number").distinct().collect()]
    if not holding:
        engine.release(repeated)
        return None
    addressed = file_tasks.with_rows(engine, {number: files[number] for number in holding}, repeated, few=few)
    copies = addressed.mapInArrow(_read_copies(records.unreadable), spark_schema(_COPIES))
    # Those that landed before the first partition that was read stay what they are. As text: PySpark gives Java no date before the
    # year 1000.
    first = F.lit(min(partition.landing_date for partition in records.replaced).isoformat()).cast("date")
    changed = changed_copies(with_earlier_copy(copies, records.window_days).where(F.col("landing_date") >= first))
    rows = engine.hold(changed.select("number", "row", "file", *EARLIER), records.output.local_folder / "_repeats")
    per_file = rows.groupBy("number", "file", F.col("earlier_file").isNotNull().alias("is_duplicate")).agg(F.count("row").alias("rows"))
    counts = [(row["number"], row["file"], row["is_duplicate"], row["rows"]) for row in per_file.collect()]
    engine.release(repeated)
    if not counts:
        engine.release(rows)
        return None
    return Repeats(rows, files, counts)


def write(engine: Engine, records: Records, repeats: Repeats | None) -> Deduplicated:
    """Write the tables of records for the partitions that were read, and correct those of other partitions."""
    result = Deduplicated()
    for name, change in result.changes.items():
        change.removed = [file for file in records.lake.files(name) if _partition(file) in records.replaced]
    files = dict(enumerate(_staged(records)))
    if repeats is not None:
        files |= {number: repeats.files[number] for number, *_ in repeats.counts}
        result.moved = moved_records(repeats)
    if not files:
        return result
    reports = _write(engine, records, files, repeats)
    replaced = task_reports.removed_files(reports)
    for name in (table.name for table in _TABLES):
        result.changes[name].removed += [file for file in records.lake.files(name) if f"{name}/{file.path}" in replaced]
    for written in task_reports.written_files(reports):
        result.changes[written.table].added.append(written)
    result.counts = task_reports.counted(reports)
    return result


def moved_records(repeats: Repeats) -> Counter[tuple[Partition, str]]:
    """Per partition and landed file of the lake, how many records become duplicates (negative: events)."""
    moved: Counter[tuple[Partition, str]] = Counter()
    for number, landed, is_duplicate, rows in repeats.counts:
        stored = repeats.files[number]
        if stored.table == (EVENTS.name if is_duplicate else DUPLICATE_EVENTS.name):
            moved[_partition(stored), landed] += rows if is_duplicate else -rows
    return moved


def rewrite(engine: Engine, records: Records, repeats: Repeats) -> pa.Table:
    """Write the files of the lake with such rows again, and the rows where they belong now; gives the reports of the tasks."""
    return _write(engine, records, {number: repeats.files[number] for number, *_ in repeats.counts}, repeats)


def _write(engine: Engine, records: Records, files: Mapping[int, StoredFile], repeats: Repeats | None) -> pa.Table:
    write_files = engine.in_processes(_writer(records))
    if repeats is None:
        tasks = file_tasks.spread(engine, files, to_write=True)
    else:
        tasks = file_tasks.with_rows(engine, files, repeats.rows.select("number", "row", *EARLIER), to_write=True)
    reports = tasks.mapInArrow(write_files, spark_schema(task_reports.REPORT)).toArrow()
    if repeats is not None:
        engine.release(repeats.rows)
    return reports


# Which files


def _staged(records: Records) -> list[StoredFile]:
    return [StoredFile(_STAGED, file.stage, str(records.output.working_folder / _STAGED), file.rows, {}) for file in records.staged]


def _lake_files(records: Records) -> tuple[list[StoredFile], list[StoredFile]]:
    """The lake's files of the partitions that are replaced, and those of other partitions that may hold a copy."""
    dates = [partition.landing_date for partition in records.replaced]
    nearest, farthest = shifted(min(dates), -records.window_days), shifted(max(dates), records.window_days)
    sources = {partition.source for partition in records.replaced}
    removed: list[StoredFile] = []
    unreplaced: list[StoredFile] = []
    for name in (table.name for table in _TABLES):
        for file in records.lake.files(name):
            partition = _partition(file)
            if partition in records.replaced:
                removed.append(StoredFile.of_lake(records.lake.root, name, file))
            elif partition.source in sources and nearest <= partition.landing_date <= farthest:
                unreplaced.append(StoredFile.of_lake(records.lake.root, name, file))
    return removed, unreplaced


def _partition(file: TableFile | StoredFile) -> Partition:
    return Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])


# Reading: what a task does with one file


def _valid_parts(file: StoredFile, columns: Sequence[str], unreadable: pa.Array) -> Iterator[pa.Table]:
    """These columns of the valid records of a file, and their rows in it; some rows at a time."""
    is_staged = file.table == _STAGED
    also_read = [name for name in ("status", "file") if is_staged and name not in columns and (name == "status" or len(unreadable))]
    schema = RECORDS if is_staged else TABLES[file.table].arrow
    start = 0
    for part in file_tasks.parts([file], schema, [*columns, *also_read]):
        rows = part.append_column(_ROW, pa.array(range(start, start + part.num_rows), INTEGER))
        start += part.num_rows
        yield _valid(rows, unreadable) if is_staged else rows


def _valid(staged: pa.Table, unreadable: pa.Array) -> pa.Table:
    """Those of some staged records that are valid, and of a file that could be read."""
    is_valid = pc.equal(staged["status"], "accepted")
    if len(unreadable):
        is_valid = pc.and_(is_valid, pc.invert(pc.is_in(staged["file"], value_set=unreadable)))
    return staged.filter(is_valid)


def _read_hashes(unreadable: frozenset[str], staged: int, removed: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives the hashes of the valid records of files.

    Files are numbered: first the staged ones, then those of replaced partitions; `staged` and `removed` are how many there are.
    """
    unreadable_files = pa.array(sorted(unreadable), pa.string())

    def read_hashes(batches: Batches) -> Iterator[pa.RecordBatch]:
        for number, file, _ in file_tasks.per_file(batches):
            is_new, is_removed = number < staged, staged <= number < staged + removed
            for rows in _valid_parts(file, ["event_hash"], unreadable_files):
                flags = {name: pa.repeat(pa.scalar(flag), rows.num_rows) for name, flag in (("is_new", is_new), ("is_removed", is_removed))}
                yield from file_tasks.numbered(number, pa.table({"event_hash": rows["event_hash"], **flags}), HASHES)

    return read_hashes


def _read_copies(unreadable: frozenset[str]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives the identity and the landing order of valid records whose hash was sent to their file."""
    unreadable_files = pa.array(sorted(unreadable), pa.string())

    def read_copies(batches: Batches) -> Iterator[pa.RecordBatch]:
        for number, file, addressed in file_tasks.per_file(batches):
            hashes = pc.unique(addressed["event_hash"])
            earlier = EARLIER if file.table == DUPLICATE_EVENTS.name else ()
            for rows in _valid_parts(file, [*_IDENTITY, *earlier], unreadable_files):
                copies = rows.filter(pc.is_in(rows["event_hash"], value_set=hashes))
                yield from file_tasks.numbered(number, _with_recorded_copy(copies), _COPIES)

    return read_copies


def _with_recorded_copy(copies: pa.Table) -> pa.Table:
    """Rows with the copy directly before each, as recorded in the lake. Only duplicates have one."""
    earlier = [copies[name] if name in copies.column_names else pa.nulls(copies.num_rows, DUPLICATE_EVENTS[name].type) for name in EARLIER]
    return pa.table(dict(zip(copies.column_names, copies.columns, strict=True)) | dict(zip(RECORDED_EARLIER, earlier, strict=True)))


# Writing: what a task does with one file


def _writer(records: Records) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns staged files into files of the three tables, and writes files of the lake again without what moves."""
    output, unreadable_files = records.output, pa.array(sorted(records.unreadable), pa.string())

    def write_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, repeats in file_tasks.per_file(batches):
            write_file = _write_staged if file.table == _STAGED else _rewrite
            yield from write_file(file, repeats, output, unreadable_files)

    return write_files


def _write_staged(file: StoredFile, repeats: pa.Table, output: RunOutput, unreadable_files: pa.Array) -> Iterator[pa.RecordBatch]:
    rows = _with_earlier(open_parquet(file.location).read(), repeats, output.run_id)
    if len(unreadable_files):
        rows = rows.filter(pc.invert(pc.is_in(rows["file"], value_set=unreadable_files)))
    accepted = pc.equal(rows["status"], "accepted")
    repeated = pc.is_valid(rows["earlier_file"])
    kinds = {
        "accepted": (EVENTS, rows.filter(pc.and_(accepted, pc.invert(repeated)))),
        "duplicates": (DUPLICATE_EVENTS, rows.filter(pc.and_(accepted, repeated))),
        "rejected": (REJECTED_EVENTS, rows.filter(pc.invert(accepted))),
    }
    written = [new for table, chosen in kinds.values() for new in _written(table, chosen, output)]
    yield from task_reports.report(written, {kind: _per_landed_file(chosen) for kind, (_, chosen) in kinds.items()})


def _rewrite(file: StoredFile, repeats: pa.Table, output: RunOutput, _: pa.Array) -> Iterator[pa.RecordBatch]:
    """Write a file of the lake without the rows that change, and these where they belong."""
    rows = table_rows.read_whole(TABLES[file.table], file.location, file.partition)
    changing = pc.is_in(pa.array(range(rows.num_rows), INTEGER), value_set=repeats["row"].combine_chunks())
    if not pc.any(changing).as_py():
        return
    changed = _with_earlier(rows.select([name for name in EVENTS.names if name != "run_id"]), repeats, output.run_id).filter(changing)
    repeated = pc.is_valid(changed["earlier_file"])
    written = [
        *_written(TABLES[file.table], rows.filter(pc.invert(changing)), output),
        *_written(EVENTS, changed.filter(pc.invert(repeated)), output),
        *_written(DUPLICATE_EVENTS, changed.filter(repeated), output),
    ]
    yield from task_reports.report(written, removed=f"{file.table}/{file.path}")


def _with_earlier(rows: pa.Table, repeats: pa.Table, run_id: str) -> pa.Table:
    """The rows of a file as this run's, with the copy directly before each, null where there is none."""
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
    at = pc.index_in(pa.array(range(rows.num_rows), INTEGER), value_set=repeats["row"].combine_chunks()) if repeats.num_rows else None
    for name in EARLIER:
        kind = DUPLICATE_EVENTS[name].type
        rows = rows.append_column(name, pa.nulls(rows.num_rows, kind) if at is None else repeats[name].combine_chunks().cast(kind).take(at))
    return rows


def _per_landed_file(rows: pa.Table) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in pc.value_counts(rows["file"]).to_pylist()})


def _written(table: Table, rows: pa.Table, output: RunOutput) -> list[WrittenFile]:
    return write_partitioned(table, rows.select(table.names), output)

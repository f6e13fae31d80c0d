"""Read what has landed: every line of every file once, into one staged set of records.

    A step of the night: millrace run --date 2026-11-20

The landed files are the rows of a DataFrame. A task reads its files whole and writes the staged files itself: wide rows never
pass through a shuffle, line numbers and bytes are exact, and a file that cannot be read takes nothing with it but itself. A
task reports the counts of each landed file and the name of each staged file.
"""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import file_tasks
from jobs.engine.processes import Batches
from jobs.landing import zone
from jobs.landing.zone import LandedFile, Partition, UnreadableError
from jobs.storage import storage_paths
from jobs.storage.parquet_files import write_parquet
from jobs.storage.storage_paths import StoragePath
from schemas.table import BIGINT, INTEGER, STRING, spark_schema
from transforms.ingest.lines import Line, split_lines
from transforms.ingest.records import FileLocation, RecordCounts, TimeRules, record_batches
from transforms.privacy.erased_ids import ErasedIds
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules
from transforms.sources.registry import SOURCES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# The files of one task. A file is named by its number in the list of all files that are read.
TASK = pa.schema(
    [
        pa.field(
            "landed_files",
            pa.list_(
                pa.struct(
                    [
                        pa.field("number", INTEGER),
                        pa.field("source", STRING),
                        pa.field("landing_date", STRING),  # as text: PySpark gives Java no date before the year 1000
                        pa.field("landing_hour", INTEGER),
                        pa.field("file", STRING),
                        pa.field("size", BIGINT),
                        pa.field("modified", BIGINT),
                        pa.field("fault", STRING),
                        pa.field("path", STRING),
                    ]
                )
            ),
        )
    ]
)
# The columns of REPORT that are the fields of FileCounts.
_COUNTED = ("number", "sha256", "records", "rejected", "blank", "empty", "erased", "error")
# A row has a staged file with its rows, or the counts of a landed file; `number` is that of the landed file, or of one in the partition.
REPORT = pa.schema(
    [
        pa.field("number", INTEGER),
        pa.field("staged_file", STRING),
        pa.field("rows", BIGINT),
        pa.field("sha256", STRING),
        *(pa.field(name, BIGINT) for name in ("records", "rejected", "blank", "empty", "erased")),
        pa.field("error", STRING),
    ]
)
FLUSH_ROWS = 200_000
FLUSH_BYTES = 256 << 20
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class ReadRules:
    """How files are read."""

    times: Mapping[str, TimeRules]  # per source
    max_document_bytes: int
    chunk_lines: int
    privacy: PrivacyRules = SHIPPED_PRIVACY
    erased: Mapping[str, ErasedIds] = field(default_factory=dict)  # per source with erasures


@dataclass(frozen=True)
class FileCounts:
    """The counts of one landed file; they are None when it could not be read."""

    number: int  # in the list of all files that are read
    sha256: str | None = None
    records: int | None = None
    rejected: int | None = None
    blank: int | None = None
    empty: int | None = None
    erased: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class StagedFile:
    """One staged Parquet file: the records of one partition, in landing order."""

    stage: str
    partition: Partition
    rows: int


def read(
    engine: Engine, root: StoragePath, files: Sequence[LandedFile], stage: StoragePath, rules: ReadRules, task_bytes: int
) -> tuple[list[FileCounts], list[StagedFile]]:
    """Read these files into the stage; gives the counts of each file, in their order, and the staged files."""
    if not files:
        return [], []
    storage_paths.make_folder(stage)
    read_files = engine.in_processes(_reader(root, stage, rules))
    reports = _landed_files(engine, files, task_bytes).mapInArrow(read_files, spark_schema(REPORT)).toArrow()
    return from_reports(reports, files)


def from_reports(reports: pa.Table, files: Sequence[LandedFile]) -> tuple[list[FileCounts], list[StagedFile]]:
    """The counts of each landed file, in the order of the files, and the staged files, from the reports of all tasks."""
    is_staged = pc.is_valid(reports["staged_file"])
    counts = [FileCounts(**row) for row in reports.filter(pc.invert(is_staged)).select(_COUNTED).to_pylist()]
    staged = [StagedFile(row["staged_file"], files[row["number"]].partition, row["rows"]) for row in reports.filter(is_staged).to_pylist()]
    return sorted(counts, key=lambda one: one.number), sorted(staged, key=lambda one: one.stage)


def _landed_files(engine: Engine, files: Sequence[LandedFile], task_bytes: int) -> DataFrame:
    """The landed files as rows of the schema TASK, each in a task of its own."""
    groups = [([_row(number, files[number]) for number in numbers],) for numbers in _tasks(files, task_bytes)]
    return file_tasks.spread_groups(engine, groups, TASK, len(groups))


def _tasks(files: Sequence[LandedFile], task_bytes: int) -> list[list[int]]:
    """Cut the files, in order of partition, into runs of about this many bytes, so that a task has few partitions to write.

    The largest comes first, so that no task starts late and takes long.
    """
    tasks: list[list[int]] = []
    sizes: list[int] = []
    for number in sorted(range(len(files)), key=lambda i: (files[i].partition, files[i].file)):
        if not tasks or sizes[-1] >= task_bytes:
            tasks.append([])
            sizes.append(0)
        tasks[-1].append(number)
        # What is compressed grows to about ten times its size; a file costs something to open, too.
        sizes[-1] += files[number].size * (10 if files[number].file.endswith((".gz", ".bz2")) else 1) + 16_384
    return [tasks[task] for task in sorted(range(len(tasks)), key=lambda task: -sizes[task])]


def _row(number: int, file: LandedFile) -> tuple[Any, ...]:
    partition = file.partition
    described = (file.landing_hour, file.file, file.size, file.modified, file.fault, file.path)
    return number, partition.source, partition.landing_date.isoformat(), *described


def _landed_file(row: Mapping[str, Any]) -> LandedFile:
    partition = Partition(dt.date.fromisoformat(row["landing_date"]), row["source"])
    return LandedFile(partition, row["landing_hour"], row["file"], row["size"], row["modified"], row["fault"], path=row["path"])


def _reader(root: StoragePath, stage: StoragePath, rules: ReadRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that reads the landed files of a task into the stage and reports on them."""

    def read_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.to_pylist():
                files = [(row["number"], _landed_file(row)) for row in task["landed_files"]]
                yield read_into_stage(root, files, stage, rules)

    return read_files


def read_into_stage(root: StoragePath, files: Sequence[tuple[int, LandedFile]], stage: StoragePath, rules: ReadRules) -> pa.RecordBatch:
    """Read some numbered files into the stage; gives a report of the schema REPORT."""
    writer = _StageWriter(stage)
    report: list[dict[str, Any]] = []
    for number, file in files:
        report += writer.turn_to(number, file.partition)
        counts, staged = _read_file(root, number, file, writer, rules)
        report += [*staged, asdict(counts)]
    return pa.RecordBatch.from_pylist([*report, *writer.flush()], schema=REPORT)


def _read_file(
    root: StoragePath, number: int, file: LandedFile, writer: _StageWriter, rules: ReadRules
) -> tuple[FileCounts, list[dict[str, Any]]]:
    source = SOURCES[file.partition.source]
    location = FileLocation(source.name, file.partition.landing_date, file.landing_hour, file.file)
    digest = hashlib.sha256()
    total = RecordCounts()
    staged: list[dict[str, Any]] = []
    try:
        lines = split_lines(zone.chunks(root, file, digest), rules.max_document_bytes)
        with _no_cyclic_gc():
            for chunk in _chunks(lines, rules):
                for batch, counts in record_batches(
                    source, chunk, location, rules.times[source.name], rules.privacy, rules.erased.get(source.name)
                ):
                    total += counts
                    staged += writer.add(batch)
    except UnreadableError as error:
        # Readers of the stage leave out the rows of it that are staged already: this report names the file.
        return FileCounts(number, error=str(error)), staged
    return FileCounts(number, digest.hexdigest(), total.records, total.rejected, total.blank, total.empty, total.erased), staged


def _chunks(lines: Iterable[Line], rules: ReadRules) -> Iterator[list[Line]]:
    """Some lines at a time, few enough to stay small whatever they hold."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line.content)
        if len(chunk) >= rules.chunk_lines or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@contextmanager
def _no_cyclic_gc() -> Iterator[None]:
    """Garbage collection would walk every parsed document again and again, at four times the cost of parsing; there are no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _StageWriter:
    """Collects records of one partition after the other and writes them as staged files of bounded size."""

    def __init__(self, stage: StoragePath) -> None:
        self._stage = stage
        self._number = -1
        self._partition: Partition | None = None
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def turn_to(self, number: int, partition: Partition) -> list[dict[str, Any]]:
        """Go on with another landed file; what was collected is written when the partition changes."""
        staged = self.flush() if partition != self._partition else []
        self._number, self._partition = number, partition
        return staged

    def add(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """Collect a batch; what was collected is written when it is large."""
        if batch.num_rows:
            self._batches.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        return self.flush() if self._rows >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES else []

    def flush(self) -> list[dict[str, Any]]:
        """Write what was collected."""
        staged: list[dict[str, Any]] = []
        if self._rows:
            name = f"{uuid.uuid4()}.parquet"
            rows = pa.Table.from_batches(self._batches)
            write_parquet(rows, self._stage / name, compression="zstd", compression_level=1, write_statistics=False)
            staged.append({"number": self._number, "staged_file": name, "rows": self._rows})
        self._batches, self._rows, self._bytes = [], 0, 0
        return staged

"""Read what has landed: every line of every file once, into one staged set of records.

    A step of the night: millrace run --date 2026-11-20

Workers read whole files and write the stage themselves: wide rows never pass through a shuffle, line numbers and bytes
are exact, and a file that cannot be read takes nothing with it but itself. What comes back to the driver is an account:
per landed file its counts, per staged file its name.
"""

from __future__ import annotations

import gc
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs import landing, workers
from jobs.landing import LandedFile, Partition, UnreadableError
from jobs.processes import Work
from transforms.lines import Line, split_lines
from transforms.records import RECORDS, Counts, Place, TimeRules, record_batches
from transforms.sources import SOURCES

if TYPE_CHECKING:
    from jobs.session import Engine

# A staged record: the record itself, and where in the stage it stands.
STAGED = RECORDS.append(pa.field("stage", pa.string())).append(pa.field("row", pa.int32()))
ACCOUNT = pa.schema([("kind", pa.string()), ("body", pa.string())])
FLUSH_ROWS = 200_000
FLUSH_BYTES = 256 << 20
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class ReadRules:
    """How files are read."""

    times: TimeRules
    max_document_bytes: int
    chunk_lines: int


@dataclass(frozen=True)
class FileAccount:
    """What came of one landed file; the counts are None when it could not be read."""

    index: int  # place in the list of files that were to be read
    sha256: str | None = None
    records: int | None = None
    rejected: int | None = None
    blank: int | None = None
    empty: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class StagedFile:
    """One staged Parquet file: the records of one partition, in landing order."""

    stage: str
    partition: Partition
    rows: int


def read(
    engine: Engine, root: Path, files: Sequence[LandedFile], stage: Path, rules: ReadRules, task_bytes: int
) -> tuple[list[FileAccount], list[StagedFile]]:
    """Read these files into the stage; gives an account per file, in their order, and the staged files."""
    tasks = _tasks(files, task_bytes)
    if not tasks:
        return [], []
    stage.mkdir(parents=True, exist_ok=True)
    rows = workers.run(engine, len(tasks), _reader(root, files, tasks, stage, rules), ACCOUNT).to_pylist()
    accounts = [FileAccount(**json.loads(row["body"])) for row in rows if row["kind"] == "file"]
    staged = []
    for row in rows:
        if row["kind"] == "stage":
            body = json.loads(row["body"])
            staged.append(StagedFile(body["stage"], files[body["index"]].partition, body["rows"]))
    return sorted(accounts, key=lambda account: account.index), sorted(staged, key=lambda file: file.stage)


def _tasks(files: Sequence[LandedFile], task_bytes: int) -> list[list[int]]:
    """Cut the files, in order of partition, into runs of about this many bytes, so that a task has few partitions to write."""
    tasks: list[list[int]] = []
    filled = task_bytes
    for index in sorted(range(len(files)), key=lambda i: (files[i].partition, files[i].file)):
        if filled >= task_bytes:
            tasks.append([])
            filled = 0
        tasks[-1].append(index)
        # What is compressed grows to about ten times its size; a file costs something to open, too.
        filled += files[index].size * (10 if files[index].file.endswith((".gz", ".bz2")) else 1) + 16_384
    return tasks


def _reader(root: Path, files: Sequence[LandedFile], tasks: Sequence[Sequence[int]], stage: Path, rules: ReadRules) -> Work:
    """The function that a worker runs: the number of a task in, accounts out."""
    plan = [[(index, files[index]) for index in task] for task in tasks]

    def read_task(number: int) -> Iterator[pa.RecordBatch]:
        rows = [{"kind": kind, "body": json.dumps(body)} for kind, body in _read_task(root, plan[number], stage, rules)]
        yield pa.RecordBatch.from_pylist(rows, schema=ACCOUNT)

    return read_task


def _read_task(root: Path, files: Sequence[tuple[int, LandedFile]], stage: Path, rules: ReadRules) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read some files into the stage: an account per file, and a line per staged file."""
    writer = _StageWriter(stage)
    for index, file in files:
        yield from writer.turn_to(index, file.partition)
        account, staged = _read_file(root, index, file, writer, rules)
        yield from staged
        yield "file", asdict(account)
    yield from writer.flush()


def _read_file(
    root: Path, index: int, file: LandedFile, writer: _StageWriter, rules: ReadRules
) -> tuple[FileAccount, list[tuple[str, dict[str, Any]]]]:
    source = SOURCES[file.partition.source]
    place = Place(source.name, file.partition.landing_date, file.landing_hour, file.file)
    digest = hashlib.sha256()
    total = Counts()
    staged: list[tuple[str, dict[str, Any]]] = []
    try:
        lines = split_lines(landing.chunks(root, file, digest), rules.max_document_bytes)
        with _no_cyclic_gc():
            for chunk in _chunks(lines, rules):
                for batch, counts in record_batches(source, chunk, place, rules.times):
                    total += counts
                    staged += writer.add(batch)
    except UnreadableError as error:
        # Rows of it that are staged already are left out by whoever reads the stage: this account names the file.
        return FileAccount(index, error=str(error)), staged
    return FileAccount(index, digest.hexdigest(), total.records, total.rejected, total.blank, total.empty), staged


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
    """Cyclic garbage collection walks every parsed document again and again, four times the cost of parsing; there are no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _StageWriter:
    """Collects records of one partition after the other and writes them as staged files of bounded size."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self._index = -1
        self._partition: Partition | None = None
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def turn_to(self, index: int, partition: Partition) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go on with another landed file; what was collected is written when the partition changes."""
        if partition != self._partition:
            yield from self.flush()
        self._index, self._partition = index, partition

    def add(self, batch: pa.RecordBatch) -> list[tuple[str, dict[str, Any]]]:
        """Collect a batch; what was collected is written when it is large."""
        if batch.num_rows:
            self._batches.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        return list(self.flush()) if self._rows >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES else []

    def flush(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Write what was collected."""
        if self._rows:
            name = f"{uuid.uuid4()}.parquet"
            rows = pa.Table.from_batches(self._batches)
            rows = rows.append_column("stage", pa.repeat(pa.scalar(name), rows.num_rows))
            rows = rows.append_column("row", pa.array(range(rows.num_rows), pa.int32()))
            pq.write_table(rows, self._stage / name, compression="zstd", compression_level=1)
            yield "stage", {"stage": name, "index": self._index, "rows": self._rows}
        self._batches, self._rows, self._bytes = [], 0, 0

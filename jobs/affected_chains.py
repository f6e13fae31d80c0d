"""What a change touches beyond its own partitions: chains of events, the events in them, and the rows made of them.

Shared by the steps that build rows from chains: sessions and workflow summaries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.engine import file_tasks, task_reports, workers
from jobs.engine.file_tasks import ArrowFunction, Batches, StoredFile
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import NO_VALUE
from jobs.lake.tables import Lake
from schemas.events import EVENTS
from schemas.table import BIGINT, Table, spark_schema
from transforms.documents.json_documents import short_hash
from transforms.sources.registry import SOURCES

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine


# How many events are worth a task of their own, and how many are too many for the memory of one.
_WORTH_A_TASK = 10_000
_TOO_MANY_FOR_A_TASK = 500_000


@dataclass(frozen=True)
class ChangedEvents:
    """What the steps work on that build rows from chains."""

    lake: Lake
    folder: Path  # the run's staging folder
    run_id: str
    events: Change
    tasks_wanted: int
    from_nothing: bool = False  # no row that was made of chains stays: all events, new and kept, are read

    def rows_in(self, sources: Collection[str]) -> int:
        """Events of these sources that the run adds and removes; with `from_nothing` all events that it leaves."""
        added = sum(file.rows for file in self.events.added if file.partition_values["source"] in sources)
        removed = sum(file.rows for file in self.events.removed if file.partition["source"] in sources)
        if not self.from_nothing:
            return added + removed
        return added - removed + sum(file.rows for file in self.lake.files(EVENTS.name) if file.partition["source"] in sources)

    @property
    def tasks(self) -> int:
        """Into how many tasks the keys of the night are divided."""
        rows = self.rows_in(SOURCES) if self.from_nothing else sum(file.rows for file in self.events.added)
        return max(1, min(self.tasks_wanted, rows // _WORTH_A_TASK), rows // _TOO_MANY_FOR_A_TASK)

    def added_files(self) -> list[StoredFile]:
        """The files of events that the run has staged."""
        folder = str(self.folder / EVENTS.name)
        return [StoredFile(EVENTS.name, file.path, folder, file.rows, file.partition_values) for file in self.events.added]

    def removed_files(self) -> list[StoredFile]:
        """The files of events that the run removes."""
        return [StoredFile.of_lake(self.lake.root, EVENTS.name, file) for file in self.events.removed]

    def kept_files(self) -> list[StoredFile]:
        """The files of events that stay."""
        gone = {file.path for file in self.events.removed}
        files = [file for file in self.lake.files(EVENTS.name) if file.path not in gone]
        return [StoredFile.of_lake(self.lake.root, EVENTS.name, file) for file in files]

    def unchanged_files(self, sources: Collection[str], dates: Collection[str]) -> list[StoredFile]:
        """The files of events that stay, of these sources and landing dates."""
        return [file for file in self.kept_files() if file.partition["source"] in sources and file.partition["landing_date"] in dates]


@dataclass(frozen=True)
class NarrowEvents:
    """The events of a night's affected chains, of which the columns travel that the rules read."""

    added: Sequence[StoredFile]
    unchanged: Sequence[StoredFile]
    columns: Sequence[str]
    schema: pa.Schema
    of_file: Callable[[pa.Table, bool], pa.Table]  # of rows with these columns, those that travel; and whether their file is unchanged

    def map_keys(self, engine: Engine, function: ArrowFunction, tasks: int, key: Sequence[str], folder: Path) -> pa.Table:
        """What a function reports of these events, called in so many tasks, each with all events of its keys."""
        files = dict(enumerate([*self.added, *self.unchanged]))
        first_unchanged, columns, schema, of_file = len(self.added), list(self.columns), self.schema, self.of_file

        def read(batches: Batches) -> Iterator[pa.RecordBatch]:
            for number, file, _ in file_tasks.per_file(batches):
                for rows in file_tasks.parts(file, EVENTS.arrow, columns):
                    yield from of_file(rows, number >= first_unchanged).select(schema.names).cast(schema).to_batches()

        few = file_tasks.are_few(files.values())
        narrow = file_tasks.spread(engine, files, few=few).mapInArrow(engine.in_processes(read), spark_schema(schema))
        return engine.map_by_key(narrow, function, task_reports.REPORT, tasks, key, folder).toArrow()


def ask_files(
    engine: Engine, files: Sequence[StoredFile], columns: Sequence[str], ask: Callable[[Iterable[pa.Table]], pa.Table], schema: pa.Schema
) -> pa.Table:
    """The answers to a question about the rows of these files, asked of the files of a task at a time."""

    def answer(batches: Batches) -> Iterator[pa.RecordBatch]:
        yield from ask(
            part for _, file, _ in file_tasks.per_file(batches) for part in file_tasks.parts(file, EVENTS.arrow, columns)
        ).to_batches()

    numbered = dict(enumerate(files))
    tasks = file_tasks.spread(engine, numbered, few=file_tasks.are_few(files))
    return tasks.mapInArrow(answer, spark_schema(schema)).toArrow().cast(schema)


@dataclass(frozen=True)
class Rows:
    """Rows of a table that are to go: their ids, and the partitions in which they stand."""

    table: Table
    id_column: str
    ids: pa.Array
    partitions: Collection[tuple[str, ...]]  # values of the partition's columns, as text


def places(*values: pa.Array | pa.ChunkedArray) -> set[tuple[str, ...]]:
    """The distinct partitions that these values of the partition's columns name, row by row."""
    return set(zip(*(pc.fill_null(column.cast(pa.string()), NO_VALUE).to_pylist() for column in values), strict=True))


@dataclass(frozen=True)
class Search:
    """The search for the chains that a change touches."""

    engine: Engine
    lake: Lake
    chains: Table
    files: Sequence[TableFile]  # those of the table in which a chain may stand
    columns: tuple[str, ...]  # of a chain, for the decision
    identity: tuple[str, ...]  # of a chain, what tells it from all others
    folder: Path  # in the run's staging folder

    def decide(self, changed: pa.Table, touched: Callable[[pa.Table, pa.Table], pa.Table]) -> pa.Table:
        """What `touched` gives of all chains of the keys that the changed spans bear, and of these spans."""
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = workers.Probe.of_table(self.chains, self.lake.root, self.files, "key_hash", self.columns)
        found = probe.find(self.engine, _hashes(pc.unique(changed["key"])), self.folder / "candidates")
        nothing = pa.schema([pa.field(name, self.chains[name].type) for name in self.columns]).empty_table()
        return touched(pa.concat_tables([nothing, *map(pq.read_table, found)]), changed)

    def whole(self, decided: pa.Table) -> pa.Table:
        """These chains with all their columns, read from the partitions in which they stand."""
        partitions = places(*(decided[name] for name in self.chains.partitioned_by))
        files = [file for file in self.files if _place(self.chains, file) in partitions]
        probe = workers.Probe.of_table(self.chains, self.lake.root, files, "key_hash", tuple(self.chains.names))
        found = probe.find(self.engine, _hashes(pc.unique(decided["key"])), self.folder / "whole")
        rows = pa.concat_tables([self.chains.arrow.remove_metadata().empty_table(), *map(pq.read_table, found)])
        return rows.filter(pc.is_in(self._names(rows), value_set=self._names(decided).combine_chunks()))

    def _names(self, rows: pa.Table) -> pa.ChunkedArray:
        """What tells each chain from all others, as one text."""
        parts = [rows[name].cast(BIGINT) if pa.types.is_timestamp(rows[name].type) else rows[name] for name in self.identity]
        return pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), "\x1f")


def _hashes(keys: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pa.array([short_hash(key) for key in keys.to_pylist()], BIGINT)


def _place(table: Table, file: TableFile) -> tuple[str, ...]:
    return tuple(file.partition[name] for name in table.partitioned_by)


def drop(engine: Engine, lake: Lake, folder: Path, dropped: Iterable[Rows], changes: Mapping[str, Change]) -> None:
    """Write the files that hold such rows again without them, and note that in `changes`."""
    dropped = list(dropped)
    files = [
        (rows.table.name, file) for rows in dropped for file in lake.files(rows.table.name) if _place(rows.table, file) in rows.partitions
    ]
    ids = pa.concat_tables([pa.table({"table": pa.repeat(pa.scalar(rows.table.name), len(rows.ids)), "id": rows.ids}) for rows in dropped])
    reports = workers.write_without(engine, lake.root, folder, files, ids, {rows.table.name: rows.id_column for rows in dropped})
    gone = task_reports.removed_files(reports)
    for name, file in files:
        if f"{name}/{file.path}" in gone:
            changes[name].removed.append(file)
    for written in task_reports.written_files(reports):
        changes[written.table].added.append(written)

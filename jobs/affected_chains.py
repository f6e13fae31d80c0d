"""What a change of `events` affects beyond its own partitions: chains of events, the events in them, and the rows made of them.

Shared by the steps that build rows from chains: sessions and workflow summaries. The rules are in transforms/sessions/chains.py and
transforms/workflows/chains.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import FILES, StoredFile
from jobs.engine.packed_rows import PACKED, Packing
from jobs.engine.processes import Batches
from jobs.lake import table_rows
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change, TableFile, logged_values
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.storage.parquet_files import open_parquet
from schemas.catalog import TABLES
from schemas.events import EVENTS
from schemas.table import BIGINT, BOOLEAN, Table, spark_schema
from transforms.affected_rows import AFFECTED_ROWS, ClosedDates, partition_name
from transforms.documents.json_documents import short_hash
from transforms.sources.registry import SOURCES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine


# A task has memory for so many events.
_TOO_MANY_FOR_A_TASK = 350_000
# How many changed events a task compares with the chains of their keys.
_CHANGES_OF_A_TASK = 100_000
_KEY_HASH = pa.field("key_hash", BIGINT)
_IS_SPAN = pa.field("is_span", BOOLEAN)
_HASHES = pa.schema([FILES.field("number"), _KEY_HASH])


@dataclass(frozen=True)
class ChangedEvents:
    """What the steps work on that build rows from chains."""

    lake: Lake
    output: RunOutput
    events: Change
    tasks_maximum: int
    task_events_minimum: int
    from_nothing: bool = False  # all rows that were made of chains are built again, from all events, new and kept
    closed: ClosedDates = field(default_factory=dict)  # chains with events that landed then are not built again

    def rows_in(self, sources: Collection[str]) -> int:
        """Events of these sources that the run adds and removes; with `from_nothing` all events that it leaves."""
        added = sum(file.rows for file in self.events.added if file.partition_values["source"] in sources)
        removed = sum(file.rows for file in self.events.removed if file.partition["source"] in sources)
        if not self.from_nothing:
            return added + removed
        return added - removed + sum(file.rows for file in self.lake.files(EVENTS.name) if file.partition["source"] in sources)

    @property
    def tasks(self) -> int:
        """The number of tasks among which the keys of the night are divided."""
        rows = self.rows_in(SOURCES) if self.from_nothing else sum(file.rows for file in self.events.added)
        return max(1, min(self.tasks_maximum, rows // self.task_events_minimum), -(-rows // _TOO_MANY_FOR_A_TASK))

    def added_files(self, sources: Collection[str] = SOURCES) -> list[StoredFile]:
        """The files of events of these sources that the run has staged."""
        files = [StoredFile.written(self.lake.root, file) for file in self.events.added]
        return [file for file in files if file.partition["source"] in sources]

    def removed_files(self, sources: Collection[str] = SOURCES) -> list[StoredFile]:
        """The files of events of these sources that the run removes."""
        return [self._stored(EVENTS, file) for file in self.events.removed if file.partition["source"] in sources]

    def kept_files(self, sources: Collection[str] = SOURCES) -> list[StoredFile]:
        """The files of events of these sources that stay."""
        gone = {file.path for file in self.events.removed}
        files = [file for file in self.lake.files(EVENTS.name) if file.path not in gone]
        return [self._stored(EVENTS, file) for file in files if file.partition["source"] in sources]

    def files(self, table: Table) -> list[StoredFile]:
        """The files of a table of the lake."""
        return [self._stored(table, file) for file in self.lake.files(table.name)]

    def _stored(self, table: Table, file: TableFile) -> StoredFile:
        return StoredFile.of_lake(self.lake.root, table.name, file)


@dataclass(frozen=True)
class ChainRules:
    """How a change of events affects the chains of a table, and the rows that were made of them."""

    chains: Table
    event_columns: Sequence[str]  # that `changed_spans` reads
    spans: pa.Schema
    changed_spans: Callable[[Iterable[pa.Table]], pa.Table]  # added and removed events -> spans of the keys that changed
    affected_rows: Callable[[pa.Table, pa.Table], pa.Table]  # chains, spans -> AFFECTED_ROWS
    kept_rows: Callable[[pa.Table], pa.Table]  # chains -> AFFECTED_ROWS that are kept when all else is built again
    id_columns: Mapping[str, str]  # of each table whose rows were made of chains, the column of their ids

    @property
    def candidates(self) -> pa.Schema:
        """Rows that are either a changed span or a chain. Both have `key_hash`, by which they meet, and the columns of their kind."""
        fields = {field.name: field for field in (_KEY_HASH, _IS_SPAN, *self.spans, *self.chain_columns)}
        return pa.schema(list(fields.values()))

    @property
    def chain_columns(self) -> pa.Schema:
        """The columns of a chain, without the run that wrote it."""
        return pa.schema([field for field in self.chains.arrow.remove_metadata() if field.name != "run_id"])


@dataclass(frozen=True)
class Affected:
    """What the changed events affect: rows of AFFECTED_ROWS, and the files of the partitions in which these are."""

    rows: DataFrame | None = None
    events: Sequence[StoredFile] = ()  # of the lake, with events of affected chains
    tables: Sequence[StoredFile] = ()  # of the lake, with rows that were made of affected chains
    are_kept: bool = False  # `rows` are those that stay when all else is built again from `events`, whole

    def addressed_to(self, engine: Engine, files: Mapping[int, StoredFile]) -> DataFrame:
        """The affected rows, each with the number of every file of its partition."""
        from pyspark.sql import functions as F

        assert self.rows is not None
        partitions = [(number, file.table, _partition_name(file)) for number, file in files.items()]
        named = engine.spark.createDataFrame(partitions, "number int, table string, partition string")
        return self.rows.join(F.broadcast(named), on=["table", "partition"], how="inner").select("number", *AFFECTED_ROWS.names)


def find(engine: Engine, inputs: ChangedEvents, rules: ChainRules, sources: Collection[str], folder: Path) -> Affected:
    """What the changed events of these sources affect. Release it when it has been read."""
    from pyspark.sql import functions as F

    changed = dict(enumerate([*inputs.added_files(sources), *inputs.removed_files(sources)]))
    changed_sources = {file.partition["source"] for file in changed.values()}
    chain_files = [file for file in inputs.files(rules.chains) if file.partition.get("source") in (None, *changed_sources)]
    if not changed or not chain_files:
        return Affected()
    numbered = dict(enumerate(chain_files))
    few_changes, few = file_tasks.are_few(changed.values()), file_tasks.are_few([*changed.values(), *chain_files])
    # They are read for their hashes and for the decision.
    spans = file_tasks.spread(engine, changed, few=few_changes).mapInArrow(_read_spans(rules), spark_schema(rules.candidates))
    spans = engine.hold(spans, folder / "spans")
    hashes = file_tasks.spread(engine, numbered, few=few).mapInArrow(_read_hashes, spark_schema(_HASHES))
    changed_hashes = spans.select("key_hash")
    # Few hashes go to all tasks, so that the hashes of all chains need no shuffle.
    changed_hashes = F.broadcast(changed_hashes) if few_changes else changed_hashes
    same_hash = hashes.join(changed_hashes, on="key_hash", how="leftsemi")
    addressed = file_tasks.with_rows(engine, numbered, same_hash.select("number", "key_hash"), few=few)
    tasks = 1 if few else 1 + sum(file.rows for file in changed.values()) // _CHANGES_OF_A_TASK
    packing = Packing(rules.candidates, ("key_hash",), tasks)
    chains = addressed.mapInArrow(packing.pack_output_of(_read_chains(rules)), spark_schema(PACKED))
    rows = engine.map_by_key(packing.pack_frame(spans).unionByName(chains), packing, _decide(rules), AFFECTED_ROWS, folder / "candidates")
    rows = engine.hold(rows, folder / "affected")
    partitions = {(row["table"], row["partition"]) for row in rows.select("table", "partition").distinct().collect()}
    engine.release(spans)
    events = [file for file in inputs.kept_files(sources) if (file.table, _partition_name(file)) in partitions]
    tables = [file for name in rules.id_columns for file in inputs.files(TABLES[name]) if (name, _partition_name(file)) in partitions]
    return Affected(rows, events, tables)


def find_kept(engine: Engine, inputs: ChangedEvents, rules: ChainRules, sources: Collection[str], folder: Path) -> Affected:
    """All events of these sources, and the rows of closed chains, which stay when all else is built again. Release it like `find`."""
    chain_files = inputs.files(rules.chains)
    if not any(inputs.closed.values()) or not chain_files:
        return Affected(events=inputs.kept_files(sources))
    read = file_tasks.spread(engine, dict(enumerate(chain_files))).mapInArrow(_read_kept(rules), spark_schema(AFFECTED_ROWS))
    tables = [file for name in rules.id_columns for file in inputs.files(TABLES[name])]
    return Affected(engine.hold(read, folder / "kept"), inputs.kept_files(sources), tables, are_kept=True)


def closed_spans(rows: pa.Table) -> pa.Table:
    """The spans of closed chains among packed rows: their source, if they have one, key, and first and last time."""
    spans = rows.filter(rows["closed_from"].is_valid())
    named = {name: spans[name] for name in ("source", "key") if name in spans.column_names}
    return pa.table({**named, "first": spans["closed_from"], "last": spans["closed_until"]})


def narrow_events(
    engine: Engine,
    added: Sequence[StoredFile],
    affected: Affected,
    columns: Sequence[str],
    narrow: Callable[[pa.Table, pa.Table | None], pa.Table],
    packing: Packing,
) -> DataFrame:
    """The added events and those of affected chains, of which only the columns travel that the rules read.

    `narrow` turns rows of `events` with `columns` into rows to be packed. With the affected spans of their partition, it leaves out
    the events beyond them.
    """
    files, first_of_lake = dict(enumerate([*added, *affected.events])), len(added)
    selects = affected.rows is not None and not affected.are_kept

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        for number, file, addressed in file_tasks.per_file(batches):
            spans = addressed if selects and number >= first_of_lake else None
            for rows in file_tasks.parts([file], EVENTS.arrow, columns):
                yield from narrow(rows, spans).to_batches()

    few = file_tasks.are_few(files.values())
    if affected.events and selects:
        of_lake = {number: file for number, file in files.items() if number >= first_of_lake}
        tasks = file_tasks.with_rows(engine, files, affected.addressed_to(engine, of_lake), few=few)
    else:
        tasks = file_tasks.spread(engine, files, few=few)
    return tasks.mapInArrow(engine.in_processes(packing.pack_output_of(read)), spark_schema(PACKED))


def write(
    engine: Engine, inputs: ChangedEvents, built: DataFrame, affected: Affected, rules: ChainRules, changes: Mapping[str, Change]
) -> None:
    """Write the built rows, and the files with affected rows again without these. Adds that to `changes`, and releases `affected`.

    `built` gives the reports of the tasks that build and write rows.
    """
    reports = built
    if affected.tables:
        files = dict(enumerate(affected.tables))
        tasks = file_tasks.with_rows(engine, files, affected.addressed_to(engine, files), to_write=True)
        write_without = engine.in_processes(without_affected_rows(inputs.output, rules.id_columns, are_kept=affected.are_kept))
        reports = built.unionByName(tasks.mapInArrow(write_without, spark_schema(task_reports.REPORT)))
    reported = reports.toArrow()
    if affected.rows is not None:
        engine.release(affected.rows)
    replaced = task_reports.removed_files(reported)
    for name in rules.id_columns:
        changes[name].removed += [file for file in inputs.lake.files(name) if f"{name}/{file.path}" in replaced]
    for written in task_reports.written_files(reported):
        changes[written.table].added.append(written)


def _partition_name(file: StoredFile) -> str:
    return partition_name(TABLES[file.table], logged_values(file.partition))


# What tasks do


def _read_spans(rules: ChainRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives the changed spans of the events in files, as candidates."""

    def read_spans(batches: Batches) -> Iterator[pa.RecordBatch]:
        files = [file for _, file, _ in file_tasks.per_file(batches)]
        events = file_tasks.parts(files, EVENTS.arrow, rules.event_columns)
        spans = rules.changed_spans(events).combine_chunks()
        hashes = pa.array([short_hash(key) for key in spans["key"].to_pylist()], BIGINT)
        yield from _candidates(rules, spans.append_column(_KEY_HASH, hashes), are_spans=True)

    return read_spans


def _read_hashes(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The different hashes of the keys of chains, per file."""
    for number, file, _ in file_tasks.per_file(batches):
        for rows in file_tasks.parts([file], TABLES[file.table].arrow, ["key_hash"]):
            yield from file_tasks.numbered(number, pa.table({"key_hash": pc.unique(rows["key_hash"])}), _HASHES)


def _read_chains(rules: ChainRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives the chains in files whose keys have one of the hashes addressed to the file, as candidates."""
    columns = rules.chain_columns

    def read_chains(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, addressed in file_tasks.per_file(batches):
            if not addressed.num_rows:
                continue
            hashes = pc.unique(addressed["key_hash"])
            for rows in file_tasks.parts([file], rules.chains.arrow, columns.names):
                chains = rows.filter(pc.is_in(rows["key_hash"], value_set=hashes)).select(columns.names).cast(columns)
                yield from _candidates(rules, chains, are_spans=False)

    return read_chains


def _candidates(rules: ChainRules, rows: pa.Table, *, are_spans: bool) -> Iterator[pa.RecordBatch]:
    """Changed spans or chains as candidates, with `key_hash`."""
    rows = rows.append_column(_IS_SPAN, pa.repeat(pa.scalar(are_spans), rows.num_rows))
    columns = [rows[field.name] if field.name in rows.column_names else _nothing(rows.num_rows, field.type) for field in rules.candidates]
    yield from pa.table(columns, schema=rules.candidates).to_batches()


def _nothing(count: int, kind: pa.DataType) -> pa.Array:
    """The values of a column that does not belong to these rows."""
    # Empty lists and not nulls: Spark takes 0.3 ms to give a null list to Python.
    return pa.array([[]] * count, kind) if pa.types.is_list(kind) else pa.nulls(count, kind)


def _decide(rules: ChainRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives what the changed spans of some keys affect, from all candidates of these keys."""

    def decide(batches: Batches) -> Iterator[pa.RecordBatch]:
        candidates = pa.Table.from_batches([batch.cast(rules.candidates) for batch in batches], rules.candidates)
        chains = candidates.filter(pc.invert(candidates["is_span"])).select(rules.chain_columns.names)
        if chains.num_rows:
            spans = candidates.filter(candidates["is_span"]).select(rules.spans.names)
            yield from rules.affected_rows(chains.combine_chunks(), spans).to_batches()

    return decide


def _read_kept(rules: ChainRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that gives the rows of chains that are not built again, of the files of chains."""

    def read_kept(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, _ in file_tasks.per_file(batches):
            for chains in file_tasks.parts([file], rules.chains.arrow, rules.chain_columns.names):
                yield from rules.kept_rows(chains.cast(rules.chain_columns)).to_batches()

    return read_kept


def without_affected_rows(
    output: RunOutput, id_columns: Mapping[str, str], *, are_kept: bool
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that writes files again without the rows whose ids are addressed to them, and reports that.

    `id_columns` names the column of the ids in each table. A file without such a row stays as it is. If the rows `are_kept`, those
    with other ids are left out.
    """

    def write_without(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, addressed in file_tasks.per_file(batches):
            table = TABLES[file.table]
            ids = open_parquet(file.location).read(columns=[id_columns[file.table]])[0]
            removed = pc.is_in(ids, value_set=addressed["id"].combine_chunks())
            if are_kept:
                removed = pc.invert(removed)
            if pc.any(removed).as_py():
                rows = table_rows.read_whole(table, file.location, file.partition).filter(pc.invert(removed))
                written = write_partitioned(table, rows, output)
                yield from task_reports.report(written, removed=f"{file.table}/{file.path}")

    return write_without

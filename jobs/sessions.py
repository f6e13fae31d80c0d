"""Build one row per session for every chain of events that the night touches.

    A step of the night: millrace run --date 2026-11-20

Chains that nothing came to and nothing left stay as they are, in whatever night's partition they stand.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import workers
from jobs.lake import Change, Lake, TableFile, read_parquet
from jobs.table_files import write_partitioned
from schemas.catalog import TABLES
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import Table, spark_schema
from transforms import chains
from transforms.sessions import INPUT, SessionRules, as_input, build

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}
_IDS = {SESSIONS.name: "session_id", SESSION_EVENTS.name: "session_id", SESSION_CHAINS.name: "chain_id"}


@dataclass(frozen=True)
class Inputs:
    """What the step works on."""

    lake: Lake
    folder: Path  # the run's staging folder
    run_id: str
    rules: SessionRules
    events: Change
    from_nothing: bool = False  # nothing of the lake stays, whatever it holds


def rebuild(spark: SparkSession, inputs: Inputs) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    added = _events(spark, inputs.folder / EVENTS.name, [file.path for file in inputs.events.added])
    sources = {file.partition["source"] for file in inputs.events.removed} | {
        file.partition_values["source"] for file in inputs.events.added
    }
    chain_files = [file for file in inputs.lake.files(SESSION_CHAINS.name) if file.partition["source"] in sources]
    events = added
    if inputs.from_nothing:
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    elif chain_files:
        removed = _events(spark, inputs.lake.root / EVENTS.name, [file.path for file in inputs.events.removed])
        spans = chains.changed_spans(added.unionByName(removed), inputs.rules)
        path = inputs.folder / "_touched"
        chains.touched(inputs.lake.frame(spark, SESSION_CHAINS.name, chain_files), spans).write.mode("overwrite").parquet(str(path))
        touched = pq.read_table(path, columns=["source", "chain_id", "chain_date", "landing_dates", "sessions"])
        if touched.num_rows:
            events = added.unionByName(
                chains.events_of(_context(spark, inputs, touched), spark.read.schema(SESSION_CHAINS.spark()).parquet(str(path)))
            )
            _drop(spark, inputs, touched, changes)
    keyed = events.where("session_input.key is not null").repartition("source", "session_input.key")
    reports = keyed.mapInArrow(_builder(inputs), spark_schema(workers.REPORT)).toArrow()
    for file in workers.written_files(reports):
        changes[file.table].added.append(file)
    return changes


def _events(spark: SparkSession, root: Path, paths: list[str]) -> DataFrame:
    return read_parquet(spark, EVENTS, root, paths, *INPUT.names)


def _context(spark: SparkSession, inputs: Inputs, touched: pa.Table) -> DataFrame:
    """The events of the lake, but for those that go, in the partitions in which the touched chains have some."""
    source = touched["source"].combine_chunks()
    dates = touched["landing_dates"].combine_chunks()
    held = set(zip(source.take(pc.list_parent_indices(dates)).to_pylist(), pc.list_flatten(dates).to_pylist(), strict=True))
    gone = {file.path for file in inputs.events.removed}

    def needed(file: TableFile) -> bool:
        return file.path not in gone and (file.partition["source"], dt.date.fromisoformat(file.partition["landing_date"])) in held

    paths = [file.path for file in inputs.lake.files(EVENTS.name) if needed(file)]
    return _events(spark, inputs.lake.root / EVENTS.name, paths)


def _drop(spark: SparkSession, inputs: Inputs, touched: pa.Table, changes: dict[str, Change]) -> None:
    """Write the files that hold rows of touched chains again without them."""
    source = touched["source"].combine_chunks()
    held = touched["sessions"].combine_chunks()
    sessions = pc.list_flatten(held)
    session_source = source.take(pc.list_parent_indices(held))
    ids = {
        SESSIONS.name: pc.struct_field(sessions, "session_id"),
        SESSION_EVENTS.name: pc.struct_field(sessions, "session_id"),
        SESSION_CHAINS.name: touched["chain_id"].combine_chunks(),
    }
    session_places = set(zip(pc.struct_field(sessions, "session_date").to_pylist(), session_source.to_pylist(), strict=True))
    chain_places = set(zip(touched["chain_date"].to_pylist(), source.to_pylist(), strict=True))
    candidates = []
    for name in changes:
        by_date = TABLES[name].partitioned_by[0]
        places = chain_places if name == SESSION_CHAINS.name else session_places
        candidates += [
            (name, file)
            for file in inputs.lake.files(name)
            if (dt.date.fromisoformat(file.partition[by_date]), file.partition["source"]) in places
        ]
    dropped = pa.concat_tables([pa.table({"table": pa.repeat(pa.scalar(name), len(values)), "id": values}) for name, values in ids.items()])
    reports = workers.write_without(spark, inputs.lake.root, inputs.folder, candidates, dropped, _IDS)
    gone = workers.removed_files(reports)
    for name, file in candidates:
        if f"{name}/{file.path}" in gone:
            changes[name].removed.append(file)
    for written in workers.written_files(reports):
        changes[written.table].added.append(written)


def _builder(inputs: Inputs) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that a worker runs on whole keys: events in, files of the three tables out."""
    folder, run_id, rules = inputs.folder, inputs.run_id, inputs.rules

    def build_and_write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        built = list(build(map(as_input, batches), rules))
        if not built:
            return
        rows = pa.Table.from_batches(built)
        for name, table in _BUILT.items():
            column = rows[name]
            struct = column.filter(pc.is_valid(column)).combine_chunks()
            if len(struct):
                flat = pa.Table.from_arrays(struct.flatten(), names=[field.name for field in struct.type])
                flat = flat.append_column("run_id", pa.repeat(pa.scalar(run_id), flat.num_rows))
                yield from workers.report(write_partitioned(table, flat.select(table.names), folder / table.name))

    return build_and_write

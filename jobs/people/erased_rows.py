"""Remove the rows of people from the tables of records, and find what is left of them in rows that are made of records.

    A step of an erasure: millrace erase --source sunbird --user ID

One pass over all files of the sources, however many people there are. A file without such a row stays as it is.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.lake import table_rows
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import WrittenFile, as_json, from_descriptions, write_partitioned
from jobs.lake.tables import Lake
from jobs.storage import storage_paths
from jobs.storage.parquet_files import write_parquet
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS
from schemas.marts import VISITOR_DAYS
from schemas.table import STRING, Table, spark_schema
from transforms.privacy.people import COLUMNS, Kind, People

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

# Per table of records, the column of `files` that counts its rows.
COUNTED: Mapping[str, str] = {EVENTS.name: "accepted", DUPLICATE_EVENTS.name: "duplicates", REJECTED_EVENTS.name: "rejected"}
# The folder of removed rows in the working folder. Reports name their files by it and the table.
_FOLDER = "_erased"
_STAGED = f"{_FOLDER}/"
_DEVICE_SEEN = "device seen"
# A report of a task, or an id that it has met: of which kind, and of which source.
_REPORT = pa.schema([*task_reports.REPORT, ("kind", STRING), ("source", STRING), ("id", STRING)])


@dataclass
class Removed:
    """What was removed from the tables of records."""

    changes: dict[str, Change] = field(default_factory=lambda: {name: Change() for name in COUNTED})
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # per kind (accepted, duplicates, rejected) and landed file
    rows: dict[str, list[StoredFile]] = field(default_factory=dict)  # per table of events and repeats the removed rows, staged
    found: set[tuple[str, Kind, str]] = field(default_factory=set)  # source, kind and id of those of whom there were rows
    devices: dict[str, set[str]] = field(default_factory=dict)  # per source the devices of rows with the id of a user


def remove(engine: Engine, lake: Lake, people: Mapping[str, People], output: RunOutput) -> Removed:
    """Write the files that have rows of these people again without them, and the removed rows into the working folder."""
    removed = Removed()
    files = dict(enumerate(_files(lake, people)))
    if not files:
        return removed
    write = engine.in_processes(_remover(people, output))
    reports = file_tasks.spread(engine, files, to_write=True).mapInArrow(write, spark_schema(_REPORT)).toArrow()
    replaced = task_reports.removed_files(reports)
    for name, change in removed.changes.items():
        change.removed = [file for file in lake.files(name) if f"{name}/{file.path}" in replaced]
    for file in from_descriptions(reports.filter(pc.is_valid(reports["table"]))):
        if file.table.startswith(_STAGED):
            table = file.table.removeprefix(_STAGED)
            folder = str(output.working_folder / _FOLDER / table)
            removed.rows.setdefault(table, []).append(StoredFile(table, file.path, folder, file.rows, file.partition_values))
        else:
            removed.changes[file.table].added.append(file)
    removed.counts = task_reports.counted(reports)
    _note_ids(reports, people, removed)
    return removed


def devices_of(engine: Engine, lake: Lake, people: Mapping[str, People]) -> dict[str, set[str]]:
    """Per source the devices in rows with the id of one of these users."""
    files = {number: file for number, file in enumerate(_files(lake, people)) if file.table != REJECTED_EVENTS.name}
    if not files:
        return {}

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, _ in file_tasks.per_file(batches):
            source = file.partition["source"]
            for rows in file_tasks.parts([file], EVENTS.arrow, ["user_id", "device_id"]):
                yield from _report_ids(_devices_seen(rows, people[source]), _DEVICE_SEEN, source)

    reports = file_tasks.spread(engine, files).mapInArrow(engine.in_processes(read), spark_schema(_REPORT)).toArrow()
    removed = Removed()
    _note_ids(reports, people, removed)
    return removed.devices


def remove_visits(engine: Engine, lake: Lake, changes: Mapping[str, Change], people: Mapping[str, People], output: RunOutput) -> pa.Table:
    """Write the files of `visitor_days` again that have these people, without them; gives the reports of the tasks.

    These are rows of dates whose events have expired: the others follow from the events that are left. `changes` are those of the
    tables so far.
    """
    files = of_table(lake, VISITOR_DAYS.name, changes.get(VISITOR_DAYS.name, Change()), sorted(people))
    if not files:
        return task_reports.REPORT.empty_table()

    def write_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, _ in file_tasks.per_file(batches):
            rows = table_rows.read_whole(VISITOR_DAYS, file.location, file.partition)
            is_removed = pa.array(people[file.partition["source"]].rows(rows))
            if pc.any(is_removed).as_py():
                written = write_partitioned(VISITOR_DAYS, rows.filter(pc.invert(is_removed)), output)
                yield from task_reports.report(written, removed=f"{file.table}/{file.path}")

    tasks = file_tasks.spread(engine, dict(enumerate(files)), to_write=True)
    return tasks.mapInArrow(engine.in_processes(write_files), spark_schema(task_reports.REPORT)).toArrow()


def _files(lake: Lake, people: Mapping[str, People]) -> list[StoredFile]:
    return [
        StoredFile.of_lake(lake.root, name, file) for name in COUNTED for file in lake.files(name) if file.partition["source"] in people
    ]


def _note_ids(reports: pa.Table, people: Mapping[str, People], removed: Removed) -> None:
    met = reports.filter(pc.is_valid(reports["kind"])).select(["kind", "source", "id"])
    for row in met.group_by(met.column_names).aggregate([]).to_pylist():
        source, stored = row["source"], row["id"]
        if row["kind"] == _DEVICE_SEEN:
            removed.devices.setdefault(source, set()).add(stored)
        else:
            removed.found.add((source, row["kind"], people[source].stored(row["kind"])[stored]))


# What tasks do


def _remover(people: Mapping[str, People], output: RunOutput) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that writes files without the rows of these people, and reports that."""

    def write_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, file, _ in file_tasks.per_file(batches):
            table, of_source = TABLES[file.table], people[file.partition["source"]]
            masks = [of_source.rows(rows) for rows in file_tasks.parts([file], table.arrow, table.names)]
            is_removed = np.concatenate([np.zeros(0, bool), *masks])
            if is_removed.any():
                yield from _without(table, file, is_removed, of_source, output)

    return write_files


def _without(
    table: Table, file: StoredFile, is_removed: npt.NDArray[np.bool_], people: People, output: RunOutput
) -> Iterator[pa.RecordBatch]:
    rows = table_rows.read_whole(table, file.location, file.partition)
    mask = pa.array(is_removed)
    removed = rows.filter(mask)
    written = write_partitioned(table, rows.filter(pc.invert(mask)), output)
    if table.name != REJECTED_EVENTS.name:
        written.append(_stage(table, removed, file, output))
    counts = {COUNTED[table.name]: Counter(removed["file"].to_pylist())}
    for batch in task_reports.report(written, counts, removed=f"{file.table}/{file.path}"):
        yield _widened(batch)
    source = file.partition["source"]
    if table.name == REJECTED_EVENTS.name:
        yield from _report_ids_in(removed["raw"], people, source)
        return
    is_by_column = pa.repeat(pa.scalar(False), removed.num_rows)
    for kind, columns in COLUMNS.items():
        of_kind = pc.is_in(removed[columns[0]], value_set=people.columns[columns[0]])
        yield from _report_ids(pc.unique(removed[columns[0]].filter(of_kind)), kind, source)
        is_by_column = pc.or_(is_by_column, of_kind)
    others = removed.filter(pc.invert(is_by_column))
    for name in ("properties", "context"):
        yield from _report_ids_in(others[name], people, source)
    yield from _report_ids(_devices_seen(removed, people), _DEVICE_SEEN, source)


def _stage(table: Table, removed: pa.Table, file: StoredFile, output: RunOutput) -> WrittenFile:
    """Write removed rows into the working folder, which goes with the publication."""
    folder: StoragePath = output.working_folder / _FOLDER / table.name
    name = f"{uuid.uuid4()}.parquet"
    storage_paths.make_folder(folder)
    bare = removed.select([column for column in table.names if column not in file.partition])
    size = write_parquet(bare, folder / name, compression="zstd", compression_level=1, write_statistics=False)
    return WrittenFile(f"{_STAGED}{table.name}", name, as_json(dict(file.partition)), size, removed.num_rows, json.dumps({}))


def _devices_seen(rows: pa.Table, people: People) -> pa.Array:
    of_users = rows.filter(pc.is_in(rows["user_id"], value_set=people.columns["user_id"]))
    return pc.unique(of_users["device_id"]).drop_null()


def _report_ids_in(texts: pa.ChunkedArray, people: People, source: str) -> Iterator[pa.RecordBatch]:
    content = b"\n".join(text for text in texts.cast(pa.binary()).to_pylist() if text is not None)
    for kind, text in people.found_in(content):
        yield from _report_ids(pa.array([text], STRING), kind, source)


def _report_ids(ids: pa.Array, kind: str, source: str) -> Iterator[pa.RecordBatch]:
    if len(ids):
        yield pa.RecordBatch.from_pylist([{"kind": kind, "source": source, "id": text} for text in ids.to_pylist()], schema=_REPORT)


def _widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [batch[field.name] if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type) for field in _REPORT]
    return pa.RecordBatch.from_arrays(columns, schema=_REPORT)


def of_table(lake: Lake, name: str, change: Change, sources: Sequence[str]) -> list[StoredFile]:
    """The files of a table of the lake after a change, of these sources where it is partitioned by them."""
    gone = {file.path for file in change.removed}
    kept = [StoredFile.of_lake(lake.root, name, file) for file in lake.files(name) if file.path not in gone]
    files = [*kept, *(StoredFile.written(lake.root, file) for file in change.added)]
    return [file for file in files if file.partition.get("source") in (None, *sources)]

"""Remove people from sessions and workflows that cannot be built again, because events of theirs have expired.

    A step of an erasure: millrace erase --source sunbird --user ID

Such a session or summary goes as a whole if it is of one of these people, with its chain if the key has the id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import affected_chains
from jobs.affected_chains import Affected
from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake
from jobs.people import erased_rows
from schemas.catalog import TABLES
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS, WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import spark_schema
from transforms.affected_rows import AFFECTED_ROWS, rows_by_id
from transforms.privacy.people import People

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

# Per table the column of the ids of its rows.
_IDS: Mapping[str, str] = {
    SESSIONS.name: "session_id",
    SESSION_EVENTS.name: "session_id",
    SESSION_CHAINS.name: "chain_id",
    WORKFLOW_SUMMARIES.name: "summary_id",
    WORKFLOW_CHAINS.name: "chain_id",
}
# Tables whose rows go with those of another table.
_WITH: Mapping[str, tuple[str, ...]] = {SESSIONS.name: (SESSIONS.name, SESSION_EVENTS.name)}


def remove(engine: Engine, lake: Lake, changes: Mapping[str, Change], people: Mapping[str, People], output: RunOutput) -> pa.Table:
    """Write the files again that have rows of these people, without them; gives the reports of the tasks.

    `changes` are those of the tables so far: sessions that could be built again have no row of these people.
    """
    files = {name: erased_rows.of_table(lake, name, changes.get(name, Change()), sorted(people)) for name in _IDS}
    searched = dict(enumerate(file for name in _IDS if name != SESSION_EVENTS.name for file in files[name]))
    if not searched:
        return task_reports.REPORT.empty_table()
    read = engine.in_processes(partial(_rows_of, people))
    rows = file_tasks.spread(engine, searched).mapInArrow(read, spark_schema(AFFECTED_ROWS))
    rows = engine.hold(rows, output.local_folder / "_closed")
    affected = Affected(rows)
    numbered: dict[int, StoredFile] = dict(enumerate(file for of_table in files.values() for file in of_table))
    tasks = file_tasks.with_rows(engine, numbered, affected.addressed_to(engine, numbered), to_write=True)
    write = engine.in_processes(affected_chains.without_affected_rows(output, _IDS, are_kept=False))
    reports = tasks.mapInArrow(write, spark_schema(task_reports.REPORT)).toArrow()
    engine.release(rows)
    return reports


def _rows_of(people: Mapping[str, People], batches: Batches) -> Iterator[pa.RecordBatch]:
    """The rows of these people in files of sessions, summaries and chains, as AFFECTED_ROWS."""
    for _, file, _ in file_tasks.per_file(batches):
        table = TABLES[file.table]
        source = file.partition.get("source")
        of_file = [people[source]] if source is not None else list(people.values())
        for rows in file_tasks.parts([file], table.arrow, table.names):
            for one in of_file:
                found = rows.filter(pa.array(one.rows(rows))).combine_chunks()
                partition = {name: found[name].combine_chunks() for name in found.column_names}
                for name in _WITH.get(table.name, (table.name,)):
                    yield from rows_by_id(TABLES[name], pc.cast(partition[_IDS[name]], pa.string()), partition).to_batches()

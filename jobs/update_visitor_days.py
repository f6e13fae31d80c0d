"""Keep the rows of `visitor_days`: of the dates that the run changes, and of later dates of the same visitors.

A part of the step marts: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import changed_dates
from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import FILES, StoredFile
from jobs.engine.packed_rows import Packing
from jobs.engine.processes import ArrowFunction, Batches
from jobs.lake import table_rows
from jobs.lake.new_state import Dates, NewState
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from schemas.events import EVENTS
from schemas.marts import VISITOR_DAYS
from schemas.metrics import EVENT_DATE
from schemas.table import BIGINT, BOOLEAN, spark_schema
from transforms.affected_rows import ClosedDates
from transforms.marts import visitor_days
from transforms.marts.mart import METRIC_DATES
from transforms.marts.visitor_days import DAYS, EVENT_COLUMNS, VISITS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

_HASH = pa.field("visitor_hash", BIGINT)
_HASHES = pa.schema([FILES.field("number"), _HASH])
# Visits that a task puts in order.
_VISITS_OF_A_TASK = 1_000_000


def update(
    engine: Engine, state: NewState, changed: Dates, output: RunOutput, closed: ClosedDates, *, from_nothing: bool = False
) -> Change:
    """The change of `visitor_days` that follows from events of these changed dates; with `from_nothing`, they are all dates.

    `closed` has the landing dates whose events have expired: rows that need these events stay as they are.
    """
    table_files = state.lake.files(VISITOR_DAYS.name)
    stored = [StoredFile.of_lake(state.lake.root, VISITOR_DAYS.name, file) for file in table_files]
    if from_nothing:
        opened = changed_dates.open_dates(EVENT_DATE, changed_dates.partition_dates(stored, "visit_date"), closed)
        changed = {source: {*changed.get(source, ()), *opened.get(source, ())} for source in changed.keys() | opened.keys()}
    replaced = [file for file in stored if _is_replaced(file, changed)]
    others = [file for file in stored if not _is_replaced(file, changed) and file.partition["source"] in changed]
    events = changed_dates.covering(state, EVENTS.name, changed, "event_date", "event_date") if changed else []
    if not events and not replaced:
        return Change()
    few = file_tasks.are_few([*events, *others])
    tasks = 1 if few else 1 + sum(file.rows for file in (*events, *replaced)) // _VISITS_OF_A_TASK
    packing = Packing(VISITS, ("source", "visitor_id"), tasks)
    folder = output.local_folder / "_visits"
    visits = _visits(engine, events, changed, few=few)
    if others and not few:
        visits = engine.hold(visits, folder / "new")
        visits = visits.unionByName(_stored_visits(engine, others, _changed_hashes(engine, visits, replaced)))
    elif others:
        all_visits = file_tasks.spread(engine, dict(enumerate(others)), few=True).mapInArrow(_read_stored, spark_schema(VISITS))
        visits = visits.unionByName(all_visits)
    days = engine.map_by_key(packing.pack_frame(visits), packing, _changed_days, DAYS, folder / "visits")
    of_dates = days.coalesce(1) if few else days.repartition(tasks, "visit_date", "source")
    reports = of_dates.mapInArrow(engine.in_processes(_writer(others, output)), spark_schema(task_reports.REPORT)).toArrow()
    gone = task_reports.removed_files(reports) | {file.path for file in replaced}
    return Change(task_reports.written_files(reports), [file for file in table_files if file.path in gone])


def _is_replaced(file: StoredFile, changed: Dates) -> bool:
    return dt.date.fromisoformat(file.partition["visit_date"]) in changed.get(file.partition["source"], set())


def _visits(engine: Engine, events: Sequence[StoredFile], changed: Dates, *, few: bool) -> DataFrame:
    """The visitors of events on the changed dates, as VISITS. A visitor may be in several tasks."""
    dates = pa.table(
        [
            [source for source, of_source in changed.items() for _ in of_source],
            [date for of_source in changed.values() for date in of_source],
        ],
        schema=METRIC_DATES,
    )

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        files = [file for _, file, _ in file_tasks.per_file(batches)]
        rows = [
            visitor_days.visits_of_events(part, dates) for part in file_tasks.parts(files, EVENTS.arrow.remove_metadata(), EVENT_COLUMNS)
        ]
        if rows:
            yield from pa.concat_tables(rows).combine_chunks().to_batches()

    tasks = file_tasks.spread(engine, dict(enumerate(events)), few=few)
    return tasks.mapInArrow(engine.in_processes(read), spark_schema(VISITS))


def _changed_hashes(engine: Engine, visits: DataFrame, replaced: Sequence[StoredFile]) -> DataFrame:
    """The hashes of the visitors who are or were there on the changed dates."""
    hashes = visits.select("visitor_hash")
    if not replaced:
        return hashes
    before = file_tasks.spread(engine, dict(enumerate(replaced))).mapInArrow(_read_hashes, spark_schema(_HASHES))
    return hashes.unionAll(before.select("visitor_hash"))


def _stored_visits(engine: Engine, files: Sequence[StoredFile], hashes: DataFrame) -> DataFrame:
    """The rows in these files of visitors with these hashes, as VISITS."""
    numbered = dict(enumerate(files))
    every = file_tasks.spread(engine, numbered).mapInArrow(_read_hashes, spark_schema(_HASHES))
    same = every.join(hashes, on="visitor_hash", how="leftsemi").select("number", "visitor_hash")
    return file_tasks.with_rows(engine, numbered, same).mapInArrow(_read_addressed, spark_schema(VISITS))


def _read_hashes(batches: Batches) -> Iterator[pa.RecordBatch]:
    for number, file, _ in file_tasks.per_file(batches):
        for rows in file_tasks.parts([file], VISITOR_DAYS.arrow, [_HASH.name]):
            yield from file_tasks.numbered(number, rows, _HASHES)


def _read_addressed(batches: Batches) -> Iterator[pa.RecordBatch]:
    for _, file, addressed in file_tasks.per_file(batches):
        if addressed.num_rows:
            yield from _as_visits(file, addressed[_HASH.name])


def _read_stored(batches: Batches) -> Iterator[pa.RecordBatch]:
    for _, file, _ in file_tasks.per_file(batches):
        yield from _as_visits(file)


def _as_visits(file: StoredFile, hashes: pa.ChunkedArray | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or those with these hashes, as VISITS."""
    for rows in file_tasks.parts([file], VISITOR_DAYS.arrow, DAYS.names):
        chosen = rows if hashes is None else rows.filter(pc.is_in(rows[_HASH.name], value_set=hashes.combine_chunks()))
        flagged = chosen.append_column(pa.field("is_new", BOOLEAN), pa.repeat(pa.scalar(False), chosen.num_rows))
        yield from flagged.cast(VISITS).to_batches()


def _changed_days(batches: Batches) -> Iterator[pa.RecordBatch]:
    rows = [batch for batch in batches if batch.num_rows]
    if rows:
        yield from visitor_days.changed_days(pa.Table.from_batches(rows)).to_batches()


def _writer(others: Sequence[StoredFile], output: RunOutput) -> ArrowFunction:
    """The function that writes rows of whole dates, and replaces rows in these other files, whose dates are not changed."""
    files: dict[tuple[str, str], list[str]] = {}
    for file in others:
        files.setdefault((file.partition["visit_date"], file.partition["source"]), []).append(file.as_json())

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        given = [batch for batch in batches if batch.num_rows]
        if not given:
            return
        rows = pa.Table.from_batches(given)
        pairs = rows.group_by(["visit_date", "source"]).aggregate([]).to_pylist()
        for pair in pairs:
            of_pair = rows.filter(pc.and_(pc.equal(rows["visit_date"], pair["visit_date"]), pc.equal(rows["source"], pair["source"])))
            yield from _write_date(of_pair, files.get((pair["visit_date"].isoformat(), pair["source"]), ()), output)

    return write


def _write_date(rows: pa.Table, files: Sequence[str], output: RunOutput) -> Iterator[pa.RecordBatch]:
    """Write the rows of a date of a source, and those rows of its files whose visitors they do not have."""
    parts = [rows.select(DAYS.names).append_column("run_id", pa.repeat(pa.scalar(output.run_id), rows.num_rows)).select(VISITOR_DAYS.names)]
    for text in files:
        file = StoredFile.of_json(text)
        before = table_rows.read_whole(VISITOR_DAYS, file.location, file.partition)
        parts.append(before.filter(pc.invert(pc.is_in(before["visitor_id"], value_set=rows["visitor_id"].combine_chunks()))))
        yield from task_reports.report([], removed=file.path)
    bare = VISITOR_DAYS.arrow.remove_metadata()
    yield from task_reports.report(write_partitioned(VISITOR_DAYS, pa.concat_tables(part.cast(bare) for part in parts), output))

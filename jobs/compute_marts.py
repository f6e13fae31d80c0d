"""Compute the rows of all marts for every date that the night changes.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import changed_dates, update_visitor_days
from jobs.engine import file_tasks, state_files, task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import ArrowFunction, Batches
from jobs.lake import table_rows
from jobs.lake.new_state import Dates, NewState
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import NO_VALUE, write_partitioned
from schemas.bookkeeping import FILES
from schemas.events import EVENTS
from schemas.marts import VISITOR_DAYS
from schemas.metrics import EVENT_DATE, SESSION_DATE
from schemas.sessions import WORKFLOW_SUMMARIES
from schemas.table import DATE, STRING, spark_schema
from transforms.affected_rows import ClosedDates
from transforms.marts import mart
from transforms.marts.mart import LAST_DATES, METRIC_DATES, PARTS, Input, Mart
from transforms.sources.registry import SOURCES
from transforms.times import shifted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# Rows that a task counts at a time, and rows of all inputs for which the rows of a mart and date are made by one task.
_ROWS_AT_A_TIME = 250_000
_ROWS_OF_A_SHARD = 5_000_000
# Parts of rows, or a file of the lake with rows of the same mart and date, of which some stay.
_ADDRESSED = pa.schema([*PARTS, pa.field("stored_file", STRING)])


@dataclass(frozen=True)
class _Computation:
    """A mart whose rows of some dates are computed."""

    mart: Mart
    dates: Dates  # metric_dates per source
    inputs: Mapping[str, list[StoredFile]] = field(default_factory=dict)  # per table
    replaced: Sequence[TableFile] = ()  # files of the mart that have rows of these dates


def compute(
    engine: Engine,
    state: NewState,
    changed: Mapping[str, Dates],
    output: RunOutput,
    marts: Sequence[Mart],
    closed: ClosedDates,
    *,
    from_nothing: bool = False,
) -> dict[str, Change]:
    """The changes of `visitor_days` and of all marts.

    `changed` has the changed dates as changed_dates.find gives them; with `from_nothing`, these are all dates. `closed` has the landing
    dates whose events have expired: rows that need these events stay as they are.
    """
    visits = update_visitor_days.update(engine, state, changed[EVENT_DATE], output, closed, from_nothing=from_nothing)
    state = NewState(state.lake, {**state.changes, VISITOR_DAYS.name: visits})
    files_of = changed_dates.all_files if from_nothing else changed_dates.changed_files
    summaries = [file for file in files_of(state, WORKFLOW_SUMMARIES.name) if file.partition["summary_date"] != NO_VALUE]
    base = _union(changed[EVENT_DATE], changed[SESSION_DATE], _summary_dates(marts, summaries))
    visited = changed_dates.partition_dates(files_of(state, VISITOR_DAYS.name), "visit_date")
    last_dates = _last_dates(changed_dates.all_files(state, FILES.name))
    before = _last_dates([StoredFile.of_lake(state.lake.root, FILES.name, file) for file in state.lake.files(FILES.name)])
    computations = [
        _computation(state, of, _dates(state, of, base, visited, closed, before, last_dates, from_nothing=from_nothing)) for of in marts
    ]
    reports = _reports(engine, computations, last_dates, output)
    changes = {one.mart.name: Change(removed=list(one.replaced)) for one in computations}
    for file in task_reports.written_files(reports):
        changes[file.table].added.append(file)
    return {VISITOR_DAYS.name: visits, **changes}


def _dates(
    state: NewState,
    of: Mart,
    base: Dates,
    visited: Dates,
    closed: ClosedDates,
    before: Mapping[str, dt.date],
    last_dates: Mapping[str, dt.date],
    *,
    from_nothing: bool,
) -> Dates:
    """The dates of a mart that are computed, per source."""
    tables = {one.table.name for one in of.inputs}
    changed = visited if VISITOR_DAYS.name in tables else base
    stored = {dt.date.fromisoformat(file.partition["metric_date"]) for file in state.lake.files(of.name)} if from_nothing else set()
    dates: Dates = {
        source: stored | of.affected_dates(source, changed.get(source, ())) | _open_dates(of, before.get(source), last_dates.get(source))
        for source in SOURCES
    }
    return changed_dates.open_dates(EVENT_DATE, dates, closed) if EVENTS.name in tables else dates


def _computation(state: NewState, of: Mart, dates: Dates) -> _Computation:
    """A mart's computation: its dates, the files that this needs, and those of the mart that it replaces."""
    needed = {source: of.input_dates(source, of_source) for source, of_source in dates.items() if of_source}
    tables = {one.table.name: one for one in of.inputs}
    inputs = {name: _files(state, one, needed) for name, one in tables.items()}
    every = set().union(*dates.values())
    replaced = [file for file in state.lake.files(of.name) if dt.date.fromisoformat(file.partition["metric_date"]) in every]
    return _Computation(of, dates, inputs, replaced)


def _open_dates(of: Mart, before: dt.date | None, now: dt.date | None) -> set[dt.date]:
    """The dates of a mart whose rows change because the last landing date of a source has moved."""
    if of.open_days is None or before is None or now is None or before == now:
        return set()
    first, last = shifted(min(before, now), -of.open_days), max(before, now)
    return {shifted(first, days) for days in range((last - first).days + 1)}


def _files(state: NewState, of: Input, dates: Dates) -> list[StoredFile]:
    """The files of an input's table that may hold rows of these dates."""
    if of.table is EVENTS:
        return changed_dates.covering(state, EVENTS.name, dates, "event_date", "event_date")
    if "source" in of.table.partitioned_by:
        return [
            file
            for file in state_files.in_partitions(state, of.table.name, dates)
            if dt.date.fromisoformat(file.partition[of.table.partitioned_by[0]]) in dates.get(file.partition["source"], set())
        ]
    wanted = {date.isoformat() for date in dates.get(of.source or "", ())}
    return [file for file in changed_dates.all_files(state, of.table.name) if file.partition[of.table.partitioned_by[0]] in wanted]


def _reports(engine: Engine, computations: Sequence[_Computation], last_dates: Mapping[str, dt.date], output: RunOutput) -> pa.Table:
    """The reports of the tasks that count in all files and write the rows of all marts."""
    files = dict.fromkeys(file.as_json() for one in computations for of_table in one.inputs.values() for file in of_table)
    numbered = {number: StoredFile.of_json(text) for number, text in enumerate(files)}
    kept = _kept_files(computations, last_dates, output)
    if not numbered and not kept:
        return task_reports.REPORT.empty_table()
    few = file_tasks.are_few(numbered.values())
    shards = 1 + sum(file.rows for file in numbered.values()) // _ROWS_OF_A_SHARD
    schema = spark_schema(_ADDRESSED)
    frame: DataFrame | None = engine.spark.createDataFrame(kept, schema) if kept else None
    if numbered:
        tasks = file_tasks.spread(engine, numbered, few=few)
        counted = tasks.mapInArrow(engine.in_processes(_counter(computations, shards)), schema)
        frame = counted if frame is None else counted.unionAll(frame)
    assert frame is not None
    grouped = mart.together(frame, 1 if few else file_tasks.tasks_for(numbered.values()))
    return grouped.mapInArrow(engine.in_processes(_writer(computations, last_dates, output)), spark_schema(task_reports.REPORT)).toArrow()


def _kept_files(computations: Sequence[_Computation], sources: Iterable[str], output: RunOutput) -> list[tuple[object, ...]]:
    """Rows of _ADDRESSED: the replaced files that may have rows of sources whose date is not computed."""
    kept: list[tuple[object, ...]] = []
    for one in computations:
        for file in one.replaced:
            date = dt.date.fromisoformat(file.partition["metric_date"])
            if any(date not in one.dates[source] for source in sources):
                kept.append((one.mart.name, date, 0, None, StoredFile.of_lake(output.lake, one.mart.name, file).as_json()))
    return kept


def _counter(computations: Sequence[_Computation], shards: int) -> ArrowFunction:
    """The function that counts in files for all marts. The files of a table are read once for all inputs of every source."""
    dates = {source: set().union(*(one.dates[source] for one in computations)) for source in SOURCES}
    readers: dict[tuple[str, str | None], list[tuple[Mart, pa.Table, Input]]] = {}
    for computation in computations:
        metric_dates = _as_table(computation.dates)
        for one in computation.mart.inputs:
            readers.setdefault((one.table.name, one.source), []).append((computation.mart, metric_dates, one))

    def count(batches: Batches) -> Iterator[pa.RecordBatch]:
        files = [file for _, file, _ in file_tasks.per_file(batches)]
        for (table, source), inputs in readers.items():
            read = [file for file in files if file.table == table and source in (None, file.partition.get("source", source))]
            columns = {name for _, _, one in inputs for name in one.columns}
            for rows in _chunks(read, inputs[0][2], columns, dates):
                for of, metric_dates, one in inputs:
                    parts = mart.count_rows(of, rows.select(list(one.columns)), one, metric_dates, shards)
                    yield from parts.append_column("stored_file", pa.nulls(parts.num_rows, STRING)).to_batches()

    return count


def _chunks(files: Iterable[StoredFile], of: Input, columns: Iterable[str], dates: Dates) -> Iterator[pa.Table]:
    """Rows of files of a table, many at a time; of events only those of these dates."""
    waiting: list[pa.Table] = []
    every = pa.array(sorted(set().union(*dates.values())), DATE)
    for part in file_tasks.parts(files, of.table.arrow.remove_metadata(), sorted(columns)):
        waiting.append(part.filter(pc.is_in(part["event_date"], value_set=every)) if of.table is EVENTS else part)
        if sum(one.num_rows for one in waiting) >= _ROWS_AT_A_TIME:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _writer(computations: Sequence[_Computation], last_dates: Mapping[str, dt.date], output: RunOutput) -> ArrowFunction:
    """The function that makes the rows of marts out of all their parts, and writes them with rows that stay."""
    of_name = {one.mart.name: (one.mart, one.dates) for one in computations}
    lasts = pa.table([list(last_dates), list(last_dates.values())], schema=LAST_DATES)

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        parts: dict[str, list[bytes]] = {}
        staying: dict[str, list[pa.Table]] = {}
        for row in (row for batch in batches for row in batch.to_pylist()):
            of, dates = of_name[row["mart"]]
            if row["stored_file"] is None:
                parts.setdefault(of.name, []).append(row["rows"])
            else:
                staying.setdefault(of.name, []).append(_staying(of, StoredFile.of_json(row["stored_file"]), row["metric_date"], dates))
        for name in sorted({*parts, *staying}):
            of, _ = of_name[name]
            rows = mart.rows_of_mart(of, mart.unpacked(of, parts.pop(name, ())), lasts)
            rows = rows.append_column("run_id", pa.repeat(pa.scalar(output.run_id), rows.num_rows))
            yield from task_reports.report(write_partitioned(of.table, pa.concat_tables([rows, *staying.get(name, ())]), output))

    return write


def _staying(of: Mart, file: StoredFile, date: dt.date, dates: Dates) -> pa.Table:
    """The rows in a file of a mart of sources whose date is not computed."""
    rows = table_rows.read_whole(of.table, file.location, file.partition)
    computed = pa.array([source for source, of_source in dates.items() if date in of_source], STRING)
    return rows.filter(pc.invert(pc.is_in(rows["source"], value_set=computed))).cast(of.table.arrow.remove_metadata())


def _summary_dates(marts: Iterable[Mart], files: Iterable[StoredFile]) -> Dates:
    """The dates of these files of `workflow_summaries`, whose source is that of the marts which read them."""
    dates = {dt.date.fromisoformat(file.partition["summary_date"]) for file in files}
    return {one.source: set(dates) for of in marts for one in of.inputs if one.table is WORKFLOW_SUMMARIES and one.source is not None}


def _last_dates(files: Iterable[StoredFile]) -> dict[str, dt.date]:
    """Per source the last date of which a file has landed."""
    last: dict[str, dt.date] = {}
    for file in files:
        date = dt.date.fromisoformat(file.partition["landing_date"])
        last[file.partition["source"]] = max(date, last.get(file.partition["source"], date))
    return last


def _union(*all_dates: Dates) -> Dates:
    together: Dates = {}
    for dates in all_dates:
        for source, of_source in dates.items():
            together.setdefault(source, set()).update(of_source)
    return together


def _as_table(dates: Dates) -> pa.Table:
    pairs = [(source, date) for source, of_source in dates.items() for date in sorted(of_source)]
    return pa.table([[source for source, _ in pairs], [date for _, date in pairs]], schema=METRIC_DATES)

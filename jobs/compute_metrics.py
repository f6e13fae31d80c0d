"""Compute the daily metrics of every date that the night changes.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import changed_dates
from jobs.engine import file_tasks
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import ArrowFunction, Batches
from jobs.engine.state_files import in_partitions
from jobs.lake.new_state import Dates, NewState
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from schemas.bookkeeping import DAILY_METRICS, FILES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, METRICS, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import DATE, Table, spark_schema
from transforms import metrics

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine


_Measure = Callable[[Iterable[pa.Table], Table, Iterable[str]], pa.Table]


@dataclass(frozen=True)
class _Measurement:
    """What is measured of which files for which dates."""

    measure: _Measure
    table: Table
    columns: tuple[str, ...]
    dates: Dates  # per source
    files: Sequence[StoredFile]


def compute(engine: Engine, state: NewState, changed: Mapping[str, Dates], output: RunOutput, *, from_nothing: bool = False) -> Change:
    """The metrics of these changed dates (by family), in place of what stood for them; with `from_nothing`, of all dates."""
    by_event, by_chain = changed[EVENT_DATE], changed[CHAIN_DATE]
    by_session, by_landing = changed[SESSION_DATE], changed[LANDING_DATE]
    sessions = in_partitions(state, SESSIONS.name, by_session)
    measured = [
        _Measurement(
            metrics.measure_events,
            EVENTS,
            _EVENTS,
            by_event,
            changed_dates.covering(state, EVENTS.name, by_event, "event_date", "event_date"),
        ),
        _Measurement(metrics.measure_sessions, SESSIONS, _SESSIONS, by_session, sessions),
        _Measurement(
            metrics.measure_chains,
            SESSION_CHAINS,
            _CHAINS,
            by_chain,
            changed_dates.covering(state, SESSION_CHAINS.name, by_chain, "first_time", "last_time"),
        ),
        _Measurement(metrics.measure_files, FILES, _FILES, by_landing, in_partitions(state, FILES.name, by_landing)),
        _Measurement(metrics.measure_lateness, EVENTS, _LATENESS, by_landing, in_partitions(state, EVENTS.name, by_landing)),
        _Measurement(
            metrics.measure_refusals, REJECTED_EVENTS, _REJECTED, by_landing, in_partitions(state, REJECTED_EVENTS.name, by_landing)
        ),
    ]
    durations = [_Measurement(metrics.measure_durations, SESSIONS, _DURATIONS, by_session, sessions)]
    rows = metrics.daily_metrics(_totals(engine, measured, durations))
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(output.run_id), rows.num_rows))
    if from_nothing:
        return Change(write_partitioned(DAILY_METRICS, rows, output), state.lake.files(DAILY_METRICS.name))
    return _replace_dates(state, rows, changed, output)


def _totals(engine: Engine, measured: Sequence[_Measurement], durations: Sequence[_Measurement]) -> pa.Table:
    """The measures of all files, added up, as metrics.TOTALS."""
    few = file_tasks.are_few(file for one in measured for file in one.files)
    frames = []
    for measurements, add_up in ((measured, partial(metrics.totals, in_one_task=few)), (durations, metrics.percentiles)):
        numbered = dict(enumerate((one, file) for one in measurements for file in one.files))
        if numbered:
            tasks = file_tasks.spread(engine, {number: file for number, (_, file) in numbered.items()}, few=few)
            of_file = {number: one for number, (one, _) in numbered.items()}
            rows = tasks.mapInArrow(engine.in_processes(_measure(of_file)), spark_schema(metrics.MEASURES))
            frames.append(add_up(rows).select(metrics.TOTALS.names))
    if not frames:
        return metrics.TOTALS.empty_table()
    return reduce(lambda one, other: one.unionAll(other), frames).toArrow().cast(metrics.TOTALS)


def _measure(of_file: Mapping[int, _Measurement]) -> ArrowFunction:
    """The function that measures files, by their numbers. Files of one measurement in a task are one query."""
    measurements = {one.measure.__name__: (one.measure, one.table, one.columns, one.dates) for one in of_file.values()}
    name_of = {number: one.measure.__name__ for number, one in of_file.items()}

    def measure(batches: Batches) -> Iterator[pa.RecordBatch]:
        files: dict[str, list[StoredFile]] = {}
        for number, file, _ in file_tasks.per_file(batches):
            files.setdefault(name_of[number], []).append(file)
        for name, of_measurement in files.items():
            measure, table, columns, dates = measurements[name]
            rows = file_tasks.parts(of_measurement, table.arrow, columns)
            yield from _of_changed_dates(measure(rows, table, columns), dates).to_batches()

    return measure


def _of_changed_dates(rows: pa.Table, dates: Dates) -> pa.Table:
    """The measures of these dates of each source."""
    of_source = [
        rows.filter(pc.and_(pc.equal(rows["source"], source), pc.is_in(rows["metric_date"], value_set=pa.array(sorted(of_source), DATE))))
        for source, of_source in dates.items()
    ]
    return pa.concat_tables([metrics.MEASURES.empty_table(), *of_source])


_EVENTS = ("source", "event_date", "event_type", "user_id", "device_id", "visitor_id", "flags", "session_input.key")
_SESSIONS = ("source", "session_date", "session_kind", "session_duration", "timespent", "pageviews", "interactions", "reported", "flags")
_DURATIONS = ("source", "session_date", "session_duration", "flags")
_CHAINS = ("source", "kind", "unassigned")
_LATENESS = ("source", "landing_date", "flags")
_FILES = ("source", "landing_date", "status", "records", "accepted", "duplicates", "rejected")
_REJECTED = ("source", "landing_date", "reason")


def _replace_dates(state: NewState, rows: pa.Table, changed: Mapping[str, Dates], output: RunOutput) -> Change:
    """The new rows with those of the same dates that are not computed again, in place of the files that hold them."""
    dates = {date.isoformat() for by_source in changed.values() for of_source in by_source.values() for date in of_source}
    change = Change(removed=[file for file in state.lake.files(DAILY_METRICS.name) if file.partition["metric_date"] in dates])
    if change.removed:
        old = state.lake.arrow(
            DAILY_METRICS.name, DAILY_METRICS.names, pc.field("metric_date").isin([dt.date.fromisoformat(date) for date in sorted(dates)])
        )
        is_kept = [
            row["metric_date"] not in changed[METRICS[row["metric"]].family].get(row["source"], set())
            for row in old.select(["metric_date", "source", "metric"]).to_pylist()
        ]
        rows = pa.concat_tables(
            [rows.select(DAILY_METRICS.names), old.filter(pa.array(is_kept, pa.bool_())).cast(DAILY_METRICS.arrow.remove_metadata())]
        )
    change.added = write_partitioned(DAILY_METRICS, rows, output)
    return change

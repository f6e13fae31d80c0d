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
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import write_partitioned
from schemas.bookkeeping import DAILY_METRICS, FILES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, METRICS, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import DATE, Table, spark_schema
from transforms import metrics
from transforms.affected_rows import ClosedDates

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine


_Measure = Callable[[Iterable[pa.Table], Table, Iterable[str]], pa.Table]


@dataclass(frozen=True)
class _Measurement:
    """What is measured of which files for which dates."""

    name: str
    measure: _Measure
    table: Table
    columns: tuple[str, ...]
    dates: Dates  # per source
    files: Sequence[StoredFile]


def compute(
    engine: Engine,
    state: NewState,
    changed: Mapping[str, Dates],
    output: RunOutput,
    who: str,
    *,
    from_nothing: bool = False,
    closed: ClosedDates | None = None,
) -> Change:
    """The metrics of these changed dates (by family), in place of what stood for them; with `from_nothing`, of all dates.

    Users and averages are those of `who`: transforms.metrics.PEOPLE or EVERYONE. `closed` has the landing dates whose events have
    expired: metrics that need these events stay as they are.
    """
    by_event, by_chain = changed[EVENT_DATE], changed[CHAIN_DATE]
    by_session, by_landing = changed[SESSION_DATE], changed[LANDING_DATE]
    sessions = in_partitions(state, SESSIONS.name, by_session)
    of_who = {name: partial(measure, who=who) for name, measure in _OF_WHO.items()}
    measured = [
        _Measurement(
            "events",
            of_who["events"],
            EVENTS,
            _EVENTS,
            by_event,
            changed_dates.covering(state, EVENTS.name, by_event, "event_date", "event_date"),
        ),
        _Measurement("sessions", of_who["sessions"], SESSIONS, _SESSIONS, by_session, sessions),
        _Measurement(
            "chains",
            metrics.measure_chains,
            SESSION_CHAINS,
            _CHAINS,
            by_chain,
            changed_dates.covering(state, SESSION_CHAINS.name, by_chain, "first_time", "last_time"),
        ),
        _Measurement("files", metrics.measure_files, FILES, _FILES, by_landing, in_partitions(state, FILES.name, by_landing)),
        _Measurement("lateness", metrics.measure_lateness, EVENTS, _LATENESS, by_landing, in_partitions(state, EVENTS.name, by_landing)),
        _Measurement(
            "refusals",
            metrics.measure_refusals,
            REJECTED_EVENTS,
            _REJECTED,
            by_landing,
            in_partitions(state, REJECTED_EVENTS.name, by_landing),
        ),
    ]
    durations = [_Measurement("durations", of_who["durations"], SESSIONS, _DURATIONS, by_session, sessions)]
    rows = metrics.daily_metrics(_totals(engine, measured, durations))
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(output.run_id), rows.num_rows))
    if from_nothing:
        return _replace_all(state, rows, closed or {}, output)
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
    measurements = {one.name: (one.measure, one.table, one.columns, one.dates) for one in of_file.values()}
    name_of = {number: one.name for number, one in of_file.items()}

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


_OF_WHO: Mapping[str, Callable[..., pa.Table]] = {
    "events": metrics.measure_events,
    "sessions": metrics.measure_sessions,
    "durations": metrics.measure_durations,
}
_EVENTS = ("source", "event_date", "event_type", "user_id", "device_id", "visitor_id", "flags", "is_robot", "session_input.key")
_SESSIONS = (
    *("source", "session_date", "session_kind", "is_robot", "session_duration", "timespent", "pageviews", "interactions"),
    *("reported", "flags"),
)
_DURATIONS = ("source", "session_date", "session_duration", "is_robot")
_CHAINS = ("source", "kind", "unassigned")
_LATENESS = ("source", "landing_date", "flags")
_FILES = ("source", "landing_date", "status", "records", "accepted", "duplicates", "rejected")
_REJECTED = ("source", "landing_date", "reason")


def _replace_dates(state: NewState, rows: pa.Table, changed: Mapping[str, Dates], output: RunOutput) -> Change:
    """The new rows with those of the same dates that are not computed again, in place of the files that hold them."""
    dates = {date.isoformat() for by_source in changed.values() for of_source in by_source.values() for date in of_source}
    removed = [file for file in state.lake.files(DAILY_METRICS.name) if file.partition["metric_date"] in dates]

    def is_kept(family: str, source: str, date: dt.date) -> bool:
        return date not in changed[family].get(source, set())

    return _replace(state, rows, removed, is_kept, output)


def _replace_all(state: NewState, rows: pa.Table, closed: ClosedDates, output: RunOutput) -> Change:
    """The new rows, with those that are not computed again because events have expired, in place of all files."""

    def is_kept(family: str, source: str, date: dt.date) -> bool:
        return not changed_dates.open_dates(family, {source: {date}}, closed)[source]

    return _replace(state, rows, state.lake.files(DAILY_METRICS.name), is_kept, output)


def _replace(
    state: NewState, rows: pa.Table, removed: list[TableFile], is_kept: Callable[[str, str, dt.date], bool], output: RunOutput
) -> Change:
    """The new rows, with those of the removed files that are kept. `is_kept` takes family, source and date of a metric."""
    dates = sorted({dt.date.fromisoformat(file.partition["metric_date"]) for file in removed})
    if dates:
        old = state.lake.arrow(DAILY_METRICS.name, DAILY_METRICS.names, pc.field("metric_date").isin(dates))
        kept = [
            # The metric of an earlier version may be gone.
            row["metric"] in METRICS and is_kept(METRICS[row["metric"]].family, row["source"], row["metric_date"])
            for row in old.select(["metric_date", "source", "metric"]).to_pylist()
        ]
        rows = pa.concat_tables(
            [rows.select(DAILY_METRICS.names), old.filter(pa.array(kept, pa.bool_())).cast(DAILY_METRICS.arrow.remove_metadata())]
        )
    return Change(write_partitioned(DAILY_METRICS, rows, output), removed)

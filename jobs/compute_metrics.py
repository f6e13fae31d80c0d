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

from jobs.engine import file_tasks, state_files
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import ArrowFunction, Batches
from jobs.engine.state_files import in_partitions
from jobs.lake.new_state import Dates, NewState
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import write_partitioned
from jobs.landing.zone import Partition
from schemas.bookkeeping import DAILY_METRICS, FILES
from schemas.catalog import TABLES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, METRICS, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import DATE, STRING, Table, spark_schema
from transforms import metrics
from transforms.affected_rows import ClosedDates
from transforms.times import shifted

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
    landed: Iterable[Partition],
    output: RunOutput,
    who: str,
    *,
    from_nothing: bool = False,
    closed: ClosedDates | None = None,
) -> Change:
    """The metrics of the dates that the changes touch, in place of what stood for them; with `from_nothing`, of all dates.

    Users and averages are those of `who`: transforms.metrics.PEOPLE or EVERYONE. `closed` has the landing dates whose events have
    expired: metrics that need these events stay as they are.
    """
    closed = closed or {}
    files_of = _all_files if from_nothing else _changed_files
    changed: dict[str, Dates] = {
        **_dates_within(engine, {EVENT_DATE: files_of(state, EVENTS.name), CHAIN_DATE: files_of(state, SESSION_CHAINS.name)}),
        SESSION_DATE: _partition_dates(files_of(state, SESSIONS.name), "session_date"),
        LANDING_DATE: _by_source((partition.source, partition.landing_date) for partition in landed),
    }
    changed = {family: _open(family, dates, closed) for family, dates in changed.items()}
    by_event, by_chain = changed[EVENT_DATE], changed[CHAIN_DATE]
    by_session, by_landing = changed[SESSION_DATE], changed[LANDING_DATE]
    sessions = in_partitions(state, SESSIONS.name, by_session)
    of_who = {name: partial(measure, who=who) for name, measure in _OF_WHO.items()}
    measured = [
        _Measurement(
            "events", of_who["events"], EVENTS, _EVENTS, by_event, _covering(state, EVENTS.name, by_event, "event_date", "event_date")
        ),
        _Measurement("sessions", of_who["sessions"], SESSIONS, _SESSIONS, by_session, sessions),
        _Measurement(
            "chains",
            metrics.measure_chains,
            SESSION_CHAINS,
            _CHAINS,
            by_chain,
            _covering(state, SESSION_CHAINS.name, by_chain, "first_time", "last_time"),
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
        return _replace_all(state, rows, closed, output)
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
_EVENTS = ("source", "event_date", "event_type", "user_id", "device_id", "flags", "is_robot", "session_input.key")
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
        return not _open(family, {source: {date}}, closed)[source]

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


# An event may be so many days ahead of its landing date: a server's clock of one, and a client's of another.
_AHEAD_DAYS = 2


def _open(family: str, dates: Dates, closed: ClosedDates) -> Dates:
    """Those of the dates whose metrics can be computed: no event has expired that they count."""
    if family in (SESSION_DATE, CHAIN_DATE):
        return dates
    opened: Dates = {}
    for source, of_source in dates.items():
        expired = closed.get(source, ())
        last = shifted(max(expired), _AHEAD_DAYS) if expired else dt.date.min
        opened[source] = {date for date in of_source if not expired or (date not in expired if family == LANDING_DATE else date > last)}
    return opened


# Which dates are changed


def _by_source(pairs: Iterable[tuple[str, dt.date]]) -> Dates:
    dates: Dates = {}
    for source, date in pairs:
        dates.setdefault(source, set()).add(date)
    return dates


def _changed_files(state: NewState, name: str) -> list[StoredFile]:
    return state_files.added(state, name) + state_files.removed(state, name)


def _all_files(state: NewState, name: str) -> list[StoredFile]:
    return state_files.added(state, name) + state_files.kept(state, name, state.lake.files(name))


_DATES = pa.schema([("family", STRING), ("source", STRING), ("date", DATE)])


def _dates_within(engine: Engine, files_of: Mapping[str, Sequence[StoredFile]]) -> dict[str, Dates]:
    """The dates of the events in the files of each family."""
    changed: dict[str, Dates] = {family: {} for family in files_of}
    of_number = dict(enumerate((family, file) for family, files in files_of.items() for file in files))
    if not of_number:
        return changed
    files = {number: file for number, (_, file) in of_number.items()}
    family_of = {number: family for number, (family, _) in of_number.items()}

    def read_dates(batches: Batches) -> Iterator[pa.RecordBatch]:
        for number, file, _ in file_tasks.per_file(batches):
            column = "event_date" if file.table == EVENTS.name else "unassigned"
            for rows in file_tasks.parts([file], TABLES[file.table].arrow, [column]):
                dates = rows[column] if column == "event_date" else pc.struct_field(pc.list_flatten(rows[column]), "event_date")
                different = [
                    {"family": family_of[number], "source": file.partition["source"], "date": date} for date in pc.unique(dates).to_pylist()
                ]
                yield pa.RecordBatch.from_pylist(different, schema=_DATES)

    tasks = file_tasks.spread(engine, files, few=file_tasks.are_few(files.values()))
    rows = tasks.mapInArrow(engine.in_processes(read_dates), spark_schema(_DATES)).distinct().toArrow()
    for family, source, date in zip(*(rows[name].to_pylist() for name in _DATES.names), strict=True):
        changed[family].setdefault(source, set()).add(date)
    return changed


def _partition_dates(files: Iterable[StoredFile], column: str) -> Dates:
    return _by_source((file.partition["source"], dt.date.fromisoformat(file.partition[column])) for file in files)


# Which files of the lake hold them


def _covering(state: NewState, name: str, dates: Dates, least_of: str, most_of: str) -> list[StoredFile]:
    """A table's files whose statistics of these columns say that they may hold these dates."""

    def may_hold(file: TableFile) -> bool:
        of_source = dates.get(file.partition["source"], set())
        if not of_source:
            return False
        least, most = file.lower_bounds.get(least_of), file.upper_bounds.get(most_of)
        return least is None or most is None or (_day(least) <= max(of_source) and _day(most) >= min(of_source))

    return state_files.added(state, name) + state_files.kept(state, name, filter(may_hold, state.lake.files(name)))


def _day(bound: object) -> dt.date:
    if isinstance(bound, dt.datetime):
        return bound.date()
    return bound if isinstance(bound, dt.date) else dt.date.fromisoformat(str(bound)[:10])

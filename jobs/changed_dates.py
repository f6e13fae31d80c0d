"""Which dates of each source a run changes, and which files of the lake may hold rows of some dates.

A part of the steps metrics and marts: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import file_tasks, state_files
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.lake.new_state import Dates, NewState
from jobs.lake.table_changes import TableFile
from jobs.landing.zone import Partition
from schemas.catalog import TABLES
from schemas.events import EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import DATE, STRING, spark_schema
from transforms.affected_rows import ClosedDates
from transforms.times import shifted

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine


def find(
    engine: Engine, state: NewState, landed: Iterable[Partition], closed: ClosedDates, *, from_nothing: bool = False
) -> dict[str, Dates]:
    """Per family of metrics the dates whose rows the run adds or removes; with `from_nothing`, the dates of all rows.

    `landed` are the partitions that the run changes. `closed` has the landing dates whose events have expired: dates whose rows
    would need these events are left out.
    """
    files_of = all_files if from_nothing else changed_files
    changed = {
        **_dates_within(engine, {EVENT_DATE: files_of(state, EVENTS.name), CHAIN_DATE: files_of(state, SESSION_CHAINS.name)}),
        SESSION_DATE: partition_dates(files_of(state, SESSIONS.name), "session_date"),
        LANDING_DATE: _by_source((partition.source, partition.landing_date) for partition in landed),
    }
    return {family: open_dates(family, dates, closed) for family, dates in changed.items()}


# An event may be so many days ahead of its landing date: a server's clock of one, and a client's of another.
_AHEAD_DAYS = 2


def open_dates(family: str, dates: Dates, closed: ClosedDates) -> Dates:
    """Those of the dates whose rows can be computed: no event has expired that they count."""
    if family in (SESSION_DATE, CHAIN_DATE):
        return dates
    opened: Dates = {}
    for source, of_source in dates.items():
        expired = closed.get(source, ())
        last = shifted(max(expired), _AHEAD_DAYS) if expired else dt.date.min
        opened[source] = {date for date in of_source if not expired or (date not in expired if family == LANDING_DATE else date > last)}
    return opened


def _by_source(pairs: Iterable[tuple[str, dt.date]]) -> Dates:
    dates: Dates = {}
    for source, date in pairs:
        dates.setdefault(source, set()).add(date)
    return dates


def changed_files(state: NewState, name: str) -> list[StoredFile]:
    """The files that the run adds to a table and removes from it."""
    return state_files.added(state, name) + state_files.removed(state, name)


def all_files(state: NewState, name: str) -> list[StoredFile]:
    """All files of a table as the run will publish it."""
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


def partition_dates(files: Iterable[StoredFile], column: str) -> Dates:
    """The dates in the partitions of some files."""
    return _by_source((file.partition["source"], dt.date.fromisoformat(file.partition[column])) for file in files)


def covering(state: NewState, name: str, dates: Dates, least_of: str, most_of: str) -> list[StoredFile]:
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

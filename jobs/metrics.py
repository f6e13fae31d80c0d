"""Work out the daily metrics of every date that the night touches.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import workers
from jobs.lake import Change, Lake, TableFile
from jobs.landing import Partition
from jobs.table_files import write_partitioned
from schemas.account import DAILY_METRICS, FILES
from schemas.catalog import TABLES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, METRICS, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import Table
from transforms import metrics

if TYPE_CHECKING:
    from jobs.session import Engine

Dates = dict[str, set[dt.date]]  # per source
FileOfPartition = tuple[Path, Mapping[str, str]]  # and the partition's values, as text


@dataclass(frozen=True)
class NewState:
    """A table as it will be when the run is published: the lake's files that stay, and the run's own."""

    lake: Lake
    folder: Path  # the run's staging folder
    changes: Mapping[str, Change]

    def own(self, name: str) -> list[FileOfPartition]:
        """The run's own files."""
        return [(self.folder / name / file.path, file.partition_values) for file in self.changes.get(name, Change()).added]

    def kept(self, name: str, files: Iterable[TableFile]) -> list[FileOfPartition]:
        """Those of these files of the lake that stay."""
        gone = {file.path for file in self.changes.get(name, Change()).removed}
        return [(self.lake.root / name / file.path, file.partition) for file in files if file.path not in gone]


@dataclass(frozen=True)
class _Family:
    """Metrics that are worked out together, out of one table."""

    table: Table
    columns: tuple[str, ...]
    work_out: Callable[[Iterable[pa.Table], Table, Iterable[str]], pa.Table]
    dates: Dates  # for which they are asked, per source
    files: list[FileOfPartition]


def compute(engine: Engine, state: NewState, landed: Iterable[Partition], run_id: str, *, from_nothing: bool = False) -> Change:
    """The metrics of the dates that the changes touch, in place of what stood for them."""
    touched: dict[str, Dates] = {
        EVENT_DATE: _dates(state, EVENTS.name, "event_date"),
        SESSION_DATE: _partition_dates(state, SESSIONS.name),
        CHAIN_DATE: _loose_dates(state),
        LANDING_DATE: _by_source((partition.source, partition.landing_date) for partition in landed),
    }
    in_events = _covering(state, EVENTS.name, touched[EVENT_DATE], "event_date", "event_date")
    in_chains = _covering(state, SESSION_CHAINS.name, touched[CHAIN_DATE], "first_time", "last_time")
    by_session, by_landing = touched[SESSION_DATE], touched[LANDING_DATE]
    families = [
        _Family(EVENTS, _EVENTS, metrics.of_events, touched[EVENT_DATE], in_events),
        _Family(SESSIONS, _SESSIONS, metrics.of_sessions, by_session, _in_partitions(state, SESSIONS.name, by_session)),
        _Family(SESSION_CHAINS, _CHAINS, metrics.of_chains, touched[CHAIN_DATE], in_chains),
        _Family(FILES, _FILES, metrics.of_files, by_landing, _in_partitions(state, FILES.name, by_landing)),
        _Family(EVENTS, _LATENESS, metrics.of_lateness, by_landing, _in_partitions(state, EVENTS.name, by_landing)),
        _Family(REJECTED_EVENTS, _REJECTED, metrics.of_refusals, by_landing, _in_partitions(state, REJECTED_EVENTS.name, by_landing)),
    ]
    rows = _worked_out(engine, families)
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
    if from_nothing:
        return Change(write_partitioned(DAILY_METRICS, rows, state.folder / DAILY_METRICS.name), state.lake.files(DAILY_METRICS.name))
    return _in_place(state, rows, touched)


def _worked_out(engine: Engine, families: Sequence[_Family]) -> pa.Table:
    """The rows of all families. The files of a family and a source are the work of one task."""
    work = [(family, source) for family in families for source in sorted({partition["source"] for _, partition in family.files})]

    def work_out(number: int) -> Iterator[pa.RecordBatch]:
        family, source = work[number]
        files = [(path, partition) for path, partition in family.files if partition["source"] == source]
        rows = family.work_out(workers.parts(family.table, files, family.columns), family.table, family.columns)
        asked = pa.array(sorted(family.dates.get(source, ())), pa.date32())
        yield from rows.filter(pc.is_in(rows["metric_date"], value_set=asked)).to_batches()

    return workers.run(engine, len(work), work_out, metrics.DAILY)


_EVENTS = ("source", "event_date", "event_type", "user_id", "device_id", "flags")
_SESSIONS = ("source", "session_date", "session_kind", "session_duration", "timespent", "pageviews", "interactions", "reported", "flags")
_CHAINS = ("source", "kind", "unassigned")
_LATENESS = ("source", "landing_date", "flags")
_FILES = ("source", "landing_date", "status", "records", "accepted", "duplicates", "rejected")
_REJECTED = ("source", "landing_date", "reason")


def _in_place(state: NewState, rows: pa.Table, touched: Mapping[str, Dates]) -> Change:
    """The new rows with those of the same dates that are not worked out anew, in place of the files that hold them."""
    dates = {date.isoformat() for by_source in touched.values() for found in by_source.values() for date in found}
    change = Change(removed=[file for file in state.lake.files(DAILY_METRICS.name) if file.partition["metric_date"] in dates])
    if change.removed:
        old = state.lake.arrow(
            DAILY_METRICS.name, DAILY_METRICS.names, pc.field("metric_date").isin([dt.date.fromisoformat(date) for date in sorted(dates)])
        )
        stays = [
            row["metric_date"] not in touched[METRICS[row["metric"]].family].get(row["source"], set())
            for row in old.select(["metric_date", "source", "metric"]).to_pylist()
        ]
        rows = pa.concat_tables(
            [rows.select(DAILY_METRICS.names), old.filter(pa.array(stays, pa.bool_())).cast(DAILY_METRICS.arrow.remove_metadata())]
        )
    change.added = write_partitioned(DAILY_METRICS, rows, state.folder / DAILY_METRICS.name)
    return change


# Which dates are touched


def _by_source(pairs: Iterable[tuple[str, dt.date]]) -> Dates:
    found: Dates = {}
    for source, date in pairs:
        found.setdefault(source, set()).add(date)
    return found


def _changed_files(state: NewState, name: str) -> Iterable[tuple[Path, Mapping[str, str]]]:
    change = state.changes.get(name, Change())
    for added in change.added:
        yield state.folder / name / added.path, added.partition_values
    for removed in change.removed:
        yield state.lake.root / name / removed.path, removed.partition


def _dates(state: NewState, name: str, column: str) -> Dates:
    return _by_source(
        (partition["source"], date)
        for path, partition in _changed_files(state, name)
        for date in pc.unique(pq.ParquetFile(path).read(columns=[column])[column]).to_pylist()
    )


def _partition_dates(state: NewState, name: str) -> Dates:
    column = TABLES[name].partitioned_by[0]
    return _by_source((partition["source"], dt.date.fromisoformat(partition[column])) for _, partition in _changed_files(state, name))


def _loose_dates(state: NewState) -> Dates:
    def dates(path: Path) -> list[dt.date]:
        loose = pc.list_flatten(pq.ParquetFile(path).read(columns=["unassigned"])["unassigned"])
        return pc.unique(pc.struct_field(loose, "event_date")).to_pylist()  # type: ignore[no-any-return]

    return _by_source((partition["source"], date) for path, partition in _changed_files(state, SESSION_CHAINS.name) for date in dates(path))


# Which files of the lake hold them


def _in_partitions(state: NewState, name: str, touched: Dates) -> list[FileOfPartition]:
    """A table's files in the partitions of these dates."""
    by = TABLES[name].partitioned_by[0]
    held = [
        file for file in state.lake.files(name) if dt.date.fromisoformat(file.partition[by]) in touched.get(file.partition["source"], set())
    ]
    return state.own(name) + state.kept(name, held)


def _covering(state: NewState, name: str, touched: Dates, least_of: str, most_of: str) -> list[FileOfPartition]:
    """A table's files whose statistics of these columns say that they may hold these dates."""

    def may_hold(file: TableFile) -> bool:
        dates = touched.get(file.partition["source"], set())
        if not dates:
            return False
        least, most = file.least.get(least_of), file.most.get(most_of)
        return least is None or most is None or (_day(least) <= max(dates) and _day(most) >= min(dates))

    return state.own(name) + state.kept(name, filter(may_hold, state.lake.files(name)))


def _day(bound: object) -> dt.date:
    if isinstance(bound, dt.datetime):
        return bound.date()
    return bound if isinstance(bound, dt.date) else dt.date.fromisoformat(str(bound)[:10])

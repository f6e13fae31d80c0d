"""Work out the daily metrics of every date that the night touches.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.lake import Change, Lake, TableFile, read_parquet
from jobs.landing import Partition
from jobs.table_files import write_partitioned
from schemas.account import DAILY_METRICS, FILES
from schemas.catalog import TABLES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.metrics import CHAIN_DATE, EVENT_DATE, LANDING_DATE, METRICS, SESSION_DATE
from schemas.sessions import SESSION_CHAINS, SESSIONS
from transforms import metrics

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Dates = dict[str, set[dt.date]]  # per source


@dataclass(frozen=True)
class NewState:
    """A table as it will be when the run is published: the lake's files that stay, and the run's own."""

    lake: Lake
    folder: Path  # the run's staging folder
    changes: Mapping[str, Change]

    def frame(self, spark: SparkSession, name: str, staying: Iterable[TableFile], *columns: str) -> DataFrame:
        """The rows of the run's own files, and of these of the lake that stay."""
        own, kept = self.own(spark, name, *columns), self.kept(spark, name, staying, *columns)
        return own if kept is None else own.unionByName(kept)

    def own(self, spark: SparkSession, name: str, *columns: str) -> DataFrame:
        """The rows of the run's own files."""
        paths = [file.path for file in self.changes.get(name, Change()).added]
        return read_parquet(spark, TABLES[name], self.folder / name, paths, *columns)

    def kept(self, spark: SparkSession, name: str, files: Iterable[TableFile], *columns: str) -> DataFrame | None:
        """The rows of those of these files of the lake that stay; None where none does."""
        gone = {file.path for file in self.changes.get(name, Change()).removed}
        kept = [file for file in files if file.path not in gone]
        return self.lake.frame(spark, name, kept, *columns) if kept else None


def compute(spark: SparkSession, state: NewState, landed: Iterable[Partition], run_id: str, *, from_nothing: bool = False) -> Change:
    """The metrics of the dates that the changes touch, in place of what stood for them."""
    touched: dict[str, Dates] = {
        EVENT_DATE: _dates(state, EVENTS.name, "event_date"),
        SESSION_DATE: _partition_dates(state, SESSIONS.name),
        CHAIN_DATE: _loose_dates(state),
        LANDING_DATE: _by_source((partition.source, partition.landing_date) for partition in landed),
    }
    frames = [
        metrics.of_events(
            _only(_covering(spark, state, EVENTS.name, touched[EVENT_DATE], "event_date", _EVENTS), touched[EVENT_DATE], "event_date")
        ),
        metrics.of_sessions(
            _only(_in_partitions(spark, state, SESSIONS.name, touched[SESSION_DATE], _SESSIONS), touched[SESSION_DATE], "session_date")
        ),
        _only(
            metrics.of_chains(_covering(spark, state, SESSION_CHAINS.name, touched[CHAIN_DATE], "", _CHAINS)),
            touched[CHAIN_DATE],
            "metric_date",
        ),
        metrics.of_landing(
            *(
                _only(_in_partitions(spark, state, name, touched[LANDING_DATE], columns), touched[LANDING_DATE], "landing_date")
                for name, columns in ((FILES.name, _FILES), (EVENTS.name, _EVENTS), (REJECTED_EVENTS.name, _REJECTED))
            )
        ),
    ]
    rows = reduce(lambda left, right: left.unionByName(right), frames).toArrow().cast(_BARE)
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
    if from_nothing:
        return Change(write_partitioned(DAILY_METRICS, rows, state.folder / DAILY_METRICS.name), state.lake.files(DAILY_METRICS.name))
    return _in_place(state, rows, touched)


_BARE = pa.schema([pa.field(c.name, c.type) for c in DAILY_METRICS.columns if c.name != "run_id"])
_EVENTS = ("source", "event_date", "event_type", "user_id", "device_id", "flags", "landing_date")
_SESSIONS = ("source", "session_date", "session_kind", "session_duration", "timespent", "pageviews", "interactions", "reported", "flags")
_CHAINS = ("source", "kind", "unassigned")
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


def _in_partitions(spark: SparkSession, state: NewState, name: str, touched: Dates, columns: tuple[str, ...]) -> DataFrame:
    """A table's rows in the partitions of these dates."""
    by = TABLES[name].partitioned_by[0]
    held = [
        file for file in state.lake.files(name) if dt.date.fromisoformat(file.partition[by]) in touched.get(file.partition["source"], set())
    ]
    return state.frame(spark, name, held, *columns)


def _covering(spark: SparkSession, state: NewState, name: str, touched: Dates, column: str, columns: tuple[str, ...]) -> DataFrame:
    """A table's rows in the files whose statistics say that they may hold these dates."""

    def may_hold(file: TableFile) -> bool:
        dates = touched.get(file.partition["source"], set())
        if not dates:
            return False
        least, most = (
            (file.least.get(column), file.most.get(column)) if column else (file.least.get("first_time"), file.most.get("last_time"))
        )
        return least is None or most is None or (_day(least) <= max(dates) and _day(most) >= min(dates))

    return state.frame(spark, name, [file for file in state.lake.files(name) if may_hold(file)], *columns)


def _day(bound: object) -> dt.date:
    if isinstance(bound, dt.datetime):
        return bound.date()
    return bound if isinstance(bound, dt.date) else dt.date.fromisoformat(str(bound)[:10])


def _only(frame: DataFrame, touched: Dates, column: str) -> DataFrame:
    """The rows of these sources and dates."""
    from pyspark.sql import functions as F

    wanted = F.lit(False)
    for source, dates in sorted(touched.items()):
        wanted |= (F.col("source") == source) & F.col(column).isin(sorted(dates))
    return frame.where(wanted)

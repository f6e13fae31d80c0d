"""Compare a source's night with its earlier nights: volume, freshness, and the share of null values of columns.

A part of the step `checks`: millrace run --date 2026-11-20

The numbers are those of the lake as the run will publish it. They come from the Delta logs of `files` and `events`, and from the
rows of `files` for the compared nights. They do not depend on the clock or on later nights.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jobs.changed_partitions import NIGHT_DONE
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake
from jobs.landing import zone
from jobs.landing.zone import Partition
from jobs.quality.gate import Finding
from jobs.rules import past_rules
from jobs.settings import Bound, Quality, SourceQuality
from jobs.storage.parquet_files import open_parquet_files
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import FILES, RUNS
from schemas.events import EVENTS
from transforms.quality import baseline
from transforms.quality.baseline import Landed

# The name of the check that an expected source has landed.
LANDED = "landed files of an expected source"


@dataclass
class _PartitionFiles:
    """The files of one partition in the new state of a table, and what the Delta log says of them."""

    paths: list[StoragePath] = field(default_factory=list)
    rows: int = 0
    nulls: list[Mapping[str, int]] = field(default_factory=list)  # per file

    def share_of_nulls(self, column: str) -> float | None:
        """The share of nulls among a column's values; None if it is not known."""
        if not self.rows or any(column not in nulls for nulls in self.nulls):
            return None
        return sum(nulls[column] for nulls in self.nulls) / self.rows


def findings(state: NewState, sources: Collection[str], quality: Quality, night: dt.date) -> Iterator[Finding]:
    """Findings per source of the run: whether an expected source has landed, and how its night differs from the compared nights.

    With too few earlier nights, nothing is compared. If an expected source did not land, the warnings that follow from that are
    left out.
    """
    landed, events = _partitions(state, FILES.name), _partitions(state, EVENTS.name)
    known = {partition.landing_date for partition in landed} | _nights_run(state.lake, night)
    for source in sorted(sources):
        thresholds = quality.of(source)
        own = {partition.landing_date: contents for partition, contents in landed.items() if partition.source == source}
        expected = is_expected(thresholds, own, night)
        if expected:
            files = own[night].rows if night in own else 0
            yield from _bound_finding(LANDED, files, thresholds.landed_files, source)
        past = baseline.compared(night, own, known, past_rules(thresholds.past))
        if past:
            before = [_landed(own.get(date, _PartitionFiles())) for date in past]
            usual = [*_volume(source, thresholds, _landed(own.get(night, _PartitionFiles())), before, is_expected=expected)]
            if baseline.usual([one.files for one in before]):
                usual += _silence(source, thresholds.silent_hours, own, night)
            yield from (one for one in usual if not expected or night in own or one.severity == "critical")
            of_events = [events.get(Partition(date, source), _PartitionFiles()) for date in past]
            yield from _null_shares(source, thresholds, events.get(Partition(night, source), _PartitionFiles()), of_events)


def missing_sources(state: NewState, sources: Collection[str], quality: Quality, night: dt.date) -> list[str]:
    """The sources that are expected to land on the night and have no file of it, sorted."""
    landed = set(_partitions(state, FILES.name))
    return [
        source
        for source in sorted(sources)
        if Partition(night, source) not in landed
        and is_expected(quality.of(source), {one.landing_date for one in landed if one.source == source}, night)
    ]


@dataclass(frozen=True)
class Awaited:
    """What has not landed of a source that usually lands: these hours, or anything at all."""

    source: str
    hours: Sequence[int]  # none: no file of the night has landed


def awaited(lake: Lake, landing: StoragePath, sources: Collection[str], quality: Quality, night: dt.date) -> list[Awaited]:
    """What is still expected to land of a night, by what has landed on the nights before it. This lists the landing zone."""
    landed = _partitions(NewState(lake, {}), FILES.name)
    known = {partition.landing_date for partition in landed} | _nights_run(lake, night)
    found = []
    for source in sorted(sources):
        thresholds = quality.of(source)
        own = {partition.landing_date: contents for partition, contents in landed.items() if partition.source == source}
        here = [file for file in zone.landed(landing, source, night) if file.fault is None]
        past = baseline.compared(night, own, known, past_rules(thresholds.past))
        before = [_landed(own.get(date, _PartitionFiles())) for date in past]
        usual = baseline.usual_hours([one.hours for one in before], thresholds.past.records_minimum) if past else {}
        missing = baseline.missing_hours({file.landing_hour for file in here if file.landing_hour is not None}, usual)
        if not here and (missing or is_expected(thresholds, own, night)):
            found.append(Awaited(source, ()))
        elif missing:
            found.append(Awaited(source, missing))
    return found


def is_expected(thresholds: SourceQuality, dates: Collection[dt.date], night: dt.date) -> bool:
    """Whether a source that landed on these dates is expected to land on the night."""
    return not thresholds.irregular and bool(thresholds.landed_files.minimum) and baseline.landed_before(night, dates)


def _volume(source: str, thresholds: SourceQuality, tonight: Landed, before: Sequence[Landed], *, is_expected: bool) -> Iterator[Finding]:
    """Findings about the number of files and records, of the night and of each of its hours."""
    if not is_expected and baseline.usual([one.files for one in before]):
        yield from _bound_finding("landed files of a source that usually sends some", tonight.files, thresholds.landed_files, source)
    records = baseline.usual([one.records for one in before])
    if records >= max(thresholds.past.records_minimum, 1):
        yield from _bound_finding(
            "records of the night as a share of the usual number", tonight.records / records, thresholds.night_volume, source
        )
    hours, bound = baseline.usual_hours([one.hours for one in before], thresholds.past.records_minimum), thresholds.hour_volume
    if hours:
        missing = baseline.missing_hours(tonight.hours, hours)
        yield from _bound_finding(
            "landing hours without a file that the source usually has", len(missing), thresholds.missing_hours, source
        )
    if hours and bound.is_set:
        off = baseline.unusual_hours(tonight.hours, hours, bound.minimum, bound.maximum)
        name = "hours with far fewer or far more records than usual"
        yield Finding(FILES.name, name, bound.severity, len(off), maximum=bound.hours, source=source)


def _silence(source: str, bound: Bound, own: Mapping[dt.date, _PartitionFiles], night: dt.date) -> Iterator[Finding]:
    """The finding about the hours without a record at the end of the night."""
    for date in sorted((date for date in own if date <= night), reverse=True):
        landed = _landed(own[date])
        if landed.records:
            silent = baseline.silent_hours(date, landed.hours, night)
            yield from _bound_finding("hours without a record at the end of the night", silent, bound, source)
            return


def _null_shares(source: str, thresholds: SourceQuality, tonight: _PartitionFiles, before: Sequence[_PartitionFiles]) -> Iterator[Finding]:
    """Findings about the share of null values of columns."""
    fewest = thresholds.past.records_minimum
    for column in thresholds.null_rates.columns:
        share = tonight.share_of_nulls(column)
        past = [one.share_of_nulls(column) for one in before if one.rows >= fewest]
        shares = [one for one in past if one is not None]
        if share is not None and tonight.rows >= fewest and shares:
            allowed = min(baseline.usual(shares) + thresholds.null_rates.rise, 1)
            name = f"share of events without {column}"
            yield Finding(EVENTS.name, name, thresholds.null_rates.severity, share, maximum=allowed, column=column, source=source)


def _bound_finding(name: str, observed: float, bound: Bound, source: str) -> Iterator[Finding]:
    if bound.is_set:
        yield Finding(FILES.name, name, bound.severity, observed, bound.minimum, bound.maximum, source=source)


def _partitions(state: NewState, name: str) -> dict[Partition, _PartitionFiles]:
    """The files of a table in its new state, per landing partition."""
    change = state.changes.get(name, Change())
    removed = {file.path for file in change.removed}
    kept = [file for file in state.lake.files(name) if file.path not in removed]
    files = [(state.lake.root / name / file.path, file.partition, file.rows, file.nulls) for file in kept]
    files += [
        (state.lake.root / name / file.path, file.partition_values, file.rows, json.loads(file.stats)["nullCount"]) for file in change.added
    ]
    partitions: dict[Partition, _PartitionFiles] = {}
    for path, values, rows, nulls in files:
        contents = partitions.setdefault(Partition(dt.date.fromisoformat(values["landing_date"]), values["source"]), _PartitionFiles())
        contents.paths.append(path)
        contents.rows += rows
        contents.nulls.append(nulls)
    return partitions


def _landed(contents: _PartitionFiles) -> Landed:
    """The numbers of files and records of a partition, and its records per hour, from its rows of `files`."""
    hours: dict[int, int] = {}
    records = 0
    for parquet in open_parquet_files(contents.paths):
        for row in parquet.read(columns=["landing_hour", "records"]).to_pylist():
            records += row["records"] or 0
            if row["landing_hour"] is not None:
                hours[row["landing_hour"]] = hours.get(row["landing_hour"], 0) + (row["records"] or 0)
    return Landed(contents.rows, records, hours)


def _nights_run(lake: Lake, night: dt.date) -> set[dt.date]:
    """The nights before this one that were run for all sources. On such a night, a source without a file did not land."""
    done = (pc.field("step") == NIGHT_DONE) & (pc.field("status") == "done") & pc.field("sources").is_null()
    return set(lake.arrow(RUNS.name, ["night"], done & (pc.field("night") < pa.scalar(night)))["night"].to_pylist())

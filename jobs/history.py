"""Hold a source's night against its own nights before it: volume, freshness, and columns that lose their values.

A part of the step checks: millrace run --date 2026-11-20

What is compared is the lake as the run would leave it, told from what the Delta log says of `files` and `events`, and from
the rows of `files` of the nights that matter. Neither the clock nor a later night has a say.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.lake import Change, Lake
from jobs.landing import Partition
from jobs.metrics import NewState
from jobs.quality_gate import Finding
from jobs.rules import past_rules
from jobs.settings import Bound, Quality, SourceQuality
from jobs.survey import NIGHT_DONE
from schemas.account import FILES, RUNS
from schemas.events import EVENTS
from transforms import history
from transforms.history import Landed


@dataclass
class _Held:
    """What the new state of a table holds in one partition, as the Delta log tells it."""

    paths: list[Path] = field(default_factory=list)
    rows: int = 0
    nulls: list[Mapping[str, int]] = field(default_factory=list)  # per file

    def share_of_nulls(self, column: str) -> float | None:
        """Of a column's values; None where it is not known."""
        if not self.rows or any(column not in nulls for nulls in self.nulls):
            return None
        return sum(nulls[column] for nulls in self.nulls) / self.rows


def findings(state: NewState, sources: Collection[str], quality: Quality, night: dt.date) -> Iterator[Finding]:
    """Per source, what its night is like beside the nights that it is compared with; nothing where its past is too short.

    `sources` are those of the run: of another one it is not known yet what it has landed.
    """
    landed, events = _partitions(state, FILES.name), _partitions(state, EVENTS.name)
    known = {partition.landing_date for partition in landed} | _nights_run(state.lake, night)
    for source in sorted(sources):
        asked = quality.of(source)
        own = {partition.landing_date: held for partition, held in landed.items() if partition.source == source}
        past = history.compared(night, own, known, past_rules(asked.past))
        if past:
            before = [_landed(own.get(date, _Held())) for date in past]
            yield from _volume(source, asked, _landed(own.get(night, _Held())), before)
            if history.usual([one.files for one in before]):
                yield from _silence(source, asked.silent_hours, own, night)
            of_events = [events.get(Partition(date, source), _Held()) for date in past]
            yield from _null_shares(source, asked, events.get(Partition(night, source), _Held()), of_events)


def _volume(source: str, asked: SourceQuality, tonight: Landed, before: Sequence[Landed]) -> Iterator[Finding]:
    """Whether the source still sends, and as much as usual, over the night and in each of its hours."""
    if history.usual([one.files for one in before]):
        yield from _asked("landed files of a source that usually sends some", tonight.files, asked.landed_files, source)
    records = history.usual([one.records for one in before])
    if records >= max(asked.past.records_minimum, 1):
        yield from _asked("records of the night as a share of the usual number", tonight.records / records, asked.night_volume, source)
    hours, bound = history.usual_hours([one.hours for one in before], asked.past.records_minimum), asked.hour_volume
    if hours:
        missing = history.missing_hours(tonight.hours, hours)
        yield from _asked("landing hours without a file that the source usually has", len(missing), asked.missing_hours, source)
    if hours and bound.is_asked:
        off = history.unusual_hours(tonight.hours, hours, bound.minimum, bound.maximum)
        name = "hours with far fewer or far more records than usual"
        yield Finding(FILES.name, name, bound.severity, len(off), maximum=bound.hours, source=source)


def _silence(source: str, bound: Bound, own: Mapping[dt.date, _Held], night: dt.date) -> Iterator[Finding]:
    """For how long the source has been silent at the end of the night."""
    for date in sorted((date for date in own if date <= night), reverse=True):
        landed = _landed(own[date])
        if landed.records:
            silent = history.silent_hours(date, landed.hours, night)
            yield from _asked("hours without a record at the end of the night", silent, bound, source)
            return


def _null_shares(source: str, asked: SourceQuality, tonight: _Held, before: Sequence[_Held]) -> Iterator[Finding]:
    """Whether columns hold as many values as usual."""
    fewest = asked.past.records_minimum
    for column in asked.null_rates.columns:
        share = tonight.share_of_nulls(column)
        past = [one.share_of_nulls(column) for one in before if one.rows >= fewest]
        shares = [one for one in past if one is not None]
        if share is not None and tonight.rows >= fewest and shares:
            allowed = min(history.usual(shares) + asked.null_rates.rise, 1)
            name = f"share of events without {column}"
            yield Finding(EVENTS.name, name, asked.null_rates.severity, share, maximum=allowed, column=column, source=source)


def _asked(name: str, observed: float, bound: Bound, source: str) -> Iterator[Finding]:
    if bound.is_asked:
        yield Finding(FILES.name, name, bound.severity, observed, bound.minimum, bound.maximum, source=source)


def _partitions(state: NewState, name: str) -> dict[Partition, _Held]:
    """The files of a table in its new state, per landing partition."""
    change = state.changes.get(name, Change())
    gone = {file.path for file in change.removed}
    kept = [file for file in state.lake.files(name) if file.path not in gone]
    files = [(state.lake.root / name / file.path, file.partition, file.rows, file.nulls) for file in kept]
    files += [
        (state.folder / name / file.path, file.partition_values, file.rows, json.loads(file.stats)["nullCount"]) for file in change.added
    ]
    partitions: dict[Partition, _Held] = {}
    for path, values, rows, nulls in files:
        held = partitions.setdefault(Partition(dt.date.fromisoformat(values["landing_date"]), values["source"]), _Held())
        held.paths.append(path)
        held.rows += rows
        held.nulls.append(nulls)
    return partitions


def _landed(held: _Held) -> Landed:
    """What a partition's rows of `files` tell."""
    hours: dict[int, int] = {}
    records = 0
    for path in held.paths:
        for row in pq.ParquetFile(path).read(columns=["landing_hour", "records"]).to_pylist():
            records += row["records"] or 0
            if row["landing_hour"] is not None:
                hours[row["landing_hour"]] = hours.get(row["landing_hour"], 0) + (row["records"] or 0)
    return Landed(held.rows, records, hours)


def _nights_run(lake: Lake, night: dt.date) -> set[dt.date]:
    """The nights before this one that were run for all sources: one without a file says that there was none."""
    done = (pc.field("step") == NIGHT_DONE) & (pc.field("status") == "done") & pc.field("sources").is_null()
    return set(lake.arrow(RUNS.name, ["night"], done & (pc.field("night") < pa.scalar(night)))["night"].to_pylist())

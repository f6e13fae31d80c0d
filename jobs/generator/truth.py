"""The truth about generated nights: what a correct Millrace makes of them, to the unit."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jobs.generator.arrivals import Parameters, arrivals, seed_bits
from jobs.generator.bad_records import reasons
from jobs.generator.format import Format
from jobs.generator.landing_files import GeneratedFile, landed_files
from jobs.generator.rows import GeneratedRows, concatenated
from jobs.generator.session_counts import SessionCounts, session_counts
from jobs.generator.visits import day_number
from schemas.events import EVENT_TYPES, REASONS


@dataclass
class SourceTruth:
    """What landed of a source, and what it comes to. Times in ms."""

    files: int = 0
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))  # rejected ones, by reason
    blank: int = 0
    empty: int = 0
    event_types: dict[str, int] = field(default_factory=dict)  # accepted ones, by event_type
    sessions: SessionCounts = field(default_factory=SessionCounts)


@dataclass
class Truth:
    """What landed on the nights from `first` to `last`, and what it comes to in a lake that holds just these nights."""

    first: dt.date
    last: dt.date
    total: SourceTruth
    sources: dict[str, SourceTruth]

    def as_json(self) -> dict[str, Any]:
        """The truth as JSON can hold it; `from_json` reads it."""
        return {**dataclasses.asdict(self), "first": self.first.isoformat(), "last": self.last.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Truth:
        """The truth that `as_json` gave."""
        return cls(
            first=dt.date.fromisoformat(document["first"]),
            last=dt.date.fromisoformat(document["last"]),
            total=source_truth_from_json(document["total"]),
            sources={name: source_truth_from_json(part) for name, part in document["sources"].items()},
        )


def source_truth_from_json(document: Mapping[str, Any]) -> SourceTruth:
    """One source's part of what `Truth.as_json` gave."""
    return SourceTruth(**{**document, "sessions": SessionCounts(**document["sessions"])})


def total_truth(parts: Iterable[SourceTruth]) -> SourceTruth:
    """The sum of all parts."""
    total = SourceTruth()
    for part in parts:
        _add(total, part)
    return total


def _add(total: Any, part: Any) -> None:
    for column in dataclasses.fields(part):
        value = getattr(part, column.name)
        if isinstance(value, int):
            setattr(total, column.name, getattr(total, column.name) + value)
        elif isinstance(value, dict):
            counts = getattr(total, column.name)
            counts.update({name: counts.get(name, 0) + count for name, count in value.items()})
        else:
            _add(getattr(total, column.name), value)


def source_truth(source: Format, nights: Sequence[GeneratedRows], files: Sequence[GeneratedFile]) -> SourceTruth:
    """The truth about what landed of a source on some nights, in the nights' order."""
    truth = SourceTruth(
        files=len(files),
        blank=sum(file.blank for file in files),
        empty=sum(file.empty for file in files),
    )
    if not nights:
        return truth
    rows = concatenated(nights)
    valid = rows.take(rows.bad == 0)
    # A copy lands within days of the original, well inside the window of deduplication: the first one is the event.
    _, first = np.unique(valid.bits, return_index=True)
    accepted = valid.take(np.sort(first))
    event_types = np.bincount(source.event_types()[accepted.kind], minlength=len(EVENT_TYPES)).tolist()
    truth.records = len(rows)
    truth.accepted = len(accepted)
    truth.duplicates = len(valid) - len(accepted)
    truth.rejected = len(rows) - len(valid)
    truth.reasons |= reasons(rows.bad)
    truth.event_types = {name: count for name, count in zip(EVENT_TYPES, event_types, strict=True) if count}
    truth.sessions = session_counts(source, accepted)
    return truth


def replayed(source: Format, nights: Mapping[dt.date, Parameters]) -> SourceTruth:
    """The truth about what landed of a source on these nights, each with the parameters that it was generated with."""
    landed: list[GeneratedRows] = []
    files: list[GeneratedFile] = []
    for date, parameters in sorted(nights.items()):
        rows = arrivals(source, parameters, day_number(date))
        landed.append(rows)
        files += landed_files(rows, seed_bits(source, parameters), day_number(date))
    return source_truth(source, landed, files)

"""Check how many events of a landed file have an implausible client time.

A part of the step checks: millrace run --date 2026-11-20
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.engine import file_tasks, state_files
from jobs.engine.file_tasks import StoredFile
from jobs.lake.new_state import NewState
from jobs.landing.zone import Partition
from jobs.quality.gate import Finding
from jobs.settings import Quality
from schemas.events import EVENTS
from transforms.quality import time_shares


@dataclass(frozen=True)
class SourceFiles:
    """The files of `events` of one source in the partitions that a run touches; measuring them is a task."""

    files: Sequence[StoredFile]
    events_minimum: int

    def measure(self) -> pa.Table:
        """The landed file with the largest share of events with replaced times, as SHARES."""
        rows = (part for file in self.files for part in file_tasks.parts(file, EVENTS.arrow, time_shares.COLUMNS))
        return time_shares.worst_file(rows, self.events_minimum)


def files_of_sources(state: NewState, landed: Collection[Partition], quality: Quality) -> list[SourceFiles]:
    """What is to be measured: each source that landed something, unless its check is off."""
    sources = [source for source in sorted({partition.source for partition in landed}) if quality.of(source).time_replaced.is_set]
    dates = {source: {partition.landing_date for partition in landed if partition.source == source} for source in sources}
    files = state_files.in_partitions(state, EVENTS.name, dates)
    return [
        SourceFiles([file for file in files if file.partition["source"] == source], quality.of(source).time_replaced.events_minimum)
        for source in sources
    ]


def findings(shares: Iterable[Mapping[str, Any]], quality: Quality) -> Iterator[Finding]:
    """Per source, the largest share of events with replaced times in a file. In: rows of SHARES."""
    for row in sorted(shares, key=lambda row: str(row["source"])):
        bound = quality.of(row["source"]).time_replaced
        is_over = bound.maximum is not None and row["share"] > bound.maximum
        named = f", {row['file']} (old history? land it under the dates on which it arrived)" if is_over else ""
        yield Finding(
            EVENTS.name,
            f"share of events with replaced times in the worst file{named}",
            bound.severity,
            row["share"],
            bound.minimum,
            bound.maximum,
            column="flags",
            source=row["source"],
        )

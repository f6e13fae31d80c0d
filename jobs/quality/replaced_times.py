"""Check how many events of a landed file have an implausible client time.

A part of the step checks: millrace run --date 2026-11-20
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from jobs.engine import file_tasks, state_files
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.lake.new_state import Dates, NewState
from jobs.landing.zone import Partition
from jobs.quality.gate import REPLACED_TIMES, Finding
from jobs.settings import Quality
from schemas.events import EVENTS
from transforms.quality import time_shares


def files(state: NewState, landed: Collection[Partition], quality: Quality) -> list[StoredFile]:
    """The files of `events` in the partitions that a run changes, of the sources that landed something and whose check is on."""
    dates: Dates = {}
    for partition in landed:
        if quality.of(partition.source).time_replaced.is_set:
            dates.setdefault(partition.source, set()).add(partition.landing_date)
    return [file for file in state_files.in_partitions(state, EVENTS.name, dates) if file.partition["source"] in dates]


def count_events(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Count the events of each landed file. In: groups of files of `events`. Out: time_shares.EVENT_COUNTS."""
    for batch in batches:
        for texts in batch.column("stored_files").to_pylist():
            files = [StoredFile.of_json(text) for text in texts]
            rows = file_tasks.parts(files, EVENTS.arrow, time_shares.COLUMNS)
            yield from time_shares.count_events(rows).to_batches()


def findings(shares: Iterable[Mapping[str, Any]], quality: Quality) -> Iterator[Finding]:
    """Per source, the largest share of events with replaced times in a file. In: rows of SHARES."""
    for row in sorted(shares, key=lambda row: str(row["source"])):
        bound = quality.of(row["source"]).time_replaced
        is_over = bound.maximum is not None and row["share"] > bound.maximum
        detail = f"{row['file']} (old history? land it under the dates on which it arrived)" if is_over else None
        yield Finding(
            EVENTS.name,
            REPLACED_TIMES,
            bound.severity,
            row["share"],
            bound.minimum,
            bound.maximum,
            column="flags",
            source=row["source"],
            detail=detail,
        )

"""Delete what has outlived its retention: rows of events and repeats, by the date on which they landed, and landed files.

    A step of maintenance: millrace maintain --lake lake

Whole partitions go. `files` keeps the counts of their landed files, and says in its column `expired` what was deleted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import UsageError
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.landing import expired, zone
from jobs.landing.expired import ACCEPTED, DUPLICATES, LANDED, partition_of
from jobs.landing.zone import LandedFile, Partition
from jobs.settings import Settings
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import FILES, RUNS
from schemas.events import DUPLICATE_EVENTS, EVENTS
from transforms.times import shifted

# Days without a landed file after which the clock is doubted.
_LARGEST_GAP = 60
# Per kind of what expires, the table that loses its rows.
_TABLE_OF: Mapping[str, str] = {ACCEPTED: EVENTS.name, DUPLICATES: DUPLICATE_EVENTS.name}


@dataclass(frozen=True)
class DeletedFiles:
    """Landed files that were deleted."""

    files: int = 0
    bytes: int = 0


def first_dates(settings: Settings, today: dt.date) -> dict[str, dt.date]:
    """Per kind of what expires, the earliest landing date that is kept. Kinds that are kept for ever are left out."""
    retention, repeats = settings.retention, settings.retention.duplicate_events
    # A night compares records with repeats, too, to find out which copy is the event.
    days = {
        ACCEPTED: retention.events,
        DUPLICATES: None if repeats is None else max(repeats, settings.repeats_days),
        LANDED: retention.landing,
    }
    return {kind: shifted(today, -of_kind) for kind, of_kind in days.items() if of_kind is not None}


def refuse_wrong_clock(lake: Lake, first: Mapping[str, dt.date], today: dt.date) -> None:
    """Stop before events or landed files expire by a clock that is far ahead of a lake that was in use.

    `first` is as `first_dates` gives it for `today`, by the clock. Raises UsageError when the last landing date is more than
    _LARGEST_GAP days ago, and runs are recorded from around that date: either nothing has landed since, or the clock is wrong.
    """
    dates = {partition_of(file).landing_date for file in lake.files(EVENTS.name)}
    if not any(date < first[kind] for kind in (ACCEPTED, LANDED) if kind in first for date in dates):
        return
    last = max(partition.landing_date for partition in _partitions(lake))
    started = pc.unique(lake.arrow(RUNS.name, ["started"])["started"].cast(pa.date32())).to_pylist()
    if (today - last).days > _LARGEST_GAP and any(abs((date - last).days) <= _LARGEST_GAP for date in started):
        raise UsageError(
            f"today is {today}, {(today - last).days:,} days after the last date that has landed in {lake.root}, {last}, and events would"
            f" expire: check the clock; if it is right, call `millrace maintain --as-of {today}`"
        )


def expire(lake: Lake, landing: StoragePath, first: Mapping[str, dt.date], output: RunOutput) -> dict[str, Change]:
    """The changes of the tables that lose rows, and of `files`, which says so.

    `first` is as `first_dates` gives it. Landed files are marked here, and deleted by `delete_landed` after the publication.
    """
    changes = {
        table: Change(removed=[file for file in lake.files(table) if partition_of(file).landing_date < first[kind]])
        for kind, table in _TABLE_OF.items()
        if kind in first
    }
    marked = _mark(lake, landing, first)
    if marked:
        partitions = {Partition(row["landing_date"], row["source"]) for row in marked}
        removed = [file for file in lake.files(FILES.name) if partition_of(file) in partitions]
        rows = pa.Table.from_pylist(marked, schema=FILES.arrow.remove_metadata())
        changes[FILES.name] = Change(write_partitioned(FILES, rows, output), removed)
    return {name: change for name, change in changes.items() if change}


def delete_landed(lake: Lake, landing: StoragePath) -> DeletedFiles:
    """Delete the landed files that `files` says are deleted. Files that have landed or changed since they were read stay."""
    deleted: list[LandedFile] = []
    for partition, rows in _rows_of(lake, _partitions(lake)):
        gone = {row["file"]: row for row in rows if LANDED in expired.kinds_in(row["expired"])}
        for file in zone.landed(landing, partition.source, partition.landing_date) if gone else ():
            if file.file in gone and _is_as_read(file, gone[file.file]):
                (landing / (file.path or file.file)).unlink(missing_ok=True)
                deleted.append(file)
    return DeletedFiles(len(deleted), sum(file.size for file in deleted))


def _mark(lake: Lake, landing: StoragePath, first: Mapping[str, dt.date]) -> list[dict[str, Any]]:
    """All rows of `files` of the partitions in which something expires, with their new marks."""
    marked: list[dict[str, Any]] = []
    due = {partition for partition in _partitions(lake) if any(partition.landing_date < date for date in first.values())}
    for partition, rows in _rows_of(lake, due):
        kinds = {kind for kind, date in first.items() if partition.landing_date < date}
        if LANDED in kinds and not _was_read(landing, partition, rows):
            kinds.remove(LANDED)
        if any(kinds - expired.kinds_in(row["expired"]) for row in rows):
            for row in rows:
                for kind in kinds:
                    row["expired"] = expired.with_kind(row["expired"], kind)
            marked += rows
    return marked


def _was_read(landing: StoragePath, partition: Partition, rows: list[dict[str, Any]]) -> bool:
    """Whether all files of a partition were read as they are now; a partition whose files are gone was."""
    recorded = {row["file"]: row for row in rows}
    files = zone.landed(landing, partition.source, partition.landing_date)
    return all(file.file in recorded and _is_as_read(file, recorded[file.file]) for file in files)


def _is_as_read(file: LandedFile, row: Mapping[str, Any]) -> bool:
    modified = (row["modified"] - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(microseconds=1)
    return bool(row["status"] == "done" and (file.size, file.modified) == (row["size"], modified))


def _partitions(lake: Lake) -> set[Partition]:
    return {partition_of(file) for file in lake.files(FILES.name)}


def _rows_of(lake: Lake, partitions: Collection[Partition]) -> Iterator[tuple[Partition, list[dict[str, Any]]]]:
    """Per partition its rows of `files`."""
    if not partitions:
        return
    dates = sorted({partition.landing_date for partition in partitions})
    of_partition: dict[Partition, list[dict[str, Any]]] = {}
    for row in lake.arrow(FILES.name, FILES.names, pc.field("landing_date").isin(dates)).to_pylist():
        of_partition.setdefault(Partition(row["landing_date"], row["source"]), []).append(row)
    yield from ((partition, rows) for partition, rows in sorted(of_partition.items()) if partition in partitions)

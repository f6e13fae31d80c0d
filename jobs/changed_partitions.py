"""Find the partitions of the landing zone that a night has to read: those that differ from their rows in `files`.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from jobs.lake.table_changes import TableFile
from jobs.lake.tables import Lake
from jobs.landing import zone
from jobs.landing.zone import LandedFile, Partition
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import FILES, RUNS

# The last step of a night, in `runs`.
NIGHT_DONE = "publish"
_FileState = tuple[int, int, str, str]  # size (bytes), time of change (epoch µs), ruleset, status


@dataclass(frozen=True)
class ChangedPartitions:
    """The partitions that a run replaces, and the landed files that it reads for that."""

    files: Sequence[LandedFile]  # all files of each changed partition
    replaced: frozenset[Partition]  # their rows are replaced by the rows of these files
    landed: int  # number of files in the compared partitions, changed or not
    dates: frozenset[dt.date]  # the compared nights that have a file


def of_nights(
    lake: Lake,
    root: StoragePath,
    nights: Collection[dt.date],
    sources: Collection[str],
    rulesets: Mapping[str, str],
    emptied: Collection[Partition] = (),
    unchanged: Collection[Partition] = (),
) -> ChangedPartitions:
    """The partitions of these nights with a file that is new, changed, gone, was unreadable or was read by other rules.

    `rulesets` has the current rules of each source. The partitions in `emptied`, also those of other nights, have no file
    left: their rows are removed. The partitions in `unchanged` are left as they are.
    """
    recorded = _recorded_files(lake, nights, sources)
    files: list[LandedFile] = []
    replaced = set(emptied)
    dates = set()
    landed = 0
    for night in sorted(nights):
        for source in sorted(sources):
            of_partition = zone.landed(root, source, night)
            landed += len(of_partition)
            if of_partition:
                dates.add(night)
            partition = Partition(night, source)
            if partition not in unchanged and _as_recorded(of_partition, rulesets[source]) != recorded.get(partition, {}):
                files += of_partition
                replaced.add(partition)
    return ChangedPartitions(files, frozenset(replaced), landed, frozenset(dates))


def of_everything(
    lake: Lake, root: StoragePath, nights: Collection[dt.date], sources: Collection[str], unchanged: Collection[Partition]
) -> ChangedPartitions:
    """All partitions of these nights, and all others that the lake has read, except those in `unchanged`."""
    landed_partitions = (Partition(night, source) for night in sorted(nights) for source in sorted(sources))
    read = [partition for partition in landed_partitions if partition not in unchanged]
    files = [file for partition in read for file in zone.landed(root, partition.source, partition.landing_date)]
    read_before = partitions(lake, sources) - frozenset(unchanged)
    landed = {file.partition for file in files}
    return ChangedPartitions(files, read_before | landed, len(files), frozenset(partition.landing_date for partition in landed))


def partitions(lake: Lake, sources: Collection[str]) -> frozenset[Partition]:
    """Every partition that the lake has read."""
    return frozenset(partition for file in lake.files(FILES.name) if (partition := _partition(file)).source in sources)


def without_files(lake: Lake, root: StoragePath, sources: Collection[str]) -> list[Partition]:
    """The partitions of these sources, on any date, that have rows in the lake and no file in the landing zone."""
    missing = [partition for partition in sorted(partitions(lake, sources)) if not zone.has_files(root, partition)]
    if not missing:
        return []
    with_rows = {_partition(file) for file in lake.files(FILES.name) if has_records(file)}
    return [partition for partition in missing if partition in with_rows]


def has_records(file: TableFile) -> bool:
    """Whether any landed file in this part of the table `files` has records. Unreadable and empty ones have none."""
    return file.nulls.get("records") != file.rows and file.upper_bounds.get("records") != 0


def nights_run(lake: Lake) -> set[dt.date]:
    """Every night that a run has finished, and every date that a rebuild has read."""
    runs = lake.arrow(RUNS.name, ["night", "step", "status"], (pc.field("step") == NIGHT_DONE) & (pc.field("status") == "done"))
    read = {dt.date.fromisoformat(file.partition["landing_date"]) for file in lake.files(FILES.name)}
    return read | {night for night in runs["night"].to_pylist() if night is not None}


def _partition(file: TableFile) -> Partition:
    return Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])


def _recorded_files(lake: Lake, nights: Collection[dt.date], sources: Collection[str]) -> dict[Partition, dict[str, _FileState]]:
    """The state of each file in the table `files`, per partition and file."""
    where = pc.field("landing_date").isin(sorted(nights)) & pc.field("source").isin(sorted(sources))
    rows = lake.arrow(FILES.name, ["source", "landing_date", "file", "size", "modified", "ruleset", "status"], where)
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    recorded: dict[Partition, dict[str, _FileState]] = {}
    for row in rows.to_pylist():
        recorded.setdefault(Partition(row["landing_date"], row["source"]), {})[row["file"]] = (
            row["size"],
            row["modified"],
            row["ruleset"],
            row["status"],
        )
    return recorded


def _as_recorded(files: Sequence[LandedFile], ruleset: str) -> dict[str, _FileState]:
    """What `_recorded_files` would give for these files if they had been read by this ruleset."""
    return {file.file: (file.size, file.modified, ruleset, "done") for file in files}


def without_files_line(partitions: Sequence[Partition]) -> str:
    """The message that names partitions with rows in the lake and no landed file left."""
    named = ", ".join(f"{partition.source} of {partition.landing_date}" for partition in partitions)
    return f"rows in the lake and no landed file left: {named}"

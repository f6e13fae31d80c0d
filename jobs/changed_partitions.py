"""Find the partitions of the landing zone that a night has to read: those that differ from their rows in `files`.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from jobs.lake.table_changes import TableFile
from jobs.lake.tables import Lake
from jobs.landing import zone
from jobs.landing.zone import LandedFile, Partition
from schemas.bookkeeping import FILES, RUNS

# The last step of a night, in `runs`.
NIGHT_DONE = "publish"


@dataclass(frozen=True)
class Survey:
    """The landed files that a run reads, and the partitions that it replaces."""

    files: Sequence[LandedFile]  # to be read: all files of each changed partition
    replaced: frozenset[Partition]  # partitions whose rows are replaced by the rows of these files
    landed: int  # number of files in the compared partitions, changed or not
    dates: frozenset[dt.date]  # the compared nights that have a file


def of_nights(
    lake: Lake,
    root: Path,
    nights: Collection[dt.date],
    sources: Collection[str],
    rulesets: Mapping[str, str],
    dropped: Collection[Partition] = (),
    kept: Collection[Partition] = (),
) -> Survey:
    """The partitions of these nights with a file that is new, changed, gone, was unreadable or was read by other rules.

    `rulesets` has the current rules of each source. The partitions in `dropped` have no file left: their rows are removed, also
    those of other nights. The partitions in `kept` are not changed.
    """
    known = _known(lake, nights, sources)
    files: list[LandedFile] = []
    replaced = set(dropped)
    dates = set()
    landed = 0
    for night in sorted(nights):
        for source in sorted(sources):
            of_partition = zone.landed(root, source, night)
            landed += len(of_partition)
            if of_partition:
                dates.add(night)
            partition = Partition(night, source)
            if partition not in kept and _as_known(of_partition, rulesets[source]) != known.get(partition, {}):
                files += of_partition
                replaced.add(partition)
    return Survey(files, frozenset(replaced), landed, frozenset(dates))


def of_everything(lake: Lake, root: Path, nights: Collection[dt.date], sources: Collection[str], kept: Collection[Partition]) -> Survey:
    """All partitions of these nights, and all others that the lake has read, except `kept`, which are not changed."""
    files = [file for night in sorted(nights) for source in sorted(sources) for file in zone.landed(root, source, night)]
    known = partitions(lake, sources) - frozenset(kept)
    landed = {file.partition for file in files}
    return Survey(files, known | landed, len(files), frozenset(partition.landing_date for partition in landed))


def partitions(lake: Lake, sources: Collection[str]) -> frozenset[Partition]:
    """Every partition that the lake has read."""
    known = (Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"]) for file in lake.files(FILES.name))
    return frozenset(partition for partition in known if partition.source in sources)


def without_files(lake: Lake, root: Path, sources: Collection[str]) -> list[Partition]:
    """The partitions of these sources, on any date, that have rows in the lake and no file in the landing zone."""
    missing = [partition for partition in sorted(partitions(lake, sources)) if not zone.has_files(root, partition)]
    if not missing:
        return []
    with_rows = {
        Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])
        for file in lake.files(FILES.name)
        if has_records(file)
    }
    return [partition for partition in missing if partition in with_rows]


def has_records(file: TableFile) -> bool:
    """Whether any landed file in this part of the table `files` has records. Unreadable and empty ones have none."""
    return file.nulls.get("records") != file.rows and file.most.get("records") != 0


def nights_run(lake: Lake) -> set[dt.date]:
    """Every night that a run has finished, and every date that a rebuild has read."""
    runs = lake.arrow(RUNS.name, ["night", "step", "status"], (pc.field("step") == NIGHT_DONE) & (pc.field("status") == "done"))
    read = {dt.date.fromisoformat(file.partition["landing_date"]) for file in lake.files(FILES.name)}
    return read | {night for night in runs["night"].to_pylist() if night is not None}


def _known(lake: Lake, nights: Collection[dt.date], sources: Collection[str]) -> dict[Partition, dict[str, tuple[int, int, str, str]]]:
    """Per partition and file in `files`: size (bytes), time of change (epoch µs), ruleset and status."""
    where = pc.field("landing_date").isin(sorted(nights)) & pc.field("source").isin(sorted(sources))
    rows = lake.arrow(FILES.name, ["source", "landing_date", "file", "size", "modified", "ruleset", "status"], where)
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    known: dict[Partition, dict[str, tuple[int, int, str, str]]] = {}
    for row in rows.to_pylist():
        known.setdefault(Partition(row["landing_date"], row["source"]), {})[row["file"]] = (
            row["size"],
            row["modified"],
            row["ruleset"],
            row["status"],
        )
    return known


def _as_known(files: Sequence[LandedFile], ruleset: str) -> dict[str, tuple[int, int, str, str]]:
    """The entries that `_known` would give for these files if they were read by this ruleset."""
    return {file.file: (file.size, file.modified, ruleset, "done") for file in files}


def without_files_line(partitions: Sequence[Partition]) -> str:
    """The message that names partitions with rows in the lake and no landed file left."""
    named = ", ".join(f"{partition.source} of {partition.landing_date}" for partition in partitions)
    return f"rows in the lake and no landed file left: {named}"

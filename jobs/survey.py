"""Find out what a night has to read: which partitions of the landing zone differ from what the lake knows of them.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from jobs import landing
from jobs.lake import Lake
from jobs.landing import LandedFile, Partition
from schemas.account import FILES, RUNS

NIGHT_DONE = "publish"


@dataclass(frozen=True)
class Survey:
    """What a run has to do."""

    files: Sequence[LandedFile]  # to be read, whole partitions
    replaced: frozenset[Partition]  # partitions whose rows go; those of the files come in their place
    landed: int  # files of the nights that were looked at, read or not


def of_nights(lake: Lake, root: Path, nights: Collection[dt.date], sources: Collection[str], rulesets: Mapping[str, str]) -> Survey:
    """The partitions of these nights with a file that is new, changed, gone, was unreadable or was read by other rules."""
    known = _known(lake, nights, sources)
    files: list[LandedFile] = []
    replaced = set()
    landed = 0
    for night in sorted(nights):
        for source in sorted(sources):
            here = landing.landed(root, source, night)
            landed += len(here)
            partition = Partition(night, source)
            if _as_known(here, rulesets[source]) != known.get(partition, {}):
                files += here
                replaced.add(partition)
    return Survey(files, frozenset(replaced), landed)


def of_everything(lake: Lake, root: Path, nights: Collection[dt.date], sources: Collection[str], kept: Collection[dt.date]) -> Survey:
    """All partitions of these nights, and all that the lake knows of other nights as gone, but for those that are kept."""
    files = [file for night in sorted(nights) for source in sorted(sources) for file in landing.landed(root, source, night)]
    known = frozenset(partition for partition in partitions(lake, sources) if partition.landing_date not in kept)
    return Survey(files, known | {file.partition for file in files}, len(files))


def partitions(lake: Lake, sources: Collection[str]) -> frozenset[Partition]:
    """Every partition that the lake has read."""
    found = (Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"]) for file in lake.files(FILES.name))
    return frozenset(partition for partition in found if partition.source in sources)


def emptied(lake: Lake, root: Path, nights: Collection[dt.date], sources: Collection[str]) -> list[dt.date]:
    """The nights of which the lake has rows and the landing zone no file, in any source."""
    held = {partition.landing_date for partition in partitions(lake, sources)} & set(nights)
    return sorted(night for night in held if not any(landing.landed(root, source, night) for source in sources))


def nights_run(lake: Lake) -> set[dt.date]:
    """Every night that a run has finished."""
    runs = lake.arrow(RUNS.name, ["night", "step", "status"], (pc.field("step") == NIGHT_DONE) & (pc.field("status") == "done"))
    return {night for night in runs["night"].to_pylist() if night is not None}


def _known(lake: Lake, nights: Collection[dt.date], sources: Collection[str]) -> dict[Partition, dict[str, tuple[int, int, str, str]]]:
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
    return {file.file: (file.size, file.modified, ruleset, "done") for file in files}

"""What landed, what became of it and what is missing, per source and date, on stdout.

millrace status --lake lake
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs import landing
from jobs.lake import Lake
from jobs.landing import LandedFile, Partition
from jobs.printing import table, tell
from jobs.rules import rulesets_of
from jobs.settings import Settings
from schemas.account import FILES, QUALITY_RESULTS
from transforms.sources import SOURCES

# A source that had files in an hour on this many of the other dates usually has them.
_USUALLY = 0.5


@dataclass
class _Line:
    """One source on one date."""

    landed: int = 0
    done: int = 0
    unreadable: int = 0
    changed: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    hours: set[int] = field(default_factory=set)


def show(settings: Settings) -> int:
    """Print the state of the lake against the landing zone."""
    lake = Lake.open(settings.paths.lake)
    rows = lake.arrow(
        FILES.name,
        ["source", "landing_date", "landing_hour", "file", "size", "modified", "ruleset", "status", "accepted", "duplicates", "rejected"],
    )
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    known = {row["file"]: row for row in rows.to_pylist()}
    landed = _landed(settings)
    lines = _lines(known, landed, rulesets_of(settings, SOURCES))
    missing = _missing_hours(lines)
    failed = _failed_checks(lake)
    names = [
        "date",
        "source",
        "landed",
        "done",
        "unreadable",
        "changed since",
        "accepted",
        "repeated",
        "refused",
        "missing hours",
        "checks that failed",
    ]
    shown = []
    for partition, line in sorted(lines.items()):
        hours = " ".join(f"{hour:02}" for hour in missing.get(partition, []))
        counts = [line.landed, line.done, line.unreadable, line.changed, line.accepted, line.duplicates, line.rejected]
        shown.append([partition.landing_date.isoformat(), partition.source, *counts, hours, failed.get(partition.landing_date, "")])
    if not shown:
        tell(f"nothing has landed in {settings.paths.landing}, and the lake is empty")
        return 0
    table(f"Lake {settings.paths.lake}, state {lake.state}", names, shown, total=True)
    for row in known.values():
        if row["status"] == "unreadable":
            tell(f"unreadable: {row['file']}: see `millrace sql \"SELECT file, error FROM files WHERE status = 'unreadable'\"`")
    return 0


def _landed(settings: Settings) -> list[LandedFile]:
    root = settings.paths.landing
    if not root.is_dir():
        return []
    return [file for source in SOURCES for date in landing.dates(root, [source]) for file in landing.landed(root, source, date)]


def _lines(known: Mapping[str, dict[str, Any]], landed: Sequence[LandedFile], rulesets: Mapping[str, str]) -> dict[Partition, _Line]:
    lines: dict[Partition, _Line] = {}
    here = {file.file: file for file in landed}
    for file in landed:
        line = lines.setdefault(file.partition, _Line())
        line.landed += 1
        if file.landing_hour is not None:
            line.hours.add(file.landing_hour)
        row = known.get(file.file)
        line.changed += row is None or (row["size"], row["modified"], row["ruleset"]) != (
            file.size,
            file.modified,
            rulesets[file.partition.source],
        )
    for name, row in known.items():
        line = lines.setdefault(Partition(row["landing_date"], row["source"]), _Line())
        line.done += row["status"] == "done"
        line.unreadable += row["status"] == "unreadable"
        line.changed += name not in here
        for count in ("accepted", "duplicates", "rejected"):
            setattr(line, count, getattr(line, count) + (row[count] or 0))
    return lines


def _missing_hours(lines: Mapping[Partition, _Line]) -> dict[Partition, list[int]]:
    """Hours without a file in which the source has files on most other dates."""
    missing = {}
    for partition, line in lines.items():
        others = [other.hours for place, other in lines.items() if place.source == partition.source and place != partition and other.hours]
        usual = [hour for hour in range(24) if others and sum(hour in hours for hours in others) > _USUALLY * len(others)]
        missing[partition] = [hour for hour in usual if hour not in line.hours]
    return missing


def _failed_checks(lake: Lake) -> dict[dt.date, int]:
    """Per night, how many checks of its last run did not hold."""
    results = lake.arrow(QUALITY_RESULTS.name, ["run_id", "date", "passed"])
    last: dict[dt.date, tuple[str, int]] = {}
    for row in results.group_by(["run_id", "date"]).aggregate([("passed", "count"), ("passed", "sum")]).to_pylist():
        failed = row["passed_count"] - row["passed_sum"]
        if row["date"] not in last or row["run_id"] > last[row["date"]][0]:
            last[row["date"]] = (row["run_id"], failed)
    return {date: failed for date, (_, failed) in last.items()}

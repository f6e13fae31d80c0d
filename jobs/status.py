"""What landed, what became of it and what is missing, per source and date, on stdout.

millrace status --lake lake
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs import landing, survey
from jobs.lake import Lake
from jobs.landing import LandedFile, Partition
from jobs.printing import table, tell
from jobs.rules import past_rules, rulesets_of
from jobs.settings import Settings
from schemas.account import FILES, QUALITY_RESULTS
from transforms import history
from transforms.sources import SOURCES

# The account of a file: the first is the sum of the others.
COUNTS = ("records", "accepted", "duplicates", "rejected", "erased")


@dataclass
class _Line:
    """One source on one date."""

    landed: int = 0
    done: int = 0
    unreadable: int = 0
    changed: int = 0
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    erased: int = 0
    hours: dict[int, int] = field(default_factory=dict)  # records per landing hour that has a file


def show(settings: Settings) -> int:
    """Print the state of the lake against the landing zone."""
    lake = Lake.open(settings.paths.lake)
    rows = lake.arrow(
        FILES.name,
        [
            "source",
            "landing_date",
            "landing_hour",
            "file",
            "size",
            "modified",
            "ruleset",
            "status",
            "error",
            "records",
            "accepted",
            "duplicates",
            "rejected",
            "erased",
        ],
    )
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    known = {row["file"]: row for row in rows.to_pylist()}
    landed = _landed(settings)
    lines = _lines(known, landed, rulesets_of(settings, SOURCES))
    missing = _missing_hours(lines, survey.nights_run(lake), settings)
    failed = _failed_checks(lake)
    names = [
        "date",
        "source",
        "landed",
        "done",
        "unreadable",
        "changed since",
        "records",
        "accepted",
        "repeated",
        "refused",
        "erased",
        "missing hours",
        "checks that failed",
    ]
    shown = []
    for partition in sorted(lines.keys() | missing.keys()):
        line = lines.get(partition, _Line())
        hours = " ".join(f"{hour:02}" for hour in missing.get(partition, []))
        counts = [getattr(line, name) for name in ("landed", "done", "unreadable", "changed", *COUNTS)]
        shown.append([partition.landing_date.isoformat(), partition.source, *counts, hours, failed.get(partition.landing_date, "")])
    if not shown:
        tell(f"nothing has landed in {settings.paths.landing}, and the lake is empty")
        return 0
    table(f"Lake {settings.paths.lake}, state {lake.state}", names, shown, total=True)
    for row in known.values():
        if row["status"] == "unreadable":
            tell(f"unreadable: {row['file']}: {row['error']}")
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
            line.hours.setdefault(file.landing_hour, 0)
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
        if row["landing_hour"] is not None:
            line.hours[row["landing_hour"]] = line.hours.get(row["landing_hour"], 0) + (row["records"] or 0)
        for count in COUNTS:
            setattr(line, count, getattr(line, count) + (row[count] or 0))
    return lines


def _missing_hours(lines: Mapping[Partition, _Line], nights_run: Collection[dt.date], settings: Settings) -> dict[Partition, list[int]]:
    """Hours without a file which the source usually has, told from the nights before; also of nights on which it landed nothing."""
    known = {partition.landing_date for partition in lines} | set(nights_run)
    missing = {}
    for source in SOURCES:
        past = settings.quality.of(source).past
        own = {partition.landing_date: line.hours for partition, line in lines.items() if partition.source == source}
        for night in known:
            before = [own.get(date, {}) for date in history.compared(night, own, known, past_rules(past))]
            hours = history.missing_hours(own.get(night, {}), history.usual_hours(before, past.records_minimum))
            if hours:
                missing[Partition(night, source)] = hours
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

"""What landed, what became of it and what is missing, per source and date, on stdout.

millrace status --lake lake
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from jobs import changed_partitions, unread_partitions
from jobs.console.printing import document, message, table, tell
from jobs.errors import LandingError
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.landing import strays, zone
from jobs.landing.zone import LandedFile, Partition
from jobs.night import check_sources
from jobs.quality.baseline import is_expected
from jobs.rebuild import recorded_rules
from jobs.rules import past_rules, rulesets_of
from jobs.settings import Settings
from schemas.bookkeeping import FILES, QUALITY_RESULTS, RUNS
from transforms.quality import baseline
from transforms.sources.registry import SOURCES

# The account of a file: the first is the sum of the others.
# In place of a source, where a check is of none.
ALL_SOURCES = "(all sources)"

COUNTS = ("records", "accepted", "duplicates", "rejected", "erased")

# Per field of the JSON document its heading in the table.
FIELDS = {
    "date": "date",
    "source": "source",
    "landed": "landed",
    "done": "done",
    "unreadable": "unreadable",
    "changed": "changed since",
    "not_read": "not read",
    "records": "records",
    "accepted": "accepted",
    "duplicates": "repeated",
    "rejected": "refused",
    "erased": "erased",
    "missing_hours": "missing hours",
    "failed_checks": "checks that failed",
}
# What needs a look where it is not 0; `changed` counts all files that were not read, `not_read` those that no later night reads.
PROBLEMS = ("did_not_land", "no_file_left", "unreadable", "changed", "not_read", "missing_hours", "failed_checks")


@dataclass
class _Line:
    """One source on one date."""

    landed: int = 0
    done: int = 0
    unreadable: int = 0
    changed: int = 0
    new: int = 0  # files that no run has read
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    erased: int = 0
    hours: dict[int, int] = field(default_factory=dict)  # records per landing hour that has a file


@dataclass(frozen=True)
class Only:
    """Which nights are shown; by default all of them."""

    first: dt.date | None = None
    last: dt.date | None = None
    sources: tuple[str, ...] = ()
    problems: bool = False

    def takes(self, night: Mapping[str, Any]) -> bool:
        """Whether a night of a source is one of them."""
        if (self.first and night["date"] < self.first) or (self.last and night["date"] > self.last):
            return False
        if self.sources and night["source"] not in (*self.sources, None):
            return False
        return not self.problems or any(night.get(name) for name in PROBLEMS)


ALL = Only()


def show(settings: Settings, only: Only = ALL, shape: str = "table") -> int:
    """Print the state of the lake against the landing zone, as a table or as a JSON document.

    Raises LakeError when there is no lake, UsageError when a source is not known.
    """
    check_sources(only.sources)
    lake = open_to_read(settings.paths.lake)
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
            "run_id",
        ],
    )
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    known = {row["file"]: row for row in rows.to_pylist()}
    landed = _landed(settings)
    lines = _lines(known, landed, rulesets_of(settings, SOURCES))
    nights_run = changed_partitions.nights_run(lake)
    unseen = _unseen(lake, known.values())
    missing = _missing_hours(lines, nights_run, unseen, settings)
    absent = _absent(lines, nights_run, unseen, settings)
    with_new = sorted(partition for partition, line in lines.items() if line.new)
    not_read = unread_partitions.without_later_night(with_new, nights_run, settings.ingest.nights_back)
    empty = nights_run - {partition.landing_date for partition in lines}
    failed = _failed_checks(lake)
    nights: list[dict[str, Any]] = [
        {"date": partition.landing_date, "source": partition.source}
        | {name: getattr(lines.get(partition, _Line()), name) for name in ("landed", "done", "unreadable", "changed", *COUNTS)}
        | {"not_read": lines[partition].new if partition in not_read else 0}
        | {"did_not_land": partition in absent, "no_file_left": _has_no_file_left(lines.get(partition, _Line()))}
        | {"missing_hours": missing.get(partition, []), "failed_checks": failed.get((partition.landing_date, partition.source))}
        for partition in lines.keys() | missing.keys() | absent
    ]
    # Checks of no source have a line of their own.
    of_no_source = ((date, count) for (date, source), count in failed.items() if source is None and count)
    nights += [{"date": date, "source": None, "failed_checks": count} for date, count in of_no_source]
    named = {night["date"] for night in nights}
    nights += [{"date": date, "source": None, "landed": 0} for date in sorted(empty - named)]
    nights = sorted(filter(only.takes, nights), key=lambda night: (night["date"], night["source"] is None, night["source"] or ""))
    taken = {(night["date"], night["source"]) for night in nights}
    unreadable = [row for row in known.values() if row["status"] == "unreadable" and (row["landing_date"], row["source"]) in taken]
    outside = [(stray, *strays.below(stray)) for stray in strays.strays(settings.paths.landing, SOURCES)]
    notes = recorded_rules.notes(lake, settings)
    if shape == "json":
        document(
            {
                "lake": str(settings.paths.lake),
                "state": lake.state,
                "rules": notes,
                "nights": [{name: night.get(name) for name in FIELDS} | {"date": night["date"].isoformat()} for night in nights],
                "unreadable": [{name: row[name] for name in ("file", "error")} for row in unreadable],
                "in_no_partition": [
                    {"path": stray.shown, "reason": stray.reason, "remedy": stray.remedy, "files": files, "bytes": size}
                    for stray, files, size in outside
                ],
                **{kind: _named(nights, kind) for kind in ("did_not_land", "no_file_left")},
            }
        )
        return 0
    for note in notes:
        tell(note)
    for stray, files, size in outside:
        tell(f"in no partition: {stray.line} ({files:,} {'file' if files == 1 else 'files'}, {size:,} bytes)")
    if not nights:
        is_empty = only == Only()
        tell(f"nothing has landed in {settings.paths.landing}, and the lake is empty" if is_empty else "no night matches these options")
        return 0
    shown = [[_cell(name, night.get(name)) for name in FIELDS] for night in nights]
    table(f"Lake {settings.paths.lake}, state {lake.state}", list(FIELDS.values()), shown, prose=("missing hours",), total=True)
    if named_unread := [Partition(night["date"], night["source"]) for night in nights if night.get("not_read")]:
        tell(f"not read: {unread_partitions.line(named_unread)}")
    for row in unreadable:
        tell(f"unreadable: {row['file']}: {row['error']}")
    for night in nights:
        if night.get("did_not_land"):
            tell(f"did not land: {night['source']} of {night['date']}")
    for date in sorted(empty & {night["date"] for night in nights}):
        tell(f"nothing has landed: {date}")
    for night in nights:
        if night.get("no_file_left"):
            tell(f"no landed file left: {night['source']} of {night['date']}, {night['records']:,} records in the lake")
    return 0


def _named(nights: Sequence[Mapping[str, Any]], kind: str) -> list[dict[str, str]]:
    return [{"date": night["date"].isoformat(), "source": night["source"]} for night in nights if night.get(kind)]


def _has_no_file_left(line: _Line) -> bool:
    return bool(line.records) and not line.landed


def _cell(name: str, value: Any) -> Any:
    if name == "source":
        return value or ALL_SOURCES
    if name == "missing_hours":
        return " ".join(f"{hour:02}" for hour in value or ())
    return value


def _unseen(lake: Lake, files: Iterable[Mapping[str, Any]]) -> dict[str, set[dt.date]]:
    """Per source the nights that were run, or of which a run read files, but by no run that looked at this source."""
    runs = lake.arrow(
        RUNS.name, ["run_id", "night", "sources"], (pc.field("step") == changed_partitions.NIGHT_DONE) & (pc.field("status") == "done")
    )
    limits = {row["run_id"]: row["sources"] for row in runs.to_pylist()}
    looked = [(row["night"], row["run_id"]) for row in runs.to_pylist()] + [(file["landing_date"], file["run_id"]) for file in files]
    seen: dict[dt.date, set[str]] = {}
    for night, run_id in looked:
        limit = limits.get(run_id)
        seen.setdefault(night, set()).update(limit.split(",") if limit else SOURCES)
    return {source: {night for night, sources in seen.items() if source not in sources} for source in SOURCES}


def _absent(
    lines: Mapping[Partition, _Line], nights_run: Collection[dt.date], unseen: Mapping[str, set[dt.date]], settings: Settings
) -> set[Partition]:
    """The expected sources that did not land, per night that was run or of which another source was read."""
    nights = set(nights_run) | {partition.landing_date for partition, line in lines.items() if line.done or line.unreadable}
    absent = set()
    for source in SOURCES:
        dates = {partition.landing_date for partition in lines if partition.source == source}
        looked_at = nights - dates - unseen[source]
        absent |= {Partition(night, source) for night in looked_at if is_expected(settings.quality.of(source), dates, night)}
    return absent


def _landed(settings: Settings) -> list[LandedFile]:
    root = settings.paths.landing
    if not root.is_dir():
        return []
    files = []
    for source in SOURCES:
        try:
            files += [file for date in zone.dates(root, [source]) for file in zone.landed(root, source, date)]
        except LandingError as error:
            message(f"warning: {error}")
    return files


def _lines(known: Mapping[str, dict[str, Any]], landed: Sequence[LandedFile], rulesets: Mapping[str, str]) -> dict[Partition, _Line]:
    lines: dict[Partition, _Line] = {}
    here = {file.file: file for file in landed}
    for file in landed:
        line = lines.setdefault(file.partition, _Line())
        line.landed += 1
        if file.landing_hour is not None:
            line.hours.setdefault(file.landing_hour, 0)
        row = known.get(file.file)
        line.new += row is None
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


def _missing_hours(
    lines: Mapping[Partition, _Line], nights_run: Collection[dt.date], unseen: Mapping[str, set[dt.date]], settings: Settings
) -> dict[Partition, list[int]]:
    """Hours without a file which the source usually has, told from the nights before; also of nights on which it landed nothing."""
    all_known = {partition.landing_date for partition in lines} | set(nights_run)
    missing = {}
    for source in SOURCES:
        past = settings.quality.of(source).past
        own = {partition.landing_date: line.hours for partition, line in lines.items() if partition.source == source}
        known = all_known - (unseen[source] - own.keys())
        for night in known:
            before = [own.get(date, {}) for date in baseline.compared(night, own, known, past_rules(past))]
            hours = baseline.missing_hours(own.get(night, {}), baseline.usual_hours(before, past.records_minimum))
            if hours:
                missing[Partition(night, source)] = hours
    return missing


def _failed_checks(lake: Lake) -> dict[tuple[dt.date, str | None], int]:
    """Per night and source how many checks of the last run that checked it did not hold; the source is None for those of all sources."""
    results = lake.arrow(QUALITY_RESULTS.name, ["run_id", "date", "source", "passed"])
    last: dict[tuple[dt.date, str | None], tuple[str, int]] = {}
    for row in results.group_by(["run_id", "date", "source"]).aggregate([("passed", "count"), ("passed", "sum")]).to_pylist():
        night = (row["date"], row["source"])
        if row["date"] is not None and (night not in last or row["run_id"] > last[night][0]):
            last[night] = (row["run_id"], row["passed_count"] - row["passed_sum"])
    return {night: failed for night, (_, failed) in last.items()}

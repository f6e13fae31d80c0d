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
from jobs.console.printing import print_json, print_line, print_message, print_table
from jobs.errors import LandingError
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.landing import expired, strays, zone
from jobs.landing.zone import LandedFile, Partition
from jobs.night import check_sources
from jobs.quality.baseline import is_expected
from jobs.rebuild import recorded_rules
from jobs.rules import past_rules, rulesets_of
from jobs.settings import Settings
from schemas.bookkeeping import FILES, QUALITY_RESULTS, RUNS
from transforms.quality import baseline
from transforms.sources.registry import SOURCES

# The source in rows about checks of no source.
ALL_SOURCES = "(all sources)"
# The counts of records of a file: the first is the sum of the others.
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
# A night needs a look if one of these is not 0. `changed` counts all files that were not read, `not_read` those that no later night
# reads.
PROBLEMS = ("did_not_land", "no_file_left", "unreadable", "changed", "not_read", "missing_hours", "failed_checks")


@dataclass
class _PartitionCounts:
    """The landed files of one source and date, and what the lake has of them."""

    landed: int = 0
    done: int = 0
    unreadable: int = 0
    changed: int = 0
    new: int = 0  # files that no run has read
    is_closed: bool = False  # its events or landed files have expired
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    erased: int = 0
    hours: dict[int, int] = field(default_factory=dict)  # records per landing hour that has a file


@dataclass(frozen=True)
class NightFilter:
    """The nights that are shown; by default all."""

    first: dt.date | None = None
    last: dt.date | None = None
    sources: tuple[str, ...] = ()
    problems: bool = False

    def includes(self, night: Mapping[str, Any]) -> bool:
        """Whether a night of a source is shown."""
        if (self.first and night["date"] < self.first) or (self.last and night["date"] > self.last):
            return False
        if self.sources and night["source"] not in (*self.sources, None):
            return False
        return not self.problems or any(night.get(name) for name in PROBLEMS)


ALL = NightFilter()


@dataclass(frozen=True)
class _Report:
    """What the command prints."""

    lake: Lake
    notes: Sequence[str]  # about rules that have changed
    nights: Sequence[Mapping[str, Any]]  # one per source and date, with FIELDS and PROBLEMS; the source is null for all sources
    unreadable: Sequence[Mapping[str, Any]]  # rows of `files`
    outside: Sequence[tuple[strays.Stray, int, int]]  # paths that are in no partition, their files and bytes
    without_landed_files: Collection[dt.date]  # nights that were run and on which nothing landed


def show(settings: Settings, only: NightFilter = ALL, shape: str = "table") -> int:
    """Print the state of the lake against the landing zone, as a table or as a JSON document.

    Raises LakeError when there is no lake, UsageError when a source is not known.
    """
    check_sources(only.sources)
    report = _report(settings, only)
    if shape == "json":
        _print_json(report, settings)
    else:
        _print_table(report, settings, only)
    return 0


def _report(settings: Settings, only: NightFilter) -> _Report:
    lake = open_to_read(settings.paths.lake)
    files = _recorded_files(lake)
    partitions = _partitions(files, _landed(settings), rulesets_of(settings, SOURCES))
    for partition in expired.closed_partitions(lake):
        # No run reads it again, whatever is in the landing zone.
        if partition in partitions:
            partitions[partition].is_closed = True
            partitions[partition].changed = partitions[partition].new = 0
    nights_run = changed_partitions.nights_run(lake)
    without_landed_files = nights_run - {partition.landing_date for partition in partitions}
    nights = _nights(lake, partitions, nights_run, _unchecked_nights(lake, files.values()), settings)
    with_rows = {night["date"] for night in nights}
    nights += [{"date": date, "source": None, "landed": 0} for date in sorted(without_landed_files - with_rows)]
    nights = sorted(filter(only.includes, nights), key=lambda night: (night["date"], night["source"] is None, night["source"] or ""))
    shown = {(night["date"], night["source"]) for night in nights}
    unreadable = [row for row in files.values() if row["status"] == "unreadable" and (row["landing_date"], row["source"]) in shown]
    outside = [(stray, *strays.below(stray)) for stray in strays.strays(settings.paths.landing, SOURCES)]
    return _Report(lake, recorded_rules.notes(lake, settings), nights, unreadable, outside, without_landed_files)


def _print_json(report: _Report, settings: Settings) -> None:
    print_json(
        {
            "lake": str(settings.paths.lake),
            "state": report.lake.state,
            "rules": report.notes,
            "nights": [{name: night.get(name) for name in FIELDS} | {"date": night["date"].isoformat()} for night in report.nights],
            "unreadable": [{name: row[name] for name in ("file", "error")} for row in report.unreadable],
            "in_no_partition": [
                {"path": stray.shown, "reason": stray.reason, "remedy": stray.remedy, "files": files, "bytes": size}
                for stray, files, size in report.outside
            ],
            **{problem: _with_problem(report.nights, problem) for problem in ("did_not_land", "no_file_left")},
        }
    )


def _print_table(report: _Report, settings: Settings, only: NightFilter) -> None:
    nights = report.nights
    for note in report.notes:
        print_line(note)
    for stray, files, size in report.outside:
        print_line(f"in no partition: {stray.line} ({files:,} {'file' if files == 1 else 'files'}, {size:,} bytes)")
    if not nights:
        is_empty = only == NightFilter()
        print_line(
            f"nothing has landed in {settings.paths.landing}, and the lake is empty" if is_empty else "no night matches these options"
        )
        return
    rows = [[_cell(name, night.get(name)) for name in FIELDS] for night in nights]
    title = f"Lake {settings.paths.lake}, state {report.lake.state}"
    print_table(title, list(FIELDS.values()), rows, prose=("missing hours",), total=True)
    if not_read := [Partition(night["date"], night["source"]) for night in nights if night.get("not_read")]:
        print_line(f"not read: {unread_partitions.line(not_read)}")
    for row in report.unreadable:
        print_line(f"unreadable: {row['file']}: {row['error']}")
    for night in nights:
        if night.get("did_not_land"):
            print_line(f"did not land: {night['source']} of {night['date']}")
    for date in sorted({night["date"] for night in nights}.intersection(report.without_landed_files)):
        print_line(f"nothing has landed: {date}")
    for night in nights:
        if night.get("no_file_left"):
            print_line(f"no landed file left: {night['source']} of {night['date']}, {night['records']:,} records in the lake")


def _recorded_files(lake: Lake) -> dict[str, dict[str, Any]]:
    """The rows of `files` that the command reads, by the name of the file; times as integers."""
    columns = ["source", "landing_date", "landing_hour", "file", "size", "modified", "ruleset", "status", "error", *COUNTS, "run_id"]
    rows = lake.arrow(FILES.name, columns)
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast("int64"))
    return {row["file"]: row for row in rows.to_pylist()}


def _nights(
    lake: Lake,
    partitions: Mapping[Partition, _PartitionCounts],
    nights_run: Collection[dt.date],
    not_looked_for: Mapping[str, set[dt.date]],
    settings: Settings,
) -> list[dict[str, Any]]:
    """One entry per source and date, and one per date with failed checks of no source."""
    missing = _missing_hours(partitions, nights_run, not_looked_for, settings)
    absent = _absent(partitions, nights_run, not_looked_for, settings)
    with_new = sorted(partition for partition, counted in partitions.items() if counted.new)
    not_read = unread_partitions.without_later_night(with_new, nights_run, settings.ingest.nights_back)
    failed = _failed_checks(lake)
    nights: list[dict[str, Any]] = []
    for partition in partitions.keys() | missing.keys() | absent:
        counted = partitions.get(partition, _PartitionCounts())
        nights.append(
            {"date": partition.landing_date, "source": partition.source}
            | {name: getattr(counted, name) for name in ("landed", "done", "unreadable", "changed", *COUNTS)}
            | {"not_read": counted.new if partition in not_read else 0}
            | {"did_not_land": partition in absent, "no_file_left": bool(counted.records) and not counted.landed and not counted.is_closed}
            | {"missing_hours": missing.get(partition, []), "failed_checks": failed.get((partition.landing_date, partition.source))}
        )
    of_no_source = ((date, count) for (date, source), count in failed.items() if source is None and count)
    return nights + [{"date": date, "source": None, "failed_checks": count} for date, count in of_no_source]


def _with_problem(nights: Sequence[Mapping[str, Any]], problem: str) -> list[dict[str, str]]:
    return [{"date": night["date"].isoformat(), "source": night["source"]} for night in nights if night.get(problem)]


def _cell(name: str, value: Any) -> Any:
    if name == "source":
        return value or ALL_SOURCES
    if name == "missing_hours":
        return " ".join(f"{hour:02}" for hour in value or ())
    return value


def _unchecked_nights(lake: Lake, files: Iterable[Mapping[str, Any]]) -> dict[str, set[dt.date]]:
    """Per source the nights that were run, or of which a run read files, but only by runs that were limited to other sources."""
    runs = lake.arrow(
        RUNS.name, ["run_id", "night", "sources"], (pc.field("step") == changed_partitions.NIGHT_DONE) & (pc.field("status") == "done")
    )
    limits = {row["run_id"]: row["sources"] for row in runs.to_pylist()}
    reads = [(row["night"], row["run_id"]) for row in runs.to_pylist()] + [(file["landing_date"], file["run_id"]) for file in files]
    looked_for: dict[dt.date, set[str]] = {}
    for night, run_id in reads:
        limit = limits.get(run_id)
        looked_for.setdefault(night, set()).update(limit.split(",") if limit else SOURCES)
    return {source: {night for night, sources in looked_for.items() if source not in sources} for source in SOURCES}


def _absent(
    partitions: Mapping[Partition, _PartitionCounts],
    nights_run: Collection[dt.date],
    not_looked_for: Mapping[str, set[dt.date]],
    settings: Settings,
) -> set[Partition]:
    """The expected sources that did not land, per night that was run or of which another source was read."""
    nights = set(nights_run) | {partition.landing_date for partition, counted in partitions.items() if counted.done or counted.unreadable}
    absent = set()
    for source in SOURCES:
        dates = {partition.landing_date for partition in partitions if partition.source == source}
        looked_at = nights - dates - not_looked_for[source]
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
            print_message(f"warning: {error}")
    return files


def _partitions(
    files: Mapping[str, dict[str, Any]], landed: Sequence[LandedFile], rulesets: Mapping[str, str]
) -> dict[Partition, _PartitionCounts]:
    partitions: dict[Partition, _PartitionCounts] = {}
    landed_files = {file.file: file for file in landed}
    for file in landed:
        counted = partitions.setdefault(file.partition, _PartitionCounts())
        counted.landed += 1
        if file.landing_hour is not None:
            counted.hours.setdefault(file.landing_hour, 0)
        row = files.get(file.file)
        counted.new += row is None
        counted.changed += row is None or (row["size"], row["modified"], row["ruleset"]) != (
            file.size,
            file.modified,
            rulesets[file.partition.source],
        )
    for name, row in files.items():
        counted = partitions.setdefault(Partition(row["landing_date"], row["source"]), _PartitionCounts())
        counted.done += row["status"] == "done"
        counted.unreadable += row["status"] == "unreadable"
        counted.changed += name not in landed_files
        if row["landing_hour"] is not None:
            counted.hours[row["landing_hour"]] = counted.hours.get(row["landing_hour"], 0) + (row["records"] or 0)
        for count in COUNTS:
            setattr(counted, count, getattr(counted, count) + (row[count] or 0))
    return partitions


def _missing_hours(
    partitions: Mapping[Partition, _PartitionCounts],
    nights_run: Collection[dt.date],
    not_looked_for: Mapping[str, set[dt.date]],
    settings: Settings,
) -> dict[Partition, list[int]]:
    """Hours without a file that usually have one, by the nights before; also of nights on which the source landed nothing."""
    all_known = {partition.landing_date for partition in partitions} | set(nights_run)
    missing = {}
    for source in SOURCES:
        past = settings.quality.of(source).past
        own = {partition.landing_date: counted.hours for partition, counted in partitions.items() if partition.source == source}
        known = all_known - (not_looked_for[source] - own.keys())
        for night in known:
            before = [own.get(date, {}) for date in baseline.compared(night, own, known, past_rules(past))]
            hours = baseline.missing_hours(own.get(night, {}), baseline.usual_hours(before, past.records_minimum))
            if hours:
                missing[Partition(night, source)] = hours
    return missing


def _failed_checks(lake: Lake) -> dict[tuple[dt.date, str | None], int]:
    """Per night and source how many checks failed in the last run that checked it. The source is None for checks of all sources."""
    results = lake.arrow(QUALITY_RESULTS.name, ["run_id", "date", "source", "passed"])
    last: dict[tuple[dt.date, str | None], tuple[str, int]] = {}
    for row in results.group_by(["run_id", "date", "source"]).aggregate([("passed", "count"), ("passed", "sum")]).to_pylist():
        night = (row["date"], row["source"])
        if row["date"] is not None and (night not in last or row["run_id"] > last[night][0]):
            last[night] = (row["run_id"], row["passed_count"] - row["passed_sum"])
    return {night: failed for night, (_, failed) in last.items()}

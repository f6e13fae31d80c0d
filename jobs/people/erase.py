"""Remove people from the lake: their rows, and all that was made of these, in one publication.

    millrace erase --source sunbird --user ID

The steps: search, deduplicate, account, sessions, workflows, metrics, marts, checks, publish. Readers see the old state or the new one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from jobs import (
    build_sessions,
    build_workflows,
    catalog,
    changed_dates,
    checks,
    compute_marts,
    compute_metrics,
    deduplicate,
)
from jobs.affected_chains import ChangedEvents
from jobs.console.printing import print_line, print_table
from jobs.console.progress import Progress
from jobs.engine import task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.spark_session import Engine
from jobs.errors import CheckFailedError
from jobs.journal import Journal, StepCounts
from jobs.lake import failed_run, run_output
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.table_files import WrittenFile, write_partitioned
from jobs.lake.tables import REPORTS, Lake
from jobs.landing import expired
from jobs.landing.zone import Partition
from jobs.people import closed_rows, erased_rows, erasures
from jobs.people.erased_rows import COUNTED, Removed
from jobs.quality.gate import PAGES
from jobs.rebuild import recorded_rules, repair
from jobs.rules import counted_people, funnels, session_rules, workflow_rules
from jobs.settings import Settings
from jobs.storage import storage_paths
from schemas.bookkeeping import DAILY_METRICS, ERASURES, FILES
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS
from transforms.marts.registry import marts
from transforms.privacy.people import People
from transforms.sources.registry import SOURCES

_NOTHING_FOUND = 3


@dataclass(frozen=True)
class ErasedEvents(ChangedEvents):
    """A change of `events` that removes rows. The files in `events` hold many more rows, which do not change."""

    removed: Sequence[StoredFile] = ()  # the removed rows, staged
    moved: Sequence[WrittenFile] = ()  # files of rows that repeated a removed row, and are events now

    def added_files(self, sources: object = SOURCES) -> list[StoredFile]:
        """The files of rows that are events now."""
        files = (StoredFile.written(self.lake.root, file) for file in self.moved)
        return [file for file in files if _is_of(file, sources)]

    def removed_files(self, sources: object = SOURCES) -> list[StoredFile]:
        """The files of removed rows."""
        return [file for file in self.removed if _is_of(file, sources)]

    def kept_files(self, sources: object = SOURCES) -> list[StoredFile]:
        """All other files of events, as they are published."""
        moved = {file.path for file in self.moved}
        files = erased_rows.of_table(self.lake, EVENTS.name, self.events, list(SOURCES))
        return [file for file in files if file.path not in moved and _is_of(file, sources)]


def _is_of(file: StoredFile, sources: object) -> bool:
    assert isinstance(sources, (Mapping, set, frozenset))
    return file.partition["source"] in sources


@dataclass
class Result:
    """What an erasure has done."""

    rows: Mapping[str, int]  # per table how many rows it has less
    people: Mapping[str, People]
    not_found: int
    devices: Mapping[str, Sequence[str]]  # per source those seen with an erased user, and not erased
    other: Mapping[str, int] = field(default_factory=dict)  # per folder how many files or failed runs were deleted
    named_files: int = 0  # landed files whose names have an id


def run(settings: Settings, people: Mapping[str, People], *, with_devices: bool = False) -> int:
    """Erase these people, per source, and print what was removed; gives the exit code: 3 if someone has no row.

    Raises LakeError when there is no lake, LakeBusyError when a run is writing it, RulesChangedError when sessions cannot be built
    again by the rules of the lake.
    """
    Lake.open(settings.paths.lake)
    progress = Progress()
    progress.begin("erase")
    writing = Lake.writing(settings.paths.lake, "millrace erase", lease_seconds=settings.storage.lease_seconds)
    with writing as lake, Engine(settings, progress) as engine:
        recorded_rules.for_run(lake, settings)
        result = Erasure(engine, lake, settings, Journal("erase", progress)).execute(people, with_devices=with_devices)
        catalog.update(engine, settings)
    _show(result, settings)
    return _NOTHING_FOUND if result.not_found else 0


class Erasure:
    """One erasure: its journal, and its steps in their order."""

    def __init__(self, engine: Engine, lake: Lake, settings: Settings, journal: Journal) -> None:
        self._engine = engine
        self._lake = lake
        self._settings = settings
        self._journal = journal
        self._output = lake.begin(journal.run_id)
        self._changes: dict[str, Change] = {}
        self._moved: list[WrittenFile] = []  # files of rows that are events now
        self._closed = expired.closed_dates(lake)

    def execute(self, people: Mapping[str, People], *, with_devices: bool) -> Result:
        """Remove these people and publish the tables. Raises CheckFailedError when a critical check does not hold."""
        with self._step("search") as counts:
            if with_devices:
                people = _with_devices(people, erased_rows.devices_of(self._engine, self._lake, people))
            removed = erased_rows.remove(self._engine, self._lake, people, self._output)
            self._changes |= removed.changes
            counts.wrote(removed.changes.values())
        changed = {file for of_kind in removed.counts.values() for file in of_kind}
        if changed:
            moved = self._deduplicate(removed)
            landed = self._audit_files(removed, moved)
            self._build(removed, people)
            self._compute_metrics_and_marts(landed, people)
            self._check(landed)
        self._changes[ERASURES.name] = erasures.record(self._lake, people, self._output)
        other = _delete_copies(self._lake, people, self._journal.run_id)
        rows = {name: _rows_less(change) for name, change in self._changes.items() if name in TABLES}
        with self._journal.last_step("publish") as journal:
            self._lake.publish(self._changes, journal, self._journal.run_id)
        return _result(self._lake, people, removed, rows, other)

    @contextmanager
    def _step(self, name: str) -> Iterator[StepCounts]:
        with self._engine.describing_jobs(name), self._journal.step(name) as counts:
            yield counts

    def _deduplicate(self, removed: Removed) -> dict[tuple[Partition, str], int]:
        """Decide again what repeats what; gives how many records of landed files become duplicates (negative: events)."""
        with self._step("deduplicate"):
            rows = [file for files in removed.rows.values() for file in files]
            sources = sorted({file.partition["source"] for file in rows})
            if not rows:
                return {}
            partitions = frozenset(
                Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"]) for file in rows
            )
            records = deduplicate.Records(self._lake, self._output, self._settings.deduplication.window_days, partitions, (), frozenset())
            tables = (EVENTS.name, DUPLICATE_EVENTS.name)
            others = [file for name in tables for file in erased_rows.of_table(self._lake, name, self._changes[name], sources)]
            repeats = deduplicate.find_repeats_of_removed(self._engine, records, rows, others)
            if repeats is None:
                return {}
            moved = deduplicate.moved_records(repeats)
            self._replace(deduplicate.rewrite(self._engine, records, repeats))
            return dict(moved)

    def _replace(self, reports: pa.Table) -> None:
        """Take what tasks wrote into the changes. They may have replaced files that this run has written itself."""
        replaced = task_reports.removed_files(reports)
        for name in {file.partition("/")[0] for file in replaced}:
            change = self._changes.setdefault(name, Change())
            again = [file for file in change.added if f"{name}/{file.path}" in replaced]
            change.added = [file for file in change.added if file not in again]
            change.removed += [file for file in self._lake.files(name) if f"{name}/{file.path}" in replaced]
            for file in again:
                (self._lake.root / name / file.path).unlink(missing_ok=True)
        for written in task_reports.written_files(reports):
            change = self._changes.setdefault(written.table, Change())
            change.added.append(written)
            if written.table == EVENTS.name:
                self._moved.append(written)

    def _audit_files(self, removed: Removed, moved: Mapping[tuple[Partition, str], int]) -> frozenset[Partition]:
        """Correct the account of the landed files; gives their partitions."""
        with self._step("account") as counts:
            became = {file: number for (_, file), number in moved.items()}
            changed = {file for of_kind in removed.counts.values() for file in of_kind} | set(became)
            names = self._lake.arrow(FILES.name, ["source", "landing_date", "file"], pc.field("file").isin(sorted(changed)))
            partitions = frozenset(Partition(row["landing_date"], row["source"]) for row in names.to_pylist())
            dates = sorted({partition.landing_date for partition in partitions})
            rows = []
            for row in self._lake.arrow(FILES.name, FILES.names, pc.field("landing_date").isin(dates)).to_pylist():
                if Partition(row["landing_date"], row["source"]) not in partitions:
                    continue
                if row["file"] in changed:
                    less = {kind: removed.counts.get(kind, {}).get(row["file"], 0) for kind in COUNTED.values()}
                    row |= {kind: row[kind] - number for kind, number in less.items()}
                    number = became.get(row["file"], 0)
                    row |= {"accepted": row["accepted"] - number, "duplicates": row["duplicates"] + number}
                    row |= {"erased": row["erased"] + sum(less.values()), "run_id": self._journal.run_id}
                rows.append(row)
            written = write_partitioned(FILES, pa.Table.from_pylist(rows, schema=FILES.arrow.remove_metadata()), self._output)
            before = [file for file in self._lake.files(FILES.name) if expired.partition_of(file) in partitions]
            self._changes[FILES.name] = Change(written, before)
            counts.wrote([self._changes[FILES.name]])
        return partitions

    def _build(self, removed: Removed, people: Mapping[str, People]) -> None:
        """Build the affected sessions and workflows again."""
        spark = self._settings.spark
        inputs = ErasedEvents(
            self._lake,
            self._output,
            self._changes[EVENTS.name],
            spark.key_tasks,
            spark.key_task_events,
            closed=self._closed,
            removed=removed.rows.get(EVENTS.name, ()),
            moved=self._moved,
        )
        with self._step("sessions") as counts:
            sessions = build_sessions.rebuild(self._engine, inputs, session_rules(self._settings))
            self._changes |= sessions
            counts.wrote(sessions.values())
        with self._step("workflows") as counts:
            workflows = build_workflows.rebuild(self._engine, inputs, workflow_rules(self._settings))
            self._changes |= workflows
            counts.wrote(workflows.values())
        if any(self._closed.get(source) for source in people):
            with self._step("closed sessions"):
                self._replace(closed_rows.remove(self._engine, self._lake, self._changes, people, self._output))

    def _compute_metrics_and_marts(self, landed: frozenset[Partition], people: Mapping[str, People]) -> None:
        with self._step("metrics") as counts:
            state = NewState(self._lake, self._changes)
            changed = changed_dates.find(self._engine, state, landed, self._closed)
            who = counted_people(self._settings)
            change = compute_metrics.compute(self._engine, state, changed, self._output, who, closed=self._closed)
            self._changes[DAILY_METRICS.name] = change
            counts.wrote([change])
        with self._step("marts") as counts:
            of_marts = marts(funnels(self._settings))
            changes = compute_marts.compute(self._engine, state, changed, self._output, of_marts, self._closed)
            self._changes |= changes
            counts.wrote(changes.values())
            if any(self._closed.get(source) for source in people):
                self._replace(erased_rows.remove_visits(self._engine, self._lake, self._changes, people, self._output))

    def _check(self, landed: frozenset[Partition]) -> None:
        with self._step("checks"):
            broken = checks.broken(self._engine, NewState(self._lake, self._changes), landed, self._settings.quality)
        if broken:
            first = broken[0]
            raise CheckFailedError(
                f"nothing was erased: {first.table}: {first.label} would not hold ({first.observed:g} found): call"
                f" `millrace verify --deep`, and `millrace rebuild` if it finds damage; then erase again"
            )


def _with_devices(people: Mapping[str, People], devices: Mapping[str, set[str]]) -> dict[str, People]:
    """The people with their devices. A device is as the lake has it, which may be a pseudonym."""
    return {
        source: replace(one, ids={**one.ids, "device": one.ids.get("device", frozenset()) | devices.get(source, set())})
        for source, one in people.items()
    }


def _delete_copies(lake: Lake, people: Mapping[str, People], run_id: str) -> dict[str, int]:
    """Delete what may hold these people outside of the tables: files of failed runs and of damaged tables, and pages that name them."""
    deleted = {"failed runs": 0, repair.MOVED: 0, PAGES: 0, REPORTS: 0}
    for output in run_output.unfinished(lake.root):
        if output.run_id != run_id:
            failed_run.remove(lake.root, output.run_id)
            deleted["failed runs"] += 1
    for entry in storage_paths.entries(lake.root / repair.MOVED):
        storage_paths.remove_tree(entry.path)
        deleted[repair.MOVED] += 1
    for folder in (PAGES, REPORTS):
        for name in list(storage_paths.paths_below(lake.root / folder)):
            content = (lake.root / folder / name).read_bytes()
            if any(one.are_in(content) for one in people.values()):
                (lake.root / folder / name).unlink(missing_ok=True)
                deleted[folder] += 1
    return deleted


def _rows_less(change: Change) -> int:
    return sum(file.rows for file in change.removed) - sum(file.rows for file in change.added)


def _result(lake: Lake, people: Mapping[str, People], removed: Removed, rows: Mapping[str, int], other: Mapping[str, int]) -> Result:
    ids_given = {(source, kind, text) for source, one in people.items() for kind, ids in one.ids.items() for text in ids}
    devices = {source: sorted(seen - set(people[source].stored("device"))) for source, seen in sorted(removed.devices.items())}
    names = lake.arrow(FILES.name, ["source", "file"]).to_pylist()
    named = sum(row["source"] in people and people[row["source"]].are_in(row["file"].encode()) for row in names)
    return Result(rows, people, len(ids_given - removed.found), {source: seen for source, seen in devices.items() if seen}, other, named)


def _show(result: Result, settings: Settings) -> None:
    rows = [[name, number] for name, number in result.rows.items() if number and name not in (ERASURES.name,)]
    print_table("Erased", ["table", "rows removed"], rows)
    given = sum(len(ids) for one in result.people.values() for ids in one.ids.values())
    if result.not_found:
        print_line(f"not found: {result.not_found:,} of {given:,} ids had no row; records of them that land later are held back")
    for source, devices in result.devices.items():
        print_line(f"devices seen with the erased users of {source}, which --with-devices erases, too:")
        for device in devices:
            print_line(f"  {device}")
    for what, number in result.other.items():
        if number:
            print_line(f"{what}: {number:,} deleted")
    if result.named_files:
        print_line(f"{result.named_files:,} landed files have an id in their names: rename them in the landing zone, and run their nights")
    print_line(
        f"files of earlier states still have the rows for {settings.maintain.history_days} days:"
        f" `millrace maintain --vacuum --now` deletes them at once"
    )

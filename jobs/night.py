"""Run a night: build the tables from what has landed, check them, and publish all of them or none.

    millrace run --date 2026-11-20
    spark-submit jobs/night.py --date 2026-11-20 --landing LANDING --lake LAKE --env cluster

The steps: survey, ingest, deduplicate, write, account, sessions, workflows, metrics, marts, checks, publish.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from jobs import (
    build_sessions,
    build_workflows,
    changed_dates,
    changed_partitions,
    checks,
    compute_marts,
    compute_metrics,
    deduplicate,
    file_audit,
    ingest,
)
from jobs.affected_chains import ChangedEvents
from jobs.changed_partitions import ChangedPartitions
from jobs.console.progress import Progress
from jobs.deduplicate import Deduplicated
from jobs.engine.spark_session import Engine
from jobs.errors import CheckFailedError, LandingError, UsageError
from jobs.ingest import FileCounts, StagedFile
from jobs.journal import Journal, StepCounts
from jobs.lake import failed_run
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake
from jobs.landing import expired, unlisted
from jobs.landing.zone import LandedFile, Partition, check_root
from jobs.people import erasures
from jobs.quality import baseline, gate, shrinkage
from jobs.quality.gate import Finding
from jobs.quality.shrinkage import is_of_shrinkage
from jobs.rebuild import recorded_rules
from jobs.rules import counted_people, funnels, privacy_rules, rulesets_of, session_rules, time_rules, workflow_rules
from jobs.settings import Settings
from schemas.bookkeeping import DAILY_METRICS, FILES, QUALITY_RESULTS
from schemas.events import EVENTS
from transforms.marts.registry import marts
from transforms.sources.registry import SOURCES
from transforms.times import shifted


@dataclass(frozen=True)
class PartitionCounts:
    """The files that one source landed on one date, and how many of their records were accepted, repeated and refused."""

    files: int = 0
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    run_id: str
    night: dt.date | None
    landed: int = 0  # files in the compared partitions
    published: bool = False
    partitions: Mapping[Partition, PartitionCounts] = field(default_factory=dict)  # that were read or dropped
    unreadable: Sequence[tuple[str, str]] = ()  # file and reason
    failed: Sequence[Finding] = ()  # failed checks of severity warning
    checks: int = 0
    has_landed: bool = True  # whether the night itself has a landed file
    missing: Sequence[str] = ()  # expected sources that did not land on the night

    @property
    def exit_code(self) -> int:
        """0 done; 3 done, but some landed files could not be read, or expected sources did not land."""
        return 3 if self.unreadable or self.missing else 0


@dataclass(frozen=True)
class _ReadFiles:
    """The landed files of a run as ingest has read them."""

    files: Sequence[LandedFile]
    counts: Sequence[FileCounts]  # one per file
    staged: Sequence[StagedFile]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """The files that could not be read, with the reason, sorted."""
        return sorted((file.file, one.error) for file, one in zip(self.files, self.counts, strict=True) if one.error is not None)

    @property
    def staged_rows(self) -> int:
        """How many records were staged."""
        return sum(file.rows for file in self.staged)


class LakeRun:
    """One run that changes the lake: its id, its journal, and its steps in their order."""

    def __init__(
        self,
        engine: Engine,
        lake: Lake,
        settings: Settings,
        command: str,
        progress: Progress,
        night: dt.date | None,
        rules: Mapping[str, str],  # as recorded_rules gives them
    ) -> None:
        self._engine = engine
        self._rules = rules
        self.lake = lake
        self.settings = settings
        self.night = night
        self._progress = progress
        self._marts = marts(funnels(settings))
        self._journal = Journal(command, progress, night)
        self._output = lake.begin(self._journal.run_id)

    @property
    def run_id(self) -> str:
        """The id of this run in every table."""
        return self._journal.run_id

    def execute(
        self, changed: ChangedPartitions, sources: Collection[str], *, from_nothing: Collection[str] = (), accept_shrunk: bool = False
    ) -> Outcome:
        """Read the changed partitions and publish the tables that follow from them.

        The steps in `from_nothing`, of rebuild_scope.DERIVED, build their tables from all events, not from what has changed.
        With `accept_shrunk`, a partition that has lost most of its records is a warning.
        Raises CheckFailedError when a critical check fails: then only `runs` and `quality_results` are written.
        """
        if not changed.replaced and not from_nothing:
            return self._nothing_new(changed, sources)
        self._engine.warm_up()
        gate.warm_up()
        read = self._read(changed.files)
        deduplicated = self._deduplicate(changed, read)
        changes: dict[str, Change] = dict(deduplicated.changes)
        changes[FILES.name] = self._audit_files(changed, read, deduplicated, sources)
        changes |= self._build(changes[EVENTS.name], from_nothing)
        landed = changed.replaced | {partition for partition, _ in deduplicated.moved}
        state = NewState(self.lake, changes)
        changes |= self._compute_metrics_and_marts(state, landed, from_nothing)
        state = NewState(self.lake, changes)
        unreadable = {file for file, _ in read.unreadable}
        shrinkages = shrinkage.findings(
            state,
            {file.partition for file in read.files},
            self.settings.quality,
            accepted=accept_shrunk,
            unreadable=[file for file in read.files if file.file in unreadable],
        )
        findings = self._check(state, landed, changes, sources, list(shrinkages))
        self._publish(changes, sources)
        return Outcome(
            self.run_id,
            self.night,
            changed.landed,
            True,
            partition_counts(changed.replaced, read.files, read.counts, deduplicated.counts),
            read.unreadable,
            [finding for finding in findings if not finding.passed],
            len(findings),
            self.night is None or self.night in changed.dates,
            self._missing(state, sources),
        )

    @contextmanager
    def _step(self, name: str) -> Iterator[StepCounts]:
        """A step, which the journal records, and whose jobs have its name in Spark's pages and event log."""
        with self._engine.describing_jobs(name), self._journal.step(name) as counts:
            yield counts

    def _read(self, files: Sequence[LandedFile]) -> _ReadFiles:
        rules = self.settings.ingest
        times = {source: time_rules(self.settings, source) for source in SOURCES}
        erased = erasures.recorded(self.lake)
        read_rules = ingest.ReadRules(times, rules.max_document_bytes, rules.chunk_lines, privacy_rules(self.settings), erased)
        size = sum(file.size for file in files)
        with self._step("ingest") as counts:
            task_bytes = max(rules.task_bytes_minimum, min(rules.task_bytes_maximum, size // rules.tasks))
            read = _ReadFiles(
                files,
                *ingest.read(
                    self._engine, self.settings.paths.landing, files, self._output.working_folder / "_records", read_rules, task_bytes
                ),
            )
            counts.files, counts.records, counts.bytes = len(files), sum(one.records or 0 for one in read.counts), size
            counts.rows_out = read.staged_rows
        return read

    def _deduplicate(self, changed: ChangedPartitions, read: _ReadFiles) -> Deduplicated:
        unreadable = frozenset(file for file, _ in read.unreadable)
        window = self.settings.deduplication.window_days
        records = deduplicate.Records(self.lake, self._output, window, changed.replaced, read.staged, unreadable)
        with self._step("deduplicate") as counts:
            counts.rows_in = read.staged_rows
            repeats = deduplicate.find_repeats(self._engine, records)
        with self._step("write") as counts:
            deduplicated = deduplicate.write(self._engine, records, repeats)
            counts.rows_in = read.staged_rows
            counts.wrote(deduplicated.changes.values())
        return deduplicated

    def _audit_files(self, changed: ChangedPartitions, read: _ReadFiles, deduplicated: Deduplicated, sources: Collection[str]) -> Change:
        with self._step("account") as counts:
            replaced = file_audit.Replaced(self.lake, self._output, rulesets_of(self.settings, sources), changed.replaced)
            change = file_audit.write(replaced, read.files, read.counts, deduplicated.counts, deduplicated.moved)
            counts.wrote([change])
        return change

    def _build(self, events: Change, from_nothing: Collection[str]) -> dict[str, Change]:
        """The changes of the tables that are built from chains of events."""
        spark = self.settings.spark
        change = ChangedEvents(
            self.lake, self._output, events, spark.key_tasks, spark.key_task_events, closed=expired.closed_dates(self.lake)
        )
        with self._step("sessions") as counts:
            inputs = replace(change, from_nothing="sessions" in from_nothing)
            sessions = build_sessions.rebuild(self._engine, inputs, session_rules(self.settings))
            counts.rows_in = inputs.rows_in(SOURCES)
            counts.wrote(sessions.values())
        with self._step("workflows") as counts:
            inputs = replace(change, from_nothing="workflows" in from_nothing)
            workflows = build_workflows.rebuild(self._engine, inputs, workflow_rules(self.settings))
            counts.rows_in = inputs.rows_in(build_workflows.WITH_WORKFLOWS)
            counts.wrote(workflows.values())
        return sessions | workflows

    def _compute_metrics_and_marts(self, state: NewState, landed: frozenset[Partition], from_nothing: Collection[str]) -> dict[str, Change]:
        every = landed | changed_partitions.partitions(self.lake, SOURCES)
        with self._step("metrics") as counts:
            of_all, who, closed = "metrics" in from_nothing, counted_people(self.settings), expired.closed_dates(self.lake)
            changed = changed_dates.find(self._engine, state, every if of_all else landed, closed, from_nothing=of_all)
            metrics = compute_metrics.compute(self._engine, state, changed, self._output, who, from_nothing=of_all, closed=closed)
            counts.wrote([metrics])
        with self._step("marts") as counts:
            if ("marts" in from_nothing) != of_all:
                of_all = not of_all
                changed = changed_dates.find(self._engine, state, every if of_all else landed, closed, from_nothing=of_all)
            changes = compute_marts.compute(self._engine, state, changed, self._output, self._marts, closed, from_nothing=of_all)
            counts.wrote(changes.values())
        return {DAILY_METRICS.name: metrics, **changes}

    def _missing(self, state: NewState, sources: Collection[str]) -> list[str]:
        return baseline.missing_sources(state, sources, self.settings.quality, self.night) if self.night is not None else []

    def _nothing_new(self, changed: ChangedPartitions, sources: Collection[str]) -> Outcome:
        """Publish a run that has nothing to read. A night without a file is compared with the nights before it."""
        changes: dict[str, Change] = {}
        findings: list[Finding] = []
        night = self.night
        if night is not None and night not in {partition.landing_date for partition in changed_partitions.partitions(self.lake, sources)}:
            state = NewState(self.lake, changes)
            observed = list(baseline.findings(state, sources, self.settings.quality, night))
            findings = self._validate(lambda: observed, night, changes, sources) if observed else []
        self._publish(changes, sources)
        failed = [finding for finding in findings if not finding.passed]
        return Outcome(
            self.run_id,
            night,
            changed.landed,
            failed=failed,
            checks=len(findings),
            has_landed=night is None or night in changed.dates,
            missing=self._missing(NewState(self.lake, {}), sources),
        )

    def _check(
        self,
        state: NewState,
        landed: Collection[Partition],
        changes: dict[str, Change],
        sources: Collection[str],
        shrinkages: Sequence[Finding],
    ) -> list[Finding]:
        night = self.night or max(partition.landing_date for partition in landed)
        quality = self.settings.quality
        return self._validate(
            lambda: [*checks.observe(self._engine, state, landed, quality, night, sources), *shrinkages], night, changes, sources
        )

    def _validate(
        self, observe: Callable[[], list[Finding]], night: dt.date, changes: dict[str, Change], sources: Collection[str]
    ) -> list[Finding]:
        with self._step("checks") as counts:
            observed = observe()
            pages = gate.pages_of(self.lake.root, night) if self.settings.quality.pages else None
            findings = gate.validate(observed, self.run_id, pages)
            results = checks.results(findings, self._output, night)
            counts.wrote([results])
        critical = [finding for finding in findings if not finding.passed and finding.severity == "critical"]
        if critical:
            failed_run.record(self._output, self.lake.versions, changes)
            self._publish({QUALITY_RESULTS.name: results}, sources, failed=True)
            first = critical[0]
            more = f" and {len(critical) - 1} more" if len(critical) > 1 else ""
            remedy = "; if the loss is meant, call with --accept-shrunk" if all(map(is_of_shrinkage, critical)) else ""
            raise CheckFailedError(
                f"nothing was published: {first.table}: {first.label} does not hold"
                f" ({first.observed:g} found, allowed is {first.threshold}){more};"
                f" see `millrace quality --lake {self.lake.root} --date {night}` and ask the tables that it would have published with"
                f" `millrace sql --lake {self.lake.root} --run {self.run_id}`{remedy}"
            )
        changes[QUALITY_RESULTS.name] = results
        return findings

    def _publish(self, changes: Mapping[str, Change], sources: Collection[str], *, failed: bool = False) -> None:
        limited = None if set(sources) == set(SOURCES) else ",".join(sorted(sources))
        rules = None if failed else self._rules
        with self._journal.last_step(changed_partitions.NIGHT_DONE, failed=failed, sources=limited, rules=rules) as rows:
            self.lake.publish(changes, rows, self.run_id, failed=failed)
        # The pages are written while tables are published. A publication does not depend on them.
        if why := gate.pages_written():
            self._progress.note(f"the pages of the checks could not be written ({why}): quality_results has the same checks")


def run_night(
    engine: Engine,
    settings: Settings,
    night: dt.date,
    *,
    sources: Collection[str] = tuple(SOURCES),
    accept_empty: bool = False,
    accept_shrunk: bool = False,
    command: str = "run",
    progress: Progress | None = None,
) -> Outcome:
    """Run the night of a date, with late files of the nights before it that have been run.

    Raises LandingError when there is no landing folder, or when a source and date, on any night, has rows and no file left;
    RulesChangedError when the lake was built by other rules; CheckFailedError when a critical check fails;
    LakeError and LakeBusyError when the lake cannot be written.
    """
    progress = progress or Progress()
    progress.begin(night.isoformat())
    check_sources(sources)
    check_root(settings.paths.landing)
    with Lake.writing(settings.paths.lake, f"millrace {command}", lease_seconds=settings.storage.lease_seconds) as lake:
        rules = recorded_rules.for_run(lake, settings)
        with progress.step("survey"):
            first = shifted(night, -settings.ingest.nights_back)
            nights = {night} | {before for before in changed_partitions.nights_run(lake) if first <= before < night}
            guarded = nights | _guarded_dates(lake, night, settings.ingest.landing_days)
            closed = expired.closed_partitions(lake)
            without_files = changed_partitions.without_files(lake, settings.paths.landing, sources)
            empty = [one for one in without_files if one.landing_date in guarded and one not in closed]
            if empty and not accept_empty:
                raise LandingError(_no_file_left(empty))
            rulesets = rulesets_of(settings, sources)
            changed = changed_partitions.of_nights(lake, settings.paths.landing, nights, sources, rulesets, empty, unchanged=closed)
            if any(one.landing_date == night and one.source in sources for one in closed):
                progress.note(f"{night} is not read again: its events or landed files have expired (retention)")
            unlisted.check(lake, changed.files)
        return LakeRun(engine, lake, settings, command, progress, night, rules).execute(changed, sources, accept_shrunk=accept_shrunk)


def check_sources(sources: Collection[str]) -> None:
    """Raises UsageError when a source is not known."""
    for source in sources:
        if source not in SOURCES:
            raise UsageError(f"no source is called {source!r}: --source takes {', '.join(sorted(SOURCES))}")


def _no_file_left(partitions: Sequence[Partition]) -> str:
    return (
        f"{changed_partitions.without_files_line(partitions)}: land the files again, or call with --accept-empty to drop the rows;"
        " where landed files are deleted after some days, set ingest.landing_days to keep them"
    )


def _guarded_dates(lake: Lake, night: dt.date, landing_days: int | None) -> set[dt.date]:
    """The dates in the lake whose landed files should still be there."""
    dates = {partition.landing_date for partition in changed_partitions.partitions(lake, SOURCES)}
    newest = max(dates | {night})
    return {date for date in dates if landing_days is None or (newest - date).days <= landing_days}


def partition_counts(
    replaced: Collection[Partition],
    files: Sequence[LandedFile],
    file_counts: Sequence[FileCounts],
    written: Mapping[str, Mapping[str, int]],
) -> dict[Partition, PartitionCounts]:
    """The counts of every partition that was read, or whose rows were dropped.

    `file_counts` has the counts of the reader, one per file. `written` has per kind (accepted, duplicates, rejected) and file how many
    records were written.
    """
    totals = {partition: PartitionCounts() for partition in sorted(replaced)}
    for file, of_file in zip(files, file_counts, strict=True):
        total = totals.get(file.partition, PartitionCounts())
        kinds = {kind: written.get(kind, {}).get(file.file, 0) for kind in ("accepted", "duplicates", "rejected")}
        totals[file.partition] = PartitionCounts(
            total.files + 1,
            total.records + (of_file.records or 0),
            total.accepted + kinds["accepted"],
            total.duplicates + kinds["duplicates"],
            total.rejected + kinds["rejected"],
            total.unreadable + (of_file.error is not None),
        )
    return totals


if __name__ == "__main__":
    import importlib
    import sys

    # Imported by name, because the commands import this module.
    sys.argv.insert(1, "run")
    importlib.import_module("jobs.commands.program").program()

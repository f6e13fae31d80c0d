"""Run a night: what has landed becomes the tables, is checked, and is published as a whole or not at all.

    millrace run --date 2026-11-20
    spark-submit jobs/night.py --date 2026-11-20 --landing LANDING --lake LAKE --env cluster

The steps: survey, ingest, deduplicate, write, account, sessions, workflows, metrics, checks, publish.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs import account, checks, deduplicate, history, ingest, metrics, quality_gate, sessions, survey, touched, workflows
from jobs.errors import CheckFailedError, LandingError, UsageError
from jobs.journal import Journal
from jobs.lake import Change, Lake
from jobs.landing import Partition, check_root
from jobs.progress import Progress
from jobs.quality_gate import Finding
from jobs.rules import rulesets_of, session_rules, time_rules, workflow_rules
from jobs.session import Engine
from jobs.settings import Settings
from jobs.survey import Survey
from schemas.account import FILES, QUALITY_RESULTS
from transforms.sources import SOURCES


@dataclass(frozen=True)
class Tally:
    """What one source landed and what became of it."""

    files: int = 0
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    run_id: str
    night: dt.date | None
    landed: int = 0  # files that were looked at
    published: bool = False
    tallies: Mapping[str, Tally] = field(default_factory=dict)  # per source, of what was read
    unreadable: Sequence[tuple[str, str]] = ()  # file and why
    failed: Sequence[Finding] = ()  # checks of severity warning that did not hold
    checks: int = 0

    @property
    def exit_code(self) -> int:
        """0 done; 3 done, but some landed files could not be read."""
        return 3 if self.unreadable else 0


class Run:
    """One run of the lake: its identity, its journal, and the steps in their order."""

    def __init__(self, engine: Engine, lake: Lake, settings: Settings, command: str, progress: Progress, night: dt.date | None) -> None:
        self._engine = engine
        self.lake = lake
        self.settings = settings
        self.night = night
        self._progress = progress
        self._journal = Journal(command, progress, night)

    @property
    def run_id(self) -> str:
        """What this run is called in every table."""
        return self._journal.run_id

    @property
    def folder(self) -> Path:
        """The run's staging folder."""
        return self.lake.staging(self.run_id)

    def execute(self, found: Survey, sources: Collection[str], *, from_nothing: bool = False) -> Outcome:
        """Read what the survey found and publish the tables that follow from it.

        Raises CheckFailedError when a critical check fails: then only `runs` and `quality_results` are written.
        """
        if not found.replaced:
            return self._nothing_new(found, sources)
        self._engine.warm_up()
        quality_gate.warm_up()
        rulesets = rulesets_of(self.settings, sources)
        accounts, staged = self._read(found)
        unreadable = frozenset(file.file for file, told in zip(found.files, accounts, strict=True) if told.error is not None)
        records = deduplicate.Inputs(
            self.lake, self.folder, self.run_id, self.settings.deduplication.window_days, found.replaced, staged, unreadable
        )
        with self._journal.step("deduplicate"):
            judged = deduplicate.find_copies(self._engine, records)
        with self._journal.step("write"):
            settled = deduplicate.write(self._engine, records, judged)
        changes: dict[str, Change] = dict(settled.changes)
        with self._journal.step("account"):
            told_of = account.Inputs(self.lake, self.folder, self.run_id, rulesets, found.replaced)
            changes[FILES.name] = account.write(told_of, found.files, accounts, settled.counts, settled.moved)
        change = touched.Changed(self.lake, self.folder, self.run_id, changes["events"], self.settings.spark.key_tasks, from_nothing)
        with self._journal.step("sessions"):
            changes |= sessions.rebuild(self._engine, change, session_rules(self.settings))
        with self._journal.step("workflows"):
            changes |= workflows.rebuild(self._engine, change, workflow_rules(self.settings))
        landed = found.replaced | {partition for partition, _ in settled.moved}
        state = metrics.NewState(self.lake, self.folder, changes)
        with self._journal.step("metrics"):
            changes["daily_metrics"] = metrics.compute(self._engine, state, landed, self.run_id, from_nothing=from_nothing)
        findings = self._check(state, landed, changes, sources)
        self._publish(changes, sources)
        return Outcome(
            self.run_id,
            self.night,
            found.landed,
            True,
            _tallies(found, accounts, settled.counts),
            sorted((file.file, told.error or "") for file, told in zip(found.files, accounts, strict=True) if told.error is not None),
            [finding for finding in findings if not finding.passed],
            len(findings),
        )

    def _read(self, found: Survey) -> tuple[list[ingest.FileAccount], list[ingest.StagedFile]]:
        rules = self.settings.ingest
        read_rules = ingest.ReadRules(time_rules(self.settings), rules.max_document_bytes, rules.chunk_lines)
        size = sum(file.size for file in found.files)
        with self._journal.step("ingest", rows=len(found.files), size=size):
            task_bytes = max(rules.task_bytes_minimum, min(rules.task_bytes_maximum, size // rules.tasks))
            return ingest.read(self._engine, self.settings.paths.landing, found.files, self.folder / "_records", read_rules, task_bytes)

    def _nothing_new(self, found: Survey, sources: Collection[str]) -> Outcome:
        """A run that has nothing to read. A night without a file is still held against its past: every source may have stopped."""
        changes: dict[str, Change] = {}
        findings: list[Finding] = []
        night = self.night
        if night is not None and night not in {partition.landing_date for partition in survey.partitions(self.lake, sources)}:
            state = metrics.NewState(self.lake, self.folder, changes)
            observed = list(history.findings(state, sources, self.settings.quality, night))
            findings = self._judge(lambda: observed, night, changes, sources) if observed else []
        self._publish(changes, sources)
        failed = [finding for finding in findings if not finding.passed]
        return Outcome(self.run_id, night, found.landed, failed=failed, checks=len(findings))

    def _check(
        self, state: metrics.NewState, landed: Collection[Partition], changes: dict[str, Change], sources: Collection[str]
    ) -> list[Finding]:
        night = self.night or max(partition.landing_date for partition in landed)
        asked = self.settings.quality
        return self._judge(lambda: checks.observe(self._engine, state, landed, asked, night, sources), night, changes, sources)

    def _judge(
        self, observe: Callable[[], list[Finding]], night: dt.date, changes: dict[str, Change], sources: Collection[str]
    ) -> list[Finding]:
        with self._journal.step("checks"):
            observed = observe()
            pages = quality_gate.pages_of(self.lake.root, night) if self.settings.quality.pages else None
            findings = quality_gate.judge(observed, self.run_id, pages)
            results = checks.results(findings, self.folder, self.run_id, night)
        critical = [finding for finding in findings if not finding.passed and finding.severity == "critical"]
        if critical:
            self._publish({QUALITY_RESULTS.name: results}, sources, failed=True)
            first = critical[0]
            more = f" and {len(critical) - 1} more" if len(critical) > 1 else ""
            raise CheckFailedError(
                f"nothing was published: {first.table}: {first.label} does not hold"
                f" ({first.observed:g} found, allowed is {first.threshold}){more};"
                f" see `millrace quality --lake {self.lake.root} --date {night}` and the staged tables in {self.folder}"
            )
        changes[QUALITY_RESULTS.name] = results
        return findings

    def _publish(self, changes: Mapping[str, Change], sources: Collection[str], *, failed: bool = False) -> None:
        limited = None if set(sources) == set(SOURCES) else ",".join(sorted(sources))
        with self._journal.last_step(survey.NIGHT_DONE, failed=failed, sources=limited) as rows:
            self.lake.publish(changes, rows, self.run_id, keep_staging=failed)
        # They are written while tables are published, and are no part of what counts.
        if why := quality_gate.pages_written():
            self._progress.say(f"Great Expectations' pages could not be written ({why}): quality_results has the same checks")


def run_night(
    engine: Engine,
    settings: Settings,
    night: dt.date,
    *,
    sources: Collection[str] = tuple(SOURCES),
    accept_empty: bool = False,
    command: str = "run",
    progress: Progress | None = None,
) -> Outcome:
    """Run the night of a date, with late files of the nights before it that have been run.

    Raises LandingError when there is no landing folder, or when a night that has rows has no file left;
    CheckFailedError when a critical check fails; LakeError and LakeBusyError when the lake cannot be written.
    """
    progress = progress or Progress()
    progress.begin(night.isoformat())
    check_sources(sources)
    check_root(settings.paths.landing)
    with Lake.writing(settings.paths.lake, f"millrace {command}") as lake:
        with progress.step("survey"):
            before = {night - dt.timedelta(days=days) for days in range(1, settings.ingest.nights_back + 1)}
            nights = {night} | (before & survey.nights_run(lake))
            refuse_emptied(survey.emptied(lake, settings.paths.landing, nights, SOURCES), accept_empty=accept_empty)
            found = survey.of_nights(lake, settings.paths.landing, nights, sources, rulesets_of(settings, sources))
        return Run(engine, lake, settings, command, progress, night).execute(found, sources)


def check_sources(sources: Collection[str]) -> None:
    """Raises UsageError when a source is not known."""
    for source in sources:
        if source not in SOURCES:
            raise UsageError(f"no source is called {source!r}: --source takes {', '.join(sorted(SOURCES))}")


def refuse_emptied(nights: Sequence[dt.date], *, accept_empty: bool) -> None:
    """Raises LandingError when nights have lost all their files and nobody said that this is meant."""
    if nights and not accept_empty:
        raise LandingError(
            f"the night of {nights[0]} has rows in the lake but no landed file is left:"
            " land its files again, or call with --accept-empty to drop its rows"
        )


def _tallies(found: Survey, accounts: Sequence[ingest.FileAccount], counts: Mapping[str, Mapping[str, int]]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for file, told in zip(found.files, accounts, strict=True):
        so_far = tallies.get(file.partition.source, Tally())
        kinds = {kind: counts.get(kind, {}).get(file.file, 0) for kind in ("accepted", "duplicates", "rejected")}
        tallies[file.partition.source] = Tally(
            so_far.files + 1,
            so_far.records + (told.records or 0),
            so_far.accepted + kinds["accepted"],
            so_far.duplicates + kinds["duplicates"],
            so_far.rejected + kinds["rejected"],
            so_far.unreadable + (told.error is not None),
        )
    return dict(sorted(tallies.items()))


if __name__ == "__main__":
    from jobs.cli import main

    main(["run"])

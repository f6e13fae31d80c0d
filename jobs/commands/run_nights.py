"""The commands that run nights: one, a range in order, or all that has landed, from nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from jobs import changed_partitions, unread_partitions
from jobs.changed_partitions import without_files_line
from jobs.commands import first_sessions
from jobs.console.printing import message, table, tell
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.errors import LandingError, MillraceError
from jobs.lake import mending_mark
from jobs.lake.tables import Lake
from jobs.landing import strays, unlisted, zone
from jobs.night import Outcome, Run, check_sources, run_night
from jobs.quality.baseline import LANDED
from jobs.quality.gate import pages_of
from jobs.rebuild import rebuild_scope, repair
from jobs.rules import rulesets_of
from jobs.settings import Settings
from transforms.sources.registry import SOURCES

_STRAYS_NAMED = 20


def run(
    settings: Settings,
    nights: Sequence[dt.date],
    sources: Sequence[str],
    command: str,
    *,
    accept_empty: bool = False,
    accept_shrunk: bool = False,
) -> int:
    """Run nights in order and print the outcome of each. Returns the exit code."""
    sources = sources or list(SOURCES)
    check_sources(sources)
    zone.check_root(settings.paths.landing)
    progress = Progress()
    _warn_of_strays(settings)
    code = 0
    with Engine(settings, progress) as engine:
        for night in nights:
            outcome = run_night(
                engine,
                settings,
                night,
                sources=sources,
                accept_empty=accept_empty,
                accept_shrunk=accept_shrunk,
                command=command,
                progress=progress,
            )
            show(outcome)
            code = max(code, outcome.exit_code)
            if outcome.published and len(nights) == 1:
                _where(settings, outcome)
    _warn_of_unread(settings, sources)
    return code


def run_missing(settings: Settings, sources: Sequence[str], *, accept_empty: bool = False, accept_shrunk: bool = False) -> int:
    """Run the nights of which files have landed that no run has read, in order; gives the exit code."""
    sources = sources or list(SOURCES)
    check_sources(sources)
    zone.check_root(settings.paths.landing)
    lake = Lake.open(settings.paths.lake)
    lake.check_whole()  # where no night is missing, no run would do it
    missing = sorted({partition.landing_date for partition in unread_partitions.partitions(lake, settings, sources)})
    if not missing:
        tell("every landed file of the nights up to the last one that was run has been read, or is read by the next night")
        return 0
    return run(settings, missing, sources, "backfill", accept_empty=accept_empty, accept_shrunk=accept_shrunk)


def _warn_of_unread(settings: Settings, sources: Sequence[str]) -> None:
    """Warn of partitions that no run has read. A fault of the landing zone is only printed, because the run is done."""
    try:
        found = unread_partitions.partitions(Lake.open(settings.paths.lake), settings, sources)
    except (MillraceError, OSError) as error:
        message(f"warning: {error}")
        return
    if found:
        message(f"warning: {unread_partitions.line(found)}")


def _warn_of_strays(settings: Settings) -> None:
    found = strays.strays(settings.paths.landing, SOURCES)
    for stray in found[:_STRAYS_NAMED]:
        message(f"warning: {stray.line}")
    if len(found) > _STRAYS_NAMED:
        message(f"warning: {len(found) - _STRAYS_NAMED} more folders are read by no night: `millrace status` names all")


def rebuild(settings: Settings, gone: str | None, *, accept_shrunk: bool = False, everything: bool = False) -> int:
    """Build the tables again: all of them, or what depends on the rules that have changed since they were built.

    `gone` says what becomes of rows of sources and dates without files; `everything`, that it does not matter what has changed.
    """
    zone.check_root(settings.paths.landing)
    progress = Progress()
    progress.begin("rebuild")
    root = settings.paths.landing
    mend = partial(repair.mend, landing_root=root, gone=gone)
    with Lake.writing(settings.paths.lake, "millrace rebuild", mend) as lake:
        with progress.step("survey"):
            is_mended = mending_mark.read(lake.root) is not None
            scope = rebuild_scope.EVERYTHING if everything or is_mended else rebuild_scope.scope_of(lake, settings)
            landed = set(zone.dates(root, SOURCES))
            empty = changed_partitions.without_files(lake, root, SOURCES)
            lost = [partition for partition in empty if partition.source in scope.sources]
            if lost and gone is None:
                raise LandingError(f"{without_files_line(lost)}: call with --gone keep to leave the rows, or with --gone drop to drop them")
            kept = [] if gone == "drop" else empty
            known = {partition.landing_date for partition in changed_partitions.partitions(lake, SOURCES)}
            if scope.everything:
                found = changed_partitions.of_everything(lake, root, landed, SOURCES, kept)
            else:
                found = changed_partitions.of_nights(lake, root, landed | known, SOURCES, rulesets_of(settings, SOURCES), kept=kept)
            unlisted.check(lake, found.files)
        rules = rebuild_scope.rules_of(lake, settings, scope)
        rebuild_scope.show(scope, [partition for partition in lost if gone == "keep"])
        with Engine(settings, progress) as engine:
            night = max(landed or known, default=None)
            outcome = Run(engine, lake, settings, "rebuild", progress, night, rules).execute(
                found, list(SOURCES), from_nothing=scope.derived if known or landed else (), accept_shrunk=accept_shrunk
            )
    show(outcome, "Rebuild")
    if outcome.night is not None and settings.quality.pages and outcome.published:
        tell(f"checks: {pages_of(settings.paths.lake, outcome.night) / 'index.html'}")
    return outcome.exit_code


def _where(settings: Settings, outcome: Outcome) -> None:
    """Print some of the sessions that a run made, and where everything is."""
    lake = Lake.open(settings.paths.lake)
    of_night = pc.field("session_date") == pa.scalar(outcome.night)
    first_sessions.show(lake, of_night & (pc.field("run_id") == outcome.run_id))
    if outcome.night is not None:
        if settings.quality.pages:
            tell(f"checks: {pages_of(lake.root, outcome.night) / 'index.html'}")
        tell(f"report: millrace report --lake {lake.root} --date {outcome.night}")
    tell(f'tables: {lake.root}; millrace sql --lake {lake.root} "SELECT * FROM sessions LIMIT 5"')


def show(outcome: Outcome, title: str | None = None) -> None:
    """Print what a run did; `title` is what its table of read files is called in place of its night."""
    name = outcome.night.isoformat() if outcome.night else "the lake"
    if not outcome.has_landed:
        tell(f"{name}: nothing has landed" + ("" if outcome.missing else ", and nothing is expected"))
    elif not outcome.published:
        tell(f"{name}: nothing has changed since it was run")
    if outcome.tallies:
        rows = [
            [partition.landing_date.isoformat(), partition.source, t.files, t.records, t.accepted, t.duplicates, t.rejected, t.unreadable]
            for partition, t in outcome.tallies.items()
        ]
        names = ["landing date", "source", "files", "records", "accepted", "repeated", "refused", "unreadable"]
        table(f"{title or f'Night {name}'}: what was read, by the date on which it landed", names, rows, total=True)
    for file, why in outcome.unreadable:
        tell(f"unreadable: {file}: {why}")
    for source in outcome.missing:
        tell(f"did not land: {source} of {name}: land its files and run again, or set quality.sources.{source}.irregular if this is usual")
    for finding in outcome.failed:
        if not (finding.expectation == LANDED and finding.source in outcome.missing):
            tell(f"warning: {finding.table}: {finding.label}: {finding.observed:g} found, allowed is {finding.threshold}")
    if outcome.published:
        warnings = f", {len(outcome.failed)} with a warning" if outcome.failed else ""
        tell(f"{outcome.checks} checks: {outcome.checks - len(outcome.failed)} passed{warnings}; run {outcome.run_id}")

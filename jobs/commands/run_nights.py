"""The commands that run nights: one, a range in order, or all that has landed, from nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs import catalog, changed_partitions, unread_partitions
from jobs.changed_partitions import without_files_line
from jobs.commands import first_sessions
from jobs.console import notification
from jobs.console.printing import print_line, print_message, print_table
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.errors import CheckFailedError, LandingError, MillraceError
from jobs.lake import mending_mark
from jobs.lake.tables import Lake
from jobs.landing import expired, strays, unlisted, zone
from jobs.night import LakeRun, Outcome, check_sources, run_night
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
            try:
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
            except CheckFailedError:
                notification.add_run({"night": night.isoformat(), "published": False})
                raise
            show(outcome)
            catalog.update(engine, settings)
            code = max(code, outcome.exit_code)
            if outcome.published and len(nights) == 1:
                _show_result(settings, outcome)
    _warn_of_unread(settings, sources)
    return code


def run_missing(settings: Settings, sources: Sequence[str], *, accept_empty: bool = False, accept_shrunk: bool = False) -> int:
    """Run the nights of which files have landed that no run has read, in order; gives the exit code."""
    sources = sources or list(SOURCES)
    check_sources(sources)
    zone.check_root(settings.paths.landing)
    lake = Lake.open(settings.paths.lake)
    lake.check_whole()  # if no night is missing, no run checks it
    missing = sorted({partition.landing_date for partition in unread_partitions.partitions(lake, settings, sources)})
    if not missing:
        print_line("every landed file of the nights up to the last one that was run has been read, or is read by the next night")
        return 0
    return run(settings, missing, sources, "backfill", accept_empty=accept_empty, accept_shrunk=accept_shrunk)


def _warn_of_unread(settings: Settings, sources: Sequence[str]) -> None:
    """Warn of partitions that no run has read. A fault of the landing zone is only printed, because the run is done."""
    try:
        found = unread_partitions.partitions(Lake.open(settings.paths.lake), settings, sources)
    except (MillraceError, OSError) as error:
        print_message(f"warning: {error}")
        return
    if found:
        print_message(f"warning: {unread_partitions.line(found)}")


def _warn_of_strays(settings: Settings) -> None:
    found = strays.strays(settings.paths.landing, SOURCES)
    for stray in found[:_STRAYS_NAMED]:
        print_message(f"warning: {stray.line}")
    if len(found) > _STRAYS_NAMED:
        print_message(f"warning: {len(found) - _STRAYS_NAMED} more folders are read by no night: `millrace status` names all")


def rebuild(settings: Settings, gone: str | None, *, accept_shrunk: bool = False, everything: bool = False) -> int:
    """Build the tables again: all of them, or what depends on the rules that have changed since they were built.

    `gone` says what happens to rows of sources and dates without files: "keep" or "drop". With `everything`, all tables are built again,
    whatever has changed.
    """
    zone.check_root(settings.paths.landing)
    progress = Progress()
    progress.begin("rebuild")
    root = settings.paths.landing
    mend = partial(repair.mend, landing_root=root, gone=gone)
    with Lake.writing(settings.paths.lake, "millrace rebuild", mend, lease_seconds=settings.storage.lease_seconds) as lake:
        with progress.step("survey"):
            is_mended = mending_mark.read(lake.root) is not None
            scope = rebuild_scope.EVERYTHING if everything or is_mended else rebuild_scope.scope_of(lake, settings)
            landed = set(zone.dates(root, SOURCES))
            closed = expired.without_events(lake) if gone == "drop" else expired.closed_partitions(lake)
            empty = [one for one in changed_partitions.without_files(lake, root, SOURCES) if one not in closed]
            lost = [partition for partition in empty if partition.source in scope.sources]
            if lost and gone is None:
                raise LandingError(f"{without_files_line(lost)}: call with --gone keep to leave the rows, or with --gone drop to drop them")
            kept = [*closed, *([] if gone == "drop" else empty)]
            read_before = {partition.landing_date for partition in changed_partitions.partitions(lake, SOURCES)}
            if scope.everything:
                changed = changed_partitions.of_everything(lake, root, landed, SOURCES, kept)
            else:
                nights, rulesets = landed | read_before, rulesets_of(settings, SOURCES)
                changed = changed_partitions.of_nights(lake, root, nights, SOURCES, rulesets, unchanged=kept)
            unlisted.check(lake, changed.files)
        rules = rebuild_scope.rules_of(lake, settings, scope)
        of_sources = {partition for partition in closed if partition.source in scope.sources}
        rebuild_scope.show(scope, sorted({*of_sources, *(lost if gone == "keep" else ())}))
        with Engine(settings, progress) as engine:
            night = max(landed or read_before, default=None)
            outcome = LakeRun(engine, lake, settings, "rebuild", progress, night, rules).execute(
                changed, list(SOURCES), from_nothing=scope.derived if read_before or landed else (), accept_shrunk=accept_shrunk
            )
            catalog.update(engine, settings)
    show(outcome, "Rebuild")
    if outcome.night is not None and settings.quality.pages and outcome.published:
        print_line(f"checks: {pages_of(settings.paths.lake, outcome.night) / 'index.html'}")
    return outcome.exit_code


def _show_result(settings: Settings, outcome: Outcome) -> None:
    """Print some of the sessions that a run built, and where its pages, its report and the tables are."""
    lake = Lake.open(settings.paths.lake)
    of_night = pc.field("session_date") == pa.scalar(outcome.night)
    first_sessions.show(lake, of_night & (pc.field("run_id") == outcome.run_id))
    if outcome.night is not None:
        if settings.quality.pages:
            print_line(f"checks: {pages_of(lake.root, outcome.night) / 'index.html'}")
        print_line(f"report: millrace report --lake {lake.root} --date {outcome.night}")
    print_line(f'tables: {lake.root}; millrace sql --lake {lake.root} "SELECT * FROM sessions LIMIT 5"')


def summary(outcome: Outcome) -> dict[str, Any]:
    """What a run did, for a notification."""
    return {
        "run_id": outcome.run_id,
        "night": outcome.night.isoformat() if outcome.night else None,
        "published": outcome.published,
        **{
            name: sum(getattr(counts, name) for counts in outcome.partitions.values())
            for name in ("files", "records", "accepted", "duplicates", "rejected")
        },
        "unreadable": [{"file": file, "reason": reason} for file, reason in outcome.unreadable],
        "did_not_land": list(outcome.missing),
        "checks": outcome.checks,
        "warnings": [
            {"table": one.table, "check": one.label, "observed": one.observed, "allowed": one.threshold} for one in outcome.failed
        ],
    }


def show(outcome: Outcome, title: str | None = None) -> None:
    """Print what a run did. `title` replaces the name of the night in the title of the table of files."""
    notification.add_run(summary(outcome))
    name = outcome.night.isoformat() if outcome.night else "the lake"
    if not outcome.has_landed:
        print_line(f"{name}: nothing has landed" + ("" if outcome.missing else ", and nothing is expected"))
    elif not outcome.published:
        print_line(f"{name}: nothing has changed since it was run")
    if outcome.partitions:
        rows = [
            [partition.landing_date.isoformat(), partition.source, t.files, t.records, t.accepted, t.duplicates, t.rejected, t.unreadable]
            for partition, t in outcome.partitions.items()
        ]
        names = ["landing date", "source", "files", "records", "accepted", "repeated", "refused", "unreadable"]
        print_table(f"{title or f'Night {name}'}: what was read, by the date on which it landed", names, rows, total=True)
    for file, why in outcome.unreadable:
        print_line(f"unreadable: {file}: {why}")
    for source in outcome.missing:
        print_line(
            f"did not land: {source} of {name}: land its files and run again, or set quality.sources.{source}.irregular if this is usual"
        )
    for finding in outcome.failed:
        if not (finding.expectation == LANDED and finding.source in outcome.missing):
            print_line(f"warning: {finding.table}: {finding.label}: {finding.observed:g} found, allowed is {finding.threshold}")
    if outcome.published:
        warnings = f", {len(outcome.failed)} with a warning" if outcome.failed else ""
        print_line(f"{outcome.checks} checks: {outcome.checks - len(outcome.failed)} passed{warnings}; run {outcome.run_id}")

"""The commands that run nights: one, a range in order, or all that has landed, from nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from jobs import first_sessions, landing, survey
from jobs.errors import LandingError
from jobs.lake import Lake
from jobs.night import Outcome, Run, check_sources, run_night
from jobs.printing import table, tell
from jobs.progress import Progress
from jobs.quality_gate import pages_of
from jobs.session import Engine
from jobs.settings import Settings
from transforms.sources import SOURCES


def run(settings: Settings, nights: Sequence[dt.date], sources: Sequence[str], command: str, *, accept_empty: bool = False) -> int:
    """Run nights in order and print what came of each; gives the exit code."""
    sources = sources or list(SOURCES)
    check_sources(sources)
    landing.check_root(settings.paths.landing)
    progress = Progress()
    code = 0
    with Engine(settings, progress) as engine:
        for night in nights:
            outcome = run_night(engine, settings, night, sources=sources, accept_empty=accept_empty, command=command, progress=progress)
            show(outcome)
            code = max(code, outcome.exit_code)
            if outcome.published and len(nights) == 1:
                _where(settings, outcome)
    return code


def rebuild(settings: Settings, gone: str | None) -> int:
    """Make the tables again from all that has landed; `gone` says what becomes of nights without files."""
    landing.check_root(settings.paths.landing)
    progress = Progress()
    progress.begin("rebuild")
    root = settings.paths.landing
    with Lake.writing(settings.paths.lake, "millrace rebuild") as lake:
        with progress.step("survey"):
            landed = set(landing.dates(root, SOURCES))
            held = {partition.landing_date for partition in survey.partitions(lake, SOURCES)}
            emptied = survey.emptied(lake, root, held, SOURCES)
            if emptied and gone is None:
                raise LandingError(
                    f"the night of {emptied[0]} has rows in the lake but no landed file is left:"
                    " call with --gone keep to leave its rows, or with --gone drop"
                )
            kept = set(emptied) if gone == "keep" else set()
            found = survey.of_everything(lake, root, landed, SOURCES, kept)
        with Engine(settings, progress) as engine:
            outcome = Run(engine, lake, settings, "rebuild", progress, max(landed, default=None)).execute(
                found, list(SOURCES), from_nothing=not kept
            )
    show(outcome)
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


def show(outcome: Outcome) -> None:
    """Print what a run did."""
    name = outcome.night.isoformat() if outcome.night else "the lake"
    if not outcome.published:
        tell(f"{name}: nothing has landed" if not outcome.landed else f"{name}: nothing has changed since it was run")
        _warn(outcome)
        return
    rows = [[source, t.files, t.records, t.accepted, t.duplicates, t.rejected, t.unreadable] for source, t in outcome.tallies.items()]
    table(f"Night {name}", ["source", "files", "records", "accepted", "repeated", "refused", "unreadable"], rows, total=True)
    for file, why in outcome.unreadable:
        tell(f"unreadable: {file}: {why}")
    _warn(outcome)
    tell(f"{outcome.checks} checks, {outcome.checks - len(outcome.failed)} hold; run {outcome.run_id}")


def _warn(outcome: Outcome) -> None:
    for finding in outcome.failed:
        tell(f"warning: {finding.table}: {finding.label}: {finding.observed:g} found, allowed is {finding.threshold}")

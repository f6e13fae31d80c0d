"""Write a night's report: one HTML file that needs nothing else, from the lake's recorded state.

millrace report --date 2026-11-20 --out night.html
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.commands import mart_facts, mart_headlines, page_files, page_templates
from jobs.commands import night_plots as plots
from jobs.commands.mart_facts import MartFacts
from jobs.commands.night_facts import NIGHTS, REFUSALS_SHOWN, Facts, SourceCounts, gather
from jobs.commands.number_formats import clock, number, share
from jobs.commands.page_templates import SitePlace
from jobs.commands.plot_shapes import Plot
from jobs.console.printing import print_line
from jobs.errors import UsageError
from jobs.lake.duckdb_views import connect
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import REPORTS, Lake
from jobs.quality.baseline import LANDED
from jobs.quality.gate import pages_of
from jobs.settings import Settings
from schemas.catalog import TABLES
from schemas.events import REASONS
from schemas.metrics import METRICS

TEMPLATE = "report.html"


def write(settings: Settings, date: dt.date, out: Path | None) -> int:
    """Write the report of a night, below the lake when no file is named, and print its path.

    Raises LakeError when there is no lake; UsageError when the night was never run or the file cannot be written.
    """
    lake = open_to_read(settings.paths.lake)
    tables = connect(lake)
    page = render(gather(tables, date), mart_facts.gather(tables, date), lake, settings)
    target = out or lake.root / REPORTS / f"{date}.html"
    if isinstance(target, Path):
        page_files.write(target, page, "the report")
    else:
        try:
            target.write_bytes(page.encode())
        except PermissionError as error:
            raise UsageError(f"the report cannot be written to {target} ({error.strerror}): name a file with --out") from None
    print_line(str(target))
    return 0


def _late_hours(settings: Settings, sources: Iterable[str]) -> str:
    """After how many hours an event of these sources is late: 24 h (homepagevisit: 48 h)."""
    common = settings.time.late_after_hours
    hours = {source: settings.time.of(source).late_after_hours for source in sources}
    others = ", ".join(f"{source}: {of_source} h" for source, of_source in hours.items() if of_source != common)
    return f"{common} h ({others})" if others else f"{common} h"


def render(facts: Facts, of_marts: MartFacts, lake: Lake, settings: Settings, site: SitePlace | None = None) -> str:
    """The page: the same facts give the same bytes. `site` says where it stands, if it is a page of a site."""
    return (
        page_templates.environment()
        .get_template(TEMPLATE)
        .render(
            facts=facts,
            site=site,
            numbers=mart_headlines.of(of_marts),
            state=lake.state,
            late_hours=_late_hours(settings, facts.sources),
            pages=str(pages_of(Path(), facts.night) / "index.html") if settings.quality.pages else None,
            landed_check=LANDED,
            needs_a_look=run_needs_a_look(facts),
            has_landed=facts.night in facts.landed,
            tables=[name for name in TABLES if name in facts.checks],
            metrics=METRICS,
            tiles=tiles_of(facts),
            accounts=_accounts(facts),
            total=total_of(facts.account(source) for source in facts.sources),
            arrivals=[(source, plots.arrivals(source, facts.hours[source])) for source in facts.sources if source in facts.hours],
            sessions=_sessions(facts),
            session_headings=[name for _, name, _ in _SESSION_METRICS],
            durations=_durations(facts),
            reasons=[reason for reason in REASONS if any(reason == refused for _, refused in facts.refused)],
            refusals_left=sum(facts.refused.values()) - sum(refusal.records for refusal in facts.refusals),
            refusals_shown=REFUSALS_SHOWN,
            nights=NIGHTS,
            steps=[(step, plots.step_bar(step, facts.run.seconds)) for step in facts.run.steps],
        )
    )


def run_needs_a_look(facts: Facts) -> bool:
    """Whether the run failed, or left files unread, checks that do not hold or expected sources that have not landed since."""
    return bool(facts.run.failed or facts.unreadable or facts.missing or any(check.expectation != LANDED for check in facts.failures))


# The parts of the page


@dataclass(frozen=True)
class Tile:
    """A number of the night, and of the nights before it."""

    name: str
    value: str
    usual: str  # the median of the nights before
    plot: Plot


def tiles_of(facts: Facts) -> list[Tile]:
    """The numbers at the top of the page."""
    kinds: Sequence[tuple[str, Callable[[SourceCounts], int], Callable[[SourceCounts], int] | None]] = (
        ("records landed", lambda account: account.records, None),
        ("accepted", lambda account: account.accepted, lambda account: account.records),
        ("repeated", lambda account: account.duplicates, lambda account: account.records),
        ("refused", lambda account: account.rejected, lambda account: account.records),
        ("late, of accepted", lambda account: account.late, lambda account: account.accepted),
    )
    tiles = []
    for name, counted, out_of in kinds:
        values: dict[dt.date, float] = {}
        for date, accounts in facts.accounts.items():
            whole = sum(out_of(account) for account in accounts.values()) if out_of else 1
            if whole:
                values[date] = sum(counted(account) for account in accounts.values()) / whole
        tiles.append(_tile(name, values, facts, share if out_of else number))
    sessions: dict[dt.date, float] = {}
    for (_, metric), by_date in facts.metrics.items():
        if metric == "sessions":
            for date, count in _of_nights(by_date, facts).items():
                sessions[date] = sessions.get(date, 0) + count
    return [*tiles, _tile("sessions begun", sessions, facts, number)]


def _tile(name: str, values: Mapping[dt.date, float], facts: Facts, format_value: Callable[[float], str]) -> Tile:
    before = [values[date] for date in facts.nights[:-1] if date in values and date in facts.landed]
    usual = format_value(statistics.median(before)) if before else ""
    plot = plots.sparkline(f"{name}, night by night", values, facts.nights, format_value)
    value = values.get(facts.night)
    return Tile(name, "–" if value is None else format_value(value), usual, plot)


def _accounts(facts: Facts) -> list[tuple[str, SourceCounts, Plot]]:
    def plot_of(source: str, account: SourceCounts) -> Plot:
        parts = (
            ("accepted", account.accepted),
            ("repeated", account.duplicates),
            ("refused", account.rejected),
            ("erased", account.erased),
        )
        return plots.shares(f"{source}: what became of {account.records:,} records", parts)

    return [(source, facts.account(source), plot_of(source, facts.account(source))) for source in facts.sources]


def total_of(accounts: Iterable[SourceCounts]) -> SourceCounts:
    """The counts of several sources together."""
    added = list(accounts)
    counts = ("files", "unreadable", "size", "records", "accepted", "duplicates", "rejected", "erased", "late")
    return SourceCounts(**{name: sum(getattr(account, name) for account in added) for name in counts})


def _of_nights(by_date: Mapping[dt.date, float], facts: Facts, began: dt.date | None = None) -> dict[dt.date, float]:
    """The values of dates on which anything landed: other dates have late events only and cannot be compared."""
    return {date: value for date, value in by_date.items() if date in facts.landed or date == began}


# Metric, its heading, and the format of its values.
_SESSION_METRICS: Sequence[tuple[str, str, Callable[[float], str]]] = (
    ("sessions", "sessions", number),
    ("median_session_duration", "median duration", lambda value: clock(value / 1000)),
    ("p95_session_duration", "95th percentile", lambda value: clock(value / 1000)),
    ("timespent_per_session", "time spent per session", clock),
    ("pageviews_per_session", "page views per session", lambda value: number(value, 1)),
    ("interactions_per_session", "interactions per session", lambda value: number(value, 1)),
)


@dataclass(frozen=True)
class SessionRow:
    """The session metrics of one source: per metric the formatted value, and its plot over the nights."""

    source: str
    began: dt.date
    cells: Sequence[tuple[str, Plot]]


def _sessions(facts: Facts) -> list[SessionRow]:
    rows = []
    for source, counted in facts.sessions.items():
        nights = [date for date in facts.nights if date <= counted.began]
        cells = []
        for metric, name, format_value in _SESSION_METRICS:
            by_date = facts.metrics.get((source, metric), {})
            value, values = by_date.get(counted.began), _of_nights(by_date, facts, counted.began)
            cells.append(
                (
                    "–" if value is None else format_value(value),
                    plots.sparkline(f"{source}: {name}, night by night", values, nights, format_value),
                )
            )
        rows.append(SessionRow(source, counted.began, cells))
    return rows


def _durations(facts: Facts) -> list[tuple[str, Plot]]:
    durations = []
    for source, counted in facts.sessions.items():
        marks = {
            name: facts.metrics.get((source, f"{metric}_session_duration"), {}).get(counted.began)
            for name, metric in (("median", "median"), ("p95", "p95"))
        }
        durations.append((source, plots.durations(source, counted, {name: value for name, value in marks.items() if value is not None})))
    return durations

"""Write a static site of a lake: the newest state, the reports of the last nights, checks over time, marts, and the data dictionary.

millrace site --lake lake --out site
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from jobs.commands import (
    check_history,
    dictionary,
    mart_facts,
    mart_headlines,
    mart_plots,
    night_facts,
    page_templates,
    report,
    site_folder,
)
from jobs.commands.check_history import CheckHistory
from jobs.commands.night_facts import Facts
from jobs.commands.page_templates import SitePlace
from jobs.commands.query_rows import rows_of
from jobs.console.printing import print_line
from jobs.lake.duckdb_views import connect
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.catalog import TABLES

REPORTS = 30


def write(settings: Settings, out: Path) -> int:
    """Write the site into a folder, in place of the site that may be there, and print the path of its first page.

    Raises LakeError when there is no lake; UsageError when the folder holds something else or cannot be written.
    """
    site_folder.check(out)
    lake = open_to_read(settings.paths.lake)
    tables = connect(lake)
    _copy_small_tables(tables)
    site_folder.write(out, _pages(tables, lake, settings), lake.state)
    print_line(str(out / "index.html"))
    return 0


# Every report reads these whole. Each has at most a few rows per date, file or check.
_SMALL = ("active_visitors", "daily_metrics", "files", "funnels", "quality_results", "retention", "runs", "transactions")


def _copy_small_tables(tables: duckdb.DuckDBPyConnection) -> None:
    """Read the small tables once for all reports, which takes three quarters of the time away."""
    tables.execute("CREATE SCHEMA copies")
    for name in _SMALL:
        tables.execute(f"CREATE TABLE copies.{name} AS FROM {name}")
    tables.execute("SET search_path = 'copies,main'")


# Nights that a rebuild alone has made are in no row of `runs`, but their files are of one.
_NIGHTS = """
    WITH nights AS (
        SELECT night FROM runs WHERE night IS NOT NULL
        UNION SELECT landing_date FROM files WHERE run_id IN (SELECT run_id FROM runs)
    )
    SELECT night FROM nights ORDER BY night DESC LIMIT $1"""
_STATE = """
    SELECT run_id, command, max(ended) AS ended FROM runs WHERE state = $1 GROUP BY run_id, command ORDER BY ended LIMIT 1"""
_LANDED = """
    SELECT min(landing_date) AS first_date, max(landing_date) AS last_date, count(DISTINCT source) AS sources,
        sum(accepted)::BIGINT AS events
    FROM files WHERE records > 0"""


def _pages(tables: duckdb.DuckDBPyConnection, lake: Lake, settings: Settings) -> dict[str, str]:
    """The pages of the site by their paths: all of one state of the lake."""
    nights = sorted(row["night"] for row in rows_of(tables, _NIGHTS, REPORTS))
    facts = {night: night_facts.gather(tables, night) for night in nights}
    of_marts = {night: mart_facts.gather(tables, night) for night in nights}
    history = check_history.gather(tables)
    common = {"state": lake.state, "nights": nights}
    pages = {
        "index.html": _index(tables, facts, of_marts, history, lake),
        "marts.html": _marts(tables, common),
        "checks.html": _render("site_checks.html", SitePlace("checks.html"), history=history, **common),
        "dictionary.html": dictionary.page(list(TABLES.values()), SitePlace("dictionary.html")),
    }
    for number, night in enumerate(nights):
        place = SitePlace(
            f"reports/{night}.html",
            "../",
            earlier=str(nights[number - 1]) if number else "",
            later=str(nights[number + 1]) if number + 1 < len(nights) else "",
        )
        pages[place.current] = report.render(facts[night], of_marts[night], lake, settings, place)
    return pages


def _render(template: str, place: SitePlace, **values: object) -> str:
    return page_templates.environment().get_template(template).render(site=place, **values)


@dataclass(frozen=True)
class NightRow:
    """A night in the list of reports."""

    facts: Facts

    @property
    def kind(self) -> str:
        """How the verdict is coloured."""
        return "failed" if self.facts.run.failed else "partly" if self.needs_a_look else ""

    @property
    def verdict(self) -> str:
        """How the night ended, in a few words."""
        if self.facts.run.failed:
            return "failed"
        if self.needs_a_look:
            return "needs a look"
        return "published" if self.facts.night in self.facts.landed else "nothing landed"

    @property
    def needs_a_look(self) -> bool:
        """Whether its report says so."""
        unbalanced = any(self.facts.account(source).imbalance for source in self.facts.sources)
        return report.run_needs_a_look(self.facts) or unbalanced

    @property
    def total(self) -> night_facts.SourceCounts:
        """The counts of all sources."""
        return report.total_of(self.facts.account(source) for source in self.facts.sources)

    @property
    def checks(self) -> int:
        """How many checks its run has made."""
        return sum(checks for checks, _ in self.facts.checks.values())

    @property
    def failed_checks(self) -> int:
        """How many of these did not pass."""
        return sum(failed for _, failed in self.facts.checks.values())


def _index(
    tables: duckdb.DuckDBPyConnection,
    facts: Mapping[dt.date, Facts],
    of_marts: Mapping[dt.date, mart_facts.MartFacts],
    history: CheckHistory,
    lake: Lake,
) -> str:
    nights: Sequence[dt.date] = sorted(facts)
    last = nights[-1] if nights else None
    return _render(
        "site_index.html",
        SitePlace("index.html"),
        state=lake.state,
        recorded=next(iter(rows_of(tables, _STATE, lake.state)), None),
        landed=rows_of(tables, _LANDED)[0],
        rows=[NightRow(facts[night]) for night in reversed(nights)],
        last=last,
        tiles=report.tiles_of(facts[last]) if last else [],
        compared=night_facts.NIGHTS,
        numbers=mart_headlines.of(of_marts[last]) if last else None,
        failing=history.failing,
        checked=bool(history.nights),
        tables=len(TABLES),
    )


def _marts(tables: duckdb.DuckDBPyConnection, common: Mapping[str, object]) -> str:
    last = rows_of(tables, _LANDED)[0]["last_date"]
    sections = mart_plots.sections(tables, last) if last else []
    return _render("site_marts.html", SitePlace("marts.html"), sections=sections, last=last, **common)

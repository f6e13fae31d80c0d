"""The marts as plots, for the site: visitors, retention, funnels, pages, releases and purchases of the last weeks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from jobs.commands import axis_plots
from jobs.commands.axis_plots import HIGH, Axis, Share
from jobs.commands.number_formats import clock, number, share
from jobs.commands.plot_shapes import Plot
from jobs.commands.query_rows import rows_of
from schemas.marts import PERIODS
from transforms.times import shifted

DATES = 56
# Funnels, pages and releases are of so many dates.
RECENT_DATES = 28
PAGES_SHOWN = 8
_EVENTS_SHOWN = 2  # per source, of which performance is shown
_RELEASES_SHOWN = len(axis_plots.SERIES)


@dataclass(frozen=True)
class Figure:
    """A plot with its heading; `legend` names its series, if it has more than one."""

    heading: str
    note: str
    plot: Plot
    legend: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """The figures of one mart, or in words why there are none."""

    name: str
    heading: str
    note: str
    without: str
    is_wide: bool = False  # its plots need more width than others
    figures: Sequence[Figure] = ()

    def having(self, figures: Iterable[Figure], dates: str = "") -> Section:
        """The section with these figures, of these dates."""
        return replace(self, figures=list(figures), note=self.note.format(dates=dates))


def sections(tables: duckdb.DuckDBPyConnection, last: dt.date) -> list[Section]:
    """The sections of the page, of the weeks that end with this date."""
    first = max(shifted(last, 1 - DATES), *(row["first_date"] or last for row in rows_of(tables, _FIRST_DATE)))
    dates = [shifted(first, days) for days in range((last - first).days + 1)]
    recent = max(first, shifted(last, 1 - RECENT_DATES))
    span = f"{recent} to {last}"
    return [
        _VISITORS_SECTION.having(_visitors(tables, dates)),
        _RETENTION_SECTION.having(_retention(tables, first)),
        _FUNNELS_SECTION.having(_funnels(tables, recent, last), span),
        _PAGES_SECTION.having(_pages(tables, recent, last), span),
        _PERFORMANCE_SECTION.having(_performance(tables, dates), f"{first} to {last}"),
        _TRANSACTIONS_SECTION.having(_transactions(tables, dates)),
    ]


_VISITORS_SECTION = Section(
    "visitors",
    "Active visitors",
    "Different visitors of 1, 7 and 28 days that end with the date. Visitors of a date are new, or were seen on an earlier date.",
    "No visitor is known yet: no event has a user or a device.",
)
_RETENTION_SECTION = Section(
    "retention",
    "Retention",
    "Of the visitors who were first seen in a period, the share that was seen again so many periods later: all cohorts together for which"
    " that period is over.",
    "No period after the first one is over yet: a second date has to land.",
)
_FUNNELS_SECTION = Section(
    "funnels",
    "Funnels",
    "Of those who take the first step, how many take the next ones. First steps of {dates} whose window is over.",
    "No funnel was begun, or no window of one is over.",
    is_wide=True,
)
_PAGES_SECTION = Section("pages", "Pages", "The pages with most views of {dates}.", "No session has opened a page.", is_wide=True)
_PERFORMANCE_SECTION = Section(
    "performance",
    "Performance per release",
    "The 75th percentile per date and version of the application: of load times in ms, or of the values of performance events. Events with"
    " most values, versions that were seen last, {dates}.",
    "No event has a load time or a value of performance.",
)
_TRANSACTIONS_SECTION = Section(
    "transactions", "Transactions", "Purchases per date, and what they were worth. Currencies are never added.", "Nothing was bought."
)


_FIRST_DATE = "SELECT min(landing_date) AS first_date FROM files WHERE records > 0"


def _by_position(rows: Sequence[Mapping[str, Any]], first: dt.date, value: str, key: str = "metric_date") -> dict[int, float]:
    return {(row[key] - first).days: float(row[value]) for row in rows if row[value] is not None}


def _grouped(rows: Sequence[Mapping[str, Any]], *names: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _tick(value: float) -> str:
    return number(value, 0 if value == round(value) else 1 if abs(value) >= 1 else 2)


_VISITORS = "SELECT * FROM active_visitors WHERE metric_date BETWEEN $1 AND $2 ORDER BY source, metric_date"
_WINDOWS = {"in 1 day": "visitors_1d", "in 7 days": "visitors_7d", "in 28 days": "visitors_28d"}
_KINDS = {"returning": "returning_visitors", "new": "new_visitors"}


def _visitors(tables: duckdb.DuckDBPyConnection, dates: Sequence[dt.date]) -> Iterator[Figure]:
    axis = axis_plots.date_axis(dates)
    for (source,), rows in _grouped(rows_of(tables, _VISITORS, dates[0], dates[-1]), "source").items():
        windows = {name: _by_position(rows, dates[0], column) for name, column in _WINDOWS.items()}
        label = f"{source}: different visitors of 1, 7 and 28 days, per date"
        yield Figure(source, "visitors", axis_plots.line_plot(label, windows, axis, _tick, size=HIGH), list(windows))
        kinds = {name: _by_position(rows, dates[0], column) for name, column in _KINDS.items()}
        label = f"{source}: returning and new visitors per date"
        yield Figure(source, "visitors per day", axis_plots.stacked_bars(label, kinds, axis, _tick, size=HIGH), list(kinds))


_RETENTION = """
    SELECT source, grain, period, sum(visitors) / sum(cohort_size) AS rate, sum(visitors)::BIGINT AS visitors,
        sum(cohort_size)::BIGINT AS cohort_size
    FROM retention
    WHERE rate IS NOT NULL AND period > 0 AND cohort_start >= $1
    GROUP BY ALL
    ORDER BY source, grain, period"""


def _retention(tables: duckdb.DuckDBPyConnection, first: dt.date) -> Iterator[Figure]:
    for (source, grain), rows in _grouped(rows_of(tables, _RETENTION, first), "source", "grain").items():
        # A young lake has few periods: they do not shrink to a corner of the plot.
        axis = axis_plots.period_axis(grain, max(rows[-1]["period"], PERIODS[grain] // 4))
        names = [*axis.names]
        for row in rows:
            names[row["period"] - 1] += f", {row['visitors']:,} of {row['cohort_size']:,} visitors"
        values = {row["period"] - 1: row["rate"] for row in rows}
        label = f"{source}: share of visitors who were seen again, by {grain}s since the first one"
        plot = axis_plots.line_plot(label, {"": values}, Axis(names, axis.labels), share, size=HIGH)
        yield Figure(source, f"seen again, by {grain}s since the first", plot)


_FUNNELS = """
    SELECT source, funnel, step, any_value(step_name) AS step_name, sum(sessions)::BIGINT AS sessions
    FROM funnels WHERE conversion IS NOT NULL AND metric_date BETWEEN $1 AND $2
    GROUP BY source, funnel, step
    ORDER BY source, funnel, step"""


def _funnels(tables: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date) -> Iterator[Figure]:
    for (source, funnel), rows in _grouped(rows_of(tables, _FUNNELS, first, last), "source", "funnel").items():
        begun = rows[0]["sessions"]
        steps = []
        for before, row in zip([rows[0], *rows], rows, strict=False):
            of_first, of_before = row["sessions"] / begun, row["sessions"] / before["sessions"] if before["sessions"] else 0
            title = f"{row['step_name']}: {row['sessions']:,} of {begun:,}, {share(of_before)} of the step before"
            steps.append(Share(f"{row['step']}. {row['step_name']}", f"{row['sessions']:,} · {share(of_first)}", of_first, title))
        yield Figure(funnel, source, axis_plots.share_bars(f"{funnel}: {begun:,} first steps, and who takes the next ones", steps))


_PAGES = f"""
    WITH sums AS (
        SELECT source, page, sum(views)::BIGINT AS views, sum(timespent) AS timespent,
            sum(bounces) / nullif(sum(entries), 0) AS bounce_rate
        FROM pages WHERE metric_date BETWEEN $1 AND $2 GROUP BY source, page
    )
    SELECT * FROM sums WHERE views > 0
    QUALIFY row_number() OVER (PARTITION BY source ORDER BY views DESC, page) <= {PAGES_SHOWN}
    ORDER BY source, views DESC, page"""


def _pages(tables: duckdb.DuckDBPyConnection, first: dt.date, last: dt.date) -> Iterator[Figure]:
    for (source,), rows in _grouped(rows_of(tables, _PAGES, first, last), "source").items():
        bars = []
        for row in rows:
            per_view = row["timespent"] / row["views"]
            bounces = "" if row["bounce_rate"] is None else f", {share(row['bounce_rate'])} of those who enter here leave at once"
            title = f"{row['page']}: {row['views']:,} views, {clock(per_view)} each{bounces}"
            bars.append(Share(row["page"], f"{row['views']:,} · {clock(per_view)}", row["views"] / rows[0]["views"], title))
        yield Figure(source, "views · time per view", axis_plots.share_bars(f"{source}: the pages with most views", bars))


_PERFORMANCE = f"""
    WITH given AS (SELECT * FROM performance WHERE metric_date BETWEEN $1 AND $2),
    names AS (
        SELECT source, event_name, sum(count) AS total FROM given GROUP BY source, event_name
        QUALIFY row_number() OVER (PARTITION BY source ORDER BY sum(count) DESC, event_name) <= {_EVENTS_SHOWN}
    ),
    releases AS (
        SELECT source, event_name, app_version, min(metric_date) AS first_date FROM given
        GROUP BY source, event_name, app_version
        QUALIFY row_number() OVER (
            PARTITION BY source, event_name ORDER BY max(metric_date) DESC, sum(count) DESC, app_version
        ) <= {_RELEASES_SHOWN}
    )
    SELECT source, event_name, app_version, metric_date, p75, "count"
    FROM given JOIN names USING (source, event_name) JOIN releases USING (source, event_name, app_version)
    ORDER BY source, total DESC, event_name, first_date, app_version, metric_date"""


def _performance(tables: duckdb.DuckDBPyConnection, dates: Sequence[dt.date]) -> Iterator[Figure]:
    axis = axis_plots.date_axis(dates)
    rows = rows_of(tables, _PERFORMANCE, dates[0], dates[-1])
    for (source, event), of_event in _grouped(rows, "source", "event_name").items():
        releases = {
            version or "unknown": _by_position(of_version, dates[0], "p75")
            for (version,), of_version in _grouped(of_event, "app_version").items()
        }
        label = f"{source}: 75th percentile of {event} per date and version"
        plot = axis_plots.line_plot(label, releases, axis, _tick, size=HIGH)
        yield Figure(f"{source}: {event}", "75th percentile", plot, list(releases))


_TRANSACTIONS = """
    SELECT source, currency, metric_date, sum(transactions)::BIGINT AS transactions, sum(value) AS value
    FROM transactions WHERE metric_date BETWEEN $1 AND $2
    GROUP BY source, currency, metric_date
    ORDER BY source, sum(sum(transactions)) OVER (PARTITION BY source, currency) DESC, currency, metric_date"""


def _transactions(tables: duckdb.DuckDBPyConnection, dates: Sequence[dt.date]) -> Iterator[Figure]:
    axis = axis_plots.date_axis(dates)
    rows = rows_of(tables, _TRANSACTIONS, dates[0], dates[-1])
    for (source, currency), of_currency in _grouped(rows, "source", "currency").items():
        name = currency or "own currency"
        for column, unit in (("transactions", "transactions per day"), ("value", f"{name} per day")):
            values = {"": _by_position(of_currency, dates[0], column)}
            plot = axis_plots.stacked_bars(f"{source}, {name}: {unit}", values, axis, _tick, size=HIGH)
            yield Figure(f"{source}, {name}", unit, plot)

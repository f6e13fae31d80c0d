"""The headline numbers of the marts, and what they and other metrics were over the last weeks.

A headline is of one week: the seven dates that end with the last date of a source up to the night. The week before it is compared if it
lies after the first date on which the source landed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from jobs.commands.query_rows import rows_of
from transforms.times import shifted

TREND_DATES = 56
WINDOWS = (1, 7, 28)
RETENTION_DAYS = (1, 7)


@dataclass(frozen=True)
class Headline:
    """A number and what it was a week before; None where it is not known."""

    value: float | None
    before: float | None


@dataclass(frozen=True)
class VisitorFacts:
    """The visitors of one source."""

    source: str
    date: dt.date  # the last date up to the night that has a visitor
    active: Mapping[int, Headline]  # different visitors in so many days up to the date
    retention: Mapping[int, Headline]  # share of those first seen so many days before, over the week


@dataclass(frozen=True)
class PurchaseFacts:
    """What was bought in a week, in one currency of one source."""

    source: str
    currency: str
    transactions: Headline
    value: Headline


@dataclass(frozen=True)
class FunnelFacts:
    """Of those who take the first step of a funnel in a week, how many take the last one."""

    funnel: str
    source: str
    last_step: str
    begun: int
    ended: int
    conversion: Headline


@dataclass(frozen=True)
class MartFacts:
    """The headline numbers and trends that the report shows of a night."""

    visitors: Sequence[VisitorFacts]
    purchases: Sequence[PurchaseFacts]
    funnels: Sequence[FunnelFacts]
    dates: Sequence[dt.date]  # of the trends
    trends: Mapping[tuple[str, str], Mapping[dt.date, float]]  # by source and metric


def gather(tables: duckdb.DuckDBPyConnection, night: dt.date) -> MartFacts:
    """Read the headline numbers of a night."""
    first = shifted(night, 1 - TREND_DATES)
    retention = _retention(tables, first, night)
    visitors = [_visitors(row, retention) for row in rows_of(tables, _LATEST + _VISITORS, first, night)]
    trends = _trends(tables, first, night)
    known = [date for values in trends.values() for date in values]
    start = min(known, default=night)
    return MartFacts(
        visitors=visitors,
        purchases=[_purchases(row) for row in rows_of(tables, _LATEST + _PURCHASES, first, night)],
        funnels=[_funnel(row) for row in rows_of(tables, _LATEST + _FUNNELS, first, night)],
        dates=[shifted(start, days) for days in range((night - start).days + 1)],
        trends=trends,
    )


# The last date of each source that has a visitor, and the first date on which the source landed.
_LATEST = """
    WITH latest AS (
        SELECT source, max(metric_date) AS latest_date FROM active_visitors WHERE metric_date BETWEEN $1 AND $2 GROUP BY source
    ),
    landed AS (SELECT source, min(landing_date) AS first_date FROM files WHERE records > 0 GROUP BY source),
    sources AS (SELECT * FROM latest JOIN landed USING (source))"""

_VISITORS = """
    SELECT sources.source, latest_date, now.visitors_1d, now.visitors_7d, now.visitors_28d,
        CASE WHEN latest_date - 7 >= first_date THEN before.visitors_1d END AS visitors_1d_before,
        CASE WHEN latest_date - 13 >= first_date THEN before.visitors_7d END AS visitors_7d_before,
        CASE WHEN latest_date - 34 >= first_date THEN before.visitors_28d END AS visitors_28d_before
    FROM sources
    JOIN active_visitors AS now ON now.source = sources.source AND now.metric_date = latest_date
    LEFT JOIN active_visitors AS before ON before.source = sources.source AND before.metric_date = latest_date - 7
    ORDER BY sources.source"""


def _visitors(row: Mapping[str, Any], retention: Mapping[tuple[str, int], Headline]) -> VisitorFacts:
    active = {days: Headline(row[f"visitors_{days}d"], row[f"visitors_{days}d_before"]) for days in WINDOWS}
    of_source = {days: retention.get((row["source"], days), Headline(None, None)) for days in RETENTION_DAYS}
    return VisitorFacts(row["source"], row["latest_date"], active, of_source)


_RETENTION = """
    SELECT source, period,
        sum(visitors) FILTER (metric_date > latest_date - 7) / sum(cohort_size) FILTER (metric_date > latest_date - 7) AS value,
        CASE WHEN min(first_date) + period <= min(latest_date) - 13 THEN
            sum(visitors) FILTER (metric_date <= latest_date - 7) / sum(cohort_size) FILTER (metric_date <= latest_date - 7)
        END AS before
    FROM sources JOIN retention USING (source)
    WHERE grain = 'day' AND rate IS NOT NULL AND cohort_start >= first_date AND metric_date > latest_date - 14
        AND metric_date <= latest_date AND list_contains($3, period)
    GROUP BY source, period"""


def _retention(tables: duckdb.DuckDBPyConnection, first: dt.date, night: dt.date) -> dict[tuple[str, int], Headline]:
    """Per source and day the share of those first seen so many days before who came back: all cohorts of a week together."""
    rows = rows_of(tables, _LATEST + _RETENTION, first, night, list(RETENTION_DAYS))
    return {(row["source"], row["period"]): Headline(row["value"], row["before"]) for row in rows}


_PURCHASES = """
    SELECT source, currency,
        coalesce(sum(transactions) FILTER (metric_date > latest_date - 7), 0)::BIGINT AS transactions,
        (sum(value) FILTER (metric_date > latest_date - 7))::DOUBLE AS value,
        CASE WHEN min(first_date) <= min(latest_date) - 13 THEN
            coalesce(sum(transactions) FILTER (metric_date <= latest_date - 7), 0)::BIGINT
        END AS transactions_before,
        CASE WHEN min(first_date) <= min(latest_date) - 13 THEN (sum(value) FILTER (metric_date <= latest_date - 7))::DOUBLE
        END AS value_before
    FROM sources JOIN transactions USING (source)
    WHERE metric_date > latest_date - 14 AND metric_date <= latest_date
    GROUP BY source, currency
    ORDER BY source, transactions DESC, currency"""


def _purchases(row: Mapping[str, Any]) -> PurchaseFacts:
    counts = Headline(row["transactions"], row["transactions_before"])
    return PurchaseFacts(row["source"], row["currency"], counts, Headline(row["value"], row["value_before"]))


# Dates whose window is not over have no conversion and are left out. Dates of long ago may have had other steps.
_FUNNELS = """
    , recent AS (
        SELECT funnels.* FROM funnels JOIN sources USING (source) WHERE metric_date > latest_date - 14 AND metric_date <= latest_date
    ),
    ends AS (SELECT funnel, source, max(step) AS step FROM recent GROUP BY ALL),
    dates AS (
        SELECT funnel, source, metric_date, step_name, ended.sessions AS ended, begun.sessions AS begun
        FROM ends JOIN recent AS ended USING (funnel, source, step)
        JOIN (SELECT funnel, source, metric_date, sessions FROM recent WHERE step = 1) AS begun USING (funnel, source, metric_date)
        WHERE ended.conversion IS NOT NULL
    )
    SELECT funnel, source, any_value(step_name) AS last_step,
        coalesce(sum(begun) FILTER (metric_date > latest_date - 7), 0)::BIGINT AS begun,
        coalesce(sum(ended) FILTER (metric_date > latest_date - 7), 0)::BIGINT AS ended,
        sum(ended) FILTER (metric_date > latest_date - 7) / sum(begun) FILTER (metric_date > latest_date - 7) AS conversion,
        CASE WHEN min(first_date) <= min(latest_date) - 13 THEN
            sum(ended) FILTER (metric_date <= latest_date - 7) / sum(begun) FILTER (metric_date <= latest_date - 7)
        END AS conversion_before
    FROM sources JOIN dates USING (source)
    GROUP BY funnel, source
    ORDER BY source, funnel"""


def _funnel(row: Mapping[str, Any]) -> FunnelFacts:
    conversion = Headline(row["conversion"], row["conversion_before"])
    return FunnelFacts(row["funnel"], row["source"], row["last_step"], row["begun"], row["ended"], conversion)


# Dates on which nothing landed have late events only and cannot be compared.
_TRENDS = """
    WITH landed AS (SELECT DISTINCT landing_date AS date FROM files WHERE records > 0),
    began AS (SELECT source, min(landing_date) AS first_date FROM files WHERE records > 0 GROUP BY source),
    numbers AS (
        SELECT source, metric, metric_date AS date, value FROM daily_metrics
        WHERE dimension = 'all' AND metric IN ('sessions', 'median_session_duration')
        UNION ALL SELECT source, 'visitors', metric_date, visitors_1d FROM active_visitors
        UNION ALL SELECT source, 'accepted', landing_date, sum(accepted) FROM files WHERE records > 0 GROUP BY ALL
    )
    SELECT source, metric, date, value::DOUBLE AS value
    FROM numbers JOIN landed USING (date) JOIN began USING (source)
    WHERE date BETWEEN $1 AND $2 AND date >= first_date
    ORDER BY ALL"""


def _trends(tables: duckdb.DuckDBPyConnection, first: dt.date, night: dt.date) -> dict[tuple[str, str], dict[dt.date, float]]:
    trends: dict[tuple[str, str], dict[dt.date, float]] = {}
    for row in rows_of(tables, _TRENDS, first, night):
        trends.setdefault((row["source"], row["metric"]), {})[row["date"]] = row["value"]
    return trends

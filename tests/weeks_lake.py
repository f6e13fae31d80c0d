"""A lake of five weeks, made without an engine: marts, metrics and checks of every date, with numbers that differ from date to date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tiny_lake import NIGHT, RUN, STARTED, Rows, journal, publish

from jobs import settings as configuration
from jobs.settings import Settings

DAYS = 36
DATES = [NIGHT - dt.timedelta(days=days) for days in reversed(range(DAYS))]
SOURCES = ("contentsquare", "sunbird")
# The nights that were run; the files of the others are of runs that are no longer known.
NIGHTS = DATES[-4:]
# From this date on, a rule does not pass.
FAILS_FROM = DATES[-3]
FAILING = "late_rate"
LONG_PAGE = "/catalogue/a-page-whose-path-is-much-longer-than-the-plot-is-wide/and-has-more-parts"


def make(root: Path) -> None:
    """Publish the lake."""
    per_date = [tables_of(date, number) for number, date in enumerate(DATES)]
    tables = {name: [row for of_date in per_date for row in of_date[name]] for name in per_date[0]}
    earlier = [row for night in NIGHTS[:-1] for row in journal(run_of(night), night, started=STARTED - (NIGHT - night))]
    publish(root, tables, earlier=earlier)


def settings_of(lake: Path) -> Settings:
    """The local settings with this lake."""
    return configuration.load().at(lake.parent / "landing", lake)


def run_of(night: dt.date) -> str:
    return RUN if night == NIGHT else f"run-{night}" if night in NIGHTS else f"forgotten-{night}"


def tables_of(date: dt.date, number: int) -> dict[str, Rows]:
    """The rows of one date, the `number`th."""
    return {
        "files": [file_of(source, date) for source in SOURCES],
        "events": [event_of(source, date) for source in SOURCES],
        "daily_metrics": [row for source in SOURCES for row in metrics_of(source, date, number)],
        "active_visitors": [visitors_of(source, date, number) for source in SOURCES],
        "retention": list(retention_of(date, number)),
        "transactions": list(transactions_of(date, number)),
        "funnels": list(funnel_of(date, number)),
        "pages": list(pages_of(date, number)),
        "performance": list(performance_of(date, number)),
        "quality_results": list(checks_of(date)),
    }


def file_of(source: str, date: dt.date) -> dict[str, Any]:
    counts = {"records": 1, "accepted": 1, "duplicates": 0, "rejected": 0, "erased": 0, "size": 1_500, "landing_hour": 7}
    return {"source": source, "landing_date": date, "file": f"{source}/{date}.json", "status": "done", "run_id": run_of(date)} | counts


def event_of(source: str, date: dt.date) -> dict[str, Any]:
    where = {"source": source, "landing_date": date, "landing_hour": 7, "event_date": date, "file": f"{source}/{date}.json"}
    return where | {"event_id": f"{source} {date}"}


def metrics_of(source: str, date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    for metric, value in (("sessions", 900.0 + 13 * number), ("median_session_duration", 61_000.0 + 700 * number)):
        yield {"metric_date": date, "source": source, "metric": metric, "dimension": "all", "dimension_value": "all", "value": value}


def visitors_of(source: str, date: dt.date, number: int) -> dict[str, Any]:
    day = 1_000 + 37 * number + len(source)
    windows = {"visitors_1d": day, "visitors_7d": 4 * day + number, "visitors_28d": 9 * day + 5 * number}
    return {"metric_date": date, "source": source, **windows, "new_visitors": 300 + number, "returning_visitors": day - 300 - number}


def retention_of(date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    """The rows whose period begins on this date."""
    for period in range(min(number, 10) + 1):
        size = 200 + 3 * (number - period)
        seen = size if period == 0 else size // (3 + period)
        row = {"metric_date": date, "source": "sunbird", "grain": "day", "cohort_start": date - dt.timedelta(days=period)}
        yield row | {"period": period, "cohort_size": size, "visitors": seen, "rate": seen / size}


def transactions_of(date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    for app, currency, count in (("a", "EUR", 5 + number), ("b", "EUR", 2), ("a", "JPY", 1)):
        value = {"value": Decimal("12.345") * count, "transactions": count, "sessions": count}
        yield {"metric_date": date, "source": "contentsquare", "app_id": app, "currency": currency} | value


def funnel_of(date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    begun = 1_500 + number
    is_over = date < NIGHT  # its window is open on the last date
    for step, (name, sessions) in enumerate(
        (("opens the app", begun), ("looks into the basket", begun // 3), ("buys", begun // 7 - number)), 1
    ):
        row = {"metric_date": date, "source": "contentsquare", "funnel": "shop_purchase", "step": step, "step_name": name}
        yield row | {"sessions": sessions, "visitors": sessions, "conversion": sessions / begun if is_over else None}


def pages_of(date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    for page, views in (("/home", 4_000 + number), (LONG_PAGE, 70)):
        counts = {"views": views, "sessions": views, "visitors": views, "entries": views, "exits": views, "bounces": views // 4}
        yield {"metric_date": date, "source": "contentsquare", "environment": "", "page": page, "timespent": views * 21.5} | counts


def performance_of(date: dt.date, number: int) -> Iterator[dict[str, Any]]:
    for version, since in (("7.3.1", 0), ("7.4.0", 20)):
        if number >= since:
            values = dict.fromkeys(("p50", "p75", "p95", "p99"), 400.0 + 5 * since + number % 5)
            row = {"metric_date": date, "source": "contentsquare", "event_name": "screenview", "app_version": version, "count": 90}
            yield row | values


def checks_of(date: dt.date) -> Iterator[Mapping[str, Any]]:
    """The checks of a night that was run: one begins to fail, one has always passed."""
    if date in NIGHTS:
        common = {"run_id": run_of(date), "date": date, "severity": "warning"}
        late = {"table": "daily_metrics", "expectation": FAILING, "source": "sunbird", "threshold": "at most 0.2"}
        yield common | late | {"passed": date < FAILS_FROM, "observed": "0.1" if date < FAILS_FROM else "0.4"}
        yield common | {"table": "events", "expectation": "event_id is filled", "passed": True, "observed": "0", "threshold": "0"}

"""The mart `active_visitors`: how many different visitors a source has in 1, 7 and 28 dates, and how many of them are new."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pyarrow as pa

from schemas.marts import ACTIVE_VISITORS, VISITOR_DAYS
from schemas.table import BIGINT, DATE, STRING
from transforms.marts.mart import Input, Mart, total
from transforms.times import shifted

_LONGEST = 28
_COUNTS = ("visitors_1d", "visitors_7d", "visitors_28d", "new_visitors", "visitors_7d_week_before")


def _affected_dates(_source: str, dates: Iterable[dt.date]) -> set[dt.date]:
    return {shifted(date, days) for date in dates for days in range(_LONGEST)}


def _input_dates(_source: str, metric_dates: Iterable[dt.date]) -> set[dt.date]:
    return {shifted(date, -days) for date in metric_dates for days in range(_LONGEST)}


def _is_first_since(days: int) -> str:
    """Whether a visitor's date is the first one in the window whose first date is so many days before the metric_date."""
    return f"(previous_date IS NULL OR previous_date < metric_date - {days})"


# A visitor has a row per date. The first of a window's rows is counted, which the date of the row before tells: no ids are compared.
_OF_DAYS = f"""
WITH days AS (
    SELECT visit_date, source, previous_date, count(*) AS visitors FROM given GROUP BY ALL
), windows AS (
    SELECT *, unnest(range({_LONGEST})) AS days_later, CAST(visit_date + CAST(days_later AS INTEGER) AS DATE) AS metric_date FROM days
)
SELECT
    metric_date,
    source,
    sum(visitors) FILTER (days_later = 0) AS visitors_1d,
    sum(visitors) FILTER (days_later <= 6 AND {_is_first_since(6)}) AS visitors_7d,
    sum(visitors) FILTER ({_is_first_since(27)}) AS visitors_28d,
    sum(visitors) FILTER (days_later = 0 AND previous_date IS NULL) AS new_visitors,
    sum(visitors) FILTER (days_later BETWEEN 7 AND 13 AND {_is_first_since(13)}) AS visitors_7d_week_before
FROM windows
GROUP BY ALL
"""
_ROWS = f"""
SELECT metric_date, source, {", ".join(f"{total(name)} AS {name}" for name in _COUNTS)}
FROM parts
GROUP BY ALL
HAVING visitors_1d > 0
"""

MART = Mart(
    table=ACTIVE_VISITORS,
    inputs=(Input(VISITOR_DAYS, ("source", "visit_date", "previous_date"), _OF_DAYS),),
    parts=pa.schema([("metric_date", DATE), ("source", STRING), *((name, BIGINT) for name in _COUNTS)]),
    query=f"""
    SELECT
        * REPLACE (nullif(visitors_7d_week_before, 0) AS visitors_7d_week_before),
        visitors_1d - new_visitors AS returning_visitors,
        visitors_1d / visitors_28d AS stickiness,
        visitors_7d / nullif(visitors_7d_week_before, 0) AS week_over_week
    FROM ({_ROWS})
    """,
    task_key=("source",),
    affected_dates=_affected_dates,
    input_dates=_input_dates,
)

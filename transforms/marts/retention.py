"""The mart `retention`: which share of the visitors of a day or week is seen again in the days or weeks after it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pyarrow as pa

from schemas.marts import PERIODS, RETENTION, VISITOR_DAYS
from schemas.table import BIGINT, DATE, INTEGER, STRING
from transforms.marts.mart import Input, Mart, total
from transforms.times import shifted

_WEEK = 7


def _affected_dates(_source: str, dates: Iterable[dt.date]) -> set[dt.date]:
    """The dates on which the periods begin in which these dates lie, and those after them."""
    days = {shifted(date, later) for date in dates for later in range(PERIODS["day"] + 1)}
    return days | {shifted(_monday(date), _WEEK * later) for date in dates for later in range(PERIODS["week"] + 1)}


def _input_dates(_source: str, metric_dates: Iterable[dt.date]) -> set[dt.date]:
    """The dates of the periods that begin on these dates, and of the first periods of their cohorts."""
    needed = {shifted(date, -earlier) for date in metric_dates for earlier in range(PERIODS["day"] + 1)}
    for date in metric_dates:
        if date.weekday() == 0:
            needed |= {shifted(date, days) for days in range(-_WEEK * PERIODS["week"], _WEEK)}
    return needed


def _monday(date: dt.date) -> dt.date:
    return shifted(date, -date.weekday())


def _week(date: str) -> str:
    return f"CAST({date} - CAST(isodow({date}) - 1 AS INTEGER) AS DATE)"


# A visitor counts on the first of its dates in a period, which the date of the row before tells: no ids are compared.
_OF_DAYS = f"""
WITH days AS (
    SELECT
        visit_date,
        source,
        first_date,
        previous_date,
        {_week("visit_date")} AS visit_week,
        {_week("first_date")} AS first_week,
        count(*) AS visitors
    FROM given
    GROUP BY ALL
), visits AS (
    SELECT source, visit_date AS metric_date, 'day' AS grain, first_date AS cohort_start, visit_date - first_date AS period, visitors
    FROM days
    UNION ALL
    SELECT source, visit_week, 'week', first_week, (visit_week - first_week) // {_WEEK}, visitors
    FROM days
    WHERE previous_date IS NULL OR previous_date < visit_week
), sizes AS (
    SELECT source, 'day' AS grain, first_date AS cohort_start, unnest(range({PERIODS["day"] + 1})) AS period, 1 AS days, visitors
    FROM days
    WHERE visit_date = first_date
    UNION ALL
    SELECT source, 'week', first_week, unnest(range({PERIODS["week"] + 1})), {_WEEK}, visitors
    FROM days
    WHERE visit_date = first_date
)
SELECT metric_date, source, grain, cohort_start, period, 0 AS cohort_size, sum(visitors) AS visitors
FROM visits
WHERE period <= CASE grain WHEN 'day' THEN {PERIODS["day"]} ELSE {PERIODS["week"]} END
GROUP BY ALL
UNION ALL
SELECT CAST(cohort_start + CAST(days * period AS INTEGER) AS DATE), source, grain, cohort_start, period, sum(visitors), 0
FROM sizes
GROUP BY ALL
"""
# A period that has not begun has no row.
_ROWS = f"""
SELECT
    metric_date,
    source,
    grain,
    cohort_start,
    period,
    last_date,
    {total("cohort_size")} AS cohort_size,
    {total("visitors")} AS visitors
FROM parts JOIN last_dates USING (source)
WHERE metric_date <= last_date
GROUP BY ALL
HAVING cohort_size > 0
"""

MART = Mart(
    table=RETENTION,
    inputs=(Input(VISITOR_DAYS, ("source", "visit_date", "first_date", "previous_date"), _OF_DAYS),),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("grain", STRING),
            ("cohort_start", DATE),
            ("period", INTEGER),
            ("cohort_size", BIGINT),
            ("visitors", BIGINT),
        ]
    ),
    query=f"""
    SELECT *, CASE WHEN metric_date + CASE grain WHEN 'day' THEN 0 ELSE {_WEEK - 1} END <= last_date THEN visitors / cohort_size END AS rate
    FROM ({_ROWS})
    """,
    task_key=("source",),
    affected_dates=_affected_dates,
    input_dates=_input_dates,
    open_days=_WEEK - 1,
)

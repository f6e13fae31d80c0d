"""The table `visitor_days`: on which dates a visitor was seen, and how these follow each other.

Several marts count its rows in place of events: a row per visitor and date, with the visitor's first date and the date before.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.marts import VISITOR_DAYS
from schemas.table import BOOLEAN
from transforms import duckdb_query
from transforms.marts.mart import OF_PEOPLE

# The columns of `visitor_days` that are computed.
DAYS = pa.schema([pa.field(column.name, column.type) for column in VISITOR_DAYS.columns if column.name != "run_id"])
# A date of a visitor: out of events, with neither first_date nor previous_date, or as it is stored.
VISITS = pa.schema([*DAYS, pa.field("is_new", BOOLEAN)])
EVENT_COLUMNS = ("source", "event_date", "flags", "is_robot", "visitor_id")


def visits_of_events(events: pa.Table, dates: pa.Table) -> pa.Table:
    """The visitors of events on these dates (METRIC_DATES), without repeats, as VISITS. In: rows with EVENT_COLUMNS."""
    return (
        duckdb_query.query(
            f"""
        SELECT DISTINCT source, event_date AS visit_date, visitor_id, CAST(md5_number(visitor_id) >> 65 AS BIGINT) AS visitor_hash,
            NULL AS first_date, NULL AS previous_date, true AS is_new
        FROM events SEMI JOIN dates ON events.source = dates.source AND events.event_date = dates.metric_date
        WHERE {OF_PEOPLE} AND visitor_id IS NOT NULL
        """,
            events=events,
            dates=dates,
        )
        .select(VISITS.names)
        .cast(VISITS)
    )


def changed_days(visits: pa.Table) -> pa.Table:
    """The rows of `visitor_days` that are new or other than stored. In: VISITS, all dates of each visitor. Out: DAYS."""
    return (
        duckdb_query.query(
            """
        WITH dates AS (
            SELECT source, visit_date, visitor_id, any_value(visitor_hash) AS visitor_hash, bool_or(is_new) AS is_new,
                max(first_date) AS stored_first, max(previous_date) AS stored_previous
            FROM visits
            GROUP BY source, visit_date, visitor_id
        ), in_order AS (
            SELECT *, min(visit_date) OVER of_visitor AS first_date, lag(visit_date) OVER (of_visitor ORDER BY visit_date) AS previous_date
            FROM dates
            WINDOW of_visitor AS (PARTITION BY source, visitor_id)
        )
        SELECT source, visit_date, visitor_id, visitor_hash, first_date, previous_date
        FROM in_order
        WHERE is_new OR first_date IS DISTINCT FROM stored_first OR previous_date IS DISTINCT FROM stored_previous
        """,
            visits=visits,
        )
        .select(DAYS.names)
        .cast(DAYS)
    )

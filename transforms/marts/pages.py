"""The mart `pages`: what sessions do on each page, and how long it takes to load."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import PAGES
from schemas.sessions import SESSIONS
from schemas.table import BIGINT, DATE, STRING, array_of
from transforms.marts.mart import IDS, OF_PEOPLE, Input, Mart, count_different, different, percentile, total

_COUNTS = ("views", "sessions", "spent_ms", "entries", "exits", "bounces")
# A page may be in several environments of a session. It is an entry or exit of the first one.
_FIRST = "page.env = list_filter(pagesummary, lambda other: other.id = page.id)[1].env"
_OF_SESSIONS = f"""
WITH opened AS (
    SELECT *, unnest(pagesummary) AS page FROM given WHERE {OF_PEOPLE}
), visited AS (
    SELECT *, page.id = entry_page AND {_FIRST} AS is_entry, page.id = exit_page AND {_FIRST} AS is_exit
    FROM opened
    WHERE page.id IS NOT NULL
)
SELECT
    session_date AS metric_date,
    source,
    coalesce(page.env, '') AS environment,
    page.id AS page,
    sum(page.visits) AS views,
    count(*) AS sessions,
    {different("visitor_id")} AS visitors,
    sum(CAST(round(page.timespent * 1000) AS BIGINT)) AS spent_ms,
    count_if(is_entry) AS entries,
    count_if(is_exit) AS exits,
    count_if(is_entry AND pageviews = 1 AND interactions = 0) AS bounces
FROM visited
GROUP BY ALL
"""
_OF_EVENTS = f"""
SELECT event_date AS metric_date, source, coalesce(environment, '') AS environment, page, list("session_input.load_latency") AS loads
FROM given
WHERE {OF_PEOPLE} AND page IS NOT NULL AND "session_input.load_latency" IS NOT NULL
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    environment,
    page,
    {", ".join(f"{total(name)} AS {name}" for name in _COUNTS)},
    {count_different("visitors")} AS visitors,
    len(flatten(list(loads))) AS loads,
    {percentile("loads", 50)} AS load_p50,
    {percentile("loads", 95)} AS load_p95
FROM parts
GROUP BY ALL
"""

MART = Mart(
    table=PAGES,
    inputs=(
        Input(
            SESSIONS,
            (
                "source",
                "session_date",
                "flags",
                "is_robot",
                "visitor_id",
                "entry_page",
                "exit_page",
                "pageviews",
                "interactions",
                "pagesummary",
            ),
            _OF_SESSIONS,
        ),
        Input(EVENTS, ("source", "event_date", "flags", "is_robot", "environment", "page", "session_input.load_latency"), _OF_EVENTS),
    ),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("environment", STRING),
            ("page", STRING),
            *((name, BIGINT) for name in _COUNTS),
            ("visitors", IDS),
            ("loads", array_of(BIGINT)),
        ]
    ),
    query=f"SELECT *, CAST(spent_ms AS DOUBLE) / 1000 AS timespent, bounces / nullif(entries, 0) AS bounce_rate FROM ({_ROWS})",
    task_key=("source", "environment", "page"),
)

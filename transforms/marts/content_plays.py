"""The mart `content_plays`: what content is played, by how many, for how long, and to its end."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import CONTENT_PLAYS
from schemas.sessions import WORKFLOW_SUMMARIES
from schemas.table import BIGINT, DATE, STRING
from transforms.marts.mart import IDS, OF_PEOPLE, Input, Mart, count_different, different, total

_COUNTS = ("plays", "completions", "spent_hundredths")
_OF_EVENTS = f"""
SELECT
    event_date AS metric_date,
    source,
    coalesce("workflow_input.object_id", '') AS content_id,
    count_if(event_type = 'start') AS plays,
    {different("CASE event_type WHEN 'start' THEN visitor_id END")} AS visitors,
    count_if(event_type = 'end') AS completions
FROM given
WHERE {OF_PEOPLE} AND event_type IN ('start', 'end') AND lower("workflow_input.mode") = 'play'
GROUP BY ALL
"""
# Workflow summaries are of one source, and have no column for it.
_OF_SUMMARIES = """
SELECT
    summary_date AS metric_date,
    'sunbird' AS source,
    coalesce(object_id, '') AS content_id,
    sum(CAST(round(time_spent * 100) AS BIGINT)) AS spent_hundredths
FROM given
WHERE lower(mode) = 'play'
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    content_id,
    {", ".join(f"{total(name)} AS {name}" for name in _COUNTS)},
    {count_different("visitors")} AS visitors
FROM parts
GROUP BY ALL
"""

MART = Mart(
    table=CONTENT_PLAYS,
    inputs=(
        Input(
            EVENTS,
            ("source", "event_date", "flags", "is_robot", "event_type", "visitor_id", "workflow_input.object_id", "workflow_input.mode"),
            _OF_EVENTS,
        ),
        Input(WORKFLOW_SUMMARIES, ("summary_date", "mode", "object_id", "time_spent"), _OF_SUMMARIES, source="sunbird"),
    ),
    parts=pa.schema(
        [("metric_date", DATE), ("source", STRING), ("content_id", STRING), *((name, BIGINT) for name in _COUNTS), ("visitors", IDS)]
    ),
    query=f"""
    SELECT *, CAST(spent_hundredths AS DOUBLE) / 100 AS timespent, completions / nullif(plays, 0) AS completion_rate FROM ({_ROWS})
    """,
    task_key=("source", "content_id"),
)

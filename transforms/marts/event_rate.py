"""The mart `event_rate`: in which share of the sessions something happens."""

from __future__ import annotations

import pyarrow as pa

from schemas.marts import EVENT_RATE
from schemas.sessions import SESSIONS
from schemas.table import BIGINT, DATE, STRING
from transforms.marts.mart import OF_PEOPLE, Input, Mart, total

# All sessions of a source are counted in a row without a name.
_OF_SESSIONS = f"""
WITH people AS (
    SELECT * FROM given WHERE {OF_PEOPLE}
), named AS (
    SELECT session_date AS metric_date, source, unnest(eventssummary).id AS event_name FROM people
)
SELECT metric_date, source, event_name, count(*) AS sessions FROM named GROUP BY ALL
UNION ALL
SELECT session_date, source, NULL, count(*) FROM people GROUP BY ALL
"""
_ROWS = f"""
SELECT metric_date, source, event_name, {total("sessions")} AS sessions_with FROM parts GROUP BY ALL
"""

MART = Mart(
    table=EVENT_RATE,
    inputs=(Input(SESSIONS, ("source", "session_date", "flags", "is_robot", "eventssummary"), _OF_SESSIONS),),
    parts=pa.schema([("metric_date", DATE), ("source", STRING), ("event_name", STRING), ("sessions", BIGINT)]),
    query=f"""
    SELECT *, CAST(max(sessions_with) FILTER (event_name IS NULL) OVER (PARTITION BY metric_date, source) AS BIGINT) AS sessions,
        sessions_with / sessions AS rate
    FROM ({_ROWS})
    QUALIFY event_name IS NOT NULL
    """,
    task_key=("source",),
)

"""The mart `transactions`: what was bought, per application and currency."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import TRANSACTIONS
from schemas.table import BIGINT, DATE, DECIMAL, STRING
from transforms.marts.mart import IDS, OF_PEOPLE, Input, Mart, count_different, different, total

# A double is cast by its shortest text, so that 0.1 is exactly 0.1. A larger one is not cast at all: the cast would raise.
_VALUE = "CASE WHEN abs(value) < 1e18 THEN CAST(CAST(value AS VARCHAR) AS DECIMAL(38, 9)) END"
_OF_EVENTS = f"""
SELECT
    event_date AS metric_date,
    source,
    coalesce(app_id, '') AS app_id,
    coalesce("session_input.currency", '') AS currency,
    count(*) AS transactions,
    sum({_VALUE}) AS value,
    {different('"session_input.key"')} AS sessions
FROM given
WHERE {OF_PEOPLE} AND event_type = 'transaction'
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    app_id,
    currency,
    {total("transactions")} AS transactions,
    CAST(sum(value) AS DECIMAL(38, 9)) AS value,
    {count_different("sessions")} AS sessions
FROM parts
GROUP BY ALL
"""

MART = Mart(
    table=TRANSACTIONS,
    inputs=(
        Input(
            EVENTS,
            ("source", "event_date", "flags", "is_robot", "event_type", "app_id", "value", "session_input.currency", "session_input.key"),
            _OF_EVENTS,
        ),
    ),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("app_id", STRING),
            ("currency", STRING),
            ("transactions", BIGINT),
            ("value", DECIMAL),
            ("sessions", IDS),
        ]
    ),
    query=f"SELECT *, CAST(value / nullif(sessions, 0) AS DECIMAL(38, 9)) AS value_per_session FROM ({_ROWS})",
    task_key=("source", "app_id", "currency"),
)

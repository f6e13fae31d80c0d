"""The mart `performance`: percentiles of measured values per event and version of the application."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import PERFORMANCE
from schemas.table import BIGINT, DATE, DOUBLE, STRING, array_of
from transforms.marts.mart import OF_PEOPLE, Input, Mart, percentile, total

_OF_EVENTS = f"""
WITH measured AS (
    SELECT *, CASE event_type WHEN 'performance' THEN value ELSE "session_input.load_latency" END AS measure
    FROM given
    WHERE {OF_PEOPLE} AND event_type IN ('performance', 'page_view', 'session')
)
SELECT
    event_date AS metric_date,
    source,
    event_name,
    coalesce(app_version, '') AS app_version,
    list(measure) FILTER (measure >= 0) AS measures,
    count_if(coalesce(measure < 0, true)) AS sentinels
FROM measured
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    event_name,
    app_version,
    len(flatten(list(measures))) AS count,
    {total("sentinels")} AS sentinels,
    {", ".join(f"{percentile('measures', percent)} AS p{percent}" for percent in (50, 75, 95, 99))}
FROM parts
GROUP BY ALL
HAVING count > 0
"""

MART = Mart(
    table=PERFORMANCE,
    inputs=(
        Input(
            EVENTS,
            ("source", "event_date", "flags", "is_robot", "event_type", "event_name", "app_version", "value", "session_input.load_latency"),
            _OF_EVENTS,
        ),
    ),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("event_name", STRING),
            ("app_version", STRING),
            ("measures", array_of(DOUBLE)),
            ("sentinels", BIGINT),
        ]
    ),
    query=_ROWS,
    task_key=("source", "event_name", "app_version"),
)

"""The mart `assessments`: how questions are answered."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import ASSESSMENTS
from schemas.table import BIGINT, DATE, DECIMAL, DOUBLE, STRING, array_of
from transforms.marts.mart import OF_PEOPLE, Input, Mart, percentile, total

# A number below 10^18, exactly.
_DECIMAL = "DECIMAL(27, 9)"
_OF_EVENTS = f"""
WITH answers AS (
    SELECT
        event_date AS metric_date,
        source,
        coalesce("workflow_input.object_id", '') AS content_id,
        "workflow_input.item" AS item,
        TRY_CAST(item ->> 'timeSpent' AS DOUBLE) AS seconds
    FROM given
    WHERE {OF_PEOPLE} AND event_type = 'assessment'
)
SELECT
    metric_date,
    source,
    content_id,
    coalesce(item ->> 'itemId', '') AS question_id,
    count(*) AS attempts,
    count_if(lower(item ->> 'pass') IN ('yes', 'true', '1')) AS passes,
    sum(TRY_CAST(item ->> 'score' AS {_DECIMAL})) AS score,
    sum(TRY_CAST(item ->> 'maxScore' AS {_DECIMAL})) AS max_score,
    list(seconds) FILTER (isfinite(seconds) AND seconds >= 0) AS times
FROM answers
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    content_id,
    question_id,
    {total("attempts")} AS attempts,
    {total("passes")} AS passes,
    CAST(coalesce(sum(score), 0) AS DOUBLE) AS score,
    CAST(coalesce(sum(max_score), 0) AS DOUBLE) AS max_score,
    {percentile("times", 50)} AS median_time
FROM parts
GROUP BY ALL
"""

MART = Mart(
    table=ASSESSMENTS,
    inputs=(
        Input(
            EVENTS,
            ("source", "event_date", "flags", "is_robot", "event_type", "workflow_input.object_id", "workflow_input.item"),
            _OF_EVENTS,
        ),
    ),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("content_id", STRING),
            ("question_id", STRING),
            ("attempts", BIGINT),
            ("passes", BIGINT),
            ("score", DECIMAL),
            ("max_score", DECIMAL),
            ("times", array_of(DOUBLE)),
        ]
    ),
    query=f"SELECT *, passes / attempts AS pass_rate FROM ({_ROWS})",
    task_key=("source", "content_id", "question_id"),
)

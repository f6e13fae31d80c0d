"""The mart `homepage`: visits of the wikis' homepage, by the way on which they came, and what its modules showed."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from schemas.events import EVENTS
from schemas.marts import HOMEPAGE
from schemas.table import BIGINT, BOOLEAN, DATE, STRING
from transforms.marts.mart import IDS, OF_PEOPLE, Input, Mart, count_different, different, total


def _has(field: str, state: str) -> str:
    return f"properties ->> '{field}' = '{state}'"


# Per column, the visits that it counts.
_CONDITIONS: Mapping[str, str] = {
    "edits_0": "edits < 1",
    "edits_1_4": "edits BETWEEN 1 AND 4",
    "edits_5_99": "edits BETWEEN 5 AND 99",
    "edits_100_999": "edits BETWEEN 100 AND 999",
    "edits_1000": "edits >= 1000",
    **{f"impact_{state}": _has("impact_module_state", state) for state in ("activated", "unactivated", "notrendered")},
    **{f"email_{state}": _has("start_email_state", state) for state in ("noemail", "unconfirmed", "confirmed")},
    **{f"{module}_complete": _has(f"start_{module}_state", "complete") for module in ("tutorial", "userpage", "startediting")},
}
_OF_EVENTS = f"""
WITH visits AS (
    SELECT *, TRY_CAST(properties ->> 'user_editcount' AS BIGINT) AS edits
    FROM given
    WHERE {OF_PEOPLE} AND event_type = 'page_view'
)
SELECT
    event_date AS metric_date,
    source,
    coalesce(environment, '') AS wiki,
    coalesce(target_type, '') AS route,
    coalesce(TRY_CAST(properties ->> 'is_mobile' AS BOOLEAN), false) AS is_mobile,
    count(*) AS visits,
    {different("visitor_id")} AS visitors,
    {", ".join(f"count_if({condition}) AS {name}" for name, condition in _CONDITIONS.items())}
FROM visits
GROUP BY ALL
"""
_ROWS = f"""
SELECT
    metric_date,
    source,
    wiki,
    route,
    is_mobile,
    {", ".join(f"{total(name)} AS {name}" for name in ("visits", *_CONDITIONS))},
    {count_different("visitors")} AS visitors
FROM parts
GROUP BY ALL
"""

MART = Mart(
    table=HOMEPAGE,
    inputs=(
        Input(
            EVENTS,
            ("source", "event_date", "flags", "is_robot", "event_type", "environment", "target_type", "visitor_id", "properties"),
            _OF_EVENTS,
            source="homepagevisit",
        ),
    ),
    parts=pa.schema(
        [
            ("metric_date", DATE),
            ("source", STRING),
            ("wiki", STRING),
            ("route", STRING),
            ("is_mobile", BOOLEAN),
            *((name, BIGINT) for name in ("visits", *_CONDITIONS)),
            ("visitors", IDS),
        ]
    ),
    query=f"SELECT *, visits - visitors AS repeat_visits FROM ({_ROWS})",
    task_key=("source", "wiki", "route", "is_mobile"),
)

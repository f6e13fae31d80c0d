"""All tables of a lake, by name."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.bookkeeping import DAILY_METRICS, ERASURES, FILES, QUALITY_RESULTS, RUNS
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS
from schemas.marts import (
    ACTIVE_VISITORS,
    ASSESSMENTS,
    CONTENT_PLAYS,
    EVENT_RATE,
    FUNNELS,
    HOMEPAGE,
    PAGES,
    PERFORMANCE,
    RETENTION,
    TRANSACTIONS,
    VISITOR_DAYS,
)
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS, WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import Table

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        EVENTS,
        DUPLICATE_EVENTS,
        REJECTED_EVENTS,
        SESSIONS,
        SESSION_EVENTS,
        SESSION_CHAINS,
        WORKFLOW_SUMMARIES,
        WORKFLOW_CHAINS,
        DAILY_METRICS,
        VISITOR_DAYS,
        ACTIVE_VISITORS,
        RETENTION,
        PAGES,
        PERFORMANCE,
        TRANSACTIONS,
        ASSESSMENTS,
        CONTENT_PLAYS,
        HOMEPAGE,
        EVENT_RATE,
        FUNNELS,
        FILES,
        ERASURES,
        RUNS,
        QUALITY_RESULTS,
    )
}

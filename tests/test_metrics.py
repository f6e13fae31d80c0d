"""Daily metrics: rows in, rows out."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from schemas.account import FILES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.sessions import SESSION_CHAINS, SESSIONS
from schemas.table import Table
from transforms import metrics

DAY = dt.date(2026, 11, 20)
Row = dict[str, Any]


def event(event_type: str = "interaction", user: str | None = None, device: str | None = None, *flags: str) -> Row:
    dates = {"event_date": DAY, "landing_date": DAY}
    return {"source": "s", "event_type": event_type, "user_id": user, "device_id": device, "flags": list(flags)} | dates


def session(duration: int | None, spent: float | None = None, views: int = 1, summary: bool = False, *flags: str) -> Row:
    told = {"reported": {"pageviews": views} if summary else None, "flags": list(flags)}
    counts = {"session_duration": duration, "timespent": spent, "pageviews": views, "interactions": 0}
    return {"session_date": DAY, "source": "s", "session_kind": "keyed", **counts, **told}


def file(status: str, *counts: int | None) -> Row:
    return {"landing_date": DAY, "source": "s", "status": status} | dict(zip(COUNTS, counts, strict=True))


COUNTS = ("records", "accepted", "duplicates", "rejected")


def found(family: Any, table: Table, *rows: Row) -> list[Row]:
    """The metrics of these rows, given in two parts."""
    columns = list(rows[0]) if rows else table.names
    schema = pa.schema([pa.field(name, table[name].type) for name in columns])
    parts = [pa.Table.from_pylist(list(part), schema=schema) for part in (rows[:1], rows[1:])]
    made: list[Row] = family(parts, table, columns).to_pylist()
    return made


def totals(rows: list[Row]) -> dict[str, tuple[float, float | None, float | None]]:
    return {row["metric"]: (row["value"], row["numerator"], row["denominator"]) for row in rows if row["dimension"] == "all"}


def split(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    """The values that are not totals."""
    return {(row["metric"], row["dimension"], row["dimension_value"]): row["value"] for row in rows if row["dimension"] != "all"}


def test_events_users_and_devices_are_counted_without_test_events() -> None:
    events = [
        event("page_view", "u", "d"),
        event("page_view", "u", "e"),
        event("interaction", None, "d"),
        event("other", "x", "y", "canary"),
    ]
    rows = found(metrics.of_events, EVENTS, *events)
    assert {(row["metric_date"], row["source"]) for row in rows} == {(DAY, "s")}
    assert totals(rows) == {"events": (3.0, None, None), "users": (1.0, None, None), "devices": (2.0, None, None)}
    assert split(rows) == {("events", "event_type", "page_view"): 2.0, ("events", "event_type", "interaction"): 1.0}


def test_the_median_is_a_value_that_occurs_and_means_have_their_parts() -> None:
    rows = [session(1_000, 0.5, 2), session(30, 0.02), session(10, 0.01, 3), session(2_000, 1.0)]
    told = totals(found(metrics.of_sessions, SESSIONS, *rows))
    assert told["median_session_duration"] == (30.0, None, 4.0)
    assert told["p95_session_duration"] == (2_000.0, None, 4.0)
    assert told["timespent_per_session"] == (pytest.approx(0.3825), 1.53, 4.0)
    assert told["pageviews_per_session"] == (1.75, 7.0, 4.0)


@pytest.mark.parametrize(("count", "median", "p95"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (21, 11, 20), (100, 50, 95)])
def test_a_percentile_is_the_first_value_with_that_share_up_to_it(count: int, median: int, p95: int) -> None:
    told = totals(found(metrics.of_sessions, SESSIONS, *(session(value) for value in range(count, 0, -1))))
    assert (told["median_session_duration"][0], told["p95_session_duration"][0]) == (median, p95)


def test_sessions_without_a_duration_count_as_sessions_alone() -> None:
    told = totals(found(metrics.of_sessions, SESSIONS, session(None)))
    assert told["sessions"] == (1.0, None, None)
    assert not {"median_session_duration", "p95_session_duration", "timespent_per_session", "reported_mismatch_rate"} & set(told)


def test_mismatches_are_a_share_of_the_sessions_with_a_summary() -> None:
    rows = [session(1, 0.0, 1, True, "reported_mismatch"), session(1, 0.0, 1, True), session(1, 0.0)]
    assert totals(found(metrics.of_sessions, SESSIONS, *rows))["reported_mismatch_rate"] == (0.5, 1.0, 2.0)


def test_rates_of_what_landed() -> None:
    files = [file("done", 10, 6, 2, 2), file("unreadable", None, None, None, None)]
    assert totals(found(metrics.of_files, FILES, *files)) == {
        "records": (10.0, None, None),
        "rejected": (2.0, None, None),
        "unreadable_files": (1.0, None, None),
        "accepted_rate": (0.8, 8.0, 10.0),
        "rejected_rate": (0.2, 2.0, 10.0),
        "duplicate_rate": (0.25, 2.0, 8.0),
    }
    late = found(metrics.of_lateness, EVENTS, event("other", None, None, "late"), *[event()] * 3)
    assert totals(late) == {"late_rate": (0.25, 1.0, 4.0)}
    refused = [{"landing_date": DAY, "source": "s", "reason": "invalid_json"}] * 2
    assert split(found(metrics.of_refusals, REJECTED_EVENTS, *refused)) == {("rejected", "reason", "invalid_json"): 2.0}


def test_a_ratio_without_a_denominator_is_no_row() -> None:
    told = totals(found(metrics.of_files, FILES, file("unreadable", None, None, None, None)))
    assert told == {"records": (0.0, None, None), "rejected": (0.0, None, None), "unreadable_files": (1.0, None, None)}


def test_no_rows_make_no_metrics() -> None:
    for family, table in ((metrics.of_events, EVENTS), (metrics.of_sessions, SESSIONS), (metrics.of_files, FILES)):
        assert found(family, table) == []


def test_events_without_a_session_are_orphans_when_they_are_pings() -> None:
    given = [("reported", [2]), ("keyed", [3]), ("derived", [4]), ("keyed", [])]
    rows = [
        {"source": "s", "kind": kind, "unassigned": [{"event_date": DAY, "count": count} for count in counts]} for kind, counts in given
    ]
    assert totals(found(metrics.of_chains, SESSION_CHAINS, *rows)) == {
        "orphan_events": (2.0, None, None),
        "sessionless_events": (7.0, None, None),
    }

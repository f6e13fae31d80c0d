"""The metrics of `daily_metrics`: definition, date and unit of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EVENT_DATE = "event_date"
SESSION_DATE = "session_date"
LANDING_DATE = "landing_date"
CHAIN_DATE = "event_date of events without a session"


@dataclass(frozen=True)
class Metric:
    """One metric. The metrics of a family have the same date and are computed together."""

    name: str
    family: str
    definition: str
    unit: str = ""
    dimensions: tuple[str, ...] = ("all",)


_WITH_DURATION = "denominator: sessions that have one, but for those of robots"

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("events", EVENT_DATE, "accepted events, but for test events (flag canary)", dimensions=("all", "event_type")),
        Metric("users", EVENT_DATE, "distinct user_id among these events, but for those of robots (is_robot), where any has one"),
        Metric("devices", EVENT_DATE, "distinct device_id among these events, those of robots too"),
        Metric(
            "visitors",
            EVENT_DATE,
            "distinct visitor_id (the user, else the device) among these events, but for those of robots, where any has one",
        ),
        Metric("sessionless_events", CHAIN_DATE, "events of a session key that make no session, since none is a user's"),
        Metric("orphan_events", CHAIN_DATE, "pings that no session ping takes"),
        Metric("keyless_events", EVENT_DATE, "accepted events without a session key, test events too: they are in no session"),
        Metric("robot_events", EVENT_DATE, "accepted events of robots and programs (is_robot), where there are any"),
        Metric("robot_sessions", SESSION_DATE, "sessions of robots and programs (is_robot), where there are any"),
        Metric("sessions", SESSION_DATE, "sessions", dimensions=("all", "session_kind")),
        Metric("median_session_duration", SESSION_DATE, f"discrete median of session_duration; {_WITH_DURATION}", "ms"),
        Metric("p95_session_duration", SESSION_DATE, f"discrete 95th percentile of session_duration; {_WITH_DURATION}", "ms"),
        Metric("timespent_per_session", SESSION_DATE, "timespent / sessions that have one, but for those of robots", "s"),
        Metric("pageviews_per_session", SESSION_DATE, "pageviews / sessions, but for those of robots"),
        Metric("interactions_per_session", SESSION_DATE, "interactions / sessions, but for those of robots"),
        Metric("reported_mismatch_rate", SESSION_DATE, "sessions flagged reported_mismatch / sessions with a client's own summary"),
        Metric("records", LANDING_DATE, "records landed in files that could be read"),
        Metric("accepted_rate", LANDING_DATE, "(accepted + duplicates) / records"),
        Metric("rejected_rate", LANDING_DATE, "rejected / records"),
        Metric("rejected", LANDING_DATE, "refused records", dimensions=("all", "reason")),
        Metric("duplicate_rate", LANDING_DATE, "duplicates / (accepted + duplicates)"),
        Metric(
            "late_rate",
            LANDING_DATE,
            "accepted events flagged late (they landed more than time.late_after_hours after they happened) / accepted events",
        ),
        Metric("unreadable_files", LANDING_DATE, "landed files that could not be read"),
    )
}


def with_definition(name: str) -> str:
    """The name of a metric, followed by its definition; any other name as it is."""
    return f"{name}: {METRICS[name].definition}" if name in METRICS else name

"""The metrics of `daily_metrics`: what each counts, by which date, in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EVENT_DATE = "event_date"
SESSION_DATE = "session_date"
LANDING_DATE = "landing_date"
CHAIN_DATE = "event_date of events without a session"


@dataclass(frozen=True)
class Metric:
    """One metric: a family of metrics is worked out together, for the dates that a night touches."""

    name: str
    family: str
    definition: str
    unit: str = ""
    dimensions: tuple[str, ...] = ("all",)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("events", EVENT_DATE, "accepted events, but for test events (flag canary)", dimensions=("all", "event_type")),
        Metric("users", EVENT_DATE, "distinct user_id among these events"),
        Metric("devices", EVENT_DATE, "distinct device_id among these events"),
        Metric("sessionless_events", CHAIN_DATE, "events of a session key that make no session, since none is a user's"),
        Metric("orphan_events", CHAIN_DATE, "pings that no session ping takes"),
        Metric("sessions", SESSION_DATE, "sessions", dimensions=("all", "session_kind")),
        Metric("median_session_duration", SESSION_DATE, "discrete median of session_duration; denominator: sessions that have one", "ms"),
        Metric(
            "p95_session_duration", SESSION_DATE, "discrete 95th percentile of session_duration; denominator: sessions that have one", "ms"
        ),
        Metric("timespent_per_session", SESSION_DATE, "timespent / sessions that have one", "s"),
        Metric("pageviews_per_session", SESSION_DATE, "pageviews / sessions"),
        Metric("interactions_per_session", SESSION_DATE, "interactions / sessions"),
        Metric("reported_mismatch_rate", SESSION_DATE, "sessions flagged reported_mismatch / sessions with a client's own summary"),
        Metric("records", LANDING_DATE, "records landed in files that could be read"),
        Metric("accepted_rate", LANDING_DATE, "(accepted + duplicates) / records"),
        Metric("rejected_rate", LANDING_DATE, "rejected / records"),
        Metric("rejected", LANDING_DATE, "refused records", dimensions=("all", "reason")),
        Metric("duplicate_rate", LANDING_DATE, "duplicates / (accepted + duplicates)"),
        Metric("late_rate", LANDING_DATE, "accepted events that landed more than 24 h after they happened / accepted events"),
        Metric("unreadable_files", LANDING_DATE, "landed files that could not be read"),
    )
}

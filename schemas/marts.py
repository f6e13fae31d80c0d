"""The contracts of the marts, tables that answer questions, and of `visitor_days`, from which some of them are computed.

Robots and test events are in none of them. A comment of a rate or mean names its numerator and denominator.
"""

from __future__ import annotations

from schemas.events import RUN_ID
from schemas.table import BIGINT, BOOLEAN, DATE, DECIMAL, DOUBLE, INTEGER, STRING, Check, Column, Table, column

GRAINS = ("day", "week")
# How many periods after its first one a cohort is followed.
PERIODS = {"day": 28, "week": 12}


def _date(of: str) -> Column:
    return column("metric_date", DATE, of, required=True)


def _rate(name: str, comment: str) -> Column:
    """A share of something in something: between 0 and 1, null where the denominator is 0."""
    return column(name, DOUBLE, comment, minimum=0, maximum=1)


def _count(name: str, comment: str, *, unit: str | None = None) -> Column:
    return column(name, BIGINT, comment, unit=unit, required=True, minimum=0)


_SOURCE = column("source", STRING, "which of the landed formats", required=True, is_personal=False)

VISITOR_DAYS = Table(
    name="visitor_days",
    one_row_per="visitor and date (event_date) on which the visitor has an event",
    key=("source", "visit_date", "visitor_id"),
    partitioned_by=("visit_date", "source"),
    computed_from=("events",),
    columns=(
        _SOURCE,
        column("visit_date", DATE, "event_date of the visitor's events", required=True),
        column("visitor_id", STRING, "the user, else the device: see events", required=True),
        column("visitor_hash", BIGINT, "64-bit hash of visitor_id, by which a visitor's rows are found", required=True),
        column("first_date", DATE, "first date on which the visitor was ever seen", required=True),
        column("previous_date", DATE, "last date before this one on which the visitor was seen; null on the first one"),
        RUN_ID,
    ),
    checks=(
        Check(
            "a visitor without a previous date is there for the first time",
            "(previous_date IS NULL) = (first_date = visit_date) AND first_date <= coalesce(previous_date, visit_date)",
        ),
        Check("the previous date is before the visit", "previous_date < visit_date"),
    ),
)

ACTIVE_VISITORS = Table(
    name="active_visitors",
    one_row_per="date and source that had a visitor",
    key=("metric_date", "source"),
    partitioned_by=("metric_date",),
    computed_from=("visitor_days",),
    columns=(
        _date("the last date of the windows, by event_date"),
        _SOURCE,
        _count("visitors_1d", "different visitors of the date"),
        _count("visitors_7d", "different visitors of the 7 dates that end with it"),
        _count("visitors_28d", "different visitors of the 28 dates that end with it"),
        _count("new_visitors", "visitors of the date who were never seen before"),
        _count("returning_visitors", "visitors of the date who were seen on an earlier date: visitors_1d − new_visitors"),
        _rate("stickiness", "visitors_1d / visitors_28d"),
        column("visitors_7d_week_before", BIGINT, "visitors_7d of the date 7 days before; null if it is 0", minimum=1),
        column("week_over_week", DOUBLE, "visitors_7d / visitors_7d_week_before", minimum=0),
        RUN_ID,
    ),
    checks=(
        Check("visitors rise with the window", "visitors_1d <= visitors_7d AND visitors_7d <= visitors_28d"),
        Check("visitors are new or returning", "new_visitors + returning_visitors = visitors_1d"),
    ),
)

RETENTION = Table(
    name="retention",
    one_row_per="cohort of visitors who were first seen in the same day or week, and period since then that has begun",
    key=("source", "grain", "cohort_start", "period"),
    partitioned_by=("metric_date",),
    computed_from=("visitor_days",),
    columns=(
        _date("first day of the period: cohort_start + period days or weeks"),
        _SOURCE,
        column("grain", STRING, "length of a period; a week begins on Monday", required=True, values=GRAINS),
        column("cohort_start", DATE, "first day of the period in which the cohort was first seen", required=True),
        column("period", INTEGER, "periods since that one, which is 0: up to 28 days or 12 weeks", required=True, minimum=0, maximum=28),
        _count("cohort_size", "visitors who were first seen in the cohort's first period"),
        _count("visitors", "of these, how many were seen in this period"),
        _rate(
            "rate", "visitors / cohort_size; null until the period is over: until a file of its last date, or of a later one, has landed"
        ),
        RUN_ID,
    ),
    checks=(
        Check("no more visitors than the cohort has", "visitors <= cohort_size"),
        Check("all of a cohort are seen in its first period", "period > 0 OR visitors = cohort_size"),
        Check("a week begins on Monday", "grain = 'day' OR isodow(cohort_start) = 1"),
    ),
)

PAGES = Table(
    name="pages",
    one_row_per="date, source, environment and page",
    key=("metric_date", "source", "environment", "page"),
    partitioned_by=("metric_date",),
    computed_from=("events", "sessions"),
    columns=(
        _date("session_date; of load times the event_date"),
        _SOURCE,
        column("environment", STRING, "part of the application or wiki; empty for none", required=True),
        column("page", STRING, "page or screen", required=True),
        _count("views", "how often sessions opened the page"),
        _count("sessions", "sessions that opened it"),
        _count("visitors", "different visitors of these sessions"),
        column("timespent", DOUBLE, "time on the page, without idle time", unit="s", required=True, minimum=0),
        _count("entries", "sessions whose first page it was"),
        _count("exits", "sessions whose last page it was"),
        _count("bounces", "entries of sessions with one page view and no interaction"),
        _rate("bounce_rate", "bounces / entries"),
        _count("loads", "loads of the page with a load time"),
        column("load_p50", BIGINT, "discrete median of these load times", unit="ms", minimum=0),
        column("load_p95", BIGINT, "discrete 95th percentile of these load times", unit="ms", minimum=0),
        RUN_ID,
    ),
    checks=(
        Check("sessions open a page at least once", "sessions <= views AND visitors <= sessions"),
        Check("entries, exits and bounces are sessions of the page", "greatest(entries, exits) <= sessions AND bounces <= entries"),
        Check("percentiles rise", "load_p50 <= load_p95"),
    ),
)

PERFORMANCE = Table(
    name="performance",
    one_row_per="date, source, event name and version of the application, of which there is a measured value",
    key=("metric_date", "source", "event_name", "app_version"),
    partitioned_by=("metric_date",),
    computed_from=("events",),
    columns=(
        _date("event_date"),
        _SOURCE,
        column("event_name", STRING, "the source's own name of the event", required=True),
        column("app_version", STRING, "version of the application; empty if unknown", required=True),
        _count("count", "values: of events of type performance their value, of other events their load time in ms"),
        _count("sentinels", "events of the same name and version whose value is absent or a sentinel such as −1: they are in nothing else"),
        column("p50", DOUBLE, "discrete median of the values", required=True),
        column("p75", DOUBLE, "discrete 75th percentile", required=True),
        column("p95", DOUBLE, "discrete 95th percentile", required=True),
        column("p99", DOUBLE, "discrete 99th percentile", required=True),
        RUN_ID,
    ),
    checks=(
        Check("percentiles are of at least one value", "count > 0"),
        Check("percentiles rise", "p50 <= p75 AND p75 <= p95 AND p95 <= p99"),
    ),
)

TRANSACTIONS = Table(
    name="transactions",
    one_row_per="date, source, application and currency in which something was bought",
    key=("metric_date", "source", "app_id", "currency"),
    partitioned_by=("metric_date",),
    computed_from=("events",),
    columns=(
        _date("event_date"),
        _SOURCE,
        column("app_id", STRING, "application; empty if unknown", required=True),
        column("currency", STRING, "ISO 4217; empty for the application's own", required=True, is_personal=False),
        _count("transactions", "transaction events"),
        column("value", DECIMAL, "sum of their values; values of 10^18 or more are left out; null if none has a value"),
        _count("sessions", "different session keys of these events"),
        column("value_per_session", DECIMAL, "value / sessions, with about 15 significant digits"),
        RUN_ID,
    ),
    checks=(Check("a session has at least one transaction", "transactions > 0 AND sessions <= transactions"),),
)

ASSESSMENTS = Table(
    name="assessments",
    one_row_per="date, source, content and question",
    key=("metric_date", "source", "content_id", "question_id"),
    partitioned_by=("metric_date",),
    computed_from=("events",),
    columns=(
        _date("event_date"),
        _SOURCE,
        column("content_id", STRING, "content in which the question was asked; empty if unknown", required=True),
        column("question_id", STRING, "the question; empty if unknown", required=True),
        _count("attempts", "answers"),
        _count("passes", "answers that passed"),
        _rate("pass_rate", "passes / attempts"),
        column("score", DOUBLE, "sum of the scores of all attempts", required=True),
        column("max_score", DOUBLE, "sum of the highest scores that the attempts could have had", required=True),
        column("median_time", DOUBLE, "discrete median of the time for an answer", unit="s", minimum=0),
        RUN_ID,
    ),
    checks=(Check("no more passes than attempts", "passes <= attempts"),),
)

CONTENT_PLAYS = Table(
    name="content_plays",
    one_row_per="date, source and content that was played",
    key=("metric_date", "source", "content_id"),
    partitioned_by=("metric_date",),
    computed_from=("events", "workflow_summaries"),
    columns=(
        _date("event_date; of timespent the summary_date"),
        _SOURCE,
        column("content_id", STRING, "object of the play; empty if unknown", required=True),
        _count("plays", "START events of mode play"),
        _count("visitors", "different visitors of these events"),
        column("timespent", DOUBLE, "time_spent of the content's workflow summaries of mode play", unit="s", required=True, minimum=0),
        _count("completions", "END events of mode play"),
        column("completion_rate", DOUBLE, "completions / plays; above 1 where a play began on an earlier date", minimum=0),
        RUN_ID,
    ),
    checks=(Check("no more visitors than plays", "visitors <= plays"),),
)

HOMEPAGE = Table(
    name="homepage",
    one_row_per="date, source, wiki, route and kind of site",
    key=("metric_date", "source", "wiki", "route", "is_mobile"),
    partitioned_by=("metric_date",),
    computed_from=("events",),
    columns=(
        _date("event_date"),
        _SOURCE,
        column("wiki", STRING, "wiki; empty if unknown", required=True),
        column("route", STRING, "referer_route, by which the visitor came; empty if unknown", required=True, is_personal=False),
        column("is_mobile", BOOLEAN, "whether it was the mobile site; false too if a privacy rule drops that", required=True),
        _count("visits", "visits of the homepage"),
        _count("visitors", "different visitors"),
        _count("repeat_visits", "visits beyond the first one of each visitor: visits − visitors"),
        _count("edits_0", "visits of editors with no edit"),
        _count("edits_1_4", "visits of editors with 1 to 4 edits"),
        _count("edits_5_99", "visits of editors with 5 to 99 edits"),
        _count("edits_100_999", "visits of editors with 100 to 999 edits"),
        _count("edits_1000", "visits of editors with 1,000 edits or more"),
        _count("impact_activated", "visits with the impact module activated"),
        _count("impact_unactivated", "visits with the impact module unactivated"),
        _count("impact_notrendered", "visits without the impact module"),
        _count("email_noemail", "visits of editors without an e-mail address"),
        _count("email_unconfirmed", "visits of editors whose address is not confirmed"),
        _count("email_confirmed", "visits of editors whose address is confirmed"),
        _count("tutorial_complete", "visits of editors who have done the tutorial"),
        _count("userpage_complete", "visits of editors who have made their user page"),
        _count("startediting_complete", "visits of editors who have chosen what to edit"),
        RUN_ID,
    ),
    checks=(
        Check("visits are first or repeated", "visitors + repeat_visits = visits"),
        Check(
            "edits and module states are of visits",
            "edits_0 + edits_1_4 + edits_5_99 + edits_100_999 + edits_1000 <= visits"
            " AND impact_activated + impact_unactivated + impact_notrendered <= visits"
            " AND email_noemail + email_unconfirmed + email_confirmed <= visits",
        ),
    ),
)

EVENT_RATE = Table(
    name="event_rate",
    one_row_per="date, source and name of an event of a session",
    key=("metric_date", "source", "event_name"),
    partitioned_by=("metric_date",),
    computed_from=("sessions",),
    columns=(
        _date("session_date"),
        _SOURCE,
        column("event_name", STRING, "the source's own name of the event", required=True),
        _count("sessions_with", "sessions that have such an event"),
        _count("sessions", "all sessions of the date and source"),
        _rate("rate", "sessions_with / sessions"),
        RUN_ID,
    ),
    checks=(Check("no more sessions with an event than sessions", "sessions_with <= sessions"),),
)

FUNNELS = Table(
    name="funnels",
    one_row_per="funnel, date, source and step",
    key=("funnel", "metric_date", "source", "step"),
    partitioned_by=("metric_date",),
    computed_from=("session_events",),
    columns=(
        _date("session_date of the sessions with the first step"),
        _SOURCE,
        column("funnel", STRING, "name of the funnel: see funnels in the configuration", required=True, is_personal=False),
        column("step", INTEGER, "number of the step, from 1", required=True, minimum=1),
        column("step_name", STRING, "its name", required=True, is_personal=False),
        _count("sessions", "sessions with the first step from which this step was reached after all steps before it, in their order"),
        _count("visitors", "different visitors of these sessions"),
        _rate("conversion", "sessions / sessions of the first step; null until the window is over"),
        _rate("step_conversion", "sessions / sessions of the step before; 1 for the first one; null until the window is over"),
        column("median_ms", BIGINT, "discrete median of the time from the step before to this one; null for the first one", unit="ms"),
        RUN_ID,
    ),
    checks=(Check("no more visitors than sessions", "visitors <= sessions"),),
)

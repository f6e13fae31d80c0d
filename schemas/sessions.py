"""The contracts of `sessions`, `session_events`, `session_chains`, `workflow_summaries` and `workflow_chains`."""

from __future__ import annotations

from schemas.events import ENV_SUMMARY, EVENTS_SUMMARY, PAGE_SUMMARY, REPORTED, RUN_ID, SESSION_KINDS
from schemas.table import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    STRING,
    TIMESTAMP,
    Check,
    Expectation,
    Table,
    array_of,
    column,
    ordered,
    struct_of,
    with_meanings,
)


def _ms(seconds: str) -> str:
    """Seconds as whole milliseconds, as SQL."""
    return f"TRY_CAST(round({seconds} * 1000) AS BIGINT)"


def _spent(summary: str) -> str:
    """The sum of timespent over the entries of a summary, in ms, as SQL."""
    return f"coalesce(list_sum(list_transform({summary}, lambda entry: {_ms('coalesce(entry.timespent, 0)')})), 0)"


def _hundredths(seconds: str) -> str:
    """Seconds as whole hundredths of a second, as SQL."""
    return f"TRY_CAST(round({seconds} * 100) AS BIGINT)"


def _hundredths_of(summary: str) -> str:
    """The sum of time_spent over the entries of a workflow's summary, in hundredths of a second, as SQL."""
    return f"coalesce(list_sum(list_transform({summary}, lambda entry: {_hundredths('entry.time_spent')})), 0)"


def _date_of(ms: str) -> str:
    """The UTC date of epoch milliseconds, null outside the years 1 to 9999, as SQL."""
    return f"CASE WHEN {ms} BETWEEN -62135596800000 AND 253402300799999 THEN CAST(epoch_ms({ms}) AS DATE) END"


# The flags of a session, with what each means.
SESSION_FLAGS = {
    "clock_skew": "an event has this flag",
    "key_reused": "an earlier session has the same key, and a silence of more than 24 h lies between",
    "late": "an event is late, or its batch was sent late",
    "no_end": "sunbird: a keyed session has no event of type end",
    "overlong": "it lasts longer than 24 h",
    "reported_mismatch": "the client's own summary differs from what is computed",
    "time_replaced": "the client's time of an event is implausible, and the server's stands in its place",
    "value_out_of_sums": "a transaction of 10^18 or more is left out of transaction_value",
    "zero_length": "session_duration is 0",
}

# An event of a session, in one column: so a query that joins events, sessions and session_events may name their columns alone.
SESSION_EVENT = struct_of(
    event_time=TIMESTAMP,
    event_type=STRING,
    event_name=STRING,
    page=STRING,
    visitor_id=STRING,  # of the session
    is_robot=BOOLEAN,  # of the session
)

SESSIONS = Table(
    name="sessions",
    one_row_per="session, whole: one that crosses an hour, midnight or a run is one row",
    key=("session_id",),
    partitioned_by=("session_date", "source"),
    computed_from=("events",),
    columns=(
        # identity
        column(
            "session_id",
            STRING,
            "SHA-256 of source, key fields and the first event's event_id and landing_date",
            required=True,
            is_personal=False,
        ),
        column("session_key", STRING, "the client's own session id"),
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column(
            "session_kind",
            STRING,
            "reported by the client, keyed by its session id, or derived from gaps",
            required=True,
            values=SESSION_KINDS,
        ),
        # who
        column("user_id", STRING, "last user id that is not empty"),
        column("device_id", STRING, "first device id that is not empty"),
        column("visitor_id", STRING, "who is counted as a visitor: user_id, else device_id"),
        column("app_id", STRING, "first application id that is not empty"),
        column("app_version", STRING, "first application version that is not empty"),
        column("locale", STRING, "first locale that is not empty"),
        column("is_robot", BOOLEAN, "whether a robot or a program sent one of its events; null in rows of earlier versions"),
        # when
        column("start_time", TIMESTAMP, "time of the first user event", required=True),
        column("end_time", TIMESTAMP, "time of the last user event", required=True),
        column("session_date", DATE, "UTC date of start_time", required=True),
        column("session_duration", BIGINT, "end_time − start_time", unit="ms", minimum=0),
        column("timespent", DOUBLE, "time without idle gaps and background", unit="s", minimum=0),
        # what
        column("max_scroll_depth", BIGINT, "deepest scroll; null where the source has none", unit="px", minimum=0),
        column("pageviews", BIGINT, "page_view events (of a ping: 1)", required=True, minimum=0),
        column("interactions", BIGINT, "interaction events", required=True, minimum=0),
        column("events", BIGINT, "events of any kind (of a ping: 1 and those joined to it)", required=True, minimum=1),
        column("entry_page", STRING, "first page opened"),
        column("exit_page", STRING, "last page opened"),
        column("load_latency", BIGINT, "time to load the first page", unit="ms", minimum=0),
        column("load_reason", STRING, "why the page was loaded, as reported"),
        column("unload_reason", STRING, "why the page was left, as reported"),
        # summaries
        column("envsummary", ENV_SUMMARY, "per environment: seconds spent, times entered; sorted by env", required=True),
        column("eventssummary", EVENTS_SUMMARY, "per event_name: how many events of any kind; sorted by id", required=True),
        column("pagesummary", PAGE_SUMMARY, "per page: seconds spent, times opened; sorted by id and env", required=True),
        column("transactions", BIGINT, "transaction events", required=True, minimum=0),
        column(
            "transaction_value",
            array_of(struct_of(currency=STRING, value=DOUBLE)),
            "sum of transactions per currency (ISO 4217; null: the project's default)",
            required=True,
        ),
        column(
            "variables", array_of(struct_of(key=STRING, value=STRING)), "last value of each custom variable; sorted by key", required=True
        ),
        column("reported", REPORTED, "what the client's own summary said; null where it sent none"),
        column("flags", array_of(STRING), with_meanings("what is doubtful about the session, sorted", SESSION_FLAGS), required=True),
        RUN_ID,
    ),
    checks=(
        Check("session_date is the date of start_time", "session_date = CAST(start_time AS DATE)"),
        Check(
            "session_duration is end_time − start_time",
            "session_duration = epoch_ms(end_time) - epoch_ms(start_time) OR session_kind = 'reported'",
        ),
        Check("timespent is at most session_duration", "round(timespent * 1000) <= session_duration"),
        Check(
            "time in environments adds up to timespent",
            f"timespent IS NULL OR {_spent('envsummary')} = {_ms('timespent')}",
        ),
        Check(
            "time on pages is at most timespent",
            f"timespent IS NULL OR {_spent('pagesummary')} <= {_ms('timespent')}",
        ),
        Check(
            "eventssummary counts every event", "coalesce(list_sum(list_transform(eventssummary, lambda entry: entry.count)), 0) = events"
        ),
        Check("no more pageviews and interactions than events", "pageviews + interactions <= events"),
    ),
)

SESSION_EVENTS = Table(
    name="session_events",
    one_row_per="event that belongs to a session",
    key=("source", "event_id", "landing_date"),
    partitioned_by=("session_date", "source"),
    computed_from=("events",),
    columns=(
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column("event_id", STRING, "the event: see events", required=True),
        column("landing_date", DATE, "the event's landing date", required=True),
        column("session_id", STRING, "its session: see sessions", required=True, is_personal=False),
        column("sequence", BIGINT, "the event's place in the session, from 1", required=True, minimum=1),
        column("session_date", DATE, "the session's date", required=True),
        column("event", SESSION_EVENT, "what the event was, so that the steps of a session are read from this table alone"),
        RUN_ID,
    ),
)

SESSION_CHAINS = Table(
    name="session_chains",
    one_row_per="unbroken chain of events of one session key, whether or not it makes a session",
    key=("source", "key", "first_time", "chain_id"),
    partitioned_by=("chain_date", "source"),
    computed_from=("events",),
    columns=(
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column("chain_id", STRING, "SHA-256 of source, key and the chain's first event", required=True, is_personal=False),
        column("key", STRING, "session key of all its events: canonical JSON of its fields", required=True),
        column("key_hash", BIGINT, "64-bit hash of key, by which chains are found", required=True),
        column("kind", STRING, "how sessions of this key are made", required=True, values=SESSION_KINDS),
        column("first_time", TIMESTAMP, "earliest time that the chain covers", required=True),
        column("last_time", TIMESTAMP, "latest time that the chain covers", required=True),
        column("links", array_of(STRING), "session ids that its pings bear, sorted", required=True),
        column("landing_dates", array_of(DATE), "landing dates of its events, sorted", required=True),
        column("sessions", array_of(struct_of(session_id=STRING, session_date=DATE)), "its sessions, sorted", required=True),
        column(
            "unassigned",
            array_of(struct_of(event_date=DATE, count=BIGINT)),
            "events of the chain that no session holds, per event_date",
            required=True,
        ),
        column("chain_date", DATE, "UTC date of first_time", required=True),
        RUN_ID,
    ),
    checks=(ordered("a chain ends no earlier than it starts", "first_time", "last_time"),),
)

WORKFLOW_SUMMARIES = Table(
    name="workflow_summaries",
    one_row_per="span of a Sunbird workflow from its START to its END",
    key=("summary_id",),
    partitioned_by=("summary_date",),
    computed_from=("events",),
    columns=(
        column(
            "summary_id",
            STRING,
            "SHA-256 of did, channel, pdata_id, the first event's mid, start_time and the depth in the workflow",
            required=True,
        ),
        column("did", STRING, "device"),
        column("channel", STRING, "channel that produced the events"),
        column("pdata_id", STRING, "producer of the events"),
        column("sid", STRING, "session id of the first event"),
        column("uid", STRING, "actor of the first event"),
        column("object_id", STRING, "object of the first event"),
        column("object_type", STRING, "its type"),
        column("type", STRING, "type of the workflow, lower-cased", required=True),
        column("mode", STRING, "mode of the workflow", required=True),
        column("start_time", BIGINT, "time of the first event as sent", unit="epoch ms", required=True),
        column("end_time", BIGINT, "time of the last event as sent", unit="epoch ms", required=True),
        column("started_at", TIMESTAMP, "start_time; null outside the years 1 to 9999"),
        column("ended_at", TIMESTAMP, "end_time; null outside the years 1 to 9999"),
        column("time_diff", DOUBLE, "end_time − start_time", unit="s"),
        column("time_spent", DOUBLE, "time without idle gaps", unit="s", minimum=0),
        column("interact_events_count", BIGINT, "interactions of the counted types", minimum=0),
        column("interact_events_per_min", DOUBLE, "interactions a minute of time_spent", minimum=0),
        column(
            "env_summary", array_of(struct_of(env=STRING, time_spent=DOUBLE, count=BIGINT)), "per environment: seconds spent, times entered"
        ),
        column("events_summary", array_of(struct_of(id=STRING, count=BIGINT)), "per event name: how many events"),
        column(
            "page_summary",
            array_of(struct_of(id=STRING, type=STRING, env=STRING, time_spent=DOUBLE, visit_count=BIGINT)),
            "per page: seconds spent, times opened",
        ),
        column("item_responses", STRING, "assessments answered in the workflow, JSON array"),
        column("parent_type", STRING, "type of the enclosing workflow; null for a root"),
        column("summary_date", DATE, "UTC date of start_time; null outside the years 1 to 9999"),
        RUN_ID,
    ),
    checks=(
        Check("summary_date is the date of start_time", f"summary_date IS NOT DISTINCT FROM {_date_of('start_time')}"),
        Check(
            "time_spent is more than 0",
            "time_spent > 0",
            expectation=Expectation("expect_column_values_to_be_between", {"column": "time_spent", "min_value": 0, "strict_min": True}),
        ),
        Check(
            "time in environments adds up to time_spent",
            f"{_hundredths_of('env_summary')} = {_hundredths('time_spent')}",
        ),
        Check("time on pages is at most time_spent", f"{_hundredths_of('page_summary')} <= {_hundredths('time_spent')}"),
    ),
)

WORKFLOW_CHAINS = Table(
    name="workflow_chains",
    one_row_per="unbroken chain of events of one workflow group, whether or not it makes a summary",
    key=("key", "first_ets", "chain_id"),
    partitioned_by=("chain_date",),
    computed_from=("events",),
    columns=(
        column("chain_id", STRING, "SHA-256 of key and the chain's first event", required=True, is_personal=False),
        column(
            "key", STRING, "group of all its events: canonical JSON of did, channel, pdata_id (without did, of the UTC day)", required=True
        ),
        column("key_hash", BIGINT, "64-bit hash of key, by which chains are found", required=True),
        column("first_ets", BIGINT, "time of its first event as sent", unit="epoch ms", required=True),
        column("last_ets", BIGINT, "time of its last event as sent", unit="epoch ms", required=True),
        column("landing_dates", array_of(DATE), "landing dates of its events, sorted", required=True),
        column("summaries", array_of(struct_of(summary_id=STRING, summary_date=DATE)), "its workflow summaries, sorted", required=True),
        column("chain_date", DATE, "UTC date of first_ets; null outside the years 1 to 9999"),
        RUN_ID,
    ),
    checks=(ordered("a chain ends no earlier than it starts", "first_ets", "last_ets"),),
)

"""The contracts of the tables with one row per landed record: `events`, `duplicate_events`, `rejected_events`."""

from __future__ import annotations

from schemas.table import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    STRING,
    TIMESTAMP,
    Check,
    Column,
    Table,
    array_of,
    column,
    ordered,
    struct_of,
    with_meanings,
)

# The values of event_type, with what each means.
EVENT_TYPE_MEANINGS = {
    "session": "a client's own session ping or summary",
    "start": "an application, a course or a piece of content begins",
    "end": "it ends",
    "foreground": "the application comes to the foreground",
    "background": "it goes to the background",
    "page_view": "a page or screen is opened",
    "interaction": "a touch, a click or a gesture",
    "performance": "a measured value",
    "transaction": "something is bought",
    "assessment": "a question is answered and scored",
    "response": "an answer is chosen",
    "interrupt": "the session is interrupted or goes on",
    "feedback": "a rating or comment",
    "share": "something is shared",
    "audit": "an object changes its state",
    "error": "an error",
    "heartbeat": "a sign of life",
    "log": "an entry of a log",
    "search": "a search",
    "metrics": "metrics of a service",
    "external_data": "data of another system",
    "variable": "a custom variable is set",
    "other": "a kind that the format does not name, or a test event",
}
EVENT_TYPES = tuple(EVENT_TYPE_MEANINGS)
# The flags of an event, with the source that has them, if it is one, and what each means.
EVENT_FLAGS = {
    "canary": "homepagevisit: a test event",
    "clock_skew": "contentsquare: the batch was sent more than 24 h after its arrival, or the event happened after the batch was sent",
    "duration_implausible": "sunbird: the duration is not within 0 to 86,400 s, and duration_ms is null",
    "ets_in_seconds": "sunbird: the time was sent in seconds, in place of milliseconds",
    "late": "it landed too long after event_time: see time.late_after_hours",
    "score_out_of_range": "sunbird: a score outside 0 to 1",
    "sent_late": "contentsquare: the batch was sent more than 24 h before its arrival",
    "time_replaced": "client_time is implausible or not representable, and event_time is received_time",
    "unknown_version": "homepagevisit: the record names a version of its schema that is not known",
    "value_out_of_sums": "value is 10^18 or more, and is left out of sums",
}
TIME_SOURCES = ("client", "received")
DEVICE_CLASSES = ("desktop", "phone", "tablet", "robot", "other")
SESSION_KINDS = ("reported", "keyed", "derived")
# What the column raw of a refused record holds, by the setting privacy.raw.
RAW_FORMS = {"keep": "landed", "redact": "masked", "encrypt": "encrypted", "drop": "dropped"}
# The check that fails for rows without bytes.
RAW_IS_KEPT = "a refused record is kept"
REASONS = ("invalid_json", "not_an_object", "schema_violation", "too_large")

ENV_SUMMARY = array_of(struct_of(env=STRING, timespent=DOUBLE, visits=BIGINT))
EVENTS_SUMMARY = array_of(struct_of(id=STRING, count=BIGINT))
PAGE_SUMMARY = array_of(struct_of(id=STRING, type=STRING, env=STRING, timespent=DOUBLE, visits=BIGINT))
REPORTED = struct_of(
    timespent=DOUBLE,
    pageviews=BIGINT,
    interactions=BIGINT,
    start_time=TIMESTAMP,
    end_time=TIMESTAMP,
    envsummary=ENV_SUMMARY,
    eventssummary=EVENTS_SUMMARY,
    pagesummary=PAGE_SUMMARY,
)
# The fields of an event that the rules of sessions (docs/rules/sessions.md) read. The mapping of its source computes them, so the
# rules do not depend on the source. An event whose `key` is null belongs to no session.
SESSION_INPUT = struct_of(
    key=STRING,  # the session key: canonical JSON of the list of its fields
    kind=STRING,  # one of SESSION_KINDS
    user=BOOLEAN,  # a user event: time after it counts, and a chain with one is a session
    pauses=BOOLEAN,  # the gap directly after it counts 0
    expects_end=BOOLEAN,  # sessions of this key are expected to close with an event of type end
    page_type=STRING,
    tab=STRING,  # pings: the browser tab
    link=STRING,  # pings: the client's own session id
    load_latency=BIGINT,  # ms
    load_reason=STRING,
    unload_reason=STRING,
    max_scroll_depth=BIGINT,  # px
    currency=STRING,  # ISO 4217, of a transaction
    variable_key=STRING,
    variable_value=STRING,
    reported=REPORTED,  # the numbers of the client's own summary
    reported_rank=INTEGER,  # the type of the summary, best first: 0 session, 1 app, 2 any other
)
# The same fields as stored in `events`. `reported` is JSON there, because Spark reads lists of structs slowly, even null ones.
STORED_SESSION_INPUT = struct_of(**{part.name: STRING if part.name == "reported" else part.type for part in SESSION_INPUT})

# The fields of an event that the rules of workflow summaries (docs/rules/workflows.md) read, in addition to its columns. Null for an
# event that is in no workflow.
WORKFLOW_INPUT = struct_of(
    key=STRING,  # the group: canonical JSON of did, channel and pdata_id, and without a did also of the UTC day
    ets=BIGINT,  # when it happened, as the client sent it, epoch ms
    uid=STRING,  # the actor
    object_id=STRING,
    object_type=STRING,
    type=STRING,
    mode=STRING,
    item=STRING,  # of an assessment: its entry in item_responses, JSON
)

LANDING: tuple[Column, ...] = (
    column("landing_date", DATE, "date of arrival, UTC, from the landing path", required=True),
    column("landing_hour", INTEGER, "hour of arrival, UTC; null where the path has none", minimum=0, maximum=23),
    column("file", STRING, "path of the landed file from the landing root", required=True),
    column("record", BIGINT, "line in the file, from 1, blank ones counted", required=True, minimum=1),
    column("position", INTEGER, "place within the line's batch or array, from 0", required=True, minimum=0),
)
# The columns by which landed records are ordered, earliest first: a null hour before any hour, text by its bytes.
LANDING_ORDER = tuple(column.name for column in LANDING)
RUN_ID = column("run_id", STRING, "run that wrote the row: see runs", required=True, is_personal=False)

_EVENT_COLUMNS: tuple[Column, ...] = (
    # what
    column("source", STRING, "which of the landed formats", required=True, is_personal=False),
    column("event_id", STRING, "the record's own id, else a hash of its content", required=True),
    column("event_type", STRING, with_meanings("the unified verb", EVENT_TYPE_MEANINGS), required=True, values=EVENT_TYPES),
    column("event_name", STRING, "the source's own name of the event", required=True),
    column("format_version", STRING, "version of the format, as the record says"),
    # when
    column("event_time", TIMESTAMP, "when it happened: client_time where plausible, else received_time", required=True),
    column("event_date", DATE, "UTC date of event_time", required=True),
    column("client_time", TIMESTAMP, "when it happened, as the client said"),
    column("received_time", TIMESTAMP, "when a server received it; the landing hour where none said", required=True),
    column("time_source", STRING, "which of the two event_time is", required=True, values=TIME_SOURCES),
    # who
    column("user_id", STRING, "signed-in user, where the source has one"),
    column("device_id", STRING, "device or installation"),
    column("visitor_id", STRING, "who is counted as a visitor: user_id, else device_id"),
    column("session_key", STRING, "the client's own session id"),
    # where
    column("app_id", STRING, "application that sent it"),
    column("app_version", STRING, "its version"),
    column("environment", STRING, "part of the application or wiki in which it happened"),
    column("page", STRING, "page or screen"),
    column("page_title", STRING, "its title"),
    column("target_id", STRING, "what it was done to"),
    column("target_type", STRING, "kind of the target"),
    column("locale", STRING, "language of the client"),
    column("os", STRING, "operating system"),
    column("os_version", STRING, "its version: the first two numbers"),
    column("browser", STRING, "browser or program that sent it, of the user agent"),
    column("browser_version", STRING, "its version: the first two numbers"),
    column("device_class", STRING, "kind of device: as the source says, else of the user agent", values=DEVICE_CLASSES),
    column("device_model", STRING, "make and model"),
    column("is_robot", BOOLEAN, "whether the user agent is that of a robot or a program; null in rows of earlier versions"),
    # how much
    column("value", DOUBLE, "the event's own number: a score, a rating, an amount, a measured value"),
    column("duration_ms", BIGINT, "the event's own duration", unit="ms", minimum=0),
    # verbatim
    column("properties", STRING, "the event's own part, verbatim, canonical JSON by the rules of conf/privacy.yaml", required=True),
    column(
        "context", STRING, "the rest of the record and of its batch header, canonical JSON by the rules of conf/privacy.yaml", required=True
    ),
    column("flags", array_of(STRING), with_meanings("what is doubtful about the row, sorted", EVENT_FLAGS), required=True),
    *LANDING,
    # for the next steps
    column("event_hash", BIGINT, "64-bit hash of event_id, by which copies are found", required=True),
    column("session_input", STORED_SESSION_INPUT, "what the session rules read of the event; reported is JSON"),
    column("workflow_input", WORKFLOW_INPUT, "what the rules of workflow summaries read of the event; null where it is no part of any"),
    RUN_ID,
)

EVENTS = Table(
    name="events",
    one_row_per="accepted event, after deduplication",
    key=("source", "event_id", "landing_date"),
    partitioned_by=("landing_date", "source"),
    sorted_by=("event_date",),
    computed_from=("landed files",),
    columns=_EVENT_COLUMNS,
    checks=(
        Check("event_date is the date of event_time", "event_date = CAST(event_time AS DATE)"),
        Check(
            "event_time is the time that time_source names",
            "event_time = CASE time_source WHEN 'client' THEN client_time ELSE received_time END",
        ),
        Check("received_time is not before 2000", "received_time >= TIMESTAMP '2000-01-01' OR landing_date < DATE '2000-01-01'"),
    ),
)

DUPLICATE_EVENTS = Table(
    name="duplicate_events",
    one_row_per="valid record that repeats an event landed at most the window of days before it",
    key=("source", "file", "record", "position"),
    partitioned_by=("landing_date", "source"),
    sorted_by=("event_date",),
    computed_from=("landed files",),
    columns=(
        *_EVENT_COLUMNS,
        column("earlier_landing_date", DATE, "landing date of the copy directly before this one", required=True),
        column("earlier_landing_hour", INTEGER, "its landing hour", minimum=0, maximum=23),
        column("earlier_file", STRING, "its file", required=True),
        column("earlier_record", BIGINT, "its line", required=True, minimum=1),
        column("earlier_position", INTEGER, "its place within the line", required=True, minimum=0),
    ),
    checks=(ordered("the earlier copy did not land later", "earlier_landing_date", "landing_date"),),
)

REJECTED_EVENTS = Table(
    name="rejected_events",
    one_row_per="landed record that was refused",
    key=("source", "landing_date", "file", "record", "position"),
    partitioned_by=("landing_date", "source"),
    computed_from=("landed files",),
    columns=(
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        *LANDING,
        column("reason", STRING, "why it was refused", required=True, values=REASONS),
        column("path", STRING, "JSON Pointer to what is wrong; empty for the record as a whole", required=True),
        column("detail", STRING, "the rule that failed; never a value", required=True),
        column(
            "raw",
            BINARY,
            "the record byte for byte (of a batch or array: that element, canonical; of a too large one its first 64 KiB), by raw_form;"
            " null once it is older than retention.raw",
        ),
        column(
            "raw_form",
            STRING,
            "what raw is: landed; masked (an asterisk for each byte that a rule of conf/privacy.yaml matches); encrypted (a sealed box of"
            " libsodium, to the key of privacy.raw_key_file); or dropped. Null in rows of earlier versions, which are as landed",
            values=tuple(RAW_FORMS.values()),
        ),
        column("raw_length", BIGINT, "length of the record before any cut", unit="bytes", required=True, minimum=0),
        column("raw_sha256", STRING, "SHA-256 of the record before any cut, hexadecimal", required=True, is_personal=False),
        RUN_ID,
    ),
    checks=(
        # This holds for the rows that a night writes. Maintenance sets raw to null after retention.raw days.
        Check(
            RAW_IS_KEPT,
            "raw IS NOT NULL OR raw_form IS NOT DISTINCT FROM 'dropped'",
        ),
        Check(
            "raw is whole unless too large",
            "raw_form IS NOT DISTINCT FROM 'encrypted' OR octet_length(raw) = raw_length OR reason = 'too_large'",
        ),
    ),
)

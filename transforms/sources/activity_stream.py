"""Mozilla Activity Stream: validate pings, and map them to `events`.

Rules: docs/rules/sources.md, "Activity Stream"; docs/rules/sessions.md, "Sessions from pings".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.documents.fields import identifier, integer, number, text, unless_minus_one
from transforms.documents.json_documents import canonical, with_batch
from transforms.documents.refusal import Refusal
from transforms.documents.validation import compiled, first_violation
from transforms.ingest.source import Batch, Columns, Document, Record, Source
from transforms.times import epoch_ms, rfc3339_ms

_BATCH = "activity_stream/batch.json"
_BATCH_MARK = "batch-mode"
_BATCH_LIST = "payloads"

_SESSION = "activity_stream_session"
_EVENT = "activity_stream_event"
# The type by action. A ping of any other action is `other`.
_EVENT_TYPES = {
    _SESSION: "session",
    _EVENT: "interaction",
    "activity_stream_user_event": "interaction",
    "activity_stream_performance": "performance",
    "activity_stream_performance_event": "performance",
}
_SCHEMA_FILES = {action: action.replace("activity_stream_", "activity_stream/") + ".json" for action in _EVENT_TYPES}
_SHARED_SCHEMA = "activity_stream/ping.json"
_OTHER_SCHEMA = "activity_stream/other.json"
# The type of an activity_stream_event by its lower-cased `event`. Any other `event` is an interaction.
_VERBS = {"search": "search", "share": "share"}


def open_batch(document: Document) -> Batch | Refusal | None:
    """The pings of a batch; None for a single ping. A batch has `batch-mode` true. One without a list of pings is refused."""
    if document.get(_BATCH_MARK) is not True:
        return None
    violation = first_violation(compiled(_BATCH), document)
    if violation is not None:
        return violation
    header = {name: value for name, value in document.items() if name != _BATCH_LIST}
    return Batch(header, document[_BATCH_LIST], _BATCH_LIST)


def join_header(header: Document, ping: Document) -> Document:
    """A ping with the keys of its batch's header, which override its own.

    `batch-mode` is left out. So a ping that is sent alone and again in a batch is one event.
    """
    joined = ping | header
    joined.pop(_BATCH_MARK, None)
    return joined


def refusal(record: Record) -> Refusal | None:
    """The reason for refusing a ping; None for a valid one."""
    action = record.document.get("action")
    schema_file = _SCHEMA_FILES.get(action, _OTHER_SCHEMA) if type(action) is str else _OTHER_SCHEMA
    return first_violation(compiled(schema_file), record.document)


def columns(records: Sequence[Record]) -> Columns:
    """Map valid pings to columns of `events`, one value per ping.

    Pings have no id of their own, because all pings of a request share one `event_id`. They have no time by the client's clock.
    """
    pings = [record.document for record in records]
    event_types = [_event_type(ping) for ping in pings]
    return {
        # what
        "event_id": [None] * len(pings),
        "event_type": event_types,
        "event_name": [_event_name(ping) for ping in pings],
        "format_version": [_text_or_digits(ping.get("ver")) for ping in pings],
        # when
        "client_ms": [None] * len(pings),
        "received_ms": [_received_ms(ping) for ping in pings],
        # who
        "device_id": [identifier(ping.get("client_id")) for ping in pings],
        "session_key": [identifier(ping.get("session_id")) for ping in pings],
        # where
        "app_id": ["activity_stream"] * len(pings),
        "app_version": [text(ping.get("addon_version")) for ping in pings],
        "page": [identifier(ping.get("page")) for ping in pings],
        "target_id": [identifier(ping.get("url")) for ping in pings],
        "target_type": [text(ping.get("source")) for ping in pings],
        "locale": [text(ping.get("locale")) for ping in pings],
        "user_agent": [text(ping.get("ua")) for ping in pings],
        # how much
        "value": [_value(*pair) for pair in zip(pings, event_types, strict=True)],
        "duration_ms": [_measure(ping.get("session_duration")) for ping in pings],
        # verbatim
        "properties": [record.item for record in records],
        "context": [with_batch({}, record.header) for record in records],
        "flags": [()] * len(pings),
        "session_input": _session_input(pings, event_types),
    }


def _session_input(pings: Sequence[Document], event_types: Sequence[str]) -> Columns:
    """The fields that the session rules read. One session ping is one session, which the client's other pings join."""
    is_session = [event_type == "session" for event_type in event_types]
    sessions = [ping if is_one else {} for ping, is_one in zip(pings, is_session, strict=True)]
    return {
        "kind": ["reported"] * len(pings),
        "key": [_session_key(*pair) for pair in zip(pings, event_types, strict=True)],
        "user": is_session,
        "tab": [_text_or_digits(ping.get("tab_id")) for ping in pings],
        "link": [_link(ping.get("session_id")) for ping in pings],
        "load_latency": [unless_minus_one(integer(ping.get("load_latency"))) for ping in sessions],
        "load_reason": [text(ping.get("load_reason")) for ping in sessions],
        "unload_reason": [text(ping.get("unload_reason")) for ping in sessions],
        "max_scroll_depth": [unless_minus_one(integer(ping.get("max_scroll_depth"))) for ping in sessions],
    }


def _event_type(ping: Document) -> str:
    event_type = _EVENT_TYPES.get(ping["action"], "other")
    return _VERBS.get(ping["event"].lower(), event_type) if ping["action"] == _EVENT else event_type


def _event_name(ping: Document) -> str:
    """The ping's `event` if pings of its action have one, else the action."""
    action: str = ping["action"]
    has_event = action in _EVENT_TYPES and action != _SESSION
    return ping["event"] if has_event else action


def _received_ms(ping: Document) -> int | None:
    """The time of receipt: `timestamp`, else `receive_at`. A malformed one counts as absent."""
    timestamp = _server_time_ms(ping.get("timestamp"))
    return _server_time_ms(ping.get("receive_at")) if timestamp is None else timestamp


def _server_time_ms(value: Any) -> int | None:
    """Epoch milliseconds, from a number of them or from "YYYY-MM-DD HH:MM:SS" in UTC."""
    if type(value) is str:
        return rfc3339_ms(f"{value[:10]}T{value[11:]}Z") if len(value) == 19 and value[10] == " " else None
    return epoch_ms(value)


def _value(ping: Document, event_type: str) -> float | None:
    """The value of a ping if it is a number, else None. That of a performance ping is rounded."""
    value = ping.get("value")
    return number(_measure(value) if event_type == "performance" else value)


def _measure(value: Any) -> int | None:
    """A number, rounded, if it is in [0, 2^31); None for any other value."""
    rounded = integer(value)
    return rounded if rounded is not None and 0 <= rounded < 2**31 else None


def _session_key(ping: Document, event_type: str) -> str | None:
    """The session key: the client. Pings with an action of type `other` have none and join no session."""
    return None if event_type == "other" else canonical([ping["client_id"]]).decode()


def _link(session_id: Any) -> str | None:
    """The session id by which pings join a session, without braces and in lower case."""
    link = identifier(session_id)
    return None if link is None else identifier(link.removeprefix("{").removesuffix("}").lower())


def _text_or_digits(value: Any) -> str | None:
    """A text as it is, and a number in decimal digits: 5, 5.0 and "5" are the same tab."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return str(value) if type(value) is int or type(value) is float else identifier(value)


SOURCE = Source(
    name="activity_stream",
    version=2,
    schema_files=(_BATCH, _SHARED_SCHEMA, *_SCHEMA_FILES.values(), _OTHER_SCHEMA),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
    properties_at=(),
    list_name=_BATCH_LIST,
    personal_fields=("/ip", "/ua"),
    ids={"device_id": ("/client_id", "/batch/client_id"), "session_key": ("/session_id", "/batch/session_id")},
)

"""Mozilla Activity Stream pings: which are valid, and how one maps to `events`.

Rules: the sources' text, section 1; the sessions' text, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.documents import canonical, with_batch
from transforms.fields import identifier, integer, number, reported, text
from transforms.source import Batch, Columns, Document, Record, Refusal, Source
from transforms.times import epoch_ms, rfc3339_ms
from transforms.validation import compiled, first_violation

_BATCH = "activity_stream/batch.json"
_BATCH_MARK = "batch-mode"
_BATCH_LIST = "payloads"

_SESSION = "activity_stream_session"
_EVENT = "activity_stream_event"
# By action; any other one of Activity Stream is `other`.
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
# What an activity_stream_event is by its `event`, lower-cased; an interaction by any other.
_VERBS = {"search": "search", "share": "share"}


def open_batch(document: Document) -> Batch | Refusal | None:
    """The pings of a batch: what bears `batch-mode` true is one, and refused where it has no list of them."""
    if document.get(_BATCH_MARK) is not True:
        return None
    violation = first_violation(compiled(_BATCH), document)
    if violation is not None:
        return violation
    header = {name: value for name, value in document.items() if name != _BATCH_LIST}
    return Batch(header, document[_BATCH_LIST], _BATCH_LIST)


def join_header(header: Document, ping: Document) -> Document:
    """A ping with the outer keys of its batch, which win.

    The mark of a batch is no part of a ping: one that is sent alone and again in a batch is the same.
    """
    joined = ping | header
    joined.pop(_BATCH_MARK, None)
    return joined


def refusal(record: Record) -> Refusal | None:
    """Why a ping is refused; None for a valid one."""
    action = record.document.get("action")
    schema_file = _SCHEMA_FILES.get(action, _OTHER_SCHEMA) if type(action) is str else _OTHER_SCHEMA
    return first_violation(compiled(schema_file), record.document)


def columns(records: Sequence[Record]) -> Columns:
    """Map valid pings to columns of `events`, one row per ping.

    Pings have no id of their own (`event_id` is shared by the pings of one request), and no time by the client's clock.
    """
    pings = [record.document for record in records]
    event_types = [_event_type(ping) for ping in pings]
    return {
        # what
        "event_id": [None] * len(pings),
        "event_type": event_types,
        "event_name": [_event_name(ping) for ping in pings],
        "format_version": [_spelled(ping.get("ver")) for ping in pings],
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
    """What the session rules read: a session is one session ping, which the client's other pings join."""
    is_session = [event_type == "session" for event_type in event_types]
    sessions = [ping if reports else {} for ping, reports in zip(pings, is_session, strict=True)]
    return {
        "kind": ["reported"] * len(pings),
        "key": [_session_key(*pair) for pair in zip(pings, event_types, strict=True)],
        "user": is_session,
        "tab": [_spelled(ping.get("tab_id")) for ping in pings],
        "link": [_link(ping.get("session_id")) for ping in pings],
        "load_latency": [reported(integer(ping.get("load_latency"))) for ping in sessions],
        "load_reason": [text(ping.get("load_reason")) for ping in sessions],
        "unload_reason": [text(ping.get("unload_reason")) for ping in sessions],
        "max_scroll_depth": [reported(integer(ping.get("max_scroll_depth"))) for ping in sessions],
    }


def _event_type(ping: Document) -> str:
    event_type = _EVENT_TYPES.get(ping["action"], "other")
    return _VERBS.get(ping["event"].lower(), event_type) if ping["action"] == _EVENT else event_type


def _event_name(ping: Document) -> str:
    """The ping's `event`, where its action is one that has it, else the action."""
    action: str = ping["action"]
    has_event = action in _EVENT_TYPES and action != _SESSION
    return ping["event"] if has_event else action


def _received_ms(ping: Document) -> int | None:
    """When the server received a ping: `timestamp`, else `receive_at`; one that is not well-formed counts as absent."""
    timestamp = _server_time_ms(ping.get("timestamp"))
    return _server_time_ms(ping.get("receive_at")) if timestamp is None else timestamp


def _server_time_ms(value: Any) -> int | None:
    """Epoch milliseconds from a number of them or from "YYYY-MM-DD HH:MM:SS", which is UTC."""
    if type(value) is str:
        return rfc3339_ms(f"{value[:10]}T{value[11:]}Z") if len(value) == 19 and value[10] == " " else None
    return epoch_ms(value)


def _value(ping: Document, event_type: str) -> float | None:
    """The measured value rounded as its bounds are; that of other pings as it is, where it is a number at all."""
    value = ping.get("value")
    return number(_measure(value) if event_type == "performance" else value)


def _measure(value: Any) -> int | None:
    """A number that rounds into [0, 2^31), rounded; the schema refuses others where it knows the action."""
    rounded = integer(value)
    return rounded if rounded is not None and 0 <= rounded < 2**31 else None


def _session_key(ping: Document, event_type: str) -> str | None:
    """Pings are joined within their client; those of unnamed actions join nothing."""
    return None if event_type == "other" else canonical([ping["client_id"]]).decode()


def _link(session_id: Any) -> str | None:
    """The session id by which pings find their session: the same with or without braces, in either case of letters."""
    link = identifier(session_id)
    return None if link is None else identifier(link.removeprefix("{").removesuffix("}").lower())


def _spelled(value: Any) -> str | None:
    """A name as it is, or a number in decimal digits: 5, 5.0 and "5" are the same tab."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return str(value) if type(value) is int or type(value) is float else identifier(value)


SOURCE = Source(
    name="activity_stream",
    version=1,
    schema_files=(_BATCH, _SHARED_SCHEMA, *_SCHEMA_FILES.values(), _OTHER_SCHEMA),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
)

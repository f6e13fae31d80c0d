"""Sunbird Telemetry V3: validate events, and map them to `events`.

Rules: docs/rules/sources.md, "Sunbird"; docs/rules/sessions.md, "Keys and silences" and "User events".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transforms.documents.fields import identifier, integer, mapping, mappings, number, text, unless_minus_one
from transforms.documents.json_documents import canonical, with_batch
from transforms.documents.refusal import Refusal
from transforms.documents.validation import compiled, first_violation
from transforms.ingest.source import Batch, Columns, Document, Record, Source
from transforms.privacy.secret_names import SHIPPED_NAMES
from transforms.times import DAY_MS, epoch_ms, epoch_seconds_ms, rfc3339_ms, round_half_away

EVENT_TYPES: Mapping[str, str] = {
    "START": "start",
    "IMPRESSION": "page_view",
    "INTERACT": "interaction",
    "ASSESS": "assessment",
    "RESPONSE": "response",
    "INTERRUPT": "interrupt",
    "FEEDBACK": "feedback",
    "SHARE": "share",
    "AUDIT": "audit",
    "ERROR": "error",
    "HEARTBEAT": "heartbeat",
    "LOG": "log",
    "SEARCH": "search",
    "METRICS": "metrics",
    "SUMMARY": "session",
    "EXDATA": "external_data",
    "END": "end",
}
# Kinds that systems send. They carry no session time, even if their actor is a user.
_SYSTEM_KINDS = frozenset(("AUDIT", "LOG", "SEARCH", "METRICS", "HEARTBEAT", "SUMMARY", "EXDATA", "METRIC"))
_SYSTEM_PREFIX = "JOB_"

_ENVELOPE = "sunbird/event.json"
# The kinds with a schema for their edata. Heartbeats and unknown kinds may have any edata.
_SCHEMA_FILES = {eid: f"sunbird/{eid.lower()}.json" for eid in EVENT_TYPES if eid != "HEARTBEAT"}

# An `ets` below this is in seconds, because in milliseconds it would be before March 1973.
_SECONDS_BELOW = 1e11
_LONGEST_DURATION = 86_400  # s
_BACKGROUND = ("background", "m:background")
# Kinds that are no part of a workflow.
_OUTSIDE_WORKFLOWS = frozenset(("LOG", "AUDIT", "SEARCH"))
_PHONE_OS = re.compile("android|ios", re.IGNORECASE)
_VERSION = re.compile(r"\s(\d+(?:\.\d+)?)[\d.]*\s*$", re.ASCII)
_SMALLEST_BIGINT, _LARGEST_BIGINT = -(2**63), 2**63 - 1
_SUMMARY_RANKS = {"session": 0, "app": 1}
_ANY_SUMMARY = 2


def open_batch(document: Document) -> Batch | Refusal | None:
    """The events of a batch {id, ver, ets, params, events[], syncts …}, of which only `events` is required; None for an event.

    A document with an `eid` is an event, even if it has a field `events`.
    """
    if "events" not in document or "eid" in document:
        return None
    header = document.copy()
    items = header.pop("events")
    if type(items) is not list:
        return Refusal("schema_violation", "/events", "type: must be array")
    return Batch(header, items, "events")


def join_header(header: Document, item: Document) -> Document:  # noqa: ARG001 - the interface of a source
    """The event alone, because only the header's time of receipt is used."""
    return item


def refusal(record: Record) -> Refusal | None:
    """The violation of the schema of the event's kind; None for a valid one."""
    eid = record.document.get("eid")
    schema_file = _SCHEMA_FILES.get(eid, _ENVELOPE) if type(eid) is str else _ENVELOPE
    return first_violation(compiled(schema_file), record.document)


def columns(records: Sequence[Record]) -> Columns:
    """Map valid events to columns of `events`, one value per event."""
    events = [record.document for record in records]
    edatas = [event["edata"] for event in events]
    contexts = [event["context"] for event in events]
    kinds = [event["eid"] for event in events]
    producers = [mapping(context.get("pdata")) for context in contexts]
    devices = [mapping(edata.get("dspec")) for edata in edatas]
    targets = [_target(event, edata) for event, edata in zip(events, edatas, strict=True)]
    values = [_value(eid, edata) for eid, edata in zip(kinds, edatas, strict=True)]
    durations = [_duration_ms(edata.get("duration")) for edata in edatas]
    return {
        # what
        "event_id": [identifier(event["mid"]) for event in events],
        "event_type": [EVENT_TYPES.get(eid, "other") for eid in kinds],
        "event_name": kinds,
        "format_version": [event["ver"] for event in events],
        # when
        "client_ms": [client_ms(event["ets"]) for event in events],
        "says_client_time": [True] * len(events),
        "received_ms": [_received_ms(record) for record in records],
        # who
        "user_id": [_user_id(event["actor"], context) for event, context in zip(events, contexts, strict=True)],
        "device_id": [identifier(context.get("did")) for context in contexts],
        "session_key": [identifier(context.get("sid")) for context in contexts],
        # where
        "app_id": [identifier(producer.get("id")) for producer in producers],
        "app_version": [text(producer.get("ver")) for producer in producers],
        "environment": [context["env"] for context in contexts],
        "page": [identifier(edata.get("pageid")) for edata in edatas],
        "target_id": [target_id for target_id, _ in targets],
        "target_type": [target_type for _, target_type in targets],
        "user_agent": [_user_agent(event, edata) for event, edata in zip(events, edatas, strict=True)],
        "os": [text(device.get("os")) for device in devices],
        "os_version": [_os_version(device.get("os")) for device in devices],
        "device_class": ["phone" if _PHONE_OS.match(text(device.get("os")) or "") else None for device in devices],
        "device_model": [text(device.get("make")) for device in devices],
        # how much
        "value": values,
        "duration_ms": [duration for duration, _ in durations],
        # verbatim
        "properties": edatas,
        "context": [_context(record) for record in records],
        "flags": [
            _flags(event["ets"], eid, value, implausible)
            for event, eid, value, (_, implausible) in zip(events, kinds, values, durations, strict=True)
        ],
        "session_input": _session_input(events),
        "workflow_input": _workflow_input(events),
    }


def client_ms(ets: Any) -> int | None:
    """The time of an `ets`, epoch ms. An `ets` is in epoch milliseconds, or in seconds if it is below 1e11."""
    return epoch_seconds_ms(ets) if ets < _SECONDS_BELOW else epoch_ms(ets)


def _received_ms(record: Record) -> int | None:
    """The server's time, epoch ms: the first well-formed one of `@timestamp`, the event's `syncts` and its batch's `syncts`."""
    received = rfc3339_ms(record.document.get("@timestamp"))
    if received is None:
        received = epoch_ms(record.document.get("syncts"))
    if received is None and record.header is not None:
        received = epoch_ms(record.header.get("syncts"))
    return received


def _user_id(actor: Mapping[str, Any], context: Mapping[str, Any]) -> str | None:
    """The signed-in user. For people who have not signed in, the SDK sends "anonymous" or the device's own id."""
    actor_id: str = actor["id"]
    if not _is_user(actor) or actor_id == context.get("did"):
        return None
    user_id = actor_id.rpartition(":")[2] if actor_id.startswith("f:") and actor_id.count(":") > 1 else actor_id
    return identifier(user_id) if user_id not in ("anonymous", context.get("did")) else None


def _is_user(actor: Mapping[str, Any]) -> bool:
    return bool(actor["type"].lower() == "user")


def _target(event: Document, edata: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Id and type of the event's object, else of its interaction's target; else the id of its resource."""
    for target in (mapping(event.get("object")), mapping(edata.get("target"))):
        target_id = identifier(target.get("id"))
        if target_id is not None:
            return target_id, text(target.get("type"))
    return identifier(edata.get("id")), None


def _user_agent(event: Document, edata: Mapping[str, Any]) -> str | None:
    """The user agent of the event, else that which the pipeline has added."""
    own = text(mapping(edata.get("uaspec")).get("raw"))
    return own or text(mapping(mapping(event.get("devicedata")).get("uaspec")).get("raw"))


def _os_version(os: Any) -> str | None:
    """The first two numbers at the end of a text such as "Android 9"."""
    found = _VERSION.search(text(os) or "")
    return None if found is None else found[1]


def _value(eid: str, edata: Mapping[str, Any]) -> float | None:
    if eid == "ASSESS":
        return number(edata["score"])
    return number(edata.get("rating")) if eid == "FEEDBACK" else None


def _duration_ms(seconds: Any) -> tuple[int | None, bool]:
    """A duration in ms, and whether the sent one is implausible. Real data has times of day and milliseconds in this field."""
    duration = unless_minus_one(number(seconds))
    if duration is None:
        return None, False
    return (round_half_away(duration * 1000), False) if 0 <= duration <= _LONGEST_DURATION else (None, True)


def _flags(ets: float, eid: str, value: float | None, implausible_duration: bool) -> list[str]:
    flags = []
    if ets < _SECONDS_BELOW:
        flags.append("ets_in_seconds")
    if implausible_duration:
        flags.append("duration_implausible")
    if eid == "ASSESS" and value is not None and not 0 <= value <= 1:
        flags.append("score_out_of_range")
    return flags


def _context(record: Record) -> Document:
    rest = record.document.copy()
    del rest["edata"]
    return rest if record.header is None else with_batch(rest, record.header)


def _session_input(events: Sequence[Document]) -> Columns:
    keys = [_session_key(event) for event in events]
    return {
        "key": [key for key, _ in keys],
        "kind": [kind for _, kind in keys],
        "user": [_carries_time(event) for event in events],
        "pauses": [_goes_to_background(event) for event in events],
        "expects_end": [kind == "keyed" for _, kind in keys],
        "page_type": [event["edata"]["type"] if event["eid"] == "IMPRESSION" else None for event in events],
        "reported": [_reported(event["edata"]) if event["eid"] == "SUMMARY" else None for event in events],
        "reported_rank": [
            _SUMMARY_RANKS.get(event["edata"]["type"].lower(), _ANY_SUMMARY) if event["eid"] == "SUMMARY" else None for event in events
        ],
    }


def _session_key(event: Document) -> tuple[str | None, str | None]:
    """The session key and its kind: (channel, sid), without a sid (channel, did, actor.id)."""
    context = event["context"]
    channel = context["channel"]
    sid = identifier(context.get("sid"))
    if sid is not None:
        return canonical([channel, sid]).decode(), "keyed"
    device, actor = identifier(context.get("did")) or "", identifier(event["actor"]["id"]) or ""
    return (canonical([channel, device, actor]).decode(), "derived") if device or actor else (None, None)


def _carries_time(event: Document) -> bool:
    eid: str = event["eid"]
    return eid not in _SYSTEM_KINDS and not eid.startswith(_SYSTEM_PREFIX) and _is_user(event["actor"])


def _goes_to_background(event: Document) -> bool:
    return event["eid"] == "INTERRUPT" and event["edata"]["type"].lower() in _BACKGROUND


def _reported(edata: Mapping[str, Any]) -> dict[str, Any]:
    """A SUMMARY event's numbers of its session, in the fields of schemas.events.REPORTED, with sorted arrays."""
    timespent = edata["timespent"]
    return {
        "timespent": _finite(float(timespent)) if type(timespent) is str else _amount(timespent),
        "pageviews": _count(edata["pageviews"]),
        "interactions": _count(edata["interactions"]),
        "start_time": _time_us(edata["starttime"]),
        "end_time": _time_us(edata["endtime"]),
        "envsummary": _sorted(
            {
                "env": text(part.get("env")),
                "timespent": _amount(part.get("timespent")),
                "visits": _count(part.get("visits")),
            }
            for part in mappings(edata.get("envsummary"))
        ),
        "eventssummary": _sorted(
            {
                "id": text(part.get("id")),
                "count": _count(part.get("count")),
            }
            for part in mappings(edata.get("eventssummary"))
        ),
        "pagesummary": _sorted(
            {
                "id": text(part.get("id")),
                "type": text(part.get("type")),
                "env": text(part.get("env")),
                "timespent": _amount(part.get("timespent")),
                "visits": _count(part.get("visits")),
            }
            for part in mappings(edata.get("pagesummary"))
        ),
    }


def _workflow_input(events: Sequence[Document]) -> Columns:
    """The fields that the rules of workflow summaries read. Rules: docs/rules/workflows.md, "Input and groups"."""
    times = [_as_sent(event["ets"]) for event in events]
    edatas = [event["edata"] for event in events]
    objects = [mapping(event.get("object")) for event in events]
    return {
        "key": [_workflow_key(event, ets) for event, ets in zip(events, times, strict=True)],
        "ets": times,
        "uid": [event["actor"]["id"] for event in events],
        "object_id": [identifier(target.get("id")) for target in objects],
        "object_type": [text(target.get("type")) for target in objects],
        "type": [text(edata.get("type")) for edata in edatas],
        "mode": [text(edata.get("mode")) for edata in edatas],
        "item": [
            _item_response(edata, ets) if event["eid"] == "ASSESS" else None
            for event, edata, ets in zip(events, edatas, times, strict=True)
        ],
    }


def _as_sent(ets: float) -> int | None:
    """An `ets` in the unit in which it was sent, floored; None if 64 bits cannot hold it."""
    whole = math.floor(ets)
    return whole if _SMALLEST_BIGINT <= whole <= _LARGEST_BIGINT else None


def _workflow_key(event: Document, ets: int | None) -> str | None:
    """The group of an event. An event without a device belongs to the group of its UTC day."""
    if ets is None or event["eid"] in _OUTSIDE_WORKFLOWS:
        return None
    context = event["context"]
    device = identifier(context.get("did")) or ""
    group: list[Any] = [device, context["channel"], identifier(mapping(context.get("pdata")).get("id")) or ""]
    return canonical(group if device else [*group, ets // DAY_MS]).decode()


def _item_response(edata: Mapping[str, Any], ets: int | None) -> str:
    """The entry of an assessment in `item_responses`, canonical JSON without secrets."""
    edata = SHIPPED_NAMES.without_secrets(edata).value
    item = mapping(edata.get("item"))
    values = mappings(edata.get("resvalues"))
    return canonical(
        {
            "itemId": item.get("id"),
            "timeSpent": edata.get("duration"),
            "res": [f"{key}:{_text_or_json(value)}" for part in values for key, value in sorted(part.items())],
            "resValues": values,
            "mc": item.get("mc"),
            "mmc": item.get("mmc"),
            "score": edata.get("score"),
            "time_stamp": ets,
            "maxScore": item.get("maxscore"),
            "pass": edata.get("pass"),
            "qtitle": item.get("title"),
            "qdesc": item.get("desc"),
        }
    ).decode()


def _text_or_json(value: Any) -> str:
    return value if type(value) is str else canonical(value).decode()


def _amount(value: Any) -> float | None:
    return unless_minus_one(number(value))


def _finite(seconds: float) -> float | None:
    """A number of seconds that was sent as text; None if a double cannot hold it."""
    return unless_minus_one(seconds) if math.isfinite(seconds) else None


def _count(value: Any) -> int | None:
    count = integer(value)
    return None if count == -1 else count


def _time_us(value: Any) -> int | None:
    """A time in epoch µs, as a timestamp column holds it; None for -1."""
    ms = None if value == -1 else client_ms(value)
    return None if ms is None else ms * 1000


def _sorted(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of a summary, sorted so that equal summaries are equal lists. Nulls come first."""
    return sorted(parts, key=lambda part: [(value is not None, value) for value in part.values()])


SOURCE = Source(
    name="sunbird",
    version=3,
    schema_files=(_ENVELOPE, *_SCHEMA_FILES.values()),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
    properties_at=("edata",),
    list_name="events",
    ids={"user_id": ("/actor/id",), "device_id": ("/context/did",), "session_key": ("/context/sid",)},
    has_workflows=True,
)

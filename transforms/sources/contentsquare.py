"""Contentsquare mobile SDK: validate events, and map them to `events`.

Rules: docs/rules/sources.md, "Contentsquare"; docs/rules/sessions.md, "Keys and silences" and "User events".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pycountry

from transforms.documents.fields import identifier, integer, mapping, number, text
from transforms.documents.json_documents import canonical, with_batch
from transforms.documents.refusal import Refusal
from transforms.documents.validation import compiled, first_violation
from transforms.ingest.source import Batch, Columns, Document, Record, Source
from transforms.times import DAY_MS, MINUTE_MS, epoch_ms

_BATCH = "contentsquare/batch.json"
_EVENT = "contentsquare/event.json"
_BATCH_LIST = "pl"
_BATCH_FIELDS = frozenset(("pid", "uid", _BATCH_LIST))


class _Kind(NamedTuple):
    event_name: str
    event_type: str


_SCREENVIEW, _TRANSACTION, _TEXT_VARIABLE, _INTEGER_VARIABLE = 4, 16, 18, 19
# The name and type by `ea`. An event with any other `ea` is `other`.
_KINDS = {
    0: _Kind("app_start", "start"),
    1: _Kind("app_show", "foreground"),
    2: _Kind("app_hide", "background"),
    _SCREENVIEW: _Kind("screenview", "page_view"),
    6: _Kind("tap", "interaction"),
    8: _Kind("long_press", "interaction"),
    9: _Kind("drag", "interaction"),
    10: _Kind("swipe", "interaction"),
    _TRANSACTION: _Kind("transaction", "transaction"),
    _TEXT_VARIABLE: _Kind("string_variable", "variable"),
    _INTEGER_VARIABLE: _Kind("integer_variable", "variable"),
}
# The kind of device by `dt`.
_DEVICE_CLASSES: Mapping[Any, str] = {4: "phone", 5: "tablet"}
# The SDK sends this text for an empty key or value.
_EMPTY_VARIABLE = "cs-empty"

# Scheme and identifier, path, query. Every text matches.
_URL = re.compile(r"(?:[^:/?#]+://[^/?#]*)?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?")
_TITLE = re.compile(r"(?:^|&)title=([^&]*)")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def open_batch(document: Document) -> Batch | Refusal | None:
    """The events of a batch; None for an event. A batch has `pid`, `uid` and `pl`.

    A document with only some of these is refused as an incomplete batch, unless it has `ea`: then it is an event.
    """
    has_action = "ea" in document
    if has_action and _BATCH_LIST not in document:
        return None
    violation = first_violation(compiled(_BATCH), document)
    if violation is None:
        header = {name: value for name, value in document.items() if name != _BATCH_LIST}
        return Batch(header, document[_BATCH_LIST], _BATCH_LIST)
    is_part_of_batch = not has_action and not _BATCH_FIELDS.isdisjoint(document)
    return violation if is_part_of_batch else None


def join_header(header: Document, event: Document) -> Document:  # noqa: ARG001 - the interface of a source
    """The event alone, because the header describes the phone."""
    return event


def refusal(record: Record) -> Refusal | None:
    """The reason for refusing an event; None for a valid one."""
    return first_violation(compiled(_EVENT), record.document)


def columns(records: Sequence[Record]) -> Columns:
    """Map valid events to columns of `events`, one value per event.

    An event outside of a batch has no device, no application and no session.
    """
    events = [record.document for record in records]
    phones = _phones(records)
    versions = [mapping(event.get("vo")) for event in events]
    kinds = [_kind(event["ea"]) for event in events]
    addresses = [_address(event.get("url")) for event in events]
    load_times = [_at_least_zero(event.get("sl")) for event in events]
    return {
        # what
        "event_id": [event["euid"] for event in events],
        "event_type": [kind.event_type for kind in kinds],
        "event_name": [kind.event_name for kind in kinds],
        "format_version": [text(version.get("sv")) for version in versions],
        # when
        "client_ms": [epoch_ms(event["t"]) for event in events],
        "says_client_time": [True] * len(events),
        "received_ms": [None] * len(events),
        # who
        "device_id": [phone.device_id for phone in phones],
        "session_key": [str(int(event["sn"])) for event in events],
        # where
        "app_id": [phone.app_id for phone in phones],
        "app_version": [text(version.get("av")) for version in versions],
        "page": [address.path for address in addresses],
        "page_title": [address.title or text(event.get("st")) for address, event in zip(addresses, events, strict=True)],
        "target_id": [identifier(event.get("tvid")) for event in events],
        "target_type": [text(event.get("tvp")) for event in events],
        "locale": [phone.locale for phone in phones],
        "os": [phone.os for phone in phones],
        "os_version": [phone.os_version for phone in phones],
        "device_class": [phone.device_class for phone in phones],
        "device_model": [phone.device_model for phone in phones],
        # how much
        "value": [number(mapping(event.get("tr")).get("vl")) for event in events],
        "duration_ms": load_times,
        # verbatim
        "properties": [record.item for record in records],
        "context": [with_batch({}, record.header) for record in records],
        "flags": [_flags(record, phone.now) for record, phone in zip(records, phones, strict=True)],
        "session_input": _session_input(events, phones, kinds, load_times),
    }


class _Phone(NamedTuple):
    """The header of a batch, which is the same for all its events, as columns."""

    key: tuple[Any, str] | None
    device_id: str | None
    app_id: str | None
    locale: str | None
    os: str | None
    os_version: str | None
    device_class: str | None
    device_model: str | None
    now: int | None  # when the batch was sent, by the phone's clock, epoch ms; perhaps outside the years 1 to 9999


_NO_PHONE = _Phone(None, None, None, None, None, None, None, None, None)


def _phones(records: Sequence[Record]) -> list[_Phone]:
    """The phone of each record. All events of a batch share one header object, which is read once."""
    headers = {id(record.header): record.header for record in records}
    phones = {identity: _NO_PHONE if header is None else _phone(header) for identity, header in headers.items()}
    return [phones[id(record.header)] for record in records]


def _phone(header: Document) -> _Phone:
    project, user = header["pid"], header["uid"]
    sdk = text(mapping(header.get("to")).get("st")) or ""
    return _Phone(
        key=(_whole(project), user),
        device_id=identifier(user),
        app_id=str(int(project)),
        locale=text(header.get("l")),
        os=_joined(sdk.removeprefix("SDK-"), header.get("os")),
        os_version=identifier(header.get("os")),
        device_class=_DEVICE_CLASSES.get(header.get("dt")) if type(header.get("dt")) in (int, float) else None,
        device_model=_joined(header.get("dma"), header.get("dmo")),
        now=_sent_ms(header.get("now")),
    )


def _joined(*parts: Any) -> str | None:
    """The parts that are present, joined by spaces; None if none is."""
    return " ".join(filter(None, map(identifier, parts))) or None


def _sent_ms(now: Any) -> int | None:
    if type(now) is not int and type(now) is not float:
        return None
    return None if now == -1 else math.floor(now)


def _kind(action: Any) -> _Kind:
    return _KINDS.get(action) or _Kind(f"ea_{int(action)}", "other")


class _Address(NamedTuple):
    path: str | None
    title: str | None


def _address(url: Any) -> _Address:
    """Path and title of app-and://identifier/mainPath/secondaryPath?title=name: /mainPath/secondaryPath and name.

    Percent escapes are decoded in the title, not in the path. Plus signs and invalid escapes are kept.
    """
    parts = _URL.match(url) if type(url) is str else None
    if parts is None:
        return _Address(None, None)
    title = _TITLE.search(parts["query"] or "")
    return _Address(parts["path"] or None, _ESCAPES.sub(_decoded, title[1]) if title else None)


def _decoded(escapes: re.Match[str]) -> str:
    """The text of consecutive percent escapes. Bytes that are not UTF-8 become U+FFFD."""
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "replace")


def _flags(record: Record, now: int | None) -> list[str]:
    """The flags about doubtful clocks. Rule: docs/rules/sources.md, "Flags of events"."""
    if now is None:
        return []
    sent_after_arrival = now > record.arrival_ms + DAY_MS
    happened_after_sending = record.document["t"] > now + MINUTE_MS
    flags = ["clock_skew"] if sent_after_arrival or happened_after_sending else []
    if now < record.arrival_ms - DAY_MS:
        flags.append("sent_late")
    return flags


def _session_input(
    events: Sequence[Document], phones: Sequence[_Phone], kinds: Sequence[_Kind], load_times: Sequence[int | None]
) -> Columns:
    """The fields that the session rules read. A session is one `sn` of one user of one project. Every event is a user event."""
    actions = [event["ea"] for event in events]
    variables = [_variable(event) for event in events]
    return {
        "kind": ["keyed"] * len(events),
        "key": [_session_key(phone, event["sn"]) for phone, event in zip(phones, events, strict=True)],
        "user": [True] * len(events),
        "pauses": [kind.event_type == "background" for kind in kinds],
        "load_latency": [load if action == _SCREENVIEW else None for load, action in zip(load_times, actions, strict=True)],
        "currency": [_currency(event["tr"]["cu"]) if event["ea"] == _TRANSACTION else None for event in events],
        "variable_key": [key for key, _ in variables],
        "variable_value": [value for _, value in variables],
    }


def _session_key(phone: _Phone, session_number: Any) -> str | None:
    return None if phone.key is None else canonical([*phone.key, _whole(session_number)]).decode()


def _whole(value: Any) -> Any:
    """A JSON integer as int: 1, 1.0 and 1e0 are the same. One beyond 64 bits stays a double."""
    return int(value) if type(value) is float and abs(value) < 2**63 else value


def _variable(event: Document) -> tuple[str | None, str | None]:
    """Key and value of a custom variable: an empty text is "", an integer is in decimal digits. None, None for other events."""
    value = event.get("v")  # it was dropped if the key is a secret name
    if event["ea"] == _TEXT_VARIABLE:
        return _unless_empty(event["k"]), None if value is None else _unless_empty(value)
    if event["ea"] == _INTEGER_VARIABLE:
        return _unless_empty(event["k"]), None if value is None else str(int(value))
    return None, None


def _unless_empty(sent: str) -> str:
    return "" if sent == _EMPTY_VARIABLE else sent


def _currency(code: float) -> str | None:
    """The ISO 4217 letters of a currency's number; None for -1 (the project's default) and for an unknown number."""
    return _currencies().get(code)


@lru_cache(maxsize=1)
def _currencies() -> Mapping[float, str]:
    return {int(currency.numeric): currency.alpha_3 for currency in pycountry.currencies}


def _at_least_zero(value: Any) -> int | None:
    """A whole number; None for a negative one, because -1 means a missing load time."""
    whole = integer(value)
    return whole if whole is not None and whole >= 0 else None


SOURCE = Source(
    name="contentsquare",
    version=2,
    schema_files=(_BATCH, _EVENT),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
    properties_at=(),
    list_name=_BATCH_LIST,
    ids={"device_id": ("/batch/uid",), "session_key": ("/sn",)},
)

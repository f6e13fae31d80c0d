"""Contentsquare mobile SDK events: which are valid, and how one maps to `events`.

Rules: the sources' text, section 4; the sessions' text, section 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pycountry

from transforms.documents import canonical, with_batch
from transforms.fields import identifier, integer, mapping, number, text
from transforms.source import Batch, Columns, Document, Record, Refusal, Source
from transforms.times import DAY_MS, MINUTE_MS, epoch_ms
from transforms.validation import compiled, first_violation

_BATCH = "contentsquare/batch.json"
_EVENT = "contentsquare/event.json"
_BATCH_LIST = "pl"
_BATCH_FIELDS = frozenset(("pid", "uid", _BATCH_LIST))


class _Kind(NamedTuple):
    event_name: str
    event_type: str


_SCREENVIEW, _TRANSACTION, _TEXT_VARIABLE, _INTEGER_VARIABLE = 4, 16, 18, 19
# By `ea`; any other is `other`.
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
# What the SDK sends for a key or value that is empty.
_EMPTY_VARIABLE = "cs-empty"

# Scheme and identifier, path, query; it matches any text.
_URL = re.compile(r"(?:[^:/?#]+://[^/?#]*)?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?")
_TITLE = re.compile(r"(?:^|&)title=([^&]*)")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def open_batch(document: Document) -> Batch | Refusal | None:
    """The events of a batch: a document with project, user and list is one, and what has but some of them is refused.

    A document that bears `ea` and is no whole batch is an event.
    """
    bears_event = "ea" in document
    if bears_event and _BATCH_LIST not in document:
        return None
    violation = first_violation(compiled(_BATCH), document)
    if violation is None:
        header = {name: value for name, value in document.items() if name != _BATCH_LIST}
        return Batch(header, document[_BATCH_LIST], _BATCH_LIST)
    is_part_of_batch = not bears_event and not _BATCH_FIELDS.isdisjoint(document)
    return violation if is_part_of_batch else None


def join_header(header: Document, event: Document) -> Document:  # noqa: ARG001 - the interface of a source
    """The event alone: the header speaks of the phone, not of the event."""
    return event


def refusal(record: Record) -> Refusal | None:
    """Why an event is refused; None for a valid one."""
    return first_violation(compiled(_EVENT), record.document)


def columns(records: Sequence[Record]) -> Columns:
    """Map valid events to columns of `events`, one row per event.

    An event that came without a batch's header has no device, no application and no session.
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
    """What the header of a batch says, the same for all of its events."""

    key: tuple[Any, str] | None
    device_id: str | None
    app_id: str | None
    locale: str | None
    os: str | None
    device_model: str | None
    now: int | None  # when the batch was sent by the phone's clock, epoch ms, whether or not a table can represent it


_NO_PHONE = _Phone(None, None, None, None, None, None, None)


def _phones(records: Sequence[Record]) -> list[_Phone]:
    """The phone of each record; a header is read once for all events of its batch, which hold the same object."""
    headers = {id(record.header): record.header for record in records}
    phones = {place: _NO_PHONE if header is None else _phone(header) for place, header in headers.items()}
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
        device_model=_joined(header.get("dma"), header.get("dmo")),
        now=_sent_ms(header.get("now")),
    )


def _joined(*parts: Any) -> str | None:
    """What there is of these parts, a space between them."""
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

    Percent escapes are resolved in the title alone; a plus sign stays one. No URL is too broken: what is no escape stays.
    """
    parts = _URL.match(url) if type(url) is str else None
    if parts is None:
        return _Address(None, None)
    title = _TITLE.search(parts["query"] or "")
    return _Address(parts["path"] or None, _ESCAPES.sub(_resolved, title[1]) if title else None)


def _resolved(escapes: re.Match[str]) -> str:
    """The text that a run of percent escapes stands for; bytes that are not UTF-8 become U+FFFD."""
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "replace")


def _flags(record: Record, now: int | None) -> list[str]:
    """What is doubtful about the clocks. Rule: the sessions' text, section 1, "Flags"."""
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
    """What the session rules read: a session is one `sn` of one user of one project, and every event makes it."""
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
    """A JSON integer as int, however it is written: 1, 1.0 and 1e0 are the same. Beyond 64 bits it stays a double."""
    return int(value) if type(value) is float and abs(value) < 2**63 else value


def _variable(event: Document) -> tuple[str | None, str | None]:
    """Key and value of a custom variable: an empty one is "", an integer is in decimal digits."""
    if event["ea"] == _TEXT_VARIABLE:
        return _unless_empty(event["k"]), _unless_empty(event["v"])
    if event["ea"] == _INTEGER_VARIABLE:
        return _unless_empty(event["k"]), str(int(event["v"]))
    return None, None


def _unless_empty(sent: str) -> str:
    return "" if sent == _EMPTY_VARIABLE else sent


def _currency(code: float) -> str | None:
    """The ISO 4217 letters of a currency's number; None for -1, the project's default, and for an unknown number."""
    return _currencies().get(code)


@lru_cache(maxsize=1)
def _currencies() -> Mapping[float, str]:
    return {int(currency.numeric): currency.alpha_3 for currency in pycountry.currencies}


def _at_least_zero(value: Any) -> int | None:
    """A whole number from 0 on; -1 stands for a missing one, and no load time is less than nothing."""
    whole = integer(value)
    return whole if whole is not None and whole >= 0 else None


SOURCE = Source(
    name="contentsquare",
    version=1,
    schema_files=(_BATCH, _EVENT),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
)

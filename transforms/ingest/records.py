"""Turn lines into Arrow batches of records. Each record is accepted, with its columns of `events`, or rejected, with a reason.

Rules: docs/rules/sources.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.events import EVENTS, RAW_FORMS, REJECTED_EVENTS, STORED_SESSION_INPUT, WORKFLOW_INPUT
from schemas.table import STRING, TIMESTAMP
from transforms.documents.json_documents import InvalidJsonError, canonical, short_hash
from transforms.documents.json_documents import parse as parse_json
from transforms.documents.refusal import Refusal
from transforms.ingest.clean_columns import map_records, record_rules
from transforms.ingest.lines import KEPT_OF_TOO_LARGE, Line
from transforms.ingest.source import Columns, Document, Record, Source
from transforms.privacy.erased_ids import ErasedIds
from transforms.privacy.people import COLUMNS
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules
from transforms.privacy.raw_records import masked_text, stored
from transforms.privacy.secret_names import SHIPPED_NAMES
from transforms.times import DAY_MS, landing_ms
from transforms.user_agents import UserAgent, parse

# Raised with every change of the rows that this module makes from a line. Landed files are then read again.
INGEST_VERSION = 7

# The columns of `events`, and those of `rejected_events` that `events` lacks. An accepted row fills the former, a rejected row the
# latter, and both fill the columns of the landed file.
RECORDS: pa.Schema = pa.schema(
    [pa.field("status", STRING)]
    + [pa.field(column.name, column.type) for column in EVENTS.columns if column.name != "run_id"]
    + [pa.field(column.name, column.type) for column in REJECTED_EVENTS.columns if column.name not in EVENTS.names]
)
_TIME_MS = pa.timestamp("ms", tz="UTC")
# Doubles from this one on do not fit decimal(38, 9), the type in which sums are computed. Rule: docs/rules/sources.md, "Numbers in sums".
_LEFT_OUT_OF_SUMS = 1e18
_NOT_AN_OBJECT = Refusal("not_an_object", "", "type: must be object")
_TOO_LARGE = Refusal("too_large", "", "the line is longer than the limit")
# Each event of a batch keeps the whole header, so a header of megabytes and a million events would become terabytes. A
# batch of up to this many events is never refused for its header. Rule: docs/rules/sources.md, "Limits".
_HEADER_COPIES_LIMIT = 100
_HEADER_TOO_LARGE = Refusal("too_large", "", f"the header, repeated for each event, is longer than {_HEADER_COPIES_LIMIT} times the line")
# A batch of records ends when it reaches one of these numbers.
_PART_RECORDS = 20_000
_PART_BYTES = 16 << 20
_NO_RECORDS = pa.RecordBatch.from_arrays([pa.nulls(0, kind.type) for kind in RECORDS], schema=RECORDS)


@dataclass(frozen=True)
class TimeRules:
    """The bounds of plausible times. Rules: docs/rules/sources.md, "Times"."""

    past_ms: int = 366 * DAY_MS  # the longest time from client_time to received_time
    future_ms: int = DAY_MS  # the longest time from received_time to client_time
    received_not_before_ms: int = landing_ms(date(2000, 1, 1), None)
    received_future_ms: int = DAY_MS  # the longest time from arrival to a server's own time
    late_ms: int = DAY_MS  # with more time than this from event_time to arrival, an event is late


class FileLocation(NamedTuple):
    """Where a file landed."""

    source: str
    landing_date: date
    landing_hour: int | None
    file: str


@dataclass(frozen=True)
class RecordCounts:
    """The numbers of records, blank lines and empty batches of some lines. The counts of several chunks can be added."""

    records: int = 0
    rejected: int = 0
    blank: int = 0
    empty: int = 0  # batches and arrays without an item
    erased: int = 0  # of these records, held back because they are of people who were erased

    def __add__(self, other: RecordCounts) -> RecordCounts:
        """The sum of both counts."""
        return RecordCounts(
            self.records + other.records,
            self.rejected + other.rejected,
            self.blank + other.blank,
            self.empty + other.empty,
            self.erased + other.erased,
        )


class _Rejected(NamedTuple):
    record: int
    position: int
    refusal: Refusal
    raw: bytes
    raw_length: int
    raw_sha256: str


@dataclass
class _LineRecords:
    """The valid and the refused records of some lines. `valid`, `lines` and `positions` have one entry per valid record."""

    valid: list[Record] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejected: list[_Rejected] = field(default_factory=list)
    blank: int = 0
    empty: int = 0
    added: int = 0  # bytes of the records beyond those of their lines

    @property
    def is_full(self) -> bool:
        return len(self.valid) + len(self.rejected) >= _PART_RECORDS or self.added >= _PART_BYTES

    def reject_line(self, line: Line, refusal: Refusal) -> None:
        sha256 = line.sha256 or hashlib.sha256(line.content).hexdigest()
        raw = line.content[:KEPT_OF_TOO_LARGE] if refusal.reason == "too_large" else line.content
        self.rejected.append(_Rejected(line.number, 0, refusal, raw, line.length, sha256))

    def reject_item(self, line: Line, position: int, refusal: Refusal, raw: bytes) -> None:
        self.rejected.append(_Rejected(line.number, position, refusal, raw, len(raw), hashlib.sha256(raw).hexdigest()))
        self.added += len(raw)

    def accept(self, line: Line, position: int, record: Record) -> None:
        self.valid.append(record)
        self.lines.append(line.number)
        self.positions.append(position)


class _Envelope(NamedTuple):
    """The items of a line that is JSON: the events of a batch or of an array, or one event."""

    items: Sequence[Any]
    header: Document | None = None  # the header of a batch, as landed
    kept_header: Document | None = None  # the same without the fields of the shipped secret names
    header_length: int = 0  # bytes of its canonical JSON
    list_name: str = ""
    is_event: bool = False  # the line is the only item

    def raw(self, item: Any) -> bytes:
        """The canonical JSON of one item, which can be landed again: an event of a batch comes with the header."""
        return canonical(item if self.header is None else {**self.header, self.list_name: [item]})


def record_batches(
    source: Source,
    lines: Sequence[Line],
    location: FileLocation,
    rules: TimeRules,
    privacy: PrivacyRules = SHIPPED_PRIVACY,
    erased: ErasedIds | None = None,
) -> Iterator[tuple[pa.RecordBatch, RecordCounts]]:
    """The records of these lines of one file, and their counts.

    In: a few hundred lines.
    Out: at least one batch with the columns of `RECORDS`, one row per record. A line of some megabytes may hold millions of
    records, so there are as many batches as keep each of them small. In each batch the accepted rows come first; both kinds are
    in landed order. A record that cannot be read becomes a rejected row. No content of a line raises an error. Records of people
    who were `erased` are counted and left out.
    """
    for parsed in _read(source, lines, landing_ms(location.landing_date, location.landing_hour)):
        records, rejected = len(parsed.valid) + len(parsed.rejected), parsed.rejected
        if erased is not None:
            rejected = [row for row in rejected if not erased.is_refused_record_erased(row.raw)]
        batches = []
        if parsed.valid:
            batches.append(_accepted(source, parsed, location, rules, privacy, erased))
        if rejected:
            batches.append(_rejected(source, rejected, location, privacy))
        held_back = records - sum(batch.num_rows for batch in batches)
        counts = RecordCounts(records, len(rejected), parsed.blank, parsed.empty, held_back)
        yield pa.concat_batches(batches) if len(batches) > 1 else batches[0] if batches else _NO_RECORDS, counts


def _read(source: Source, lines: Sequence[Line], arrival_ms: int) -> Iterator[_LineRecords]:
    parsed = _LineRecords()
    for line in lines:
        if line.blank:
            parsed.blank += 1
            continue
        envelope = _open(source, line)
        if isinstance(envelope, Refusal):
            parsed.reject_line(line, envelope)
            continue
        parsed.empty += not envelope.items
        for position, item in enumerate(envelope.items):
            if parsed.is_full:
                yield parsed
                parsed = _LineRecords()
            _read_item(source, line, envelope, position, item, arrival_ms, parsed)
    yield parsed


def _open(source: Source, line: Line) -> _Envelope | Refusal:
    """The items of a line, or the reason for refusing the whole line."""
    if line.too_large:
        return _TOO_LARGE
    try:
        document = parse_json(line.document)
    except InvalidJsonError as error:
        return Refusal("invalid_json", "", str(error))
    if type(document) is list:
        return _Envelope(document)
    if type(document) is not dict:
        return _NOT_AN_OBJECT
    batch = source.open_batch(document)
    if batch is None:
        return _Envelope((document,), is_event=True)
    if isinstance(batch, Refusal):
        return batch
    header_length = len(canonical(batch.header))
    if header_length * len(batch.items) > _HEADER_COPIES_LIMIT * line.length:
        return _HEADER_TOO_LARGE
    return _Envelope(batch.items, batch.header, SHIPPED_NAMES.without_fields(batch.header), header_length, batch.list_name)


def _read_item(source: Source, line: Line, envelope: _Envelope, position: int, item: Any, arrival_ms: int, parsed: _LineRecords) -> None:
    is_object = type(item) is dict
    header = envelope.kept_header
    document = source.join_header(header, item) if is_object and header is not None else item
    record = Record(document, item, header, arrival_ms)
    refusal = source.refusal(record) if is_object else _NOT_AN_OBJECT
    if refusal is None:
        parsed.accept(line, position, record)
        parsed.added += envelope.header_length
    elif envelope.is_event:
        parsed.reject_line(line, refusal)
    else:
        parsed.reject_item(line, position, refusal, envelope.raw(item))


def _accepted(
    source: Source, parsed: _LineRecords, location: FileLocation, rules: TimeRules, privacy: PrivacyRules, erased: ErasedIds | None
) -> pa.RecordBatch:
    mapped, event_ids, properties, contexts, landed_ids = map_records(source, parsed.valid, privacy, location.landing_date)
    arrival = landing_ms(location.landing_date, location.landing_hour)
    times = [_resolve_event_time(*pair, arrival, rules) for pair in zip(mapped["client_ms"], mapped["received_ms"], strict=True)]
    says_time = mapped.get("says_client_time") or [client is not None for client in mapped["client_ms"]]
    received_ms = [received for received, _, _ in times]
    event_ms = [event for _, event, _ in times]
    values = mapped.get("value") or [None] * len(event_ids)
    size = len(event_ids)
    agents = _user_agents(mapped, size)
    flags = [
        _flags(own, arrival - event > rules.late_ms, says and time_source == "received", value)
        for own, (_, event, time_source), says, value in zip(mapped["flags"], times, says_time, values, strict=True)
    ]
    given = {**mapped, **agents}
    columns: dict[str, pa.Array] = {name: _array(given[name], RECORDS.field(name).type) for name in given if name in _MAPPED_AS_THEY_ARE}
    columns |= _landed(location, size)
    columns |= {
        "status": _repeated("accepted", STRING, size),
        "source": _repeated(source.name, STRING, size),
        "event_id": pa.array(event_ids, STRING),
        "event_hash": pa.array([short_hash(event_id) for event_id in event_ids], pa.int64()),
        "event_time": _times(event_ms),
        "event_date": pa.array([event // DAY_MS for event in event_ms], pa.int32()).cast(pa.date32()),
        "client_time": _times(mapped["client_ms"]),
        "received_time": _times(received_ms),
        "time_source": pa.array([time_source for _, _, time_source in times], STRING),
        "properties": pa.array(properties, STRING),
        "context": pa.array(contexts, STRING),
        "flags": _array(flags, RECORDS.field("flags").type),
        "record": pa.array(parsed.lines, pa.int64()),
        "position": pa.array(parsed.positions, pa.int32()),
        "session_input": _session_input(mapped.get("session_input", {}), size),
        "workflow_input": _workflow_input(mapped.get("workflow_input"), size),
    }
    return _without_erased(_batch(columns, size), landed_ids, [properties, contexts], erased)


_KIND_OF: Mapping[str, str] = {columns[0]: kind for kind, columns in COLUMNS.items()}


def _without_erased(
    batch: pa.RecordBatch, landed_ids: Columns, documents: Sequence[Sequence[bytes]], erased: ErasedIds | None
) -> pa.RecordBatch:
    """The rows that are not of erased people, and have none of their ids among the texts of their documents."""
    if erased is None:
        return batch
    ids = {_KIND_OF.get(column, column): values for column, values in landed_ids.items()}
    are_erased = erased.are_erased(ids, batch.num_rows)
    for number in (number for of_rows in documents for number in erased.mentions(of_rows)):
        are_erased[number] = True
    return batch.filter(pa.array([not is_erased for is_erased in are_erased])) if any(are_erased) else batch


# Columns of a source that are written to the table unchanged.
_MAPPED_AS_THEY_ARE = frozenset(EVENTS.names) - {
    "run_id",
    "source",
    "event_id",
    "properties",
    "context",
    "flags",
    "session_input",
    "workflow_input",
}


def _resolve_event_time(client: int | None, received: int | None, arrival: int, rules: TimeRules) -> tuple[int, int, str]:
    """received_time, event_time and time_source. Rules: docs/rules/sources.md, "Times"."""
    if received is None or not rules.received_not_before_ms <= received <= arrival + rules.received_future_ms:
        received = arrival
    if client is None or not received - rules.past_ms <= client <= received + rules.future_ms:
        return received, received, "received"
    return received, client, "client"


def _user_agents(mapped: Columns, size: int) -> dict[str, list[Any]]:
    """The columns of user agents: what the source says itself, else what its user agent says."""
    agents = [parse(text) for text in mapped.get("user_agent") or [None] * size]
    columns: dict[str, list[Any]] = {}
    for name, of_agents in zip(UserAgent._fields, zip(*agents, strict=True), strict=True):
        own = mapped.get(name)
        columns[name] = list(of_agents) if own is None else [_own_or(*pair) for pair in zip(own, of_agents, strict=True)]
    return columns


def _own_or(own: Any, of_agent: Any) -> Any:
    return of_agent if own is None else own


def _flags(own: Sequence[str], late: bool, time_replaced: bool, value: float | None) -> Sequence[str]:
    """The flags of a row, sorted, without repeats."""
    out_of_sums = value is not None and abs(value) >= _LEFT_OUT_OF_SUMS
    if not (own or late or time_replaced or out_of_sums):
        return own
    ours = (("late", late), ("time_replaced", time_replaced), ("value_out_of_sums", out_of_sums))
    return sorted({*own, *(flag for flag, holds in ours if holds)})


def _rejected(source: Source, rejected: Sequence[_Rejected], location: FileLocation, privacy: PrivacyRules) -> pa.RecordBatch:
    size = len(rejected)
    documents = record_rules(source, privacy, location.landing_date).documents
    columns = _landed(location, size) | {
        "status": _repeated("rejected", STRING, size),
        "source": _repeated(location.source, STRING, size),
        "record": pa.array([row.record for row in rejected], pa.int64()),
        "position": pa.array([row.position for row in rejected], pa.int32()),
        "reason": pa.array([row.refusal.reason for row in rejected], STRING),
        "path": pa.array([masked_text(row.refusal.path, privacy) for row in rejected], STRING),
        "detail": pa.array([row.refusal.detail for row in rejected], STRING),
        "raw": pa.array([stored(row.raw, privacy, documents, source.list_name) for row in rejected], pa.binary()),
        "raw_form": _repeated(RAW_FORMS[privacy.raw], STRING, size),
        "raw_length": pa.array([row.raw_length for row in rejected], pa.int64()),
        "raw_sha256": pa.array([row.raw_sha256 for row in rejected], STRING),
    }
    return _batch(columns, size)


def _landed(location: FileLocation, size: int) -> dict[str, pa.Array]:
    return {name: _repeated(getattr(location, name), RECORDS.field(name).type, size) for name in ("landing_date", "landing_hour", "file")}


def _session_input(mapped: Columns, size: int) -> pa.StructArray:
    if "reported" in mapped:
        texts = [None if reported is None else canonical(reported) for reported in mapped["reported"]]
        mapped = {**mapped, "reported": texts}
    parts = [_array(mapped[part.name], part.type) if part.name in mapped else _nulls(part.type, size) for part in STORED_SESSION_INPUT]
    return pa.StructArray.from_arrays(parts, fields=list(STORED_SESSION_INPUT))


def _workflow_input(mapped: Columns | None, size: int) -> pa.Array:
    if mapped is None:
        return _nulls(WORKFLOW_INPUT, size)
    parts = [_array(mapped[part.name], part.type) for part in WORKFLOW_INPUT]
    return pa.StructArray.from_arrays(parts, fields=list(WORKFLOW_INPUT), mask=parts[0].is_null())


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind)


def _times(ms: Sequence[int | None]) -> pa.Array:
    return pa.array(ms, _TIME_MS).cast(TIMESTAMP)


def _repeated(value: Any, kind: pa.DataType, size: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), size)


@lru_cache(maxsize=1024)
def _nulls(kind: pa.DataType, size: int) -> pa.Array:
    return pa.nulls(size, kind)


def _batch(columns: Mapping[str, pa.Array], size: int) -> pa.RecordBatch:
    arrays = [columns[kind.name] if kind.name in columns else _nulls(kind.type, size) for kind in RECORDS]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)

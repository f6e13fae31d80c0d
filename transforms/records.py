"""Lines in, Arrow batches of records out: each record accepted, with its columns of `events`, or rejected with why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS, REJECTED_EVENTS, STORED_SESSION_INPUT, WORKFLOW_INPUT
from schemas.table import STRING, TIMESTAMP
from transforms.documents import SECRET_FIELD, InvalidJsonError, canonical, content_hash, parse, short_hash, text_hash, without_secrets
from transforms.lines import KEPT_OF_TOO_LARGE, Line
from transforms.source import Columns, Document, Record, Refusal, Source
from transforms.times import DAY_MS, landing_ms

# Raised whenever what this module makes of a line changes, so that landed files are read again.
INGEST_VERSION = 2

# The columns of `events` and those that `rejected_events` has beside them; a row has either the ones or the others,
# and those that tell where it landed.
RECORDS: pa.Schema = pa.schema(
    [pa.field("status", STRING)]
    + [pa.field(column.name, column.type) for column in EVENTS.columns if column.name != "run_id"]
    + [pa.field(column.name, column.type) for column in REJECTED_EVENTS.columns if column.name not in EVENTS.names]
)
_TIME_MS = pa.timestamp("ms", tz="UTC")
# From here on a double is left out of sums: they are made in decimal(38, 9). Rule: the design, promise 7.
_LEFT_OUT_OF_SUMS = 1e18
_NOT_AN_OBJECT = Refusal("not_an_object", "", "type: must be object")
_TOO_LARGE = Refusal("too_large", "", "the line is longer than the limit")
# Every event of a batch bears the whole header: one of megabytes with a million items would come to terabytes. A batch
# of no more than so many events never does, nor one whose header is no more than so many times as long as an event.
_MOST_REPEATED = 100
_REPEATED_TOO_OFTEN = Refusal("too_large", "", f"the header, repeated for each event, is longer than {_MOST_REPEATED} times the line")
# A batch of records is closed where it reaches either.
_PART_RECORDS = 20_000
_PART_BYTES = 16 << 20
_NO_RECORDS = pa.RecordBatch.from_arrays([pa.nulls(0, kind.type) for kind in RECORDS], schema=RECORDS)


@dataclass(frozen=True)
class TimeRules:
    """Which times are believed. Rule: the design, section 4."""

    past_ms: int = 366 * DAY_MS  # how long before its arrival at a server an event may have happened
    future_ms: int = DAY_MS  # and how long after, by the client's clock
    received_not_before_ms: int = landing_ms(date(2000, 1, 1), None)
    received_future_ms: int = DAY_MS  # how long after the landing hour a server may say that it received it
    late_ms: int = DAY_MS  # an event that happened longer than this before its landing hour is late


class Place(NamedTuple):
    """Where a file landed."""

    source: str
    landing_date: date
    landing_hour: int | None
    file: str


@dataclass(frozen=True)
class Counts:
    """What some lines held; the counts of several add up."""

    records: int = 0
    rejected: int = 0
    blank: int = 0
    empty: int = 0  # batches and arrays without an item

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        return Counts(
            self.records + other.records,
            self.rejected + other.rejected,
            self.blank + other.blank,
            self.empty + other.empty,
        )


class _Rejected(NamedTuple):
    record: int
    position: int
    refusal: Refusal
    raw: bytes
    raw_length: int
    raw_sha256: str


@dataclass
class _Found:
    """What some lines held, valid and not: the lists of the valid ones run alongside each other."""

    valid: list[Record] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejected: list[_Rejected] = field(default_factory=list)
    blank: int = 0
    empty: int = 0
    added: int = 0  # bytes that the records come to beyond what their lines hold

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
    """A line that is JSON, opened: the source's own batch, an array, or one event."""

    items: Sequence[Any]
    header: Document | None = None  # of a batch, as it landed
    kept_header: Document | None = None  # the same without its secrets
    header_length: int = 0  # as canonical JSON, bytes
    list_name: str = ""
    is_event: bool = False  # the line is the only item

    def raw(self, item: Any) -> bytes:
        """One item such that it can be landed again."""
        return canonical(item if self.header is None else {**self.header, self.list_name: [item]})


def to_records(source: Source, lines: Sequence[Line], place: Place, rules: TimeRules) -> tuple[pa.RecordBatch, Counts]:
    """All of `record_batches` as one: for lines of which it is known that they hold few records."""
    parts = list(record_batches(source, lines, place, rules))
    return pa.concat_batches([batch for batch, _ in parts]), sum((counts for _, counts in parts), Counts())


def record_batches(source: Source, lines: Sequence[Line], place: Place, rules: TimeRules) -> Iterator[tuple[pa.RecordBatch, Counts]]:
    """The records that these lines of one file hold, one row each, with the columns of `RECORDS`, and their counts.

    At least one batch, and as many as keep each of them small: a line of some megabytes may hold millions of records. In
    each the accepted rows come first; both kinds are in landed order. Whatever the lines hold, nothing is raised and no
    other record suffers: one that cannot be read is a rejected row. The caller holds the lines to a few hundred.
    """
    for found in _read(source, lines, landing_ms(place.landing_date, place.landing_hour)):
        counts = Counts(len(found.valid) + len(found.rejected), len(found.rejected), found.blank, found.empty)
        if not counts.records:
            yield _NO_RECORDS, counts
        elif not found.rejected:
            yield _accepted(source, found, place, rules), counts
        elif not found.valid:
            yield _rejected(found.rejected, place), counts
        else:
            yield pa.concat_batches([_accepted(source, found, place, rules), _rejected(found.rejected, place)]), counts


def _read(source: Source, lines: Sequence[Line], arrival_ms: int) -> Iterator[_Found]:
    found = _Found()
    for line in lines:
        if line.blank:
            found.blank += 1
            continue
        envelope = _open(source, line)
        if isinstance(envelope, Refusal):
            found.reject_line(line, envelope)
            continue
        found.empty += not envelope.items
        for position, item in enumerate(envelope.items):
            if found.is_full:
                yield found
                found = _Found()
            _read_item(source, line, envelope, position, item, arrival_ms, found)
    yield found


def _open(source: Source, line: Line) -> _Envelope | Refusal:
    """What a line holds, or why it is refused as a whole."""
    if line.too_large:
        return _TOO_LARGE
    try:
        document = parse(line.document)
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
    if header_length * len(batch.items) > _MOST_REPEATED * line.length:
        return _REPEATED_TOO_OFTEN
    return _Envelope(batch.items, batch.header, without_secrets(batch.header), header_length, batch.list_name)


def _read_item(source: Source, line: Line, envelope: _Envelope, position: int, item: Any, arrival_ms: int, found: _Found) -> None:
    is_object = type(item) is dict
    header = envelope.kept_header
    document = source.join_header(header, item) if is_object and header is not None else item
    record = Record(document, item, header, arrival_ms)
    refusal = source.refusal(record) if is_object else _NOT_AN_OBJECT
    if refusal is None:
        found.accept(line, position, record)
        found.added += envelope.header_length
    elif envelope.is_event:
        found.reject_line(line, refusal)
    else:
        found.reject_item(line, position, refusal, envelope.raw(item))


def _accepted(source: Source, found: _Found, place: Place, rules: TimeRules) -> pa.RecordBatch:
    mapped = source.columns(found.valid)
    arrival = landing_ms(place.landing_date, place.landing_hour)
    times = [_believed(*pair, arrival, rules) for pair in zip(mapped["client_ms"], mapped["received_ms"], strict=True)]
    received_ms = [received for received, _, _ in times]
    event_ms = [event for _, event, _ in times]
    properties = _documents(mapped["properties"])
    event_ids = [
        _content_hash(source, record, part, text) if own is None else own
        for own, record, part, text in zip(mapped["event_id"], found.valid, mapped["properties"], properties, strict=True)
    ]
    values = mapped.get("value") or [None] * len(event_ids)
    flags = [
        _flags(own, arrival - event > rules.late_ms, value) for own, event, value in zip(mapped["flags"], event_ms, values, strict=True)
    ]
    size = len(event_ids)
    columns: dict[str, pa.Array] = {name: _array(mapped[name], RECORDS.field(name).type) for name in mapped if name in _MAPPED_AS_THEY_ARE}
    columns |= _landed(place, size)
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
        "context": pa.array(_documents(mapped["context"]), STRING),
        "flags": _array(flags, RECORDS.field("flags").type),
        "record": pa.array(found.lines, pa.int64()),
        "position": pa.array(found.positions, pa.int32()),
        "session_input": _session_input(mapped.get("session_input", {}), size),
        "workflow_input": _workflow_input(mapped.get("workflow_input"), size),
    }
    return _batch(columns, size)


# The columns that a source gives and that go into the table unchanged.
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


def _believed(client: int | None, received: int | None, arrival: int, rules: TimeRules) -> tuple[int, int, str]:
    """The received time, the event time and which of both sources that is, from what client and server said."""
    if received is None or not rules.received_not_before_ms <= received <= arrival + rules.received_future_ms:
        received = arrival
    if client is None or not received - rules.past_ms <= client <= received + rules.future_ms:
        return received, received, "received"
    return received, client, "client"


def _flags(own: Sequence[str], late: bool, value: float | None) -> Sequence[str]:
    """The flags of a row, sorted, each once."""
    out_of_sums = value is not None and abs(value) >= _LEFT_OUT_OF_SUMS
    if not (own or late or out_of_sums):
        return own
    return sorted({*own, *(["late"] if late else ()), *(["value_out_of_sums"] if out_of_sums else ())})


def _rejected(rejected: Sequence[_Rejected], place: Place) -> pa.RecordBatch:
    size = len(rejected)
    columns = _landed(place, size) | {
        "status": _repeated("rejected", STRING, size),
        "source": _repeated(place.source, STRING, size),
        "record": pa.array([row.record for row in rejected], pa.int64()),
        "position": pa.array([row.position for row in rejected], pa.int32()),
        "reason": pa.array([row.refusal.reason for row in rejected], STRING),
        "path": pa.array([row.refusal.path for row in rejected], STRING),
        "detail": pa.array([row.refusal.detail for row in rejected], STRING),
        "raw": pa.array([row.raw for row in rejected], pa.binary()),
        "raw_length": pa.array([row.raw_length for row in rejected], pa.int64()),
        "raw_sha256": pa.array([row.raw_sha256 for row in rejected], STRING),
    }
    return _batch(columns, size)


def _landed(place: Place, size: int) -> dict[str, pa.Array]:
    return {name: _repeated(getattr(place, name), RECORDS.field(name).type, size) for name in ("landing_date", "landing_hour", "file")}


def _session_input(mapped: Columns, size: int) -> pa.StructArray:
    if "reported" in mapped:
        told = [None if reported is None else canonical(reported) for reported in mapped["reported"]]
        mapped = {**mapped, "reported": told}
    parts = [_array(mapped[part.name], part.type) if part.name in mapped else _nulls(part.type, size) for part in STORED_SESSION_INPUT]
    return pa.StructArray.from_arrays(parts, fields=list(STORED_SESSION_INPUT))


def _workflow_input(mapped: Columns | None, size: int) -> pa.Array:
    if mapped is None:
        return _nulls(WORKFLOW_INPUT, size)
    parts = [_array(mapped[part.name], part.type) for part in WORKFLOW_INPUT]
    return pa.StructArray.from_arrays(parts, fields=list(WORKFLOW_INPUT), mask=parts[0].is_null())


def _documents(parts: Sequence[Any]) -> list[bytes]:
    """Canonical JSON of these parsed parts without the secrets."""
    written = [canonical(part) for part in parts]
    # One look over the text finds those that need a walk over all their fields.
    for row in pc.indices_nonzero(pc.match_substring_regex(pa.array(written, STRING), SECRET_FIELD)).to_pylist():
        written[row] = canonical(without_secrets(parts[row]))
    return written


def _content_hash(source: Source, record: Record, part: Any, text: bytes) -> str:
    """The id of a record that has none of its own; where `part` is the whole document, `text` is its canonical JSON already."""
    return text_hash(source.name, text) if part is record.document else content_hash(source.name, record.document)


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

"""Landed files, read by the ingest task as at night; and the assertion that every record of them is accounted for."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from broken_documents import SECRET, VALUE
from expected_records import (
    BOM,
    MAX_DOCUMENT_BYTES,
    ExpectedRecord,
    Row,
    expected_records,
    is_blank,
    is_canonical,
    lines_of,
    parse_json,
    same_json,
    value_at,
)

from jobs import ingest
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate
from jobs.ingest import FileCounts, ReadRules
from jobs.landing import zone
from jobs.landing.zone import LandedFile
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.table import Table
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, RecordCounts, TimeRules, record_batches
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.sources.registry import SOURCES

DATE = dt.date(2026, 11, 20)
HOUR = 6
RAW_KEPT = PrivacyRules(raw="keep")
JSON_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)


def read_rules(max_document_bytes: int = MAX_DOCUMENT_BYTES) -> ReadRules:
    """The rules by which the files of these tests are read. The bytes of refused records are kept, to be compared with what landed."""
    return ReadRules(dict.fromkeys(SOURCES, TimeRules()), max_document_bytes=max_document_bytes, chunk_lines=128, privacy=RAW_KEPT)


# --- valid documents


@dataclass(frozen=True)
class ValidDocuments:
    """Generated documents of one source, every record of which is accepted."""

    lines: tuple[bytes, ...]
    documents: tuple[Any, ...]
    rows: Mapping[bytes, list[Row]]  # per line the rows that it gives as the only line of a file, without their place


def generate_valid_documents(root: Path) -> dict[str, ValidDocuments]:
    """Per source the documents of a generated night without faults."""
    generate(root, DATE, events=1_500, seed=11, faults=0, workers=1)
    return {source: _valid_documents(root, source) for source in FORMATS}


def _valid_documents(root: Path, source: str) -> ValidDocuments:
    rows: dict[bytes, list[Row]] = {}
    for file in zone.landed(root, source, DATE):
        content = b"".join(zone.chunks(root, file, hashlib.sha256()))
        for line in lines_of(content.removeprefix(BOM)):
            if is_blank(line) or line in rows or len(line) >= 20_000:
                continue
            rows_of_line = rows_of_lines(source, line)
            assert {row["status"] for row in rows_of_line} <= {"accepted"}
            rows[line] = list(map(without_place, rows_of_line))
    documents = [json.loads(line) for line in rows]
    # Single events too, twice as often as whole lines: most rules speak of an event.
    return ValidDocuments(tuple(rows), tuple(documents + list(map(first_event, documents)) * 2), rows)


def first_event(document: Any) -> Any:
    """The first event of a batch or an array; a single event, or an empty list, is returned as it is."""
    lists = [document] if isinstance(document, list) else [document[name] for name in ("payloads", "events", "pl") if name in document]
    return next((items[0] for items in lists if items), document)


# --- lines to rows


def read_batches(source: str, content: bytes, max_document_bytes: int = MAX_DOCUMENT_BYTES) -> list[tuple[pa.RecordBatch, RecordCounts]]:
    """The record batches of these lines, with the counts of each."""
    location = FileLocation(source, DATE, HOUR, "alone.jsonl")
    return list(record_batches(SOURCES[source], list(split_lines([content], max_document_bytes)), location, TimeRules(), RAW_KEPT))


def rows_of_lines(source: str, content: bytes, max_document_bytes: int = MAX_DOCUMENT_BYTES) -> list[Row]:
    return [row for batch, _ in read_batches(source, content, max_document_bytes) for row in batch.to_pylist()]


def without_place(row: Row) -> Row:
    """A row without its file and line."""
    return {name: value for name, value in row.items() if name not in ("file", "record", "stage", "row")}


# --- files to rows


def land_files(root: Path, source: str, files: Mapping[str, bytes]) -> list[LandedFile]:
    folder = root / source / f"date={DATE}" / f"hour={HOUR:02}"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return zone.landed(root, source, DATE)


def compress_as_named(name: str, content: bytes) -> bytes:
    """The content, compressed if the file's name says so."""
    if name.endswith(".gz"):
        return gzip.compress(content, 1, mtime=0)
    return bz2.compress(content, 1) if name.endswith(".bz2") else content


@dataclass(frozen=True)
class Ingested:
    """What the ingest task gave of some files, per name."""

    counts: dict[str, FileCounts]
    rows: dict[str, list[Row]]  # of the readable files alone


def ingest_files(root: Path, files: Sequence[LandedFile], rules: ReadRules | None = None) -> Ingested:
    """Read files by the ingest task, and check its staged tables against the contracts of `events` and `rejected_events`."""
    stage = root / "_stage"
    stage.mkdir()
    report = ingest.read_into_stage(root, list(enumerate(files)), stage, rules or read_rules())
    all_counts, staged = ingest.from_reports(pa.Table.from_batches([report]), files)
    counts = {Path(files[one.number].file).name: one for one in all_counts}
    assert sorted(path.name for path in stage.iterdir()) == sorted(one.stage for one in staged)
    rows: dict[str, list[Row]] = defaultdict(list)
    for one in staged:
        table = pq.read_table(stage / one.stage)
        assert table.num_rows == one.rows
        assert_meets_contracts(table)
        for row in table.to_pylist():
            name = Path(row["file"]).name
            if counts[name].error is None:
                rows[name].append(row)
    return Ingested(counts, rows)


# --- the contracts


def assert_meets_contracts(table: pa.Table) -> None:
    """Accepted rows fit the contract of `events`, rejected rows that of `rejected_events`; no accepted row holds a secret."""
    table.validate(full=True)
    accepted, rejected = (table.filter(pc.equal(table["status"], status)) for status in ("accepted", "rejected"))
    _assert_columns_meet_contract(EVENTS, accepted)
    _assert_columns_meet_contract(REJECTED_EVENTS, rejected)
    assert _all(pc.equal(accepted["event_date"], accepted["event_time"].cast(pa.date32())))
    is_client_time = pc.equal(accepted["time_source"], "client")
    time_of_source = pc.if_else(is_client_time, accepted["client_time"], accepted["received_time"])
    assert _all(pc.equal(accepted["event_time"], time_of_source))
    for name in ("properties", "context"):
        assert not pc.any(pc.match_substring(accepted[name], SECRET), min_count=0).as_py()


def _assert_columns_meet_contract(contract: Table, rows: pa.Table) -> None:
    for column in contract.columns:
        if column.name == "run_id":
            continue
        values = rows[column.name]
        assert values.type == column.type, column.name
        assert not column.required or not values.null_count, column.name
        if column.minimum is not None:
            assert _all(pc.greater_equal(values, column.minimum)), column.name
        if column.maximum is not None:
            assert _all(pc.less_equal(values, column.maximum)), column.name
        if column.values:
            assert set(values.unique().to_pylist()) <= {*column.values, None}, column.name


def _all(condition: Any) -> bool:
    return bool(pc.all(condition, min_count=0).as_py())


# --- every record is accounted for


@dataclass
class Outcomes:
    """What the files of a test came to, so that the test can require enough of each outcome."""

    refused_lines: set[int] = field(default_factory=set)  # the hash of each line with a refused record
    accepted_records: int = 0
    reasons: set[str] = field(default_factory=set)

    def add(self, lines: Sequence[bytes], rows: Sequence[Row]) -> None:
        refused = [row for row in rows if row["reason"]]
        self.refused_lines.update(hash(lines[row["record"] - 1]) for row in refused)
        self.accepted_records += sum(row["status"] == "accepted" for row in rows)
        self.reasons |= {row["reason"] for row in refused}


def assert_accounted_for(
    source: str, content: bytes, rows: Sequence[Row], account: FileCounts, valid: ValidDocuments, outcomes: Outcomes
) -> None:
    """The rows and the account of a readable file are those that the second reader expects of its content."""
    lines = lines_of(content)
    expected = [expected_records(source, line, is_first_line=number == 0) for number, line in enumerate(lines)]
    _assert_account(account, expected, rows)
    rows_by_line: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        rows_by_line[row["record"]][row["position"]] = row
    refused_items: list[Row] = []
    for number, (line, records) in enumerate(zip(lines, expected, strict=True), 1):
        rows_of_line = rows_by_line.pop(number, {})
        try:
            _assert_line(line, records or [], rows_of_line, valid)
        except AssertionError as error:
            raise AssertionError(f"{source}, line {number}: {line[:2000]!r}\n{error}") from error
        refused_items += _refused_batch_items(records or [], rows_of_line)
    assert not rows_by_line
    _assert_refused_again(source, refused_items)
    outcomes.add(lines, rows)


def _assert_account(account: FileCounts, expected: Sequence[list[ExpectedRecord] | None], rows: Sequence[Row]) -> None:
    filled_lines = [records for records in expected if records is not None]
    assert account.error is None
    assert account.records == sum(map(len, filled_lines)) == len(rows)
    assert account.rejected == sum(row["status"] == "rejected" for row in rows)
    assert account.blank == expected.count(None)
    assert account.empty == filled_lines.count([])


def _assert_line(line: bytes, records: Sequence[ExpectedRecord], rows: Mapping[int, Row], valid: ValidDocuments) -> None:
    positions = sorted(rows)
    assert positions == list(range(len(records)))
    for position, record in enumerate(records):
        _assert_record(record, rows[position])
    if line in valid.rows:
        expected_rows = sorted(valid.rows[line], key=lambda row: row["position"])
        assert [without_place(rows[position]) for position in positions] == expected_rows


def _assert_record(record: ExpectedRecord, row: Row) -> None:
    if row["status"] == "accepted":
        assert record.kind == "event"
        return
    assert row["reason"] == ("schema_violation" if record.kind == "event" else record.kind)
    assert row["detail"]
    assert VALUE not in row["detail"]
    assert SECRET not in row["detail"]
    assert JSON_POINTER.fullmatch(row["path"])
    if record.kind == "event":
        value_at(record.document, row["path"])
    else:
        assert row["path"] == ""
    if record.envelope == "line":
        raw = record.raw
        assert row["raw"] == (raw[:65536] if record.kind == "too_large" else raw)
    else:
        raw = row["raw"]
        assert same_json(parse_json(raw), record.raw)
        assert is_canonical(raw)
    assert row["raw_length"] == len(raw)
    assert row["raw_sha256"] == hashlib.sha256(raw).hexdigest()


def _refused_batch_items(records: Sequence[ExpectedRecord], rows: Mapping[int, Row]) -> list[Row]:
    """The first refused items of a batch; some are enough, for a line may have thousands."""
    return [row for position, row in list(rows.items())[:20] if row["reason"] and records[position].envelope == "batch"]


def _assert_refused_again(source: str, refused_items: Sequence[Row]) -> None:
    """The `raw` of a refused item of a batch, landed as a line of its own, is refused for the same reason."""
    if not refused_items:
        return
    names = ("status", "reason", "path", "detail", "raw", "raw_length", "raw_sha256")
    content = b"\n".join(row["raw"] for row in refused_items)
    second = rows_of_lines(source, content, max_document_bytes=100 * MAX_DOCUMENT_BYTES)
    assert [{name: row[name] for name in names} for row in second] == [{name: row[name] for name in names} for row in refused_items]

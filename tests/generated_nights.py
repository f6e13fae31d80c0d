"""Generated nights as they landed, read by the transforms, to compare with what the generator says of them."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from one_batch import to_records

from jobs.generator.session_counts import SessionCounts
from jobs.generator.truth import SourceTruth
from schemas.events import REASONS
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, RecordCounts, TimeRules
from transforms.sessions import sessions
from transforms.sources.registry import SOURCES

FIRST = dt.date(2026, 11, 20)
NIGHTS = 8
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


def date_of(night: int) -> dt.date:
    return FIRST + dt.timedelta(days=night)


def decompressed(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if file.suffix == ".gz" else bz2.decompress(content) if file.suffix == ".bz2" else content


def landed_files(landing: Path, source: str) -> list[Path]:
    """The source's files in the order in which they landed."""
    return sorted((landing / source).glob("date=*/hour=*/*"), key=lambda file: file.as_posix().encode())


def fingerprints(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the folder."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read_records(landing: Path, source: str) -> tuple[pa.Table, RecordCounts]:
    """All records of a source as the transforms read them, in the order in which they landed, and their counts."""
    batches, counts = [], RecordCounts()
    for file in landed_files(landing, source):
        landed, hour = (part.split("=")[1] for part in file.parts[-3:-1])
        location = FileLocation(source, dt.date.fromisoformat(landed), int(hour), file.relative_to(landing).as_posix())
        batch, held = to_records(SOURCES[source], list(split_lines([decompressed(file)])), location, TimeRules())
        batches.append(batch.take(pc.sort_indices(batch, [("record", "ascending"), ("position", "ascending")])))
        counts += held
    return pa.Table.from_batches(batches), counts


# For landing zones that no test changes.
read_records_once = cache(read_records)


def accepted_records(records: pa.Table) -> pa.Table:
    return records.filter(pc.field("status") == "accepted")


def distinct_events(records: pa.Table) -> pa.Table:
    """The accepted records without copies of one that landed earlier."""
    seen: dict[str, int] = {}
    for row, event_id in enumerate(accepted_records(records)["event_id"].to_pylist()):
        seen.setdefault(event_id, row)
    return accepted_records(records).take(pa.array(list(seen.values())))


def truth_by_transforms(landing: Path, source: str) -> SourceTruth:
    """The truth about the landed files of a source, as the transforms compute it."""
    records, counts = read_records(landing, source)
    accepted = distinct_events(records)
    refused = Counter(records["reason"].drop_null().to_pylist())
    return SourceTruth(
        files=len(landed_files(landing, source)),
        records=counts.records,
        accepted=len(accepted),
        duplicates=counts.records - counts.rejected - len(accepted),
        rejected=counts.rejected,
        reasons={reason: refused[reason] for reason in REASONS},
        blank=counts.blank,
        empty=counts.empty,
        event_types=dict(Counter(accepted["event_type"].to_pylist())),
        sessions=session_counts_by_transforms(source, accepted),
    )


def build_sessions(accepted: pa.Table) -> pa.Table:
    return pa.Table.from_batches(
        sessions.build(map(sessions.as_input, accepted.select(sessions.INPUT.names).to_batches()), sessions.SessionRules()), sessions.BUILT
    )


def session_counts_by_transforms(source: str, accepted: pa.Table) -> SessionCounts:
    built = build_sessions(accepted)
    rows = [row for row in built["session"].to_pylist() if row is not None]
    unassigned = sum(part["count"] for row in built["chain"].to_pylist() if row is not None for part in row["unassigned"])
    of_pings = source == "activity_stream"

    def total(column: str) -> int:
        return sum(row[column] or 0 for row in rows)

    return SessionCounts(
        sessions=len(rows),
        session_duration=total("session_duration"),
        timespent=sum(round((row["timespent"] or 0) * 1000) for row in rows),
        pageviews=total("pageviews"),
        interactions=total("interactions"),
        events=total("events"),
        over_midnight=sum(row["start_time"].date() != row["end_time"].date() for row in rows),
        orphan_events=unassigned if of_pings else 0,
        sessionless_events=0 if of_pings else unassigned,
        keyless_events=session_keys(accepted).count(None),
    )


def session_keys(records: pa.Table) -> list[str | None]:
    return list(pc.struct_field(records["session_input"].combine_chunks(), "key").to_pylist())


def gaps_within_keys(accepted: pa.Table) -> set[int]:
    """The gaps, in ms, between the events of each session key."""
    times = defaultdict(list)
    for key, time in zip(session_keys(accepted), accepted["event_time"].cast(pa.int64()).to_pylist(), strict=True):
        if key is not None:
            times[key].append(time // 1000)
    return {after - before for of_key in times.values() for before, after in zip(sorted(of_key)[:-1], sorted(of_key)[1:], strict=True)}


def properties(records: pa.Table) -> list[Any]:
    return [orjson.loads(text) for text in records["properties"].to_pylist()]


def contexts(records: pa.Table) -> list[Any]:
    return [orjson.loads(text) for text in records["context"].to_pylist()]


def json_documents(landing: Path, source: str) -> list[Any]:
    """The documents of all lines that are valid JSON."""
    documents = []
    for file in landed_files(landing, source):
        for line in decompressed(file).removeprefix(b"\xef\xbb\xbf").splitlines():
            try:
                documents.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
    return documents

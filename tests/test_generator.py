"""Generated nights: what they hold, that they are the same every time, and that the truth about them is what the rules make of them."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.generator import SourceTruth, Truth, generate, truth
from jobs.generator.formats import FORMATS
from jobs.generator.session_counts import SessionCounts
from schemas.events import REASONS
from transforms import sessions
from transforms.lines import split_lines
from transforms.records import Counts, Place, TimeRules, to_records
from transforms.sources import SOURCES

FIRST = dt.date(2026, 11, 20)
DAY_MS = 86_400_000


def date(night: int) -> dt.date:
    return FIRST + dt.timedelta(night)


def content(file: Path) -> bytes:
    packed = file.read_bytes()
    return gzip.decompress(packed) if file.suffix == ".gz" else bz2.decompress(packed) if file.suffix == ".bz2" else packed


def landed_files(landing: Path, source: str) -> list[Path]:
    """The source's files in the order in which they landed."""
    return sorted((landing / source).glob("date=*/hour=*/*"), key=lambda file: file.as_posix().encode())


def fingerprints(landing: Path) -> dict[str, str]:
    files = (file for file in sorted(landing.rglob("*")) if file.is_file())
    return {file.relative_to(landing).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def lines(landing: Path, source: str) -> Iterator[bytes]:
    for file in landed_files(landing, source):
        yield from content(file).splitlines()


def documents(landing: Path, source: str) -> list[Any]:
    """The documents of all lines that hold JSON."""
    found = []
    for line in lines(landing, source):
        try:
            found.append(orjson.loads(line.removeprefix(b"\xef\xbb\xbf")))
        except orjson.JSONDecodeError:
            continue
    return found


def computed(landing: Path, source: str) -> SourceTruth:
    """The truth about a landing zone as the transforms see it."""
    batches, counts, files = [], Counts(), landed_files(landing, source)
    for file in files:
        landed, hour = (part.split("=")[1] for part in file.parts[-3:-1])
        place = Place(source, dt.date.fromisoformat(landed), int(hour), file.relative_to(landing).as_posix())
        batch, held = to_records(SOURCES[source], list(split_lines([content(file)])), place, TimeRules())
        batches.append(batch)
        counts += held
    records = pa.Table.from_batches(batches)
    refused = Counter(records.filter(pc.field("status") == "rejected")["reason"].to_pylist())
    valid = records.filter(pc.field("status") == "accepted")
    accepted = valid.take(
        pa.array(list({event_id: row for row, event_id in reversed(list(enumerate(valid["event_id"].to_pylist())))}.values()))
    )
    return SourceTruth(
        files=len(files),
        records=counts.records,
        accepted=len(accepted),
        duplicates=len(valid) - len(accepted),
        rejected=counts.rejected,
        reasons={reason: refused[reason] for reason in REASONS},
        blank=counts.blank,
        empty=counts.empty,
        event_types=dict(Counter(accepted["event_type"].to_pylist())),
        sessions=computed_sessions(source, accepted),
    )


def computed_sessions(source: str, accepted: pa.Table) -> SessionCounts:
    keyless = pc.sum(pc.is_null(pc.struct_field(accepted["session_input"].combine_chunks(), "key"))).as_py()
    built = pa.Table.from_batches(
        sessions.build(accepted.select(sessions.INPUT.names).to_batches(), sessions.SessionRules()), sessions.BUILT
    )
    rows = [row for row in built["session"].to_pylist() if row is not None]
    unassigned = sum(part["count"] for row in built["chain"].to_pylist() if row is not None for part in row["unassigned"])
    is_pings = source == "activity_stream"

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
        orphan_events=unassigned if is_pings else 0,
        sessionless_events=0 if is_pings else unassigned,
        keyless_events=keyless,
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One night of about 2,000 records."""
    landing = tmp_path_factory.mktemp("small")
    generate(landing, FIRST, 2_000)
    return landing


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Eight nights with many faults."""
    landing = tmp_path_factory.mktemp("week")
    for night in range(8):
        generate(landing, date(night), 3_000, faults=0.12)
    return landing, truth(landing, date(0), date(7))


@pytest.mark.parametrize("source", FORMATS)
def test_the_truth_of_a_week_is_what_the_transforms_make_of_it(source: str, week: tuple[Path, Truth]) -> None:
    landing, told = week
    assert computed(landing, source) == told.sources[source]

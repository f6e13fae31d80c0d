"""What the checks count in files of the lake, against the same counts in plain Python."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny_lake
from pyspark.sql import SparkSession

from jobs.console.progress import Progress
from jobs.engine import file_tasks
from jobs.engine.file_tasks import StoredFile
from jobs.engine.spark_session import Engine
from jobs.lake.run_output import RunOutput
from jobs.lake.table_files import write_partitioned
from jobs.quality import violation_counts
from jobs.quality.violation_counts import TableFiles, ViolationCounts
from jobs.settings import Settings
from schemas.catalog import TABLES
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.suite import suite
from schemas.table import Table

Row = Mapping[str, Any]
SOURCES = ("sunbird", "homepagevisit", "contentsquare")
DATES = (dt.date(2026, 11, 19), dt.date(2026, 11, 20))
MINIMUM = {"sunbird": 1, "homepagevisit": 4, "contentsquare": 1_000}


def event(random: Random) -> Row:
    """An event of one of few keys, which breaks some rules."""
    return {
        "source": random.choice(SOURCES),
        "landing_date": random.choice(DATES),
        "event_id": random.choice(["", "a", "b", "a\x1f", "\u0000", *map(str, range(60))]),
        "event_type": random.choice(["log", "page_view", "no such type"]),
        "duration_ms": random.choice([None, 0, -1, 2**62]),
        "landing_hour": random.choice([None, 0, 23, 24, -1]),
        "record": random.choice([1, 1, 0]),
        "file": random.choice("abcd"),
        "flags": random.choice([[], ["time_replaced"], ["late", "time_replaced"], ["late"]]),
    }


def refused(random: Random) -> Row:
    """A refused record of one of few keys, which breaks some rules."""
    return {
        "source": random.choice(SOURCES),
        "landing_date": random.choice(DATES),
        "file": random.choice("ab"),
        "record": random.randrange(4),
        "position": random.randrange(-1, 2),
        "reason": random.choice(["invalid_json", "no such reason"]),
        "raw": random.choice([b"", b"{", None]),
        "raw_length": random.choice([0, 1, -1]),
    }


def broken_event(row: Row) -> list[str]:
    hour = row["landing_hour"]
    return [
        *["event_type is one of its values"] * (row["event_type"] == "no such type"),
        *["duration_ms is at least 0"] * (row["duration_ms"] == -1),
        *["landing_hour is at least 0"] * (hour == -1),
        *["landing_hour is at most 23"] * (hour == 24),
        *["record is at least 1"] * (row["record"] < 1),
    ]


def broken_refusal(row: Row) -> list[str]:
    raw = row["raw"]
    return [
        *["record is at least 1"] * (row["record"] < 1),
        *["position is at least 0"] * (row["position"] < 0),
        *["reason is one of its values"] * (row["reason"] == "no such reason"),
        *["raw_length is at least 0"] * (row["raw_length"] < 0),
        *["a refused record is kept"] * (raw is None),
        *["raw is whole unless too large"] * (raw is not None and len(raw) != row["raw_length"]),
    ]


KINDS = ((EVENTS, event, broken_event), (REJECTED_EVENTS, refused, broken_refusal))
# Rules that the values above do not break on purpose.
OTHERS = {"event_time is the time that time_source names", "event_date is the date of event_time"}


@dataclass
class Stored:
    """Rows of a table, and the files that hold them."""

    rows: list[Row] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)


def stored(random: Random, table: Table, make: Any, folder: Path, most_files: int) -> Stored:
    """Random rows in several files per partition."""
    made = Stored()
    for _ in range(random.randrange(most_files + 1)):
        rows = [make(random) for _ in range(random.randrange(1, 40))]
        made.rows += rows
        for file in write_partitioned(table, tiny_lake.frame(table, rows), RunOutput(folder, "run")):
            made.files.append(StoredFile(table.name, file.path, str(folder / table.name), file.rows, file.partition_values))
    return made


def expected(tables: Sequence[tuple[Table, Any, Stored, Stored]], timed: Sequence[Row]) -> ViolationCounts:
    violations: Counter[tuple[str, str]] = Counter()
    for table, broken, added, unchanged in tables:
        if rows := added.rows + unchanged.rows:
            violations.update({(table.name, rule.name): 0 for rule in suite(table) if rule.kind == "condition"})
            violations.update((table.name, rule) for row in added.rows for rule in broken(row))
            keys = {tuple(row[name] for name in table.key) for row in rows}
            violations[table.name, f"{', '.join(table.key)} is unique"] = len(rows) - len(keys)
    return ViolationCounts(violations, worst_files(timed))


def worst_files(events: Sequence[Row]) -> list[Row]:
    all_events = Counter((row["source"], row["file"]) for row in events)
    replaced = Counter((row["source"], row["file"]) for row in events if "time_replaced" in row["flags"])
    worst: list[Row] = []
    for source in sorted(MINIMUM):
        shares = [
            (-replaced[one, file] / count, file) for (one, file), count in all_events.items() if one == source and count >= MINIMUM[source]
        ]
        if shares:
            share, file = min(shares)
            worst.append({"source": source, "file": file, "share": -share})
    return worst


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_plain_python(
    spark: SparkSession, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    assert spark is not None
    if seed % 2:  # every file is a task
        monkeypatch.setattr(file_tasks, "_FEW_ROWS", 0)
        monkeypatch.setattr(file_tasks, "_ROWS_READ_BY_A_TASK", 1)
    random = Random(seed)
    tables = []
    for table, make, broken in KINDS:
        added = stored(random, table, make, tmp_path / "run", 4)
        unchanged = stored(random, table, make, tmp_path / "lake", 3)
        tables.append((table, broken, added, unchanged))
    checked = [TableFiles(added.files, unchanged.files) for _, _, added, unchanged in tables]
    (_, _, added, unchanged), _ = tables

    found = violation_counts.count(Engine(settings, Progress(quiet=True)), checked, [*added.files, *unchanged.files], MINIMUM)

    expected_counts = expected(tables, [*added.rows, *unchanged.rows])
    assert without_others(found) == without_others(expected_counts)
    shares = sorted(found.shares, key=lambda row: row["source"])
    assert [{name: row[name] for name in ("source", "file", "share")} for row in shares] == expected_counts.shares


def without_others(counts: ViolationCounts) -> dict[tuple[str, str], int]:
    return {name: count for name, count in counts.violations.items() if name[1] not in OTHERS}


def test_without_files_nothing_is_counted(spark: SparkSession, settings: Settings) -> None:
    assert spark is not None
    checked = [TableFiles([]) for _ in TABLES]
    assert violation_counts.count(Engine(settings, Progress(quiet=True)), checked, [], {}) == ViolationCounts()

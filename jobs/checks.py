"""Check the staged tables before anything that readers see changes.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine import state_files
from jobs.lake.new_state import NewState
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import WrittenFile, write_partitioned
from jobs.landing.expired import kinds_in
from jobs.landing.zone import Partition
from jobs.quality import baseline, replaced_times, violation_counts
from jobs.quality.gate import Finding, of_rows
from jobs.quality.violation_counts import TableFiles, ViolationCounts
from jobs.settings import Bound, Quality, SourceQuality
from jobs.storage.parquet_files import open_parquet, open_parquet_files
from schemas.bookkeeping import DAILY_METRICS, ERASURES, FILES, QUALITY_RESULTS, RUNS
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS, RAW_IS_KEPT, REJECTED_EVENTS
from schemas.sessions import SESSION_EVENTS, SESSIONS
from schemas.suite import suite

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

# All tables that nights write, except those about the runs.
CHECKED = tuple(table for table in TABLES.values() if table not in (ERASURES, RUNS, QUALITY_RESULTS))
# The column of `files` that counts the rows of each table.
_AUDIT_COLUMNS = {EVENTS.name: "accepted", DUPLICATE_EVENTS.name: "duplicates", REJECTED_EVENTS.name: "rejected"}


def observe(
    engine: Engine, state: NewState, landed: Iterable[Partition], quality: Quality, night: dt.date, sources: Collection[str]
) -> list[Finding]:
    """The findings of all checks, not validated: of the partitions that the run changes, and of the night compared with earlier nights."""
    landed = frozenset(landed)
    findings, counts = _observe_tables(engine, state, landed, quality)
    findings += [*_rates(state, quality, night), *replaced_times.findings(counts.shares, quality)]
    return [*findings, *baseline.findings(state, sources, quality, night)]


def broken(engine: Engine, state: NewState, landed: Iterable[Partition], quality: Quality) -> list[Finding]:
    """The critical checks of the tables that do not hold after rows were removed."""
    findings, _ = _observe_tables(engine, state, frozenset(landed), quality)
    # Maintenance has removed the bytes of old refused records.
    critical = (finding for finding in findings if finding.severity == "critical" and finding.expectation != RAW_IS_KEPT)
    return [finding for finding in critical if finding.observed]


def _observe_tables(
    engine: Engine, state: NewState, landed: frozenset[Partition], quality: Quality
) -> tuple[list[Finding], ViolationCounts]:
    """The findings of the rules that rows of the tables meet, and of the account."""
    counts = _count(engine, state, landed, quality)
    findings: list[Finding] = []
    for table in CHECKED:
        nulls = _nulls(state, table.name)
        rows = sum(file.rows for file in state.changes.get(table.name, Change()).added)
        for rule in suite(table):
            if rule.kind == "filled":
                observed = nulls.get(rule.column or "", 0)
            else:
                observed = counts.violations[table.name, rule.name] if rows else 0
            findings.append(of_rows(table.name, rule, observed, rows, nulls))
    findings += [*_audit(state, landed), _membership(state)]
    return findings, counts


def _count(engine: Engine, state: NewState, landed: Collection[Partition], quality: Quality) -> ViolationCounts:
    """Count in the files that the run adds; the key also in the lake's other files of the same partitions."""
    checked = []
    for table in CHECKED:
        unchanged = state_files.kept(state, table.name, _files_of_written_partitions(state, table.name))
        checked.append(TableFiles(state_files.added(state, table.name), unchanged))
    events_minimum = {partition.source: quality.of(partition.source).time_replaced.events_minimum for partition in landed}
    return violation_counts.count(engine, checked, replaced_times.files(state, landed, quality), events_minimum)


def results(findings: Iterable[Finding], output: RunOutput, night: dt.date) -> Change:
    """Write the rows of `quality_results`."""
    rows = [
        {
            "run_id": output.run_id,
            "table": finding.table,
            "date": night,
            "source": finding.source,
            "expectation": finding.expectation,
            "severity": finding.severity,
            "passed": finding.passed,
            "observed": None if finding.observed is None else f"{finding.observed:g}",
            "threshold": finding.threshold,
            "column": finding.column,
            "detail": finding.detail,
        }
        for finding in findings
    ]
    return Change(
        added=write_partitioned(QUALITY_RESULTS, pa.Table.from_pylist(rows, schema=QUALITY_RESULTS.arrow.remove_metadata()), output)
    )


def _files_of_written_partitions(state: NewState, name: str) -> list[TableFile]:
    """The lake's files in the partitions into which the run writes."""
    change = state.changes.get(name, Change())
    partitions = {tuple(sorted(file.partition_values.items())) for file in change.added}
    return [file for file in state.lake.files(name) if tuple(sorted(file.partition.items())) in partitions]


def _nulls(state: NewState, name: str) -> dict[str, int]:
    """Nulls per column in the files that the run wrote, as counted when they were written."""
    counted: dict[str, int] = {}
    for file in state.changes.get(name, Change()).added:
        for column, nulls in json.loads(file.stats)["nullCount"].items():
            counted[column] = counted.get(column, 0) + nulls
    return counted


def _rows_per_partition(state: NewState, name: str) -> dict[Partition, int]:
    """Rows of a table per landing partition in its new state."""
    change = state.changes.get(name, Change())
    removed = {file.path for file in change.removed}
    counted: dict[Partition, int] = {}
    kept = [(file.partition, file.rows) for file in state.lake.files(name) if file.path not in removed]
    for values, rows in [*kept, *((file.partition_values, file.rows) for file in change.added)]:
        partition = _partition(values)
        counted[partition] = counted.get(partition, 0) + rows
    return counted


def _audit(state: NewState, landed: frozenset[Partition]) -> Iterable[Finding]:
    """Per source: what the files account for is what the tables hold."""
    audited: dict[tuple[Partition, str], int] = {}
    expired: dict[Partition, set[str]] = {}
    added = state.changes.get(FILES.name, Change()).added
    for file, parquet in zip(added, open_parquet_files(state.lake.root / FILES.name / file.path for file in added), strict=True):
        rows = parquet.read(columns=["expired", *_AUDIT_COLUMNS.values()])
        of_partition = expired.setdefault(_partition(file.partition_values), set())
        of_partition.update(*(kinds_in(text) for text in rows["expired"].unique().to_pylist()))
        for kind in _AUDIT_COLUMNS.values():
            key = (_partition(file.partition_values), kind)
            audited[key] = audited.get(key, 0) + (pc.sum(rows[kind]).as_py() or 0)
    for name, kind in _AUDIT_COLUMNS.items():
        in_table = _rows_per_partition(state, name)
        for source in sorted({partition.source for partition in landed}):
            compared = [p for p in landed if p.source == source and kind not in expired.get(p, ())]
            difference = sum(abs(audited.get((p, kind), 0) - in_table.get(p, 0)) for p in compared)
            yield Finding(name, f"the files account for every row ({kind})", "critical", difference, 0, 0, source=source)


def _membership(state: NewState) -> Finding:
    """Every event that a session counts is one of its `session_events`, and no other is."""
    sessions, members = (state.changes.get(name, Change()) for name in (SESSIONS.name, SESSION_EVENTS.name))
    counted = _sum_of_events(state, sessions.added) - _sum_of_events(state, sessions.removed)
    difference = abs(counted - (sum(file.rows for file in members.added) - sum(file.rows for file in members.removed)))
    return Finding(SESSION_EVENTS.name, "sessions have as many events as they count", "critical", difference, 0, 0)


def _sum_of_events(state: NewState, files: Iterable[WrittenFile | TableFile]) -> int:
    """The events that the sessions in these files count."""
    sessions = open_parquet_files(state.lake.root / SESSIONS.name / file.path for file in files)
    return sum(pc.sum(parquet.read(columns=["events"])["events"]).as_py() or 0 for parquet in sessions)


def _rates(state: NewState, quality: Quality, night: dt.date) -> Iterable[Finding]:
    """Per source: the night's rates against the bounds of the configuration."""
    for file in state.changes.get(DAILY_METRICS.name, Change()).added:
        if file.partition_values["metric_date"] != night.isoformat():
            continue
        rows = open_parquet(state.lake.root / DAILY_METRICS.name / file.path).read(columns=["source", "metric", "dimension", "value"])
        for row in rows.to_pylist():
            bound = _bounds(quality.of(row["source"])).get(row["metric"])
            if bound is not None and bound.is_set and row["dimension"] == "all":
                yield Finding(
                    DAILY_METRICS.name, row["metric"], bound.severity, row["value"], bound.minimum, bound.maximum, source=row["source"]
                )
            if row["metric"] == "unreadable_files":
                yield Finding(FILES.name, "every landed file can be read", "warning", row["value"], 0, 0, source=row["source"])


def _bounds(quality: SourceQuality) -> Mapping[str, Bound]:
    """The bounds of a source's metrics."""
    return {
        "accepted_rate": quality.acceptance_rate,
        "duplicate_rate": quality.duplicate_rate,
        "late_rate": quality.late_rate,
        "reported_mismatch_rate": quality.reported_mismatch_rate,
    }


def _partition(values: Mapping[str, str]) -> Partition:
    return Partition(dt.date.fromisoformat(values["landing_date"]), values["source"])

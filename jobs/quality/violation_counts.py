"""Count in the new files of all tables the rows that break each rule, and the events with replaced times.

A part of the step checks: millrace run --date 2026-11-20
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jobs.engine import file_tasks
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import ArrowFunction, Batches
from jobs.quality import replaced_times
from schemas.catalog import TABLES
from schemas.table import INTEGER, STRING, array_of, spark_schema
from transforms.quality import rule_violations, time_shares

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine


@dataclass(frozen=True)
class TableFiles:
    """The files of a table in which its key must be unique: those that the run adds, and others of the same partitions."""

    added: Sequence[StoredFile]
    unchanged: Sequence[StoredFile] = ()


@dataclass(frozen=True)
class ViolationCounts:
    """The counts: per table and rule the rows that break it, and rows of time_shares.SHARES."""

    violations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    shares: Sequence[Mapping[str, Any]] = ()


# Files of one table that a task reads together, so that it asks DuckDB once for all of them.
_CHECKED_FILES = pa.schema([("added", array_of(STRING)), ("unchanged", array_of(STRING)), ("shards", INTEGER)])
_EVENT_FILES = pa.schema([("stored_files", array_of(STRING))])
# Keys that are compared in one shard, about.
_KEYS_OF_A_SHARD = 500_000
_COUNTS = pa.unify_schemas([rule_violations.VIOLATIONS, time_shares.SHARES])


def count(
    engine: Engine, checked: Sequence[TableFiles], events: Sequence[StoredFile], events_minimum: Mapping[str, int]
) -> ViolationCounts:
    """Count in the files of each checked table, and in the files of `events` whose times are checked, by one plan of the engine.

    `events_minimum` has, per source, how many events a landed file must have for its share of replaced times to count.
    """
    checked_files = [file for files in checked for file in (*files.added, *files.unchanged)]
    few = file_tasks.are_few([*events, *checked_files])
    frames = []
    if groups := [(*group, _shards(files)) for files in checked for group in _groups(files, few=few)]:
        counts = _map_groups(
            engine, groups, _CHECKED_FILES, _count_rules, rule_violations.PARTIAL_COUNTS, _tasks(checked_files, groups, few=few)
        )
        frames.append(_padded(rule_violations.rule_violations(counts, in_one_task=few)))
    if event_groups := [(added,) for added, _ in _groups(TableFiles(events), few=few)]:
        counts = _map_groups(
            engine, event_groups, _EVENT_FILES, replaced_times.count_events, time_shares.EVENT_COUNTS, _tasks(events, event_groups, few=few)
        )
        frames.append(_padded(time_shares.worst_files(counts, events_minimum)))
    if not frames:
        return ViolationCounts()
    rows = reduce(lambda one, other: one.unionAll(other), frames).toArrow().to_pylist()
    return ViolationCounts(
        {(row["table"], row["rule"]): row["observed"] for row in rows if row["table"] is not None},
        [row for row in rows if row["table"] is None],
    )


def _groups(files: TableFiles, *, few: bool) -> list[tuple[list[str], list[str]]]:
    """The files of a table, added and unchanged, divided into as many groups as their rows are worth."""
    largest_first = sorted([*files.added, *files.unchanged], key=lambda file: (-file.rows, file.path))
    number = min(1, len(largest_first)) if few else file_tasks.tasks_for(largest_first)
    added = {file.location for file in files.added}
    groups = []
    for start in range(number):
        group = largest_first[start::number]
        added_files, unchanged = ([file.as_json() for file in group if (file.location in added) is is_added] for is_added in (True, False))
        groups.append((added_files, unchanged))
    return groups


def _shards(files: TableFiles) -> int:
    return 1 + sum(file.rows for file in (*files.added, *files.unchanged)) // _KEYS_OF_A_SHARD


def _tasks(files: Collection[StoredFile], groups: Sequence[tuple[Any, ...]], *, few: bool) -> int:
    """The number of tasks for these groups of files. Groups of small tables share a task."""
    return 1 if few else min(len(groups), file_tasks.tasks_for(files))


def _map_groups(
    engine: Engine, groups: Sequence[tuple[Any, ...]], schema: pa.Schema, function: ArrowFunction, counts: pa.Schema, tasks: int
) -> DataFrame:
    """The counts of groups of files."""
    spread = file_tasks.spread_groups(engine, groups, schema, tasks)
    return spread.mapInArrow(engine.in_processes(function), spark_schema(counts))


def _count_rules(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Count in groups of files. In: _CHECKED_FILES. Out: rule_violations.PARTIAL_COUNTS."""
    for batch in batches:
        for row in batch.to_pylist():
            added, unchanged = ([StoredFile.of_json(text) for text in row[name]] for name in ("added", "unchanged"))
            table = TABLES[(added or unchanged)[0].table]
            rows = (
                file_tasks.parts(added, table.arrow, rule_violations.columns_needed(table)),
                file_tasks.parts(unchanged, table.arrow, table.key),
            )
            yield from rule_violations.count_rows(*rows, table, row["shards"]).to_batches()


def _padded(rows: DataFrame) -> DataFrame:
    """The rows with all columns of _COUNTS; a column that they lack is null."""
    from pyspark.sql import functions as F

    types = spark_schema(_COUNTS)
    names = set(rows.columns)
    return rows.select(*(F.col(name) if name in names else F.lit(None).cast(types[name].dataType).alias(name) for name in _COUNTS.names))

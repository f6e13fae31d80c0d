"""A lake of a few rows, made without Spark: what a test says of a row, and defaults for the rest of its table's columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from jobs import settings as configuration
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.rebuild import recorded_rules
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES
from schemas.table import Column, Table

NIGHT = dt.date(2026, 11, 20)
RUN = "20261121T021500-abc123"
STARTED = dt.datetime(2026, 11, 21, 2, 15, tzinfo=dt.UTC)
STEPS = ("ingest", "deduplicate", "write", "account", "sessions", "metrics", "checks", "publish")

Rows = Sequence[Mapping[str, Any]]


def publish(
    root: StoragePath,
    tables: Mapping[str, Rows],
    *,
    run_id: str = RUN,
    night: dt.date | None = NIGHT,
    failed: bool = False,
    earlier: Rows = (),
    **run: Any,
) -> None:
    """Add these rows to the lake as one run of the night, whose every step took ten seconds; `earlier` are rows of `runs` before it."""
    with Lake.writing(root, "a test") as lake:
        output = lake.begin(run_id)
        changes = {
            name: Change(added=write_partitioned(TABLES[name], frame(TABLES[name], rows, run_id), output)) for name, rows in tables.items()
        }
        lake.publish(changes, [*earlier, *journal(run_id, night, failed=failed, **run)], run_id, failed=failed)


def frame(table: Table, rows: Rows, run_id: str = RUN) -> pa.Table:
    """Whole rows of a table, whose other columns hold what the contract allows."""
    whole = [{column.name: row.get(column.name, _default(column, run_id)) for column in table.columns} for row in rows]
    return pa.Table.from_pylist(whole, schema=table.arrow.remove_metadata())


def journal(
    run_id: str,
    night: dt.date | None,
    *,
    failed: bool = False,
    command: str = "run",
    started: dt.datetime = STARTED,
    steps: Sequence[str] = STEPS,
    sources: str | None = None,
) -> list[dict[str, Any]]:
    """The rows of `runs`."""
    ten_seconds = dt.timedelta(seconds=10)
    rows = [
        {"run_id": run_id, "command": command, "step": step, "night": night, "status": "done"}
        | {"started": started + number * ten_seconds, "ended": started + (number + 1) * ten_seconds}
        for number, step in enumerate(steps)
    ]
    rows[-1]["sources"] = sources
    rows[-1] |= {"status": "failed"} if failed else {"rules": _default_rules()}
    return rows


@cache
def _default_rules() -> list[tuple[str, str]]:
    """The rules of the shipped settings, as they are recorded."""
    return sorted(recorded_rules.current(configuration.load()).items())


def _default(column: Column, run_id: str) -> Any:
    """A value that the contract allows."""
    if column.name == "run_id":
        return run_id
    if not column.required:
        return None
    if column.values:
        return column.values[0]
    kinds = (
        (pa.types.is_date, NIGHT),
        (pa.types.is_timestamp, dt.datetime.combine(NIGHT, dt.time(10), dt.UTC)),
        (pa.types.is_boolean, True),
        (pa.types.is_integer, int(column.minimum or 0)),
        (pa.types.is_floating, 0.0),
        (pa.types.is_binary, b""),
        (pa.types.is_list, []),
    )
    return next((value for holds, value in kinds if holds(column.type)), column.name)

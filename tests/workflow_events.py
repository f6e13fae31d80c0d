"""Events of workflows, and the rows that `summarise` and the plain reference make of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import workflows_reference as reference

from transforms.workflows.summaries import BUILT, INPUT, WorkflowRules, summarise

Row = dict[str, Any]

RULES = WorkflowRules()
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = NOON.date()
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
DAY_MS = 24 * HOUR


class Workflows(NamedTuple):
    """The rows of the two tables."""

    summaries: list[Row]
    chains: list[Row]


def epoch_ms(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def in_landing_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["key"], row["ets"]))


def workflows_of(rows: Sequence[Row], batch_size: int = 1_000) -> Workflows:
    table = pa.Table.from_pylist(in_landing_order(rows), schema=INPUT)
    workflows = Workflows([], [])
    for batch in summarise(iter(table.to_batches(max_chunksize=batch_size)), RULES):
        assert batch.schema == BUILT
        for row in batch.to_pylist():
            assert [row["summary"], row["chain"]].count(None) == 1
            if row["summary"] is not None:
                workflows.summaries.append(row["summary"])
            else:
                workflows.chains.append(row["chain"])
    return in_one_order(workflows)


def reference_workflows(rows: Sequence[Row]) -> Workflows:
    return in_one_order(Workflows(reference.summaries(rows, RULES), reference.chains(rows, RULES)))


def in_one_order(workflows: Workflows) -> Workflows:
    return Workflows(
        sorted(workflows.summaries, key=lambda row: row["summary_id"]),
        sorted(workflows.chains, key=lambda row: row["chain_id"]),
    )


EVENT_TYPES = {"START": "start", "END": "end", "IMPRESSION": "page_view", "INTERACT": "interaction", "ASSESS": "assessment"}


def event(name: str, seconds: float = 0, *, key: Sequence[Any] = ("d", "c", "p"), **fields: Any) -> Row:
    """An event so many seconds after noon."""
    row = dict.fromkeys(INPUT.names) | {
        "key": json.dumps(key, separators=(",", ":"), ensure_ascii=False),
        "ets": epoch_ms(NOON) + round(seconds * 1000),
        "event_id": f"{name} at {seconds}",
        "event_type": EVENT_TYPES.get(name, "other"),
        "event_name": name,
        "landing_date": DAY,
    }
    assert fields.keys() <= row.keys()
    return row | fields


def start(seconds: float, kind: str | None, **fields: Any) -> Row:
    return event("START", seconds, type=kind, **fields)


def end(seconds: float, kind: str | None, **fields: Any) -> Row:
    return event("END", seconds, type=kind, **fields)


def touch(seconds: float, **fields: Any) -> Row:
    return event("INTERACT", seconds, **{"type": "TOUCH", **fields})


def page_view(seconds: float, page: str | None, **fields: Any) -> Row:
    return event("IMPRESSION", seconds, page=page, **fields)


def values_of(rows: Sequence[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def event_counts(row: Row) -> dict[str, int]:
    return {entry["id"]: entry["count"] for entry in row["events_summary"]}


def span(*seconds: float) -> tuple[int, ...]:
    return tuple(epoch_ms(NOON) + round(second * 1000) for second in seconds)

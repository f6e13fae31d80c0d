"""Build workflow summaries: from the ordered events of each group, one row per span from START to END.

Rules: docs/rules/workflows.md. A group is a device, a channel and a producer. Its events are in the order of `ets` as the client
sent it, ties in landing order. The open workflows of a group form a stack: an event that is added to the innermost one counts in
all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import starmap
from typing import Any

import orjson
import pyarrow as pa

from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import BIGINT, DATE, STRING, Table
from transforms.documents.json_documents import short_hash
from transforms.times import DAY_MS, MINUTE_MS, representable
from transforms.workflows.tallies import Tally, WorkflowEvent

# Raised with every change that makes other summaries from the same events. `millrace rebuild` then builds the summaries again.
WORKFLOWS_VERSION = 2
_KINDS = {"ets": BIGINT, "landing_date": DATE}
# The columns of an event that the rules read.
INPUT = pa.schema([pa.field(name, _KINDS.get(name, STRING)) for name in WorkflowEvent._fields])


def _row_type(table: Table) -> pa.DataType:
    return pa.struct([pa.field(column.name, column.type) for column in table.columns if column.name != "run_id"])


# One row of `workflow_summaries` or of `workflow_chains`: every row fills one of the two and not the other.
BUILT = pa.schema([pa.field("summary", _row_type(WORKFLOW_SUMMARIES)), pa.field("chain", _row_type(WORKFLOW_CHAINS))])

_ROWS_PER_BATCH = 2_000
_ENTRIES_PER_BATCH = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class WorkflowRules:
    """The numbers in the rules (docs/rules/workflows.md), in milliseconds. A gap of exactly such a length is still within it."""

    idle_ms: int = 10 * MINUTE_MS  # the longest gap that counts as time spent
    break_ms: int = 30 * MINUTE_MS  # a longer gap starts a new segment of every open workflow
    cut_ms: int = DAY_MS  # a longer gap closes every open workflow and starts a new chain


def summarise(batches: Iterable[pa.RecordBatch], rules: WorkflowRules) -> Iterator[pa.RecordBatch]:
    """The workflow summaries of these events, and their chains.

    In: batches of INPUT, sorted by key, ets and landing order. They have all events of each chain; a batch may end anywhere. A
    key is the canonical JSON of did, channel and pdata_id, and without a did also of the UTC day.
    Out: batches of BUILT, of bounded size. Time is linear in the events; memory holds only open workflows.
    """
    rows = _Rows()
    chain: _Chain | None = None
    for batch in batches:
        for event in starmap(WorkflowEvent, zip(*(column.to_pylist() for column in batch.columns), strict=True)):
            if chain is None or not chain.continues_with(event):
                if chain is not None:
                    chain.end()
                chain = _Chain(event, rules, rows)
            chain.add(event)
            if rows.is_full():
                yield rows.take()
    if chain is not None:
        chain.end()
        yield rows.take()


class _Workflow:
    """An open workflow: the values of its first event, and the tally of its current segment."""

    __slots__ = ("first_item", "mode", "opened_by", "tally", "type")

    def __init__(self, opened_by: WorkflowEvent, kind: str, mode: str, first_item: int) -> None:
        self.opened_by = opened_by
        self.type = kind
        self.mode = mode
        self.tally = Tally()
        self.first_item = first_item  # index in the chain's items from which they belong to this segment


class _Chain:
    """The events of one group between two cuts, and the open workflows."""

    def __init__(self, first: WorkflowEvent, rules: WorkflowRules, rows: _Rows) -> None:
        self._first = first
        self._rules = rules
        self._rows = rows
        self._key = orjson.loads(first.key)
        self._open: list[_Workflow] = []
        self._levels: dict[tuple[str, str], int] = {}  # the depth of each open workflow, by type and mode, which are unique among them
        self._items: list[str] = []
        self._previous_ms = first.ets
        self._counted_ms: int | None = None  # ets of the last event that was added to an open workflow
        self._landing_dates: set[date] = set()
        self._summaries: list[dict[str, Any]] = []

    def continues_with(self, event: WorkflowEvent) -> bool:
        """Whether the next event belongs to this chain."""
        return event.key == self._first.key and event.ets - self._previous_ms <= self._rules.cut_ms

    def add(self, event: WorkflowEvent) -> None:
        """Add the next event."""
        self._landing_dates.add(event.landing_date)
        if event.ets - self._previous_ms > self._rules.break_ms and _lowered(event) != "app":
            self._break()
        self._previous_ms = event.ets
        if event.event_type == "start":
            self._start(event)
        elif event.event_type == "end":
            self._finish(event)
        elif self._open:
            self._add_to_innermost(event)
        else:
            self._enter(event, "app", event.mode or "")

    def end(self) -> None:
        """Close every open workflow, and write the chain's row."""
        self._close(0)
        self._rows.add_chain(
            {
                "chain_id": _hash("workflow", *self._key, self._first.event_id, self._first.ets),
                "key": self._first.key,
                "key_hash": short_hash(self._first.key),
                "first_ets": self._first.ets,
                "last_ets": self._previous_ms,
                "landing_dates": sorted(self._landing_dates),
                "summaries": sorted(self._summaries, key=lambda summary: summary["summary_id"]),
                "chain_date": _date_of(self._first.ets),
            }
        )

    def _start(self, event: WorkflowEvent) -> None:
        kind, mode = _lowered(event) or "app", event.mode or ""
        level = self._levels.get((kind, mode))
        if level is not None:
            self._close(level)
        if not self._open and kind != "app":
            self._enter(event, "app", "")
        self._enter(event, kind, mode)

    def _finish(self, event: WorkflowEvent) -> None:
        level = self._levels.get((_lowered(event) or "app", event.mode or ""))
        if level is not None:
            self._close(level + 1)
            self._add_to_innermost(event)
            self._close(level)

    def _enter(self, event: WorkflowEvent, kind: str, mode: str) -> None:
        """Open a workflow. Its first event counts in the enclosing workflows too."""
        if self._open:
            self._spend(event)
        self._levels[kind, mode] = len(self._open)
        self._open.append(_Workflow(event, kind, mode, len(self._items)))
        self._count(event)

    def _add_to_innermost(self, event: WorkflowEvent) -> None:
        self._spend(event)
        self._count(event)

    def _spend(self, event: WorkflowEvent) -> None:
        """Count the time since the last counted event, if it is not idle."""
        if self._counted_ms is not None:
            gap = event.ets - self._counted_ms
            if gap <= self._rules.idle_ms:
                self._open[-1].tally.spend((gap + 5) // 10)

    def _count(self, event: WorkflowEvent) -> None:
        self._open[-1].tally.add(event)
        self._counted_ms = event.ets
        if event.item is not None:
            self._items.append(event.item)

    def _close(self, level: int) -> None:
        """Close the workflows from this level on. The tally of each is joined to that of the enclosing workflow."""
        while len(self._open) > level:
            self._emit(len(self._open) - 1)
            closed = self._open.pop()
            del self._levels[closed.type, closed.mode]
            if self._open:
                self._open[-1].tally.join(closed.tally)
        if not self._open:
            self._items.clear()
            self._counted_ms = None

    def _break(self) -> None:
        """Write a summary of every open workflow, and continue it as a new segment."""
        for level in range(len(self._open) - 1, -1, -1):
            self._emit(level)
            tally, self._open[level].tally = self._open[level].tally, Tally()
            if level:
                self._open[level - 1].tally.join(tally)
        self._items.clear()
        self._counted_ms = None
        for workflow in self._open:
            workflow.first_item = 0

    def _emit(self, level: int) -> None:
        workflow = self._open[level]
        if workflow.tally.spent > 0:
            parent = self._open[level - 1].type if level else None
            row = _summary(self._key[:3], workflow, level, parent, self._items[workflow.first_item :])
            self._rows.add_summary(row)
            self._summaries.append({"summary_id": row["summary_id"], "summary_date": row["summary_date"]})


def _summary(group: list[str], workflow: _Workflow, level: int, parent: str | None, items: list[str]) -> dict[str, Any]:
    tally, first = workflow.tally, workflow.opened_by
    assert tally.first is not None
    start = tally.first.ets
    did, channel, producer = group
    return {
        "summary_id": _hash(did, channel, producer, tally.first.event_id, start, level),
        "did": did or None,
        "channel": channel,
        "pdata_id": producer or None,
        "sid": first.session_key,
        "uid": first.uid,
        "object_id": first.object_id,
        "object_type": first.object_type,
        "type": workflow.type,
        "mode": workflow.mode,
        "start_time": start,
        "end_time": tally.last_ms,
        "started_at": _time_of(start),
        "ended_at": _time_of(tally.last_ms),
        "time_diff": (tally.last_ms - start + 5) // 10 / 100,
        "time_spent": tally.spent / 100,
        "interact_events_count": tally.interactions,
        "interact_events_per_min": _per_minute(tally.interactions, tally.spent),
        "env_summary": [
            {"env": env, "time_spent": part.spent / 100, "count": part.entered} for env, part in sorted(tally.environments.items())
        ],
        "events_summary": [{"id": name, "count": count} for name, count in sorted(tally.events.items())],
        "page_summary": [
            {"id": page, "type": part.type, "env": env, "time_spent": part.spent / 100, "visit_count": part.opened}
            for (page, env), part in sorted(tally.pages.items())
        ],
        "item_responses": f"[{','.join(items)}]",
        "parent_type": parent,
        "summary_date": _date_of(start),
    }


def _per_minute(count: int, spent: int) -> float:
    """Interactions per minute, rounded half up to hundredths. For less than a minute, the number of interactions itself."""
    return float(count) if spent < 6_000 else (2 * 600_000 * count + spent) // (2 * spent) / 100


def _lowered(event: WorkflowEvent) -> str:
    return (event.type or "").lower()


def _hash(*parts: Any) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()


@lru_cache(maxsize=4096)
def _date_of(ms: int) -> date | None:
    """The UTC date of epoch ms; None outside the years 1 to 9999."""
    return None if representable(ms) is None else date.fromordinal(ms // DAY_MS + _EPOCH_DAY)


def _time_of(ms: int) -> datetime | None:
    """The time of epoch ms; None outside the years 1 to 9999."""
    return None if representable(ms) is None else _EPOCH + timedelta(milliseconds=ms)


class _Rows:
    """Collects rows of BUILT for the next batch."""

    def __init__(self) -> None:
        self._summaries: list[dict[str, Any]] = []
        self._chains: list[dict[str, Any]] = []
        self._entries = 0

    def add_summary(self, row: dict[str, Any]) -> None:
        self._summaries.append(row)
        self._entries += len(row["env_summary"]) + len(row["events_summary"]) + len(row["page_summary"]) + len(row["item_responses"]) // 64

    def add_chain(self, row: dict[str, Any]) -> None:
        self._chains.append(row)
        self._entries += len(row["summaries"])

    def is_full(self) -> bool:
        return len(self._summaries) + len(self._chains) >= _ROWS_PER_BATCH or self._entries >= _ENTRIES_PER_BATCH

    def take(self) -> pa.RecordBatch:
        """Remove the collected rows and give them as a batch."""
        summaries, chains = self._summaries, self._chains
        self._summaries, self._chains, self._entries = [], [], 0
        nothing: list[None] = [None]
        return pa.RecordBatch.from_arrays(
            [
                pa.array([*summaries, *nothing * len(chains)], BUILT.field("summary").type),
                pa.array([*nothing * len(summaries), *chains], BUILT.field("chain").type),
            ],
            schema=BUILT,
        )

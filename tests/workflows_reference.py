"""The rules of workflow summaries (docs/rules/workflows.md) in plain Python: one event after the other, whatever it costs.

Written from the rules and not from the code of transforms: where the two agree, both follow the rules.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

from json_digest import digest

from transforms.documents.json_documents import short_hash
from transforms.workflows.summaries import WorkflowRules

Row = dict[str, Any]

EPOCH = dt.date(1970, 1, 1)
DAY_MS = 24 * 60 * 60 * 1000
COUNTED = """
    touch drag drop pinch zoom shake rotate speak listen write draw start end choose activate scroll click edit submit search
    dnd added removed selected
"""


def summaries(events: Iterable[Row], rules: WorkflowRules) -> list[Row]:
    """The rows of `workflow_summaries`, without run_id."""
    return [summary for run in runs(events, rules) for summary in summaries_of(run, rules)]


def chains(events: Iterable[Row], rules: WorkflowRules) -> list[Row]:
    """The rows of `workflow_chains`, without run_id."""
    return [chain(run, summaries_of(run, rules)) for run in runs(events, rules)]


# --- the events of a key, from cut to cut


def runs(events: Iterable[Row], rules: WorkflowRules) -> Iterator[list[Row]]:
    keys: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        keys[event["key"]].append(event)
    for same_key in keys.values():
        ordered = sorted(same_key, key=lambda event: event["ets"])
        run = ordered[:1]
        for before, event in pairwise(ordered):
            if event["ets"] - before["ets"] > rules.cut_ms:
                yield run
                run = []
            run.append(event)
        yield run


def summaries_of(run: Sequence[Row], rules: WorkflowRules) -> list[Row]:
    walk = Walk(rules)
    for event in run:
        walk.take(event)
    walk.close_all()
    return walk.emitted


def chain(run: Sequence[Row], made: Sequence[Row]) -> Row:
    first = run[0]
    return {
        "chain_id": digest("workflow", *json.loads(first["key"]), first["event_id"], first["ets"]),
        "key": first["key"],
        "key_hash": short_hash(first["key"]),
        "first_ets": first["ets"],
        "last_ets": run[-1]["ets"],
        "landing_dates": sorted({event["landing_date"] for event in run}),
        "summaries": sorted(({k: row[k] for k in ("summary_id", "summary_date")} for row in made), key=lambda row: row["summary_id"]),
        "chain_date": utc_date(first["ets"]),
    }


# --- nodes that open and close


def lowered(event: Row) -> str:
    return (event["type"] or "app").lower()


def mode_of(event: Row) -> str:
    return event["mode"] or ""


def is_app(event: Row) -> bool:
    return (event["type"] or "").lower() == "app"


@dataclass(eq=False)
class Node:
    """An open workflow: what its first event froze, and the events added since its segment began."""

    first: Row
    type: str
    mode: str
    parent: Node | None
    segment: list[Row] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1

    def to_root(self) -> list[Node]:
        return [self, *(self.parent.to_root() if self.parent else [])]

    def add(self, event: Row) -> None:
        for node in self.to_root():
            node.segment.append(event)


class Walk:
    """What one goes past on the way through a run, and what it emits on the way."""

    def __init__(self, rules: WorkflowRules) -> None:
        self.rules = rules
        self.emitted: list[Row] = []
        self.current: Node | None = None
        self.previous: Row | None = None

    def take(self, event: Row) -> None:
        if self.previous is not None and event["ets"] - self.previous["ets"] > self.rules.break_ms and not is_app(event):
            self.break_segments()
        self.previous = event
        if event["event_type"] == "start":
            self.start(event)
        elif event["event_type"] == "end":
            self.end(event)
        elif self.current is None:
            self.open(event, "app", mode_of(event))
        else:
            self.current.add(event)

    def start(self, event: Row) -> None:
        same = self.nearest(event)
        if same is not None:
            self.close(same)
        elif self.current is None and lowered(event) != "app":
            self.open(event, "app", "")
        self.open(event, lowered(event), mode_of(event))

    def end(self, event: Row) -> None:
        same = self.nearest(event)
        if same is not None:
            same.add(event)
            self.close(same)

    def open_nodes(self) -> list[Node]:
        return self.current.to_root() if self.current else []

    def nearest(self, event: Row) -> Node | None:
        return next((node for node in self.open_nodes() if (node.type, node.mode) == (lowered(event), mode_of(event))), None)

    def open(self, event: Row, kind: str, mode: str) -> None:
        self.current = Node(event, kind, mode, self.current)
        self.current.add(event)

    def close(self, node: Node) -> None:
        """The node and all that is open below it; its parent becomes current."""
        for open_node in self.open_nodes():
            self.emit(open_node)
            if open_node is node:
                break
        self.current = node.parent

    def close_all(self) -> None:
        for root in self.open_nodes()[-1:]:
            self.close(root)

    def break_segments(self) -> None:
        for node in self.open_nodes():
            self.emit(node)
            node.segment = []

    def emit(self, node: Node) -> None:
        summary = summary_of(node, self.rules)
        if summary is not None and summary["time_spent"] > 0:
            self.emitted.append(summary)


# --- what a node says of its events


def summary_of(node: Node, rules: WorkflowRules) -> Row | None:
    if not node.segment:
        return None
    first, start, end = node.first, node.segment[0], node.segment[-1]
    did, channel, pdata_id = json.loads(first["key"])[:3]
    gaps = [gap_after(event, following, rules) for event, following in zip(node.segment, [*node.segment[1:], None], strict=True)]
    interactions = sum(event["event_type"] == "interaction" and (event["type"] or "").lower() in COUNTED.split() for event in node.segment)
    items = [event["item"] for event in node.segment if event["event_type"] == "assessment" and event["item"] is not None]
    return {
        "summary_id": digest(did or "", channel, pdata_id or "", start["event_id"], start["ets"], node.depth),
        "did": did or None,
        "channel": channel,
        "pdata_id": pdata_id or None,
        "sid": first["session_key"],
        "uid": first["uid"],
        "object_id": first["object_id"],
        "object_type": first["object_type"],
        "type": node.type,
        "mode": node.mode,
        "start_time": start["ets"],
        "end_time": end["ets"],
        "started_at": utc_time(start["ets"]),
        "ended_at": utc_time(end["ets"]),
        "time_diff": hundredths(end["ets"] - start["ets"]) / 100,
        "time_spent": sum(gaps) / 100,
        "interact_events_count": interactions,
        "interact_events_per_min": per_minute(interactions, sum(gaps)),
        "env_summary": env_summary(node.segment, gaps),
        "events_summary": [
            {"id": name, "count": count} for name, count in sorted(Counter(event["event_name"] for event in node.segment).items())
        ],
        "page_summary": page_summary(node.segment, gaps),
        "item_responses": "[" + ",".join(items) + "]",
        "parent_type": node.parent.type if node.parent else None,
        "summary_date": utc_date(start["ets"]),
    }


def gap_after(event: Row, following: Row | None, rules: WorkflowRules) -> int:
    """Hundredths of a second up to the next event of the node."""
    if following is None:
        return 0
    gap = following["ets"] - event["ets"]
    return 0 if gap > rules.idle_ms else hundredths(gap)


def hundredths(ms: int) -> int:
    return (ms + 5) // 10


def per_minute(count: int, spent: int) -> float:
    if count == 0 or spent == 0:
        return 0.0
    if spent < 60_00:
        return float(count)
    return floor(Fraction(count * 60_00 * 100, spent) + Fraction(1, 2)) / 100


def env_summary(segment: Sequence[Row], gaps: Sequence[int]) -> list[Row]:
    spent: Counter[str] = Counter()
    visits: Counter[str] = Counter()
    entered = None
    for event, gap in zip(segment, gaps, strict=True):
        env = event["environment"] or ""
        if env != entered:
            visits[env] += 1
            entered = env
        spent[env] += gap
    return [{"env": env, "time_spent": spent[env] / 100, "count": visits[env]} for env in sorted(visits)]


def page_summary(segment: Sequence[Row], gaps: Sequence[int]) -> list[Row]:
    spent: Counter[tuple[str, str]] = Counter()
    visits: Counter[tuple[str, str]] = Counter()
    types: dict[tuple[str, str], str] = {}
    opened = None
    for event, gap in zip(segment, gaps, strict=True):
        if event["event_type"] == "page_view":
            opened = (event["page"], event["environment"] or "") if event["page"] else None
            if opened is not None:
                visits[opened] += 1
                if event["type"] is not None:
                    types[opened] = event["type"]
        if opened is not None:
            spent[opened] += gap
    return [
        {"id": page, "type": types.get((page, env)), "env": env, "time_spent": spent[page, env] / 100, "visit_count": visits[page, env]}
        for page, env in sorted(visits)
    ]


def utc_date(epoch_ms: int) -> dt.date | None:
    """None outside the years 1 to 9999."""
    try:
        return EPOCH + dt.timedelta(days=epoch_ms // DAY_MS)
    except OverflowError:
        return None


def utc_time(epoch_ms: int) -> dt.datetime | None:
    """None outside the years 1 to 9999."""
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=epoch_ms)
    except OverflowError:
        return None

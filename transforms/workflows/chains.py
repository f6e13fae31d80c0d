"""Which chains of a workflow group a change touches, and the events of groups in their order.

A chain is what lies between two cuts of a group (docs/rules/workflows.md, "Breaks and cuts"): no workflow reaches beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS
from schemas.table import BIGINT, STRING
from transforms.duckdb_query import query
from transforms.sessions.chains import rows_in_spans
from transforms.times import DAY_MS
from transforms.workflows.summaries import INPUT, WorkflowRules

# Where a record landed, which orders events of the same time.
PLACE = ("landing_date", "landing_hour", "file", "record", "position")
_IN_STRUCT = ("key", "ets", "uid", "object_id", "object_type", "type", "mode", "item")
# The columns of `events` that are read.
EVENT_COLUMNS = (*(name for name in INPUT.names if name not in _IN_STRUCT), "workflow_input", *PLACE[1:])
# An event that is part of workflows: what the rules read of it, and where it landed.
STEPS = pa.schema([*INPUT, *(pa.field(name, EVENTS[name].type) for name in PLACE[1:])])
# A span of time in which something changed, of a group: chains that meet it are touched.
SPANS = pa.schema([("key", STRING), ("lo", BIGINT), ("hi", BIGINT)])


def steps(events: pa.Table) -> pa.Table:
    """The events that are parts of workflows, as STEPS. In: rows of `events` with EVENT_COLUMNS."""
    held = events["workflow_input"].combine_chunks()
    is_step = held.field("key").is_valid() if len(held) else pa.array([], pa.bool_())
    is_step = pc.and_(is_step, held.is_valid())
    columns = [pc.struct_field(held, name) if name in _IN_STRUCT else events[name] for name in STEPS.names]
    return pa.table(columns, schema=STEPS).filter(is_step)


def in_order(steps: pa.Table) -> pa.Table:
    """The same rows, groups together, each in the order of its rules: by `ets`, ties in landing order, a date without an hour first."""
    hours = pc.fill_null(steps["landing_hour"], -1)
    rows = steps.append_column("hour", hours)
    order = ["hour" if name == "landing_hour" else name for name in PLACE]
    return rows.sort_by([(name, "ascending") for name in ("key", "ets", *order)]).select(INPUT.names)


def changed_spans(events: Iterable[pa.Table], rules: WorkflowRules) -> pa.Table:
    """The spans of time in which something changed, per group, as SPANS; times in epoch ms as sent.

    In: events that came or went, with EVENT_COLUMNS.
    """
    changed = (steps(part).select(["key", "ets"]) for part in events)
    schema = pa.schema([STEPS.field("key"), STEPS.field("ets")])
    reader = pa.RecordBatchReader.from_batches(schema, (batch for part in changed for batch in part.to_batches()))
    # Events of a day are never further apart than a cut: their spans are one.
    return query(_SPANS.format(cut=rules.cut_ms, part=min(rules.cut_ms, DAY_MS), limit=2**62), events=reader).cast(SPANS)


# Half of the largest number is further than any time, and leaves room for a cut.
_SPANS = """
SELECT key, greatest(min(ets), -{limit}) - {cut} AS lo, least(max(ets), {limit}) + {cut} AS hi
FROM events
GROUP BY key, floor(ets / {part})
"""


# What `touched` reads of a chain, and what tells one from all others.
COLUMNS = ("key", "first_ets", "last_ets", "chain_date")
IDENTITY = ("key", "first_ets")


def touched(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change touches, with all their columns.

    In: chains with COLUMNS, the spans of `changed_spans`.
    """
    return query(_TOUCHED, chains=chains, spans=spans)


_TOUCHED = """
WITH known AS (
    SELECT row_number() OVER () AS chain, * FROM chains
)
SELECT * EXCLUDE (chain)
FROM known SEMI JOIN (
    SELECT chain FROM known JOIN spans USING (key) WHERE first_ets <= hi AND last_ets >= lo
) USING (chain)
"""


def events_of(steps: pa.Table, chains: pa.Table) -> pa.Table:
    """The events that lie in these chains."""
    narrow = pa.table({"key": steps["key"], "place": steps["ets"]})
    spans = pa.table({"key": chains["key"], "first": chains["first_ets"], "last": chains["last_ets"]})
    return steps.take(rows_in_spans(narrow, spans, "key"))

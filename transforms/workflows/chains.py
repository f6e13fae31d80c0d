"""Which chains of a workflow group a change affects, and the events of groups in their order.

A chain is what lies between two cuts of a group (docs/rules/workflows.md, "Breaks and cuts"): no workflow reaches beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS, LANDING_ORDER
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import BIGINT, STRING
from transforms.affected_rows import events_of_chains, in_spans, rows_by_id
from transforms.duckdb_query import query
from transforms.times import DAY_MS
from transforms.workflows.summaries import INPUT, WorkflowRules

_IN_STRUCT = ("key", "ets", "uid", "object_id", "object_type", "type", "mode", "item")
# The columns of `events` that are read.
EVENT_COLUMNS = (*(name for name in INPUT.names if name not in _IN_STRUCT), "workflow_input", *LANDING_ORDER[1:])
# An event that is part of workflows: what the rules read of it, and where it landed.
STEPS = pa.schema([*INPUT, *(pa.field(name, EVENTS[name].type) for name in LANDING_ORDER[1:])])
# A span of time, in epoch ms as sent, in which events of a group changed. It affects the chains that overlap it.
SPANS = pa.schema([("key", STRING), ("lo", BIGINT), ("hi", BIGINT)])


def steps(events: pa.Table) -> pa.Table:
    """The events that are parts of workflows, as STEPS. In: rows of `events` with EVENT_COLUMNS."""
    workflow_input = events["workflow_input"].combine_chunks()
    is_step = workflow_input.field("key").is_valid() if len(workflow_input) else pa.array([], pa.bool_())
    is_step = pc.and_(is_step, workflow_input.is_valid())
    columns = [pc.struct_field(workflow_input, name) if name in _IN_STRUCT else events[name] for name in STEPS.names]
    return pa.table(columns, schema=STEPS).filter(is_step)


def in_order(steps: pa.Table) -> pa.Table:
    """The same rows, groups together, each in the order of its rules: by `ets`, ties in landing order, a date without an hour first."""
    hours = pc.fill_null(steps["landing_hour"], -1)
    rows = steps.append_column("hour", hours)
    order = ["hour" if name == "landing_hour" else name for name in LANDING_ORDER]
    return rows.sort_by([(name, "ascending") for name in ("key", "ets", *order)]).select(INPUT.names)


def changed_spans(events: Iterable[pa.Table], rules: WorkflowRules) -> pa.Table:
    """The spans of time in which events changed, per group, as SPANS. In: added or removed events, with EVENT_COLUMNS."""
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


def affected_rows(chains: pa.Table, spans: pa.Table, sources: Iterable[str]) -> pa.Table:
    """What has to be built again because of the chains that a change affects, as AFFECTED_ROWS.

    In: rows of `workflow_chains`, spans of `changed_spans`, and the sources that a group may have events of.
    """
    rebuilt = affected_chains(chains, spans).combine_chunks()
    column = {name: rebuilt[name].combine_chunks() for name in rebuilt.column_names}
    summaries = pc.list_flatten(column["summaries"])
    summary_ids, summary_dates = (pc.struct_field(summaries, name) for name in ("summary_id", "summary_date"))
    span = column["key"], column["first_ets"], column["last_ets"]
    return pa.concat_tables(
        [
            *(events_of_chains(column["landing_dates"], pa.repeat(source, len(rebuilt)), *span) for source in sources),
            rows_by_id(WORKFLOW_SUMMARIES, summary_ids, {"summary_date": summary_dates}),
            rows_by_id(WORKFLOW_CHAINS, column["chain_id"], column),
        ]
    )


def affected_chains(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change affects. In: chains with `key`, `first_ets` and `last_ets`, spans of `changed_spans`."""
    rows = chains.append_column("chain", pa.array(range(chains.num_rows), BIGINT)).select(["chain", "key", "first_ets", "last_ets"])
    sql = "SELECT DISTINCT chain FROM chains JOIN spans USING (key) WHERE first_ets <= hi AND last_ets >= lo ORDER BY chain"
    return chains.take(query(sql, chains=rows, spans=spans)["chain"])


def steps_in_spans(steps: pa.Table, spans: pa.Table) -> pa.Table:
    """The steps that lie in a span of their group. In: STEPS; spans as AFFECTED_ROWS."""
    return steps.take(in_spans(steps["key"], steps["ets"], spans))

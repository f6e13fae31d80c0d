"""Which chains of a workflow group a change affects, and the events of groups in their order.

A chain is what lies between two cuts of a group (docs/rules/workflows.md, "Breaks and cuts"): no workflow reaches beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS, LANDING_ORDER
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import BIGINT, STRING
from transforms.affected_rows import ClosedDates, are_closed, closed_chains, events_of_chains, in_spans, outside_spans, rows_by_id
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
    return query(_SPANS.format(cut=rules.cut_ms, part=min(rules.cut_ms, DAY_MS), limit=2**63 - 1), events=reader).cast(SPANS)


# An `ets` may be any number of 64 bits. A span ends at the largest and the smallest of them.
_SPANS = """
SELECT key, greatest(min(ets)::HUGEINT - {cut}, -{limit} - 1) AS lo, least(max(ets)::HUGEINT + {cut}, {limit}) AS hi
FROM events
GROUP BY key, floor(ets / {part})
"""


def affected_rows(chains: pa.Table, spans: pa.Table, sources: Iterable[str], closed: ClosedDates | None = None) -> pa.Table:
    """What has to be built again because of the chains that a change affects, as AFFECTED_ROWS.

    In: rows of `workflow_chains`, spans of `changed_spans`, the sources that a group may have events of, and the dates whose events have
    expired. Chains with expired events are not built again; those between affected ones come along as closed.
    """
    is_closed = are_closed(chains, closed or {})
    rebuilt = affected_chains(chains.filter(pc.invert(is_closed)), spans).combine_chunks()
    column = {name: rebuilt[name].combine_chunks() for name in rebuilt.column_names}
    span = column["key"], column["first_ets"], column["last_ets"]
    return pa.concat_tables(
        [
            *(events_of_chains(column["landing_dates"], pa.repeat(source, len(rebuilt)), *span) for source in sources),
            *_rows_of(column),
            _closed_spans(_covered(chains.filter(is_closed), rebuilt, spans)),
        ]
    )


def kept_rows(chains: pa.Table, closed: ClosedDates) -> pa.Table:
    """What is not built again when everything else is, as AFFECTED_ROWS: the rows of chains with expired events."""
    kept = chains.filter(are_closed(chains, closed)).combine_chunks()
    return pa.concat_tables([_closed_spans(kept), *_rows_of({name: kept[name].combine_chunks() for name in kept.column_names})])


def _rows_of(column: Mapping[str, pa.Array]) -> Iterator[pa.Table]:
    """The rows that were made of chains, and the chains, as AFFECTED_ROWS. In: the columns of the chains."""
    summaries = pc.list_flatten(column["summaries"])
    summary_ids, summary_dates = (pc.struct_field(summaries, name) for name in ("summary_id", "summary_date"))
    yield rows_by_id(WORKFLOW_SUMMARIES, summary_ids, {"summary_date": summary_dates})
    yield rows_by_id(WORKFLOW_CHAINS, column["chain_id"], column)


def _closed_spans(chains: pa.Table) -> pa.Table:
    """The spans of chains, as those of closed ones."""
    column = {name: chains[name].combine_chunks() for name in ("key", "first_ets", "last_ets")}
    return closed_chains(pa.nulls(chains.num_rows, STRING), column["key"], column["first_ets"], column["last_ets"])


def _covered(closed: pa.Table, rebuilt: pa.Table, spans: pa.Table) -> pa.Table:
    """The closed chains that lie within the time of their group from the first affected moment to the last one."""
    if not closed.num_rows:
        return closed
    rows = closed.append_column("chain", pa.array(range(closed.num_rows), BIGINT)).select(["chain", "key", "first_ets", "last_ets"])
    return closed.take(query(_COVERED, closed=rows, rebuilt=rebuilt.select(["key", "first_ets", "last_ets"]), spans=spans)["chain"])


_COVERED = """
WITH covered AS (
    SELECT key, min(lo) AS lo, max(hi) AS hi
    FROM (SELECT key, lo, hi FROM spans UNION ALL SELECT key, first_ets, last_ets FROM rebuilt)
    GROUP BY key
)
SELECT chain FROM closed JOIN covered USING (key) WHERE first_ets <= hi AND last_ets >= lo ORDER BY chain
"""


def affected_chains(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change affects. In: chains with `key`, `first_ets` and `last_ets`, spans of `changed_spans`."""
    rows = chains.append_column("chain", pa.array(range(chains.num_rows), BIGINT)).select(["chain", "key", "first_ets", "last_ets"])
    sql = "SELECT DISTINCT chain FROM chains JOIN spans USING (key) WHERE first_ets <= hi AND last_ets >= lo ORDER BY chain"
    return chains.take(query(sql, chains=rows, spans=spans)["chain"])


def steps_outside(steps: pa.Table, closed: pa.Table) -> pa.Table:
    """The steps that do not lie in a closed chain of their group. In: STEPS; spans with `key`, `first` and `last` (epoch ms)."""
    same = pa.repeat(pa.scalar("", STRING), steps.num_rows)
    spans = closed.append_column("source", pa.repeat(pa.scalar("", STRING), closed.num_rows))
    return steps.take(outside_spans(pa.table({"source": same, "key": steps["key"], "time": steps["ets"]}), spans))


def steps_in_spans(steps: pa.Table, spans: pa.Table) -> pa.Table:
    """The steps that lie in a span of their group. In: STEPS; spans as AFFECTED_ROWS."""
    return steps.take(in_spans(steps["key"], steps["ets"], spans))

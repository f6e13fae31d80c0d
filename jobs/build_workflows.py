"""Build the workflow summaries of every group of events that the night affects.

    A step of the night: millrace run --date 2026-11-20

A late event recomputes its group from the last cut before it to the next one, no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs import affected_chains
from jobs.affected_chains import ChainRules, ChangedEvents
from jobs.engine import task_reports
from jobs.engine.packed_rows import Packing
from jobs.engine.processes import Batches
from jobs.engine.row_files import write_built
from jobs.lake.table_changes import Change
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import BIGINT, Table, spark_schema
from transforms.affected_rows import CLOSED_CHAIN, ClosedDates
from transforms.sources.registry import SOURCES
from transforms.workflows import chains
from transforms.workflows.summaries import WorkflowRules, summarise

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

_IDS = {WORKFLOW_SUMMARIES.name: "summary_id", WORKFLOW_CHAINS.name: "chain_id"}
# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"summary": WORKFLOW_SUMMARIES, "chain": WORKFLOW_CHAINS}
_ROWS_AT_A_TIME = 20_000
# What travels to the task of a group: an event that is a step of workflows, or the span of a closed chain (epoch ms).
_CLOSED = ("closed_from", "closed_until")
_NARROW = pa.schema([*chains.STEPS, *(pa.field(name, BIGINT) for name in _CLOSED)])
# The sources whose events may make a workflow.
WITH_WORKFLOWS = frozenset(name for name, source in SOURCES.items() if source.has_workflows)


def rebuild(engine: Engine, inputs: ChangedEvents, rules: WorkflowRules) -> dict[str, Change]:
    """Write the workflow summaries and their chains for what the change of `events` affects."""
    chain_rules = _chain_rules(rules, inputs.closed)
    changes = {table.name: Change() for table in _BUILT.values()}
    added, removed = inputs.added_files(WITH_WORKFLOWS), inputs.removed_files(WITH_WORKFLOWS)
    if inputs.from_nothing:
        affected = affected_chains.find_kept(engine, inputs, chain_rules, WITH_WORKFLOWS, inputs.output.local_folder / "_workflows")
        if not affected.are_kept:
            for name, change in changes.items():
                change.removed = inputs.lake.files(name)
    else:
        affected = affected_chains.find(engine, inputs, chain_rules, WITH_WORKFLOWS, inputs.output.local_folder / "_workflows")
    if not added and not removed and not affected.events and affected.rows is None:
        return changes
    packing = Packing(_NARROW, ("key",), inputs.tasks)
    steps = affected_chains.narrow_events(engine, added, affected, chains.EVENT_COLUMNS, _narrow, packing)
    if affected.rows is not None and inputs.closed:
        steps = steps.unionByName(packing.pack_frame(_closed_chains(affected.rows)))
    folder = inputs.output.local_folder / "_events_of_workflows"
    built = engine.map_by_key(steps, packing, _builder(inputs, rules), task_reports.REPORT, folder)
    affected_chains.write(engine, inputs, built, affected, chain_rules, changes)
    return changes


def _chain_rules(rules: WorkflowRules, closed: ClosedDates) -> ChainRules:
    closed = {source: dates for source, dates in closed.items() if source in WITH_WORKFLOWS}
    changed_spans = partial(chains.changed_spans, rules=rules)
    affected_rows = partial(chains.affected_rows, sources=sorted(WITH_WORKFLOWS), closed=closed)
    kept_rows = partial(chains.kept_rows, closed=closed)
    return ChainRules(WORKFLOW_CHAINS, chains.EVENT_COLUMNS, chains.SPANS, changed_spans, affected_rows, kept_rows, _IDS)


def _narrow(events: pa.Table, spans: pa.Table | None) -> pa.Table:
    """The events that are steps of workflows, as _NARROW; with `spans` only those that lie in them."""
    steps = chains.steps(events)
    steps = steps if spans is None else chains.steps_in_spans(steps, spans)
    return pa.table([*steps.columns, *(pa.nulls(steps.num_rows, BIGINT) for _ in _CLOSED)], schema=_NARROW)


def _closed_chains(affected: DataFrame) -> DataFrame:
    """The closed chains among the affected rows, as _NARROW."""
    from pyspark.sql import functions as F

    given = {"key": F.col("key"), "closed_from": F.col("first"), "closed_until": F.col("last")}
    columns = [given.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in spark_schema(_NARROW)]
    return affected.where(F.col("table") == CLOSED_CHAIN).select(*columns)


def _builder(inputs: ChangedEvents, rules: WorkflowRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some groups into files of the two tables."""
    output = inputs.output

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        rows = pa.Table.from_batches([batch.cast(_NARROW) for batch in batches], _NARROW)
        closed = affected_chains.closed_spans(rows.select(["key", *_CLOSED]))
        steps = rows.filter(rows["closed_from"].is_null()).select(chains.STEPS.names)
        if closed.num_rows:
            steps = chains.steps_outside(steps, closed)
        in_order = chains.in_order(steps).to_batches(_ROWS_AT_A_TIME)
        yield from write_built(summarise(in_order, rules), _BUILT, output)

    return build_and_write

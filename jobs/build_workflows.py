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
from jobs.affected_chains import Affected, ChainRules, ChangedEvents
from jobs.engine import task_reports
from jobs.engine.packed_rows import Packing
from jobs.engine.processes import Batches
from jobs.engine.row_files import write_built
from jobs.lake.table_changes import Change
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import Table
from transforms.sources.registry import SOURCES
from transforms.workflows import chains
from transforms.workflows.summaries import WorkflowRules, summarise

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

_IDS = {WORKFLOW_SUMMARIES.name: "summary_id", WORKFLOW_CHAINS.name: "chain_id"}
# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"summary": WORKFLOW_SUMMARIES, "chain": WORKFLOW_CHAINS}
_ROWS_AT_A_TIME = 20_000
# The sources whose events may make a workflow.
WITH_WORKFLOWS = frozenset(name for name, source in SOURCES.items() if source.has_workflows)


def rebuild(engine: Engine, inputs: ChangedEvents, rules: WorkflowRules) -> dict[str, Change]:
    """Write the workflow summaries and their chains for what the change of `events` affects."""
    chain_rules = _chain_rules(rules)
    changes = {table.name: Change() for table in _BUILT.values()}
    added, removed = inputs.added_files(WITH_WORKFLOWS), inputs.removed_files(WITH_WORKFLOWS)
    if inputs.from_nothing:
        affected = Affected(events=inputs.kept_files(WITH_WORKFLOWS))
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    else:
        affected = affected_chains.find(engine, inputs, chain_rules, WITH_WORKFLOWS, inputs.output.local_folder / "_workflows")
    if not added and not removed and not affected.events:
        return changes
    packing = Packing(chains.STEPS, ("key",), inputs.tasks)
    steps = affected_chains.narrow_events(engine, added, affected, chains.EVENT_COLUMNS, _narrow, packing)
    folder = inputs.output.local_folder / "_events_of_workflows"
    built = engine.map_by_key(steps, packing, _builder(inputs, rules), task_reports.REPORT, folder)
    affected_chains.write(engine, inputs, built, affected, chain_rules, changes)
    return changes


def _chain_rules(rules: WorkflowRules) -> ChainRules:
    changed_spans = partial(chains.changed_spans, rules=rules)
    affected_rows = partial(chains.affected_rows, sources=sorted(WITH_WORKFLOWS))
    return ChainRules(WORKFLOW_CHAINS, chains.EVENT_COLUMNS, chains.SPANS, changed_spans, affected_rows, _IDS)


def _narrow(events: pa.Table, spans: pa.Table | None) -> pa.Table:
    """The events that are steps of workflows, as STEPS; with `spans` only those that lie in them."""
    steps = chains.steps(events)
    return steps if spans is None else chains.steps_in_spans(steps, spans)


def _builder(inputs: ChangedEvents, rules: WorkflowRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some groups into files of the two tables."""
    output = inputs.output

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        steps = pa.Table.from_batches([batch.cast(chains.STEPS) for batch in batches], chains.STEPS)
        in_order = chains.in_order(steps).to_batches(_ROWS_AT_A_TIME)
        yield from write_built(summarise(in_order, rules), _BUILT, output)

    return build_and_write

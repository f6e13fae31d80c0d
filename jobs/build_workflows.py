"""Build the workflow summaries of every group of events that the night touches.

    A step of the night: millrace run --date 2026-11-20

A late event recomputes its group from the last cut before it to the next one, no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import affected_chains
from jobs.affected_chains import ChangedEvents, NarrowEvents
from jobs.engine import task_reports, workers
from jobs.engine.file_tasks import Batches
from jobs.lake.table_changes import Change
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import Table
from transforms.sources.registry import SOURCES
from transforms.workflows import chains
from transforms.workflows.summaries import WorkflowRules, summarise

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"summary": WORKFLOW_SUMMARIES, "chain": WORKFLOW_CHAINS}
_ROWS_AT_A_TIME = 20_000
# The sources whose events may make a workflow.
WITH_WORKFLOWS = frozenset(name for name, source in SOURCES.items() if source.has_workflows)


def rebuild(engine: Engine, inputs: ChangedEvents, rules: WorkflowRules) -> dict[str, Change]:
    """Write the workflow summaries and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    added = [file for file in inputs.added_files() if file.partition["source"] in WITH_WORKFLOWS]
    removed = [file for file in inputs.removed_files() if file.partition["source"] in WITH_WORKFLOWS]
    chain_files = inputs.lake.files(WORKFLOW_CHAINS.name)
    if inputs.from_nothing:
        added += [file for file in inputs.kept_files() if file.partition["source"] in WITH_WORKFLOWS]
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    if not added and not removed:
        return changes
    unchanged, in_chains = [], None
    if chain_files and not inputs.from_nothing:
        search = affected_chains.Search(
            engine,
            inputs.lake,
            WORKFLOW_CHAINS,
            chain_files,
            chains.COLUMNS,
            chains.IDENTITY,
            inputs.folder / "_workflows",
        )
        changed_spans = partial(chains.changed_spans, rules=rules)
        spans = affected_chains.ask_files(engine, [*added, *removed], chains.EVENT_COLUMNS, changed_spans, chains.SPANS)
        decided = search.decide(spans, chains.touched)
        if decided.num_rows:
            rows = search.whole(decided)
            dates = {date.isoformat() for date in pc.list_flatten(rows["landing_dates"]).to_pylist()}
            unchanged = inputs.unchanged_files(WITH_WORKFLOWS, dates)
            in_chains = decided.select(["key", "first_ets", "last_ets"])
            affected_chains.drop(engine, inputs.lake, inputs.folder, _rows_of_chains(rows), changes)
    events = NarrowEvents(added, unchanged, chains.EVENT_COLUMNS, chains.STEPS, _narrow(in_chains))
    reports = events.map_keys(engine, _builder(inputs, rules), inputs.tasks, ("key",), inputs.folder / "_events_of_workflows")
    for file in task_reports.written_files(reports):
        changes[file.table].added.append(file)
    return changes


def _narrow(in_chains: pa.Table | None) -> Callable[[pa.Table, bool], pa.Table]:
    """The function that takes of a file's events the steps of workflows, of unchanged files those that lie in these chains."""

    def narrow(events: pa.Table, is_unchanged: bool) -> pa.Table:
        steps = chains.steps(events)
        return chains.events_of(steps, in_chains) if is_unchanged and in_chains is not None else steps

    return narrow


def _rows_of_chains(found: pa.Table) -> list[affected_chains.Rows]:
    """The rows that were made of the chains that were found."""
    summaries = pc.list_flatten(found["summaries"].combine_chunks())
    summary_places = affected_chains.places(pc.struct_field(summaries, "summary_date"))
    return [
        affected_chains.Rows(WORKFLOW_SUMMARIES, "summary_id", pc.struct_field(summaries, "summary_id"), summary_places),
        affected_chains.Rows(
            WORKFLOW_CHAINS, "chain_id", found["chain_id"].combine_chunks(), affected_chains.places(found["chain_date"].combine_chunks())
        ),
    ]


def _builder(inputs: ChangedEvents, rules: WorkflowRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some groups into files of the two tables."""
    folder, run_id = inputs.folder, inputs.run_id

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        steps = pa.Table.from_batches([batch.cast(chains.STEPS) for batch in batches], chains.STEPS)
        in_order = chains.in_order(steps).to_batches(_ROWS_AT_A_TIME)
        yield from workers.write_built(summarise(in_order, rules), _BUILT, folder, run_id)

    return build_and_write

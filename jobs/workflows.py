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

from jobs import exchange, touched, workers
from jobs.exchange import EventFile, Exchange
from jobs.lake import Change
from jobs.touched import Changed
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import Table
from transforms import workflow_chains
from transforms.sources import SOURCES
from transforms.workflows import WorkflowRules, summarise

if TYPE_CHECKING:
    from jobs.session import Engine

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"summary": WORKFLOW_SUMMARIES, "chain": WORKFLOW_CHAINS}
_ROWS_AT_A_TIME = 20_000
_SOURCES = frozenset(name for name, source in SOURCES.items() if source.has_workflows)


def rebuild(engine: Engine, inputs: Changed, rules: WorkflowRules) -> dict[str, Change]:
    """Write the workflow summaries and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    came = [file for file in exchange.came(inputs.folder, inputs.events) if file.partition["source"] in _SOURCES]
    went = [file for file in exchange.went(inputs.lake, inputs.events) if file.partition["source"] in _SOURCES]
    chain_files = inputs.lake.files(WORKFLOW_CHAINS.name)
    if inputs.from_nothing:
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    if not came and not went:
        return changes
    files, in_chains = came, None
    if chain_files and not inputs.from_nothing:
        search = touched.Search(
            engine,
            inputs.lake,
            WORKFLOW_CHAINS,
            chain_files,
            workflow_chains.COLUMNS,
            workflow_chains.IDENTITY,
            inputs.folder / "_workflows",
        )
        asked = partial(workflow_chains.changed_spans, rules=rules)
        spans = exchange.collect(engine, [*came, *went], workflow_chains.EVENT_COLUMNS, asked, workflow_chains.SPANS)
        decided = search.decide(spans, workflow_chains.touched)
        if decided.num_rows:
            rows = search.whole(decided)
            dates = {date.isoformat() for date in pc.list_flatten(rows["landing_dates"]).to_pylist()}
            files = [*came, *exchange.beside(inputs.lake, inputs.events, _SOURCES, dates)]
            in_chains = decided.select(["key", "first_ets", "last_ets"])
            touched.drop(engine, inputs.lake, inputs.folder, _going(rows), changes)
    grouped = Exchange(inputs.folder / "_exchange" / "workflows", inputs.tasks)
    grouped.fill(engine, files, workflow_chains.EVENT_COLUMNS, _narrow(in_chains))
    for file in workers.written_files(workers.run(engine, grouped.buckets, _builder(grouped, inputs, rules))):
        changes[file.table].added.append(file)
    return changes


def _narrow(in_chains: pa.Table | None) -> Callable[[pa.Table, EventFile], pa.Table]:
    """The function that takes of a file's events the steps of workflows, of files of the lake those that lie in these chains."""

    def narrow(events: pa.Table, file: EventFile) -> pa.Table:
        steps = workflow_chains.steps(events)
        if file.is_beside and in_chains is not None:
            steps = workflow_chains.events_of(steps, in_chains)
        return steps.append_column("bucket_key", steps["key"])

    return narrow


def _going(found: pa.Table) -> list[touched.Rows]:
    """The rows that were made of the chains that were found."""
    summaries = pc.list_flatten(found["summaries"].combine_chunks())
    summary_places = touched.places(pc.struct_field(summaries, "summary_date"))
    return [
        touched.Rows(WORKFLOW_SUMMARIES, "summary_id", pc.struct_field(summaries, "summary_id"), summary_places),
        touched.Rows(WORKFLOW_CHAINS, "chain_id", found["chain_id"].combine_chunks(), touched.places(found["chain_date"].combine_chunks())),
    ]


def _builder(grouped: Exchange, inputs: Changed, rules: WorkflowRules) -> Callable[[int], Iterator[pa.RecordBatch]]:
    """The function that a worker runs on the groups of a bucket: events in, files of the two tables out."""
    folder, run_id = inputs.folder, inputs.run_id

    def build_and_write(number: int) -> Iterator[pa.RecordBatch]:
        steps = workflow_chains.in_order(pa.Table.from_batches(grouped.bucket(number), workflow_chains.STEPS))
        return workers.write_built(summarise(steps.to_batches(_ROWS_AT_A_TIME), rules), _BUILT, folder, run_id)

    return build_and_write

"""Build the workflow summaries of every group of events that the night touches.

    A step of the night: millrace run --date 2026-11-20

A late event recomputes its group from the last cut before it to the next one, no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import touched, workers
from jobs.lake import Change, read_parquet
from jobs.touched import Changed
from schemas.events import EVENTS
from schemas.sessions import WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from schemas.table import Table, spark_schema
from transforms import workflow_chains
from transforms.sources import SOURCES
from transforms.workflows import INPUT, WorkflowRules, summarise

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"summary": WORKFLOW_SUMMARIES, "chain": WORKFLOW_CHAINS}
_SOURCES = frozenset(name for name, source in SOURCES.items() if source.has_workflows)


def rebuild(spark: SparkSession, inputs: Changed, rules: WorkflowRules) -> dict[str, Change]:
    """Write the workflow summaries and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    added = [file.path for file in inputs.events.added if file.partition_values["source"] in _SOURCES]
    removed = [file.path for file in inputs.events.removed if file.partition["source"] in _SOURCES]
    chain_files = inputs.lake.files(WORKFLOW_CHAINS.name)
    if inputs.from_nothing:
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    if not added and not removed:
        return changes
    new = _events(spark, inputs.folder / EVENTS.name, added)
    events = workflow_chains.steps(new)
    if chain_files and not inputs.from_nothing:
        search = touched.Search(
            spark,
            inputs.lake,
            WORKFLOW_CHAINS,
            chain_files,
            workflow_chains.COLUMNS,
            workflow_chains.IDENTITY,
            inputs.folder / "_workflows",
        )
        changed = new.unionByName(_events(spark, inputs.lake.root / EVENTS.name, removed))
        decided = search.decide(workflow_chains.changed_spans(changed, rules), workflow_chains.touched)
        if decided.num_rows:
            rows = search.whole(decided)
            dates = set(pc.list_flatten(rows["landing_dates"]).to_pylist())
            beside = touched.events_beside(spark, inputs.lake, inputs.events, _SOURCES, dates, workflow_chains.EVENT_COLUMNS)
            in_touched = spark.read.parquet(str(search.decided))
            events = events.unionByName(workflow_chains.events_of(workflow_chains.steps(beside), in_touched))
            touched.drop(spark, inputs.lake, inputs.folder, _going(rows), changes)
    grouped = workflow_chains.in_order(events, inputs.tasks)
    reports = grouped.mapInArrow(_builder(inputs, rules), spark_schema(workers.REPORT)).toArrow()
    for file in workers.written_files(reports):
        changes[file.table].added.append(file)
    return changes


def _events(spark: SparkSession, root: Path, paths: list[str]) -> DataFrame:
    return read_parquet(spark, EVENTS, root, paths, *workflow_chains.EVENT_COLUMNS)


def _going(found: pa.Table) -> list[touched.Rows]:
    """The rows that were made of the chains that were found."""
    summaries = pc.list_flatten(found["summaries"].combine_chunks())
    summary_places = touched.places(pc.struct_field(summaries, "summary_date"))
    return [
        touched.Rows(WORKFLOW_SUMMARIES, "summary_id", pc.struct_field(summaries, "summary_id"), summary_places),
        touched.Rows(WORKFLOW_CHAINS, "chain_id", found["chain_id"].combine_chunks(), touched.places(found["chain_date"].combine_chunks())),
    ]


def _builder(inputs: Changed, rules: WorkflowRules) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that a worker runs on whole groups in order: events in, files of the two tables out."""
    folder, run_id = inputs.folder, inputs.run_id

    def build_and_write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        steps = (batch.select(INPUT.names).cast(INPUT) for batch in batches)
        return workers.write_built(summarise(steps, rules), _BUILT, folder, run_id)

    return build_and_write

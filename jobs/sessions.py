"""Build one row per session for every chain of events that the night touches.

    A step of the night: millrace run --date 2026-11-20

Chains that nothing came to and nothing left stay as they are, in whatever night's partition they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import touched, workers
from jobs.lake import Change, read_parquet
from jobs.touched import Changed
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import Table, spark_schema
from transforms import chains
from transforms.sessions import INPUT, USED_KEYS, SessionRules, as_input, build

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}


def rebuild(spark: SparkSession, inputs: Changed, rules: SessionRules) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    added = _events(spark, inputs.folder / EVENTS.name, [file.path for file in inputs.events.added])
    sources = {file.partition["source"] for file in inputs.events.removed} | {
        file.partition_values["source"] for file in inputs.events.added
    }
    chain_files = [file for file in inputs.lake.files(SESSION_CHAINS.name) if file.partition["source"] in sources]
    events = added
    if inputs.from_nothing:
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    elif chain_files:
        removed = _events(spark, inputs.lake.root / EVENTS.name, [file.path for file in inputs.events.removed])
        spans = chains.changed_spans(added.unionByName(removed), rules)
        search = touched.Search(
            spark, inputs.lake, SESSION_CHAINS, chain_files, chains.COLUMNS, chains.IDENTITY, inputs.folder / "_sessions"
        )
        decided = search.decide(spans, chains.touched)
        pq.write_table(decided.filter(decided["stays"]).select(USED_KEYS.names).cast(USED_KEYS), _used_keys(inputs))
        going = decided.filter(pc.invert(decided["stays"]))
        if going.num_rows:
            rows = search.whole(going)
            dates = set(pc.list_flatten(rows["landing_dates"]).to_pylist())
            beside = touched.events_beside(spark, inputs.lake, inputs.events, set(rows["source"].to_pylist()), dates, INPUT.names)
            events = added.unionByName(chains.events_of(beside, spark.read.parquet(str(search.decided)).where("NOT stays")))
            touched.drop(spark, inputs.lake, inputs.folder, _going(rows), changes)
    keyed = events.where("session_input.key is not null").repartition(inputs.tasks, "source", "session_input.key")
    reports = keyed.mapInArrow(_builder(inputs, rules), spark_schema(workers.REPORT)).toArrow()
    for file in workers.written_files(reports):
        changes[file.table].added.append(file)
    return changes


def _events(spark: SparkSession, root: Path, paths: list[str]) -> DataFrame:
    return read_parquet(spark, EVENTS, root, paths, *INPUT.names)


def _going(found: pa.Table) -> list[touched.Rows]:
    """The rows that were made of the chains that were found."""
    source = found["source"].combine_chunks()
    held = found["sessions"].combine_chunks()
    sessions = pc.list_flatten(held)
    session_ids = pc.struct_field(sessions, "session_id")
    session_source = source.take(pc.list_parent_indices(held))
    session_places = touched.places(pc.struct_field(sessions, "session_date"), session_source)
    chain_ids = found["chain_id"].combine_chunks()
    return [
        touched.Rows(SESSIONS, "session_id", session_ids, session_places),
        touched.Rows(SESSION_EVENTS, "session_id", session_ids, session_places),
        touched.Rows(SESSION_CHAINS, "chain_id", chain_ids, touched.places(found["chain_date"].combine_chunks(), source)),
    ]


def _builder(inputs: Changed, rules: SessionRules) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that a worker runs on whole keys: events in, files of the three tables out."""
    folder, run_id, used_keys_path = inputs.folder, inputs.run_id, _used_keys(inputs)

    def build_and_write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        used_keys = pq.read_table(used_keys_path) if used_keys_path.exists() else None
        return workers.write_built(build(map(as_input, batches), rules, used_keys), _BUILT, folder, run_id)

    return build_and_write


def _used_keys(inputs: Changed) -> Path:
    """Where the keys stand that have a session before all that changed."""
    return inputs.folder / "_sessions" / "used_keys.parquet"

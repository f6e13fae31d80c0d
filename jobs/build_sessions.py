"""Build one row per session for every chain of events that the night touches.

    A step of the night: millrace run --date 2026-11-20

Chains that nothing came to and nothing left stay as they are, in whatever night's partition they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import affected_chains
from jobs.affected_chains import ChangedEvents, NarrowEvents
from jobs.engine import task_reports, workers
from jobs.engine.file_tasks import Batches
from jobs.lake.table_changes import Change
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import Table
from transforms.sessions import chains
from transforms.sessions.sessions import INPUT, USED_KEYS, SessionRules, as_input, build

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

# The columns of an event that travel to the task of its key.
_NARROW = pa.schema([pa.field(name, EVENTS[name].type) for name in INPUT.names])
# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}


def rebuild(engine: Engine, inputs: ChangedEvents, rules: SessionRules) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    added, removed = inputs.added_files(), inputs.removed_files()
    sources = {file.partition["source"] for file in (*added, *removed)}
    chain_files = [file for file in inputs.lake.files(SESSION_CHAINS.name) if file.partition["source"] in sources]
    unchanged, in_chains = [], None
    if inputs.from_nothing:
        unchanged = inputs.kept_files()
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    elif chain_files:
        changed_spans = partial(chains.changed_spans, rules=rules)
        spans = chains.merged_spans(
            affected_chains.ask_files(engine, [*added, *removed], chains.EVENT_COLUMNS, changed_spans, chains.SPANS)
        )
        search = affected_chains.Search(
            engine, inputs.lake, SESSION_CHAINS, chain_files, chains.COLUMNS, chains.IDENTITY, inputs.folder / "_sessions"
        )
        decided = search.decide(spans, chains.touched)
        pq.write_table(decided.filter(decided["stays"]).select(USED_KEYS.names).cast(USED_KEYS), _used_keys(inputs))
        affected = decided.filter(pc.invert(decided["stays"]))
        if affected.num_rows:
            rows = search.whole(affected)
            dates = {date.isoformat() for date in pc.list_flatten(rows["landing_dates"]).to_pylist()}
            unchanged = inputs.unchanged_files(set(rows["source"].to_pylist()), dates)
            in_chains = affected.select(["source", "key", "first_time", "last_time"])
            affected_chains.drop(engine, inputs.lake, inputs.folder, _rows_of_chains(rows), changes)
    events = NarrowEvents(added, unchanged, INPUT.names, _NARROW, _narrow(in_chains))
    key = ("source", "session_input.key")
    reports = events.map_keys(engine, _builder(inputs, rules), inputs.tasks, key, inputs.folder / "_events_of_sessions")
    for file in task_reports.written_files(reports):
        changes[file.table].added.append(file)
    return changes


def _narrow(in_chains: pa.Table | None) -> Callable[[pa.Table, bool], pa.Table]:
    """The function that takes of a file's events those that have a session key, of unchanged files those that lie in these chains."""

    def narrow(events: pa.Table, is_unchanged: bool) -> pa.Table:
        if is_unchanged and in_chains is not None:
            events = chains.events_of(events, in_chains)
        return events.filter(pc.struct_field(events["session_input"], "key").is_valid())

    return narrow


def _rows_of_chains(found: pa.Table) -> list[affected_chains.Rows]:
    """The rows that were made of the chains that were found."""
    source = found["source"].combine_chunks()
    held = found["sessions"].combine_chunks()
    sessions = pc.list_flatten(held)
    session_ids = pc.struct_field(sessions, "session_id")
    session_source = source.take(pc.list_parent_indices(held))
    session_places = affected_chains.places(pc.struct_field(sessions, "session_date"), session_source)
    chain_ids = found["chain_id"].combine_chunks()
    return [
        affected_chains.Rows(SESSIONS, "session_id", session_ids, session_places),
        affected_chains.Rows(SESSION_EVENTS, "session_id", session_ids, session_places),
        affected_chains.Rows(SESSION_CHAINS, "chain_id", chain_ids, affected_chains.places(found["chain_date"].combine_chunks(), source)),
    ]


def _builder(inputs: ChangedEvents, rules: SessionRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some keys into files of the three tables."""
    folder, run_id, used_keys_path = inputs.folder, inputs.run_id, _used_keys(inputs)

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        used_keys = pq.read_table(used_keys_path) if used_keys_path.exists() else None
        events = (as_input(batch) for batch in batches if batch.num_rows)
        yield from workers.write_built(build(events, rules, used_keys), _BUILT, folder, run_id)

    return build_and_write


def _used_keys(inputs: ChangedEvents) -> Path:
    """Where the keys stand that have a session before all that changed."""
    return inputs.folder / "_sessions" / "used_keys.parquet"

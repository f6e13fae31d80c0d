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

from jobs import exchange, touched, workers
from jobs.exchange import EventFile, Exchange
from jobs.lake import Change
from jobs.touched import Changed
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import Table
from transforms import chains
from transforms.sessions import INPUT, USED_KEYS, SessionRules, as_input, build

if TYPE_CHECKING:
    from jobs.session import Engine

# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}


def rebuild(engine: Engine, inputs: Changed, rules: SessionRules) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` touches."""
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    came, went = exchange.came(inputs.folder, inputs.events), exchange.went(inputs.lake, inputs.events)
    sources = {file.partition["source"] for file in (*came, *went)}
    chain_files = [file for file in inputs.lake.files(SESSION_CHAINS.name) if file.partition["source"] in sources]
    files, in_chains = came, None
    if inputs.from_nothing:
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    elif chain_files:
        asked = partial(chains.changed_spans, rules=rules)
        spans = chains.merged_spans(exchange.collect(engine, [*came, *went], chains.EVENT_COLUMNS, asked, chains.SPANS))
        search = touched.Search(
            engine, inputs.lake, SESSION_CHAINS, chain_files, chains.COLUMNS, chains.IDENTITY, inputs.folder / "_sessions"
        )
        decided = search.decide(spans, chains.touched)
        pq.write_table(decided.filter(decided["stays"]).select(USED_KEYS.names).cast(USED_KEYS), _used_keys(inputs))
        going = decided.filter(pc.invert(decided["stays"]))
        if going.num_rows:
            rows = search.whole(going)
            dates = {date.isoformat() for date in pc.list_flatten(rows["landing_dates"]).to_pylist()}
            files = [*came, *exchange.beside(inputs.lake, inputs.events, set(rows["source"].to_pylist()), dates)]
            in_chains = going.select(["source", "key", "first_time", "last_time"])
            touched.drop(engine, inputs.lake, inputs.folder, _going(rows), changes)
    keyed = exchange.Exchange(inputs.folder / "_exchange" / "sessions", inputs.tasks)
    keyed.fill(engine, files, INPUT.names, _narrow(in_chains))
    for file in workers.written_files(workers.run(engine, keyed.buckets, _builder(keyed, inputs, rules))):
        changes[file.table].added.append(file)
    return changes


def _narrow(in_chains: pa.Table | None) -> Callable[[pa.Table, EventFile], pa.Table]:
    """The function that takes of a file's events those that have a session key, of files of the lake those that lie in these chains."""

    def narrow(events: pa.Table, file: EventFile) -> pa.Table:
        if file.is_beside and in_chains is not None:
            events = chains.events_of(events, in_chains)
        keys = pc.struct_field(events["session_input"], "key")
        events = events.append_column("bucket_key", pc.binary_join_element_wise(events["source"], keys, "\x1f"))
        return events.filter(keys.is_valid())

    return narrow


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


def _builder(keyed: Exchange, inputs: Changed, rules: SessionRules) -> Callable[[int], Iterator[pa.RecordBatch]]:
    """The function that a worker runs on the keys of a bucket: events in, files of the three tables out."""
    folder, run_id, used_keys_path = inputs.folder, inputs.run_id, _used_keys(inputs)

    def build_and_write(number: int) -> Iterator[pa.RecordBatch]:
        used_keys = pq.read_table(used_keys_path) if used_keys_path.exists() else None
        return workers.write_built(build(map(as_input, keyed.bucket(number)), rules, used_keys), _BUILT, folder, run_id)

    return build_and_write


def _used_keys(inputs: Changed) -> Path:
    """Where the keys stand that have a session before all that changed."""
    return inputs.folder / "_sessions" / "used_keys.parquet"

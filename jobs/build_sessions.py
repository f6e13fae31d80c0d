"""Build one row per session for every chain of events that the night affects.

    A step of the night: millrace run --date 2026-11-20

Other chains stay as they are, in whatever night's partition they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs import affected_chains
from jobs.affected_chains import ChainRules, ChangedEvents
from jobs.engine import task_reports
from jobs.engine.packed_rows import Packing
from jobs.engine.processes import Batches
from jobs.engine.row_files import write_built
from jobs.lake.table_changes import Change
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import BIGINT, BOOLEAN, Table, spark_schema
from transforms.affected_rows import CLOSED_CHAIN, USED_KEY, ClosedDates
from transforms.sessions import chains
from transforms.sessions.sessions import INPUT, USED_KEYS, SessionRules, as_input, build
from transforms.sources.registry import SOURCES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# What travels to the task of a session key: the columns of an event that the rules read, or a key that was used before, or a closed chain.
_NARROW = pa.schema(
    [
        *(pa.field(name, EVENTS[name].type) for name in INPUT.names),
        pa.field("is_used_key", BOOLEAN),
        # The span of a closed chain, epoch µs. Null for an event and for a used key.
        pa.field("closed_from", BIGINT),
        pa.field("closed_until", BIGINT),
    ]
)
_KEY = ("source", "session_input.key")
# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}
_IDS = {SESSIONS.name: "session_id", SESSION_EVENTS.name: "session_id", SESSION_CHAINS.name: "chain_id"}


def rebuild(engine: Engine, inputs: ChangedEvents, rules: SessionRules) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` affects."""
    chain_rules = _chain_rules(rules, inputs.closed)
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    if inputs.from_nothing:
        affected = affected_chains.find_kept(engine, inputs, chain_rules, SOURCES, inputs.output.local_folder / "_sessions")
        if not affected.are_kept:
            for name, change in changes.items():
                change.removed = inputs.lake.files(name)
    else:
        affected = affected_chains.find(engine, inputs, chain_rules, SOURCES, inputs.output.local_folder / "_sessions")
    packing = Packing(_NARROW, _KEY, inputs.tasks)
    narrow = affected_chains.narrow_events(engine, inputs.added_files(), affected, INPUT.names, _narrow, packing)
    if affected.rows is not None:
        narrow = narrow.unionByName(packing.pack_frame(_used_keys_and_closed_chains(affected.rows)))
    folder = inputs.output.local_folder / "_events_of_sessions"
    built = engine.map_by_key(narrow, packing, _builder(inputs, rules), task_reports.REPORT, folder)
    affected_chains.write(engine, inputs, built, affected, chain_rules, changes)
    return changes


def _chain_rules(rules: SessionRules, closed: ClosedDates) -> ChainRules:
    changed_spans = partial(chains.changed_spans, rules=rules)
    affected_rows, kept_rows = partial(chains.affected_rows, closed=closed), partial(chains.kept_rows, closed=closed)
    return ChainRules(SESSION_CHAINS, chains.EVENT_COLUMNS, chains.SPANS, changed_spans, affected_rows, kept_rows, _IDS)


def _narrow(events: pa.Table, spans: pa.Table | None) -> pa.Table:
    """The events that have a session key, as _NARROW; with `spans` only those that lie in them."""
    if spans is not None:
        events = chains.events_in_spans(events, spans)
    keys = pc.struct_field(events["session_input"], "key")
    if keys.null_count:
        events = events.filter(keys.is_valid())
    of_event = {"is_used_key": pa.repeat(pa.scalar(False), events.num_rows)}
    of_event |= {name: pa.nulls(events.num_rows, BIGINT) for name in ("closed_from", "closed_until")}
    return pa.table(dict(zip(events.column_names, events.columns, strict=True)) | of_event)


def _used_keys_and_closed_chains(affected: DataFrame) -> DataFrame:
    """The keys among the affected rows that have a session before all affected ones, and the closed chains, as _NARROW."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    schema = spark_schema(_NARROW)
    fields = schema["session_input"].dataType
    assert isinstance(fields, StructType)
    session_input = F.struct(*(F.lit(None).cast(f.dataType).alias(f.name) if f.name != "key" else F.col("key") for f in fields))
    given = {"source": F.col("partition"), "session_input": session_input, "is_used_key": F.col("table") == USED_KEY}
    given |= {"closed_from": F.col("first"), "closed_until": F.col("last")}
    columns = [given.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in schema]
    return affected.where(F.col("table").isin(USED_KEY, CLOSED_CHAIN)).select(*columns)


_KNOWN = pa.schema([*USED_KEYS, *(_NARROW.field(name) for name in ("is_used_key", "closed_from", "closed_until"))])


def _with_keys(rows: pa.RecordBatch) -> pa.Table:
    """Rows of _NARROW that are no events, as _KNOWN."""
    key = pc.struct_field(rows["session_input"], "key")
    return pa.table([key if field.name == "key" else rows[field.name] for field in _KNOWN], schema=_KNOWN)


def _builder(inputs: ChangedEvents, rules: SessionRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some keys into files of the three tables."""
    output = inputs.output

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        rows = [batch for batch in batches if batch.num_rows]
        others = [_with_keys(batch.filter(pc.or_(batch["is_used_key"], batch["closed_from"].is_valid()))) for batch in rows]
        known = pa.concat_tables([_KNOWN.empty_table(), *others])
        used_keys = known.filter(known["is_used_key"]).select(USED_KEYS.names).group_by(USED_KEYS.names).aggregate([])
        closed = affected_chains.closed_spans(known)
        events = (batch.filter(pc.invert(pc.or_(batch["is_used_key"], batch["closed_from"].is_valid()))) for batch in rows)
        if closed.num_rows:
            events = (chains.events_outside(batch, closed) for batch in events)
        yield from write_built(build(map(as_input, events), rules, used_keys), _BUILT, output)

    return build_and_write

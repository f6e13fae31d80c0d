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
from jobs.affected_chains import Affected, ChainRules, ChangedEvents
from jobs.engine import task_reports
from jobs.engine.packed_rows import Packing
from jobs.engine.processes import Batches
from jobs.engine.row_files import write_built
from jobs.lake.table_changes import Change
from schemas.events import EVENTS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import BOOLEAN, Table, spark_schema
from transforms.affected_rows import USED_KEY
from transforms.sessions import chains
from transforms.sessions.sessions import INPUT, USED_KEYS, SessionRules, as_input, build
from transforms.sources.registry import SOURCES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# What travels to the task of a session key: the columns of an event that the rules read, or a key that was used before.
_NARROW = pa.schema([*(pa.field(name, EVENTS[name].type) for name in INPUT.names), pa.field("is_used_key", BOOLEAN)])
_KEY = ("source", "session_input.key")
# The column of a built row that holds a row of each table.
_BUILT: Mapping[str, Table] = {"session": SESSIONS, "member": SESSION_EVENTS, "chain": SESSION_CHAINS}
_IDS = {SESSIONS.name: "session_id", SESSION_EVENTS.name: "session_id", SESSION_CHAINS.name: "chain_id"}


def rebuild(engine: Engine, inputs: ChangedEvents, rules: SessionRules) -> dict[str, Change]:
    """Write the sessions, their events and their chains for what the change of `events` affects."""
    chain_rules = _chain_rules(rules)
    changes = {table.name: Change() for table in _BUILT.values()}
    if not inputs.events and not inputs.from_nothing:
        return changes
    if inputs.from_nothing:
        affected = Affected(events=inputs.kept_files())
        for name, change in changes.items():
            change.removed = inputs.lake.files(name)
    else:
        affected = affected_chains.find(engine, inputs, chain_rules, SOURCES, inputs.output.local_folder / "_sessions")
    packing = Packing(_NARROW, _KEY, inputs.tasks)
    narrow = affected_chains.narrow_events(engine, inputs.added_files(), affected, INPUT.names, _narrow, packing)
    if affected.rows is not None:
        narrow = narrow.unionByName(packing.pack_frame(_used_keys(affected.rows)))
    folder = inputs.output.local_folder / "_events_of_sessions"
    built = engine.map_by_key(narrow, packing, _builder(inputs, rules), task_reports.REPORT, folder)
    affected_chains.write(engine, inputs, built, affected, chain_rules, changes)
    return changes


def _chain_rules(rules: SessionRules) -> ChainRules:
    changed_spans = partial(chains.changed_spans, rules=rules)
    return ChainRules(SESSION_CHAINS, chains.EVENT_COLUMNS, chains.SPANS, changed_spans, chains.affected_rows, _IDS)


def _narrow(events: pa.Table, spans: pa.Table | None) -> pa.Table:
    """The events that have a session key, as _NARROW; with `spans` only those that lie in them."""
    if spans is not None:
        events = chains.events_in_spans(events, spans)
    keys = pc.struct_field(events["session_input"], "key")
    if keys.null_count:
        events = events.filter(keys.is_valid())
    return events.append_column("is_used_key", pa.repeat(pa.scalar(False), events.num_rows))


def _used_keys(affected: DataFrame) -> DataFrame:
    """The keys among the affected rows that have a session before all affected ones, as _NARROW."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    schema = spark_schema(_NARROW)
    fields = schema["session_input"].dataType
    assert isinstance(fields, StructType)
    session_input = F.struct(*(F.lit(None).cast(f.dataType).alias(f.name) if f.name != "key" else F.col("key") for f in fields))
    given = {"source": F.col("partition"), "session_input": session_input, "is_used_key": F.lit(True)}
    columns = [given.get(f.name, F.lit(None)).cast(f.dataType).alias(f.name) for f in schema]
    return affected.where(F.col("table") == USED_KEY).select(*columns)


def _builder(inputs: ChangedEvents, rules: SessionRules) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that turns all events of some keys into files of the three tables."""
    output = inputs.output

    def build_and_write(batches: Batches) -> Iterator[pa.RecordBatch]:
        rows = [batch for batch in batches if batch.num_rows]
        used = [batch.filter(batch["is_used_key"]) for batch in rows]
        keys = [pa.table({"source": batch["source"], "key": pc.struct_field(batch["session_input"], "key")}, USED_KEYS) for batch in used]
        used_keys = pa.concat_tables([USED_KEYS.empty_table(), *keys])
        events = (as_input(batch.filter(pc.invert(batch["is_used_key"]))) for batch in rows)
        yield from write_built(build(events, rules, used_keys), _BUILT, output)

    return build_and_write

"""Build sessions: from all events of some session keys, the rows of `sessions`, `session_events` and `session_chains`.

Rules: docs/rules/sessions.md. They do not depend on the source: each source's mapping writes the fields that the rules need into
`session_input`. transforms.sessions.from_events has the queries for keys of kind `keyed` and `derived`,
transforms.sessions.from_pings those for kind `reported`. DuckDB runs them in memory over the Arrow data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS, REPORTED, SESSION_INPUT
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import BIGINT, STRING, Table
from transforms.documents.json_documents import short_hash
from transforms.duckdb_query import CONFIG
from transforms.sessions.from_events import FROM_EVENTS
from transforms.sessions.from_pings import FROM_PINGS
from transforms.sessions.rules import SessionQueries, SessionRules

__all__ = ["BUILT", "INPUT", "USED_KEYS", "SessionRules", "as_input", "build"]

_READ = (
    "source",
    "event_id",
    "landing_date",
    "event_type",
    "event_name",
    "event_time",
    "client_time",
    "user_id",
    "device_id",
    "session_key",
    "app_id",
    "app_version",
    "locale",
    "is_robot",
    "environment",
    "page",
    "value",
    "duration_ms",
    "flags",
    "session_input",
)
# The columns of `events` that the rules read.
INPUT = pa.schema([pa.field(name, SESSION_INPUT if name == "session_input" else EVENTS[name].type) for name in _READ])


def _row_type(table: Table) -> pa.DataType:
    return pa.struct([pa.field(column.name, column.type) for column in table.columns if column.name != "run_id"])


# One row of `sessions`, of `session_events` or of `session_chains`: every row fills one of the three and no other.
BUILT = pa.schema(
    [pa.field("session", _row_type(SESSIONS)), pa.field("member", _row_type(SESSION_EVENTS)), pa.field("chain", _row_type(SESSION_CHAINS))]
)

# Keys that an earlier session has used.
USED_KEYS = pa.schema([("source", STRING), ("key", STRING)])

_ROWS_PER_BATCH = 10_000
_MACROS = """
CREATE MACRO seconds(ms) AS CAST(ms AS DOUBLE) / 1000;
CREATE MACRO date_of(ms) AS CAST(epoch_ms(ms) AS DATE);
CREATE MACRO rank_of(event_type) AS CASE event_type WHEN 'start' THEN 0 WHEN 'page_view' THEN 1 WHEN 'end' THEN 3 ELSE 2 END;
"""


def as_input(events: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `events` as a batch of INPUT: `reported`, which is stored as JSON, becomes a struct."""
    stored = events.column("session_input")
    parts = {field.name: part for field, part in zip(stored.type, stored.flatten(), strict=True)}
    texts = parts["reported"].to_pylist() if parts["reported"].null_count < len(stored) else [None] * len(stored)
    parts["reported"] = pa.array([None if text is None else orjson.loads(text) for text in texts], REPORTED)
    opened = pa.StructArray.from_arrays([parts[field.name] for field in SESSION_INPUT], fields=list(SESSION_INPUT))
    columns = [opened if field.name == "session_input" else events.column(field.name).cast(field.type) for field in INPUT]
    return pa.RecordBatch.from_arrays(columns, schema=INPUT)


def build(batches: Iterable[pa.RecordBatch], rules: SessionRules, used_keys: pa.Table | None = None) -> Iterator[pa.RecordBatch]:
    """The sessions of these events, with their events and their chains.

    In: batches of INPUT, rows in any order. They have all events of each chain, and all chains of each key of kind `keyed`. A
    key in `used_keys` (USED_KEYS) needs only its later chains: it has a session before these events. Times are whole
    milliseconds. Events without a key belong to no session.
    Out: batches of BUILT, of bounded size. The order of the input does not change the rows.
    """
    events = list(batches)
    if not events:
        return
    arrived = _arrived(pa.Table.from_batches(events).select(INPUT.names).cast(INPUT))
    kinds = set(pc.unique(arrived["kind"]).to_pylist())
    with duckdb.connect(":memory:", config=CONFIG) as database:
        database.register("arrived", arrived.drop_columns(["reported"]))
        database.register("used_keys", USED_KEYS.empty_table() if used_keys is None else used_keys)
        database.execute(_MACROS)
        for name, number in dataclasses.asdict(rules).items():
            database.execute(f"SET VARIABLE {name} = {int(number)}")
        for queries in (FROM_EVENTS, FROM_PINGS):
            if kinds.intersection(queries.kinds):
                yield from _built(database, queries, arrived["reported"])


def _arrived(events: pa.Table) -> pa.Table:
    """The table `arrived` that the queries read: INPUT with the fields of `session_input` as columns, and more.

    `row` numbers the rows, `key_number` the keys of all sources. `event_ms` is event_time in epoch ms, and `client_time` is in
    epoch µs. `is_reported` says whether `reported` is given, and `reported_…` are its numbers. `kind` is null if `key` is.
    """
    opened = events.flatten()
    opened = opened.rename_columns([name.removeprefix("session_input.") for name in opened.column_names])
    sources = opened["source"].combine_chunks().dictionary_encode()
    keys = opened["key"].combine_chunks().dictionary_encode()
    added = {
        "row": pa.array(np.arange(events.num_rows), BIGINT),
        "key_number": pc.add(pc.multiply(keys.indices.cast(BIGINT), len(sources.dictionary)), sources.indices.cast(BIGINT)),
        "event_ms": pc.divide(opened["event_time"].cast(BIGINT), 1000),
        "is_reported": pc.is_valid(opened["reported"]),
    }
    for name in ("timespent", "pageviews", "interactions"):
        added[f"reported_{name}"] = pc.struct_field(opened["reported"], name)
    for name, values in added.items():
        opened = opened.append_column(name, values)
    replaced = {
        "client_time": opened["client_time"].cast(BIGINT),
        "kind": pc.if_else(pc.is_valid(opened["key"]), opened["kind"], pa.scalar(None, STRING)),
    }
    for name, values in replaced.items():
        opened = opened.set_column(opened.column_names.index(name), name, values)
    return opened.drop_columns(["event_time"])


def _built(database: duckdb.DuckDBPyConnection, queries: SessionQueries, reported: pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
    """The rows of BUILT that these queries give."""
    for name, query in queries.steps.items():
        database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
    _identify(database, "chain", "chain")
    _identify(database, "session")
    sessions = _with_lists(database, "session", queries.sessions, queries.session_lists)
    yield from _filling("session", sessions.append_column("reported", reported.take(sessions["reported_row"])))
    yield from _filling("member", database.sql(queries.members).to_arrow_table())
    chains = _with_lists(database, "chain", queries.chains, queries.chain_lists)
    hashes = pa.array([short_hash(key) for key in chains["key"].to_pylist()], BIGINT)
    yield from _filling("chain", chains.append_column("key_hash", hashes))


def _identify(database: duckdb.DuckDBPyConnection, what: str, *prefix: str) -> None:
    """Make the ids of chains or sessions, as the table `…_ids`. An id is the SHA-256 of a canonical JSON list."""
    starts = database.sql(
        f"SELECT {what}, source, coalesce(key, '[]'), event_id, CAST(landing_date AS VARCHAR) FROM {what}_starts"
    ).fetchall()
    ids = [
        sha256(orjson.dumps([*prefix, source, *orjson.loads(key), event_id, landing_date])).hexdigest()
        for _, source, key, event_id, landing_date in starts
    ]
    identified = pa.table({what: pa.array([start[0] for start in starts], BIGINT), f"{what}_id": pa.array(ids, STRING)})
    database.register("identified", identified)
    database.execute(f"CREATE OR REPLACE TEMP TABLE {what}_ids AS FROM identified")
    database.unregister("identified")


def _with_lists(database: duckdb.DuckDBPyConnection, part: str, query: str, lists: Mapping[str, str]) -> pa.Table:
    """The rows of a query, which are in the order of their numbers from 0, with the columns that are lists added."""
    rows = database.sql(query).to_arrow_table()
    for name, items_query in lists.items():
        item = BUILT.field(part).type.field(name).type.value_type
        numbers, *columns = database.sql(items_query).to_arrow_table().combine_chunks().columns
        ends = np.cumsum(np.bincount(numbers, minlength=rows.num_rows))
        fields = list(item) if pa.types.is_struct(item) else [pa.field(name, item)]
        values = [column.cast(field.type).combine_chunks() for column, field in zip(columns, fields, strict=True)]
        items = pa.StructArray.from_arrays(values, fields=fields) if pa.types.is_struct(item) else values[0]
        rows = rows.append_column(name, pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), items))
    return rows


def _filling(part: str, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Batches of BUILT with these rows in the column `part`, and nulls in the other columns."""
    kind = BUILT.field(part).type
    typed = rows.select([field.name for field in kind]).cast(pa.schema(list(kind))).combine_chunks()
    for batch in typed.to_batches(max_chunksize=_ROWS_PER_BATCH):
        filled = pa.StructArray.from_arrays(batch.columns, fields=list(kind))
        columns = [filled if field.name == part else pa.nulls(len(filled), field.type) for field in BUILT]
        yield pa.RecordBatch.from_arrays(columns, schema=BUILT)

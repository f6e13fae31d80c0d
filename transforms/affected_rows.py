"""What a change of `events` affects beyond its own partitions: events to read again, and rows that are made of them.

Steps build rows from chains of events. A chain that a change affects is built again: its events are read again from where they
landed, and all rows that were made of it are replaced.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import EVENTS
from schemas.table import BIGINT, BOOLEAN, DATE, STRING, Table
from transforms.duckdb_query import query

# A row has the partition of a table, and what is affected there: of `events` the span of a key, of other tables the row with this id.
# A row with the table USED_KEY names a key that has a session before all affected ones, one with CLOSED_CHAIN the span of a chain of a
# key that is not built again because some of its events have expired; their source is in `partition`.
AFFECTED_ROWS = pa.schema([("table", STRING), ("partition", STRING), ("id", STRING), ("key", STRING), ("first", BIGINT), ("last", BIGINT)])
USED_KEY = "used_key"
CLOSED_CHAIN = "closed_chain"
# Per source the landing dates whose events have expired.
ClosedDates = Mapping[str, Collection[dt.date]]
_SEPARATOR = "/"


def partition_name(table: Table, values: Mapping[str, str | None]) -> str:
    """The name of a partition, as AFFECTED_ROWS has it. `values` are those of the partition's columns as text."""
    return _SEPARATOR.join(values[name] or "" for name in table.partitioned_by)


def rows_by_id(table: Table, ids: pa.Array, partition: Mapping[str, pa.Array]) -> pa.Table:
    """The rows of a table with these ids, as AFFECTED_ROWS. `partition` has the values of the partition's columns, row by row."""
    return _affected(table.name, _partition_names([partition[name] for name in table.partitioned_by]), id=ids)


def events_of_chains(landing_dates: pa.ListArray, source: pa.Array, key: pa.Array, first: pa.Array, last: pa.Array) -> pa.Table:
    """The events of chains, as AFFECTED_ROWS: one row per chain and landing date of its events. A span is from `first` to `last`."""
    chain = pc.list_parent_indices(landing_dates)
    partition = {"landing_date": pc.list_flatten(landing_dates), "source": source.take(chain)}
    names = _partition_names([partition[name] for name in EVENTS.partitioned_by])
    return _affected(EVENTS.name, names, key=key.take(chain), first=first.take(chain), last=last.take(chain))


def used_keys(source: pa.Array, key: pa.Array) -> pa.Table:
    """Keys that have a session before all affected ones, as AFFECTED_ROWS."""
    return _affected(USED_KEY, source, key=key)


def closed_chains(source: pa.Array, key: pa.Array, first: pa.Array, last: pa.Array) -> pa.Table:
    """The spans of closed chains, as AFFECTED_ROWS. A span is from `first` to `last`."""
    return _affected(CLOSED_CHAIN, source, key=key, first=first, last=last)


def are_closed(chains: pa.Table, closed: ClosedDates) -> pa.Array:
    """Whether some of a chain's events have expired. In: `landing_dates`, and `source` if the chains are of several sources."""
    if not any(closed.values()):
        return pa.repeat(pa.scalar(False), chains.num_rows)
    landing_dates = chains["landing_dates"].combine_chunks()
    chain = pc.list_parent_indices(landing_dates)
    dates = pc.list_flatten(landing_dates)
    sources = chains["source"].combine_chunks().take(chain) if "source" in chains.column_names else None
    reaches = pa.repeat(pa.scalar(False), len(dates))
    for source, of_source in sorted(closed.items()):
        expired = pc.is_in(dates, value_set=pa.array(sorted(of_source), DATE))
        reaches = pc.or_(reaches, expired if sources is None else pc.and_(expired, pc.equal(sources, source)))
    return pc.is_in(pa.array(range(chains.num_rows), BIGINT), value_set=pc.unique(chain.filter(reaches)).cast(BIGINT)).cast(BOOLEAN)


def _partition_names(values: Sequence[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*(pc.fill_null(column.cast(STRING), "") for column in values), _SEPARATOR)


def _affected(table: str, partitions: pa.Array, **columns: pa.Array) -> pa.Table:
    rows = len(partitions)
    given = {"table": pa.repeat(pa.scalar(table, STRING), rows), "partition": partitions, **columns}
    return pa.table([given[field.name] if field.name in given else pa.nulls(rows, field.type) for field in AFFECTED_ROWS], AFFECTED_ROWS)


def in_spans(keys: pa.ChunkedArray, times: pa.ChunkedArray, spans: pa.Table) -> pa.Array:
    """The numbers of the events, in order, that lie in a span of their key. In: key and time of each event; spans as AFFECTED_ROWS."""
    events = pa.table({"row": pa.array(range(len(keys)), BIGINT), "key": keys, "time": times})
    sql = "SELECT row FROM events SEMI JOIN spans ON events.key = spans.key AND time BETWEEN first AND last ORDER BY row"
    return query(sql, events=events, spans=spans.select(["key", "first", "last"]))["row"].combine_chunks()


def outside_spans(events: pa.Table, spans: pa.Table) -> pa.Array:
    """The numbers of the events, in order, that lie in no span. In: `source`, `key` and `time`; `source`, `key`, `first` and `last`."""
    rows = events.append_column("row", pa.array(range(events.num_rows), BIGINT))
    sql = """
        SELECT row FROM events
        ANTI JOIN spans ON events.source = spans.source AND events.key = spans.key AND time BETWEEN first AND last
        ORDER BY row
    """
    return query(sql, events=rows, spans=spans)["row"].combine_chunks()

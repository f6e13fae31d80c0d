"""What a mart is, and how its rows are computed: tasks count in the files that they read, and the counts of all files are put together.

`count_rows` takes rows of a table and gives PARTS. `rows_of_mart` takes all parts of some rows of a mart and gives these rows. Both
are DuckDB SQL, which each mart's module has. `together` is DataFrame → DataFrame: it sends all parts of a row to one task.
docs/decisions/0020-marts.md says why.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas.table import BIGINT, BINARY, DATE, INTEGER, STRING, Table, array_of
from transforms import duckdb_query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Parts of the rows of a mart, packed as a record batch in Arrow's IPC format: a row per group would cost Spark more than the counting.
PARTS = pa.schema([("mart", STRING), ("metric_date", DATE), ("shard", INTEGER), ("rows", BINARY)])
# The dates of a mart that are computed, and the last date of each source of which a file has landed.
METRIC_DATES = pa.schema([("source", STRING), ("metric_date", DATE)])
LAST_DATES = pa.schema([("source", STRING), ("last_date", DATE)])

# Conditions on rows: no robots, and no test events.
OF_PEOPLE = "is_robot IS NOT TRUE AND NOT list_contains(flags, 'canary')"
IDS = array_of(BIGINT)  # the type of `different`


def same_dates(_source: str, dates: Iterable[dt.date]) -> set[dt.date]:
    """The dates themselves: a row of the mart is computed from rows of its own date."""
    return set(dates)


@dataclass(frozen=True)
class Input:
    """What a mart reads of a table.

    `query` is SQL over the table `given`, which has these columns of rows of one source. It gives columns of Mart.parts, with
    `metric_date` and `source`; the missing ones are null. Files are counted one by one, so it must not count what many files have
    together.
    """

    table: Table
    columns: tuple[str, ...]
    query: str
    source: str | None = None  # the only source whose rows are read; None: all


@dataclass(frozen=True)
class Mart:
    """A mart: its table, and how it is computed.

    `query` is SQL over the table `parts`, of the schema `parts`, with all parts of some rows, and the table `last_dates`
    (LAST_DATES). It gives the columns of the table but `run_id`. All parts with the same metric_date and `task_key` are together.
    """

    table: Table
    inputs: tuple[Input, ...]
    parts: pa.Schema
    query: str
    task_key: tuple[str, ...]
    # Of a source: the metric_dates that changed dates of the inputs affect, and the dates of the inputs that metric_dates need.
    affected_dates: Callable[[str, Iterable[dt.date]], set[dt.date]] = same_dates
    input_dates: Callable[[str, Iterable[dt.date]], set[dt.date]] = same_dates
    # Rows whose period is open until a later date has landed: those of at most so many days before. None: it has no such rows.
    open_days: int | None = None

    @property
    def name(self) -> str:
        """The name of its table."""
        return self.table.name

    @property
    def rows(self) -> pa.Schema:
        """The columns that it computes."""
        return pa.schema([pa.field(column.name, column.type) for column in self.table.columns if column.name != "run_id"])


def different(value: str) -> str:
    """SQL for hashes of the different values of a group; null where it has none. `count_different` counts those of all parts."""
    return f"list(DISTINCT CAST(hash({value}) >> 1 AS BIGINT)) FILTER ({value} IS NOT NULL)"


def count_different(name: str) -> str:
    """SQL for how many different values the parts of a row have."""
    return f"len(list_distinct(flatten(list({name}))))"


def percentile(name: str, percent: int) -> str:
    """SQL for a discrete percentile of the values of a row, which the parts hold as lists: the first with so many percent up to it."""
    values = f"list_sort(flatten(list({name})))"
    return f"{values}[CAST((len({values}) * {percent} + 99) // 100 AS BIGINT)]"


def total(name: str) -> str:
    """SQL for the sum over the parts of a row."""
    return f"CAST(coalesce(sum({name}), 0) AS BIGINT)"


def count_rows(mart: Mart, given: pa.Table, of: Input, metric_dates: pa.Table, shards: int) -> pa.Table:
    """Count rows of a table for a mart. In: rows with the columns of the input. Out: PARTS of these METRIC_DATES."""
    counted = duckdb_query.query(
        f"SELECT * FROM ({of.query}) SEMI JOIN metric_dates USING (source, metric_date)", given=given, metric_dates=metric_dates
    )
    return pa.Table.from_pylist(list(_packed(mart, _conformed(counted, mart.parts), shards)), schema=PARTS)


def _packed(mart: Mart, rows: pa.Table, shards: int) -> Iterator[dict[str, object]]:
    if not rows.num_rows:
        return
    key = ", ".join(mart.task_key)
    shard = duckdb_query.query(
        f"SELECT CAST(hash({key}) % {shards} AS INTEGER) AS shard, CAST(metric_date - DATE '1970-01-01' AS BIGINT) AS day FROM rows",
        rows=rows,
    )
    group = shard["day"].to_numpy() * shards + shard["shard"].to_numpy()
    order = np.argsort(group, kind="stable")
    in_order, group = rows.take(pa.array(order)).combine_chunks(), group[order]
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])).tolist()
    for start, end in zip(starts, [*starts[1:], len(group)], strict=True):
        part = in_order.slice(start, end - start)
        yield {
            "mart": mart.name,
            "metric_date": part["metric_date"][0].as_py(),
            "shard": int(group[start] % shards),
            "rows": part.to_batches()[0].serialize().to_pybytes(),
        }


def unpacked(mart: Mart, packed: Iterable[bytes]) -> pa.Table:
    """The parts of a mart out of values of the column `rows`."""
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(rows), mart.parts) for rows in packed], mart.parts)


def rows_of_mart(mart: Mart, parts: pa.Table, last_dates: pa.Table) -> pa.Table:
    """The rows of a mart, out of all their parts."""
    return duckdb_query.query(mart.query, parts=parts, last_dates=last_dates).select(mart.rows.names).cast(mart.rows)


def together(parts: DataFrame, tasks: int) -> DataFrame:
    """PARTS, in so many tasks, where all parts of a row are in the same task."""
    return parts.coalesce(1) if tasks == 1 else parts.repartition(tasks, "mart", "metric_date", "shard")


def _conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with all columns of the schema; what is missing is null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.table(columns, schema=schema)

"""Read the lake's tables in SQL, without Spark: what `millrace sql`, the report and the notebooks stand on.

tables = connect(Lake.open(Path("lake")))
tables.sql("SELECT source, count(*) AS sessions FROM sessions GROUP BY source").df()
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from jobs.lake import Lake
from schemas.catalog import TABLES
from schemas.table import Table


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that has every table of the lake as a view of its name, all at the state that `lake` was opened at.

    Nothing is copied: a query reads what it needs of the tables' Parquet files, also when a later night has been
    published meanwhile, for as long as vacuum keeps the state (7 days). Timestamps are instants, shown in UTC. The
    connection reads those files and no others, and writes none; a frame of your own joins by `tables.register(name, frame)`.
    Only `runs` is not held at the state: it is the journal that says which state counts.
    """
    # All that is needed is built in: nothing is ever fetched.
    offline: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config=offline)
    connection.execute("SET TimeZone = 'UTC'")
    readable = []
    for name, table in TABLES.items():
        paths = [(lake.root / name / file.path).absolute() for file in lake.files(name)]
        if paths:
            connection.execute(_view(table, paths))
        else:
            connection.register(name, table.arrow.empty_table())
        readable += paths
    connection.execute(f"SET allowed_paths = {_list(readable)}")
    connection.execute("SET enable_external_access = false")
    return connection


def _view(table: Table, paths: Sequence[Path]) -> str:
    """The view's definition: the contract's columns in their order, of which those of the partitions stand in the paths."""
    types = ", ".join(f"{_name(name)}: {'DATE' if pa.types.is_date(table[name].type) else 'VARCHAR'}" for name in table.partitioned_by)
    partitions = f", hive_partitioning = true, hive_types = {{{types}}}" if types else ", hive_partitioning = false"
    columns = ", ".join(_name(name) for name in table.names)
    return f"CREATE VIEW {_name(table.name)} AS SELECT {columns} FROM read_parquet({_list(paths)}{partitions})"


def _name(name: str) -> str:
    return f'"{name}"'


def _list(paths: Sequence[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"

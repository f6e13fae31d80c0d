"""SQL over Arrow tables, in memory, by DuckDB: for narrow rows, of which a few million are few."""

from __future__ import annotations

import duckdb
import pyarrow as pa

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # the worker is one of many
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def query(sql: str, **tables: pa.Table | pa.RecordBatchReader) -> pa.Table:
    """What the query gives; it reads these tables by these names, and a reader only once."""
    with duckdb.connect(":memory:", config=CONFIG) as database:
        for name, rows in tables.items():
            database.register(name, rows)
        return database.sql(sql).to_arrow_table()

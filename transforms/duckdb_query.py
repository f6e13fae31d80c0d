"""SQL over Arrow tables, in memory, by DuckDB: for narrow rows, of which a few million are few."""

from __future__ import annotations

import threading

import duckdb
import pyarrow as pa

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # the worker is one of many
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class _IdleConnections(threading.local):
    """The idle connection of each thread, by the thread's id in the system: a forked process does not use its parent's."""

    def __init__(self) -> None:
        self.of_thread: dict[int, duckdb.DuckDBPyConnection] = {}


_IDLE = _IdleConnections()


def query(sql: str, **tables: pa.Table | pa.RecordBatchReader) -> pa.Table:
    """The result of a query that reads these tables by these names. A reader is read only once.

    A thread keeps its connection for its next query, because to open a database takes ten times as long as a small query. The query
    must leave nothing behind: no table, no setting. A connection on which a query failed is closed.
    """
    thread = threading.get_native_id()
    # A reader may run a query of its own while this one reads it. It finds no idle connection, and opens one.
    database = _IDLE.of_thread.pop(thread, None) or duckdb.connect(":memory:", config=CONFIG)
    try:
        for name, rows in tables.items():
            database.register(name, rows)
        result = database.sql(sql).to_arrow_table()
        for name in tables:
            database.unregister(name)
    except BaseException:
        database.close()
        raise
    _IDLE.of_thread[thread] = database
    return result

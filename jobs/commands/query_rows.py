"""The rows of a query on a lake."""

from __future__ import annotations

from typing import Any

import duckdb


def rows_of(tables: duckdb.DuckDBPyConnection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query's result, by the names of its columns."""
    result = tables.execute(query, parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

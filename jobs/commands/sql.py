"""Query the tables in SQL; the rows go to stdout.

millrace sql "SELECT source, count(*) FROM events GROUP BY source"
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import duckdb

from jobs.console.printing import print_line, print_table
from jobs.errors import UsageError
from jobs.lake import damage
from jobs.lake.duckdb_views import connect, connect_to_failed_run
from jobs.lake.half_published import open_to_read
from jobs.settings import Settings
from jobs.storage.object_store import raise_store_failure
from schemas.catalog import TABLES

# A table is read by people. More rows are printed as CSV or JSON.
ROWS_SHOWN = 1_000
_FETCHED_AT_A_TIME = 10_000
_READING_STATEMENTS = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.PRAGMA,
    duckdb.StatementType.CALL,
    duckdb.StatementType.MULTI,  # PIVOT
}
# Errors of DuckDB that come from the query and not from the files.
_QUERY_ERRORS = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.PermissionException,
)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)

Row = tuple[Any, ...]


def show(settings: Settings, query: str, shape: str, run_id: str | None = None) -> int:
    """Print what one reading statement gives, as a table, as CSV with a header or as a JSON list of objects.

    With `run_id`, the tables are those that this run would have published if no check had failed.
    Raises LakeError when there is no lake, no such run or when the lake is damaged, UsageError when the query is wrong, writes, or is
    more than one statement.
    """
    lake = open_to_read(settings.paths.lake)
    tables = connect(lake) if run_id is None else connect_to_failed_run(lake, run_id)
    try:
        statement = _reading_statement(tables, query)
        tables.execute(statement)
        names = [column[0] for column in tables.description or ()]
        if shape == "table" and statement.type == duckdb.StatementType.EXPLAIN:
            _print_plan(_rows(tables))
        else:
            _PRINT[shape](names, _rows(tables))
        # Raises BrokenPipeError here if the reader of stdout is gone.
        sys.stdout.flush()
    except duckdb.Error as error:
        raise_store_failure(error, lake.root)
        if not isinstance(error, _QUERY_ERRORS) and (found := damage.find(lake.root, lake.versions, contents=True)):
            raise damage.error_of(lake.root, found, contents=True) from error
        raise UsageError(f"{_one_line(error)} (the tables are {', '.join(TABLES)})") from None
    return 0


def _reading_statement(tables: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    statements = tables.extract_statements(query)
    if len(statements) != 1:
        raise UsageError(f'{len(statements) or "no"} statements were given: give one, such as millrace sql "SELECT count(*) FROM events"')
    statement = statements[0]
    kind = statement.type
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        kind = next(inner.type for inner in tables.extract_statements(_EXPLAIN.sub("", query, count=1)))
    if kind not in _READING_STATEMENTS:
        raise UsageError("the lake is only read here: ask with SELECT, or with DESCRIBE, SUMMARIZE or SHOW TABLES")
    return statement


def _rows(tables: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while rows := tables.fetchmany(_FETCHED_AT_A_TIME):
        yield from rows


def _print_table(names: Sequence[str], rows: Iterator[Row]) -> None:
    shown = [[_table_cell(value) for value in row] for row in islice(rows, ROWS_SHOWN)]
    print_table("", names, shown)
    if next(rows, None) is not None:
        print_line(f"these are the first {ROWS_SHOWN:,} rows: --format csv gives them all")


def _print_plan(rows: Iterable[Row]) -> None:
    """A plan is a drawing of several lines."""
    for _, drawing in rows:
        for line in drawing.splitlines():
            print_line(line)


def _print_csv(names: Sequence[str], rows: Iterable[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_value(value) for value in row] for row in rows)


def _print_json(names: Sequence[str], rows: Iterable[Row]) -> None:
    keys = _distinct(names)
    between = "[\n"
    for row in rows:
        sys.stdout.write(between + _json({key: _json_value(value) for key, value in zip(keys, row, strict=True)}))
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


_PRINT = {"table": _print_table, "csv": _print_csv, "json": _print_json}


def _json_value(value: Any) -> Any:
    """A value as JSON: times in ISO 8601, NaN and infinities as null, bytes as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case list() | tuple():
            return [_json_value(inner) for inner in value]
        case dict():
            return {str(_json_value(key)): _json_value(inner) for key, inner in value.items()}
    return str(value)


def _csv_value(value: Any) -> Any:
    """A value in a field of CSV. Nested values are JSON."""
    plain = _json_value(value) if not isinstance(value, float | Decimal) else value
    return _json(plain) if isinstance(plain, bool | list | dict) else plain


def _table_cell(value: Any) -> Any:
    """A value in a cell of a table. Numbers stay numbers."""
    return value if isinstance(value, bool | int | float | Decimal) else _csv_value(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each once: a repeated name gets _1, _2 … at its end, because a JSON object has each key once."""
    distinct: list[str] = []
    for name in names:
        candidates = (name if number == 0 else f"{name}_{number}" for number in range(len(names)))
        distinct.append(next(candidate for candidate in candidates if candidate not in distinct))
    return distinct


def _one_line(error: duckdb.Error) -> str:
    """The message of DuckDB, without the excerpt of the query."""
    text = re.sub(r'\nDid you mean "pg_.*|\n+LINE \d+:.*', "", str(error), flags=re.DOTALL)
    return " ".join(text.split()) or type(error).__name__

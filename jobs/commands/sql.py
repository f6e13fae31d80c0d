"""Query the tables in SQL; the rows go to stdout.

millrace sql "SELECT source, count(*) FROM events GROUP BY source"
millrace sql --file sessions.sql
millrace sql - < sessions.sql
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from jobs.commands import plain_numbers
from jobs.console.paths import shown
from jobs.console.printing import print_line, print_table
from jobs.errors import UsageError
from jobs.lake import damage, query_errors
from jobs.lake.duckdb_views import connect, connect_to_failed_run
from jobs.lake.half_published import open_to_read
from jobs.lake.query_tree import QueryTree
from jobs.settings import Settings
from jobs.storage.object_store import raise_store_failure

STDIN = "-"
# A table is read by people. More rows are printed as CSV or JSON.
ROWS_SHOWN = 1_000
NULL = "NULL"
_FETCHED_AT_A_TIME = 10_000
_READING_STATEMENTS = {
    duckdb.StatementType.SELECT,
    duckdb.StatementType.MULTI,  # PIVOT
}
# PRAGMA and CALL also change settings, write logs and profiles. These read.
_READING_CALL = re.compile(
    r'\s*(PRAGMA|CALL)\s+"?((pragma_)?(collations|database_list|database_size|functions|platform|show|show_databases|show_tables'
    r"|show_tables_expanded|storage_info|table_info|user_agent|version)|duckdb_\w+)\b",
    re.IGNORECASE,
)
_EXPLAIN = re.compile(r"\s*EXPLAIN\b\s*(ANALYZE\b\s*)?(\(\s*(ANALYZE|FORMAT)\b[^)]*\)\s*)?", re.IGNORECASE)
# Python's intervals have no months, and its times no nanoseconds. A quoted name in a nested type stays as it is.
_BEYOND_PYTHON = re.compile(r'(?<!")\b(INTERVAL|TIMESTAMP_NS)\b(?!")')
_ONLY_READ = "the lake is only read here: ask with SELECT, or with DESCRIBE, SUMMARIZE or SHOW TABLES"

# In CSV a text in quotes is a text, also an empty one; a field without quotes may be NULL.
_QUOTED_IN_CSV = re.compile(r'[",\r\n]|^$')

Row = tuple[Any, ...]


def read_query(query: str | None, file: Path | None) -> str:
    """The query: the text itself, what stdin holds if the text is `-`, or what the file holds.

    Raises UsageError when there is none or more than one, or when it cannot be read.
    """
    if (query is None) == (file is None):
        raise UsageError('give one query: millrace sql "SELECT …", millrace sql --file FILE, or millrace sql - to read it from stdin')
    if query is not None and query != STDIN:
        _refuse_file_name(query)
        return query
    try:
        content = sys.stdin.buffer.read() if file is None else file.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"the query in {_input_name(file)} is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"the query in {_input_name(file)} cannot be read ({error.strerror}): name another file with --file") from None


def _refuse_file_name(query: str) -> None:
    """Raises UsageError if the query is the name of a file."""
    if len(query.split()) == 1 and Path(query).suffix and Path(query).is_file():
        raise UsageError(f"{shown(query)} is a file: call `millrace sql --file {shlex.quote(shown(query))}`")


def _input_name(file: Path | None) -> str:
    return "stdin" if file is None else shown(file)


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
        # Table functions such as enable_logging() change settings, and write files, within a SELECT too.
        tables.execute("SET lock_configuration = true")
        tables.execute(statement)
        columns = [(name, str(kind)) for name, kind, *_ in tables.description or ()]
        if statement.type == duckdb.StatementType.SELECT and any(_BEYOND_PYTHON.search(kind) for _, kind in columns):
            tables.execute(_as_text(query, [kind for _, kind in columns]))
        names = [name for name, _ in columns]
        if shape == "csv":
            _print_csv(names, _rows(tables))
        elif shape == "json":
            _print_json(names, _rows(tables))
        elif statement.type == duckdb.StatementType.EXPLAIN:
            _print_plan(_rows(tables))
        else:
            plain = plain_numbers.are_plain(names, [kind for _, kind in columns], QueryTree.of(tables, query))
            _print_table(names, plain, _rows(tables))
        # Raises BrokenPipeError here if the reader of stdout is gone.
        sys.stdout.flush()
    except duckdb.Error as error:
        if "configuration has been locked" in str(error):
            raise UsageError(_ONLY_READ) from None
        raise_store_failure(error, lake.root)
        if not isinstance(error, query_errors.QUERY_ERRORS) and (found := damage.find(lake.root, lake.versions, contents=True)):
            raise damage.error_of(lake.root, found, contents=True) from error
        raise UsageError(query_errors.describe(error, query, tables)) from None
    return 0


def _reading_statement(tables: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    statements = tables.extract_statements(query)
    if len(statements) != 1:
        raise UsageError(f'{len(statements) or "no"} statements were given: give one, such as millrace sql "SELECT count(*) FROM events"')
    statement = statements[0]
    kind, text = statement.type, _without_comments(query)
    if kind == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        text = _EXPLAIN.sub("", text, count=1)
        kind = next(inner.type for inner in tables.extract_statements(text))
    if kind not in _READING_STATEMENTS and not _READING_CALL.match(text):
        raise UsageError(_ONLY_READ)
    return statement


def _as_text(query: str, kinds: Sequence[str]) -> str:
    """The query, with text in place of values that Python's types cannot hold. In: the types of its columns."""
    names = [f"c{position}" for position in range(len(kinds))]
    values = (_BEYOND_PYTHON.sub("VARCHAR", kind) for kind in kinds)
    casts = (
        f"replace({name}::VARCHAR, ' ', 'T')" if kind == "TIMESTAMP_NS" else f"CAST({name} AS {value})" if value != kind else name
        for name, kind, value in zip(names, kinds, values, strict=True)
    )
    text = _without_comments(query).strip().rstrip("; \t\r\n")
    return f"SELECT {', '.join(casts)} FROM ({text}) AS result({', '.join(names)})"


def _without_comments(query: str) -> str:
    """The query with a space in place of each comment."""
    text = query.encode()
    tokens = [*duckdb.tokenize(query), (len(text), None)]
    parts = (b" " if kind == duckdb.token_type.comment else text[at:end] for (at, kind), (end, _) in itertools.pairwise(tokens))
    return b"".join(parts).decode()


def _rows(tables: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while rows := tables.fetchmany(_FETCHED_AT_A_TIME):
        yield from rows


def _print_table(names: Sequence[str], plain: Sequence[bool], rows: Iterator[Row]) -> None:
    cells = [[_table_cell(value) for value in row] for row in itertools.islice(rows, ROWS_SHOWN)]
    print_table("", names, cells, null=NULL, plain=[position for position, is_plain in enumerate(plain) if is_plain])
    if next(rows, None) is not None:
        print_line(f"these are the first {ROWS_SHOWN:,} rows: --format csv gives them all")


def _print_plan(rows: Iterable[Row]) -> None:
    """A plan is a drawing of several lines."""
    for _, drawing in rows:
        for line in drawing.splitlines():
            print_line(line)


def _print_csv(names: Sequence[str], rows: Iterable[Row]) -> None:
    """CSV as PostgreSQL's COPY writes it: NULL is an empty field, an empty text is `""`."""
    for row in itertools.chain([names], rows):
        sys.stdout.write(",".join(map(_csv_field, row)) + "\n")


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:f}" if isinstance(value, Decimal) else str(_csv_value(value))
    return '"' + text.replace('"', '""') + '"' if _QUOTED_IN_CSV.search(text) else text


def _print_json(names: Sequence[str], rows: Iterable[Row]) -> None:
    keys = _distinct(names)
    between = "[\n"
    for row in rows:
        sys.stdout.write(between + _json({key: _json_value(value) for key, value in zip(keys, row, strict=True)}))
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


def _json_value(value: Any) -> Any:
    """A value as JSON: times in ISO 8601, NaN and infinities as null, bytes as text."""
    match value:
        case None | bool() | int() | str() | Decimal():
            return value
        case float():
            return value if math.isfinite(value) else None
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
    """The JSON text of a value of `_json_value`. A decimal keeps its digits."""
    match value:
        case Decimal():
            return f"{value:f}"
        case list():
            return f"[{', '.join(map(_json, value))}]"
        case dict():
            return f"{{{', '.join(f'{_json(key)}: {_json(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each once: a repeated name gets _1, _2 … at its end, because a JSON object has each key once."""
    distinct: list[str] = []
    for name in names:
        candidates = (name if number == 0 else f"{name}_{number}" for number in range(len(names)))
        distinct.append(next(candidate for candidate in candidates if candidate not in distinct))
    return distinct

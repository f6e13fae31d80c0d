"""What is wrong with a query, in one line that names the nearest table or column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import duckdb

from jobs.console.nearest_names import no_table, suggestion
from jobs.lake.query_tree import QueryTree
from schemas.catalog import TABLES

# Errors of DuckDB that come from the query and not from the files.
QUERY_ERRORS = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.PermissionException,
)
_NO_TABLE = re.compile(r"Table with name (.+?) does not exist!")
_NO_COLUMN = re.compile(r'Referenced column "(.+?)" not found')
_NO_COLUMN_OF = re.compile(r'(?:[Tt]able|list) "(.+?)" does not have a column named "(.+?)"')
_EXCERPT = re.compile(r'\nDid you mean "pg_.*|\n+LINE \d+:.*', re.DOTALL)
_LINE = re.compile(r"\n+LINE (\d+):")


def describe(error: duckdb.Error, query: str, connection: duckdb.DuckDBPyConnection) -> str:
    """The error of a query in one line: what is wrong, in which line of a longer query, and the nearest name."""
    message = str(error)
    what = _describe_name(message, QueryTree.of(connection, query)) or " ".join(_EXCERPT.sub("", message).split()) or type(error).__name__
    line = _LINE.search(message)
    return f"line {line[1]}: {what}" if line and "\n" in query.strip() else what


def no_column(name: str, tables: Collection[str], aliases: Iterable[str] = ()) -> str:
    """That none of these tables has such a column, the nearest one, and where all are listed."""
    names = {column for table in tables for column in TABLES[table].names}
    elsewhere = [table.name for table in TABLES.values() if name in table.names and table.name not in tables]
    of_tables = f" in {' or '.join(tables)}" if tables else ""
    if elsewhere:
        return f"no column is called {name!r}{of_tables}: it is one of {', '.join(elsewhere)}"
    hint = suggestion(name, names | set(aliases))
    listed = " and ".join(f"`millrace describe {table}`" for table in tables) or "`millrace describe TABLE`"
    return f"no column is called {name!r}{of_tables}{hint or ':'} {listed} {'list' if len(tables) > 1 else 'lists'} the columns"


def _describe_name(message: str, tree: QueryTree) -> str | None:
    """The line for a name that nothing has; None for any other error."""
    if unknown := _NO_TABLE.search(message):
        return no_table(unknown[1], {*TABLES, *tree.common_tables})
    tables = [name for name in dict.fromkeys(tree.tables.values()) if name in TABLES]
    if unknown := _NO_COLUMN.search(message):
        return no_column(unknown[1], tables, tree.aliases)
    if unknown := _NO_COLUMN_OF.search(message):
        alias, name = unknown.groups()
        of = tree.tables.get(alias, alias)
        return no_column(name, [of]) if of in TABLES else None
    return None

"""The data dictionary on stdout, or as one HTML page.

millrace describe sessions
millrace describe --format html --out dictionary.html
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jobs.commands import delta_readers, dictionary, page_files
from jobs.console.nearest_names import no_table
from jobs.console.printing import print_line, print_table, print_text
from jobs.errors import UsageError
from schemas.bookkeeping import DAILY_METRICS
from schemas.catalog import TABLES
from schemas.metrics import METRICS
from schemas.table import Table, sql_type


def show(name: str | None, shape: str = "table", out: Path | None = None) -> int:
    """Print all tables, or one with its columns; as JSON or as one HTML page, if the shape says so, into a file if one is named.

    Raises UsageError when there is no such table, or when the file cannot be written.
    """
    if name is not None and name not in TABLES:
        raise UsageError(no_table(name))
    if shape == "table":
        if out is not None:
            raise UsageError("--out takes --format html or --format json: the tables are laid out for the terminal")
        _show_tables() if name is None else _show_table(TABLES[name])
        return 0
    text = _as_json(name) if shape == "json" else _as_page(name, out)
    if out is None:
        print_text(text)
    else:
        page_files.write(out, text, "the dictionary")
        print_line(str(out))
    return 0


def _as_json(name: str | None) -> str:
    tables = list(TABLES.values()) if name is None else [TABLES[name]]
    return json.dumps(dictionary.document(tables), indent=2) + "\n"


def _as_page(name: str | None, out: Path | None) -> str:
    if name is not None:
        raise UsageError("the page has all tables: leave the name of the table out")
    if out is None and sys.stdout.isatty():
        raise UsageError("a page is for a browser: name a file with --out dictionary.html")
    return dictionary.page(list(TABLES.values()))


def _show_tables() -> None:
    rows = [
        [
            table.name,
            f"one row per {table.one_row_per}",
            ", ".join(table.key),
            ", ".join(table.partitioned_by),
            ", ".join(table.computed_from),
        ]
        for table in TABLES.values()
    ]
    names = ["table", "holds", "key", "partitioned by", "computed from"]
    print_table("", names, rows, prose=names[1:])
    _show_readers("sessions")


def _show_table(table: Table) -> None:
    print_line(f"{table.name}: one row per {table.one_row_per}")
    print_line(f"key: {', '.join(table.key) or 'none'}; partitioned by: {', '.join(table.partitioned_by) or 'nothing'}")
    print_line(f"computed from: {', '.join(table.computed_from)}")
    # A type is wrapped between its fields.
    rows = [
        [
            column.name,
            sql_type(column.type).replace(",", ", "),
            column.unit or "",
            "yes" if column.required else "",
            dictionary.meaning(column),
        ]
        for column in table.columns
    ]
    print_table("", ["column", "type", "unit", "always filled", "meaning"], rows, prose=("type", "meaning"))
    if table is DAILY_METRICS:
        metrics = [[m.name, m.unit, m.family, ", ".join(m.dimensions), m.definition] for m in METRICS.values()]
        print_table("Metrics", ["metric", "unit", "by", "dimensions", "definition"], metrics, prose=("dimensions", "definition"))
    for check in table.checks:
        print_line(f"check ({check.severity}): {check.name}")
    if table.checks:
        print_line("")
    _show_readers(table.name)


def _show_readers(name: str) -> None:
    """Print how a table is opened in Python, with Millrace and without it."""
    print_line(f"To open {name} in Python (also to_polars, to_arrow, to_duckdb, to_spark):")
    print_line(f"  {delta_readers.MILLRACE}")
    print_line(f"  {delta_readers.own_line(name)}")
    print_line("Without Millrace, at the version that belongs with those of the other tables (`millrace state` shows them):")
    print_line(f"  {delta_readers.IMPORTS}")
    print_line(f"  {delta_readers.VERSIONS}")
    for reader, line in delta_readers.lines(name).items():
        print_line(f"  {line}  # {reader}")
    print_line(delta_readers.parquet_warning(name))

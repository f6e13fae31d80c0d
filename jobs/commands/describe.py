"""The data dictionary on stdout.

millrace describe sessions
"""

from __future__ import annotations

from jobs.commands import delta_readers
from jobs.console.printing import print_line, print_table
from jobs.errors import UsageError
from schemas.bookkeeping import DAILY_METRICS
from schemas.catalog import TABLES
from schemas.metrics import METRICS
from schemas.table import Table, sql_type


def show(name: str | None) -> int:
    """Print all tables, or one with its columns.

    Raises UsageError when there is no such table.
    """
    if name is None:
        rows = [
            [table.name, f"one row per {table.one_row_per}", ", ".join(table.key), ", ".join(table.partitioned_by)]
            for table in TABLES.values()
        ]
        print_table("", ["table", "holds", "key", "partitioned by"], rows, prose=("holds", "key", "partitioned by"))
        _show_readers("sessions")
        return 0
    if name not in TABLES:
        raise UsageError(f"no table is called {name!r}: there are {', '.join(TABLES)}")
    _show_table(TABLES[name])
    return 0


def _show_table(table: Table) -> None:
    print_line(f"{table.name}: one row per {table.one_row_per}")
    print_line(f"key: {', '.join(table.key) or 'none'}; partitioned by: {', '.join(table.partitioned_by) or 'nothing'}")
    rows = [
        [column.name, sql_type(column.type), column.unit or "", "yes" if column.required else "", column.description]
        for column in table.columns
    ]
    names = ["column", "type", "unit", "always filled", "meaning"]
    # A type is wrapped between its fields.
    shown = [[row[0], row[1].replace(",", ", "), *row[2:4], row[4].removesuffix(f" [{row[2]}]")] for row in rows]
    print_table("", names, shown, prose=("type", "meaning"))
    if table is DAILY_METRICS:
        metrics = [[m.name, m.unit, m.family, ", ".join(m.dimensions), m.definition] for m in METRICS.values()]
        print_table("Metrics", ["metric", "unit", "by", "dimensions", "definition"], metrics, prose=("dimensions", "definition"))
    for check in table.checks:
        print_line(f"check ({check.severity}): {check.name}")
    if table.checks:
        print_line("")
    _show_readers(table.name)


def _show_readers(name: str) -> None:
    """Print how readers without Millrace open a table."""
    print_line(f"To open {name} in Python, at the version that belongs with those of the other tables (`millrace state` shows them):")
    print_line(f"  {delta_readers.IMPORTS}")
    print_line(f"  {delta_readers.VERSIONS}")
    for reader, line in delta_readers.lines(name).items():
        print_line(f"  {line}  # {reader}")
    print_line(delta_readers.parquet_warning(name))

"""The data dictionary on stdout.

millrace describe sessions
"""

from __future__ import annotations

from jobs.errors import UsageError
from jobs.printing import table as print_table
from jobs.printing import tell
from schemas.account import DAILY_METRICS
from schemas.catalog import TABLES
from schemas.metrics import METRICS
from schemas.table import Table, spelled


def show(name: str | None) -> int:
    """Print all tables, or one with its columns.

    Raises UsageError when there is no such table.
    """
    if name is None:
        rows = [
            [table.name, f"one row per {table.one_row_per}", ", ".join(table.key), ", ".join(table.partitioned_by)]
            for table in TABLES.values()
        ]
        print_table("", ["table", "holds", "key", "partitioned by"], rows)
        return 0
    if name not in TABLES:
        raise UsageError(f"no table is called {name!r}: there are {', '.join(TABLES)}")
    _one(TABLES[name])
    return 0


def _one(table: Table) -> None:
    tell(f"{table.name}: one row per {table.one_row_per}")
    tell(f"key: {', '.join(table.key) or 'none'}; partitioned by: {', '.join(table.partitioned_by) or 'nothing'}")
    rows = [
        [column.name, spelled(column.type), column.unit or "", "yes" if column.required else "", column.description]
        for column in table.columns
    ]
    print_table(
        "", ["column", "type", "unit", "always filled", "meaning"], [[*row[:4], row[4].removesuffix(f" [{row[2]}]")] for row in rows]
    )
    if table is DAILY_METRICS:
        metrics = [[m.name, m.unit, m.family, ", ".join(m.dimensions), m.definition] for m in METRICS.values()]
        print_table("Metrics", ["metric", "unit", "by", "dimensions", "definition"], metrics)
    for check in table.checks:
        tell(f"check ({check.severity}): {check.name}")

"""The quality suite of a table, derived from its contract: one rule per thing that must hold, in words and in SQL."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from schemas.table import Column, Table


@dataclass(frozen=True)
class Rule:
    """Something that every row of a table must meet.

    `condition` is SQL over the table's columns; a row for which it is null meets it. It is None for the two kinds of
    rule that look at more than a row: `unique` (the key) and `filled` (a required column, counted when it is written).
    """

    name: str
    severity: str
    kind: str  # condition, unique or filled
    column: str | None = None
    condition: str | None = None


def suite(table: Table) -> tuple[Rule, ...]:
    """All rules of a table: its key is unique, required columns are filled, values lie in range, its checks hold."""
    rules = [Rule(f"{', '.join(table.key)} is unique", "critical", "unique")] if table.key else []
    for column in table.columns:
        rules += _of_column(column, column.name in table.partitioned_by)
    rules += [Rule(check.name, check.severity, "condition", condition=check.condition) for check in table.checks]
    return tuple(rules)


def _of_column(column: Column, is_partition: bool) -> list[Rule]:
    rules = []
    if column.required:
        counted_when_written = not is_partition and not pa.types.is_nested(column.type)
        filled = f'"{column.name}" IS NOT NULL'
        rules.append(
            Rule(f"{column.name} is filled", "critical", "filled", column.name)
            if counted_when_written
            else Rule(f"{column.name} is filled", "critical", "condition", column.name, filled)
        )
    if column.minimum is not None:
        rules.append(
            Rule(
                f"{column.name} is at least {column.minimum:g}",
                "critical",
                "condition",
                column.name,
                f'"{column.name}" >= {column.minimum:g}',
            )
        )
    if column.maximum is not None:
        rules.append(
            Rule(
                f"{column.name} is at most {column.maximum:g}",
                "critical",
                "condition",
                column.name,
                f'"{column.name}" <= {column.maximum:g}',
            )
        )
    if column.values:
        allowed = ", ".join(f"'{value}'" for value in column.values)
        rules.append(Rule(f"{column.name} is one of its values", "critical", "condition", column.name, f'"{column.name}" IN ({allowed})'))
    return rules

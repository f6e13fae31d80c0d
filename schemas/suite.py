"""Derive the quality suite of a table from its contract: one rule per requirement, as text, as SQL and as an expectation."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from schemas.table import Check, Column, Expectation, Table

_UNIQUE, _COMPOUND_UNIQUE = "expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"
_NOT_NULL = "expect_column_values_to_not_be_null"
_BETWEEN = "expect_column_values_to_be_between"
_IN_SET = "expect_column_values_to_be_in_set"
_NO_ROWS = "unexpected_rows_expectation"


@dataclass(frozen=True)
class Rule:
    """A rule that every row of a table must meet.

    `condition` is DuckDB SQL over the table's columns. A row for which it is null meets the rule; a row for which it cannot be
    evaluated breaks it. It is None for rules of kind `unique` (the key), which compare rows, and of kind `filled` (a required
    column), whose nulls are counted when the files are written. `expectation` is the same rule for Great Expectations.
    """

    name: str
    severity: str
    kind: str  # condition, unique or filled
    expectation: Expectation
    column: str | None = None
    condition: str | None = None


def suite(table: Table) -> tuple[Rule, ...]:
    """All rules of a table: the unique key, required columns, ranges and sets of values, and its checks."""
    rules = [Rule(f"{', '.join(table.key)} is unique", "critical", "unique", _unique(table.key))] if table.key else []
    for column in table.columns:
        rules += _of_column(column, column.name in table.partitioned_by)
    rules += [Rule(check.name, check.severity, "condition", _of_check(check), condition=check.condition) for check in table.checks]
    return tuple(rules)


def _unique(key: tuple[str, ...]) -> Expectation:
    return Expectation(_UNIQUE, {"column": key[0]}) if len(key) == 1 else Expectation(_COMPOUND_UNIQUE, {"column_list": list(key)})


def _of_check(check: Check) -> Expectation:
    if check.expectation is not None:
        return check.expectation
    # Great Expectations replaces {batch} by the name of the batch, so other braces are doubled.
    condition = check.condition.replace("{", "{{").replace("}", "}}")
    return Expectation(_NO_ROWS, {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE NOT ({condition})"})


def _of_column(column: Column, is_partition: bool) -> list[Rule]:
    rules = []
    if column.required:
        counted_when_written = not is_partition and not pa.types.is_nested(column.type)
        name, not_null = f"{column.name} is filled", Expectation(_NOT_NULL, {"column": column.name})
        rules.append(
            Rule(name, "critical", "filled", not_null, column.name)
            if counted_when_written
            else Rule(name, "critical", "condition", not_null, column.name, f'"{column.name}" IS NOT NULL')
        )
    if column.minimum is not None:
        rules.append(
            Rule(
                f"{column.name} is at least {column.minimum:g}",
                "critical",
                "condition",
                Expectation(_BETWEEN, {"column": column.name, "min_value": column.minimum}),
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
                Expectation(_BETWEEN, {"column": column.name, "max_value": column.maximum}),
                column.name,
                f'"{column.name}" <= {column.maximum:g}',
            )
        )
    if column.values:
        allowed = ", ".join(f"'{value}'" for value in column.values)
        in_set = Expectation(_IN_SET, {"column": column.name, "value_set": list(column.values)})
        rules.append(
            Rule(f"{column.name} is one of its values", "critical", "condition", in_set, column.name, f'"{column.name}" IN ({allowed})')
        )
    return rules

"""What the rules of a table find: one aggregate per table, whatever the number of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.suite import Rule, suite
from schemas.table import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_IS_NEW = "is_new"


def columns_needed(table: Table) -> tuple[str, ...]:
    """The columns that `observe` reads."""
    rules = [rule for rule in suite(table) if rule.condition is not None]
    named = {name for name in table.names for rule in rules if name in (rule.condition or "")}
    return tuple(name for name in table.names if name in named or name in table.key)


def observe(rows: DataFrame, beside: DataFrame | None, table: Table) -> DataFrame:
    """Count the rows that break each rule of the table's suite.

    In: new rows of the table with the columns needed; of the rows that stand beside them the key, which must be unique
    among all. Out: `table`, `rule`, `observed` (new rows that break it; of the key, rows beyond the first).
    A rule of kind `filled` is not among them: nulls are counted when a file is written.
    """
    rules = [rule for rule in suite(table) if rule.kind != "filled"]
    new = rows.selectExpr("*", f"true AS {_IS_NEW}")
    if beside is not None:
        new = new.unionByName(beside.selectExpr(*table.key, f"false AS {_IS_NEW}"), allowMissingColumns=True)
    # As text: a hundred rules made of column objects would take longer to say than to count.
    counted = new.selectExpr(*(f"{_breaking(rule, table)} AS rule_{number}" for number, rule in enumerate(rules)))
    entries = ", ".join(f"{_quoted(rule.name)}, CAST(rule_{number} AS BIGINT)" for number, rule in enumerate(rules))
    return counted.selectExpr(f"{_quoted(table.name)} AS table", f"stack({len(rules)}, {entries}) AS (rule, observed)")


def _breaking(rule: Rule, table: Table) -> str:
    """How many rows break the rule, in SQL."""
    if rule.condition is not None:
        return f"count_if({_IS_NEW} AND NOT coalesce({rule.condition}, true))"
    # 96 bits of hash stand for the key: cheap to shuffle, and no two keys of a night share them by chance.
    key = ", ".join(f"coalesce(CAST(`{name}` AS STRING), '')" for name in table.key)
    return f"count(*) - count(DISTINCT xxhash64({key}), hash({key}))"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

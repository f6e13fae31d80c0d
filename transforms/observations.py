"""What the rules of a table find: one aggregate per table, whatever the number of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.suite import Rule, suite
from schemas.table import Table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def columns_needed(table: Table) -> tuple[str, ...]:
    """The columns that `observe` reads."""
    rules = [rule for rule in suite(table) if rule.condition is not None]
    named = {name for name in table.names for rule in rules if name in (rule.condition or "")}
    return tuple(name for name in table.names if name in named or name in table.key)


def observe(frame: DataFrame, table: Table) -> DataFrame:
    """Count the rows that break each rule of the table's suite.

    In: rows of the table. Out: `table`, `rule`, `observed` (rows that break it; of the key, rows beyond the first).
    A rule of kind `filled` is not among them: nulls are counted when a file is written.
    """
    from pyspark.sql import functions as F

    rules = [rule for rule in suite(table) if rule.kind != "filled"]
    counted = frame.agg(*(_breaking(rule, table).alias(f"rule_{number}") for number, rule in enumerate(rules)))
    entries = [
        F.struct(F.lit(rule.name).alias("rule"), F.col(f"rule_{number}").cast("bigint").alias("observed"))
        for number, rule in enumerate(rules)
    ]
    return counted.select(F.lit(table.name).alias("table"), F.inline(F.array(*entries)))


def _breaking(rule: Rule, table: Table) -> Column:
    from pyspark.sql import functions as F

    if rule.condition is not None:
        return F.count_if(~F.coalesce(F.expr(rule.condition), F.lit(True)))
    # 96 bits of hash stand for the key: cheap to shuffle, and no two keys of a night share them by chance.
    key = [F.coalesce(F.col(name).cast("string"), F.lit("\0")) for name in table.key]
    return F.count("*") - F.count_distinct(F.xxhash64(*key), F.hash(*key))

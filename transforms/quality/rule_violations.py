"""What the rules of a table find: one aggregate over its rows, whatever the number of rules."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.suite import Rule, suite
from schemas.table import Table
from transforms import duckdb_query

_IS_NEW = "is_new"


def columns_needed(table: Table) -> tuple[str, ...]:
    """The columns that `observe` reads of new rows; of those beside them it reads the key."""
    rules = [rule for rule in suite(table) if rule.condition is not None]
    named = {name for name in table.names for rule in rules if name in (rule.condition or "")}
    return tuple(name for name in table.names if name in named or name in table.key)


def observe(rows: Iterable[pa.Table], beside: Iterable[pa.Table], table: Table) -> dict[str, int]:
    """Count the rows that break each rule of the table's suite.

    In: new rows of the table with the columns needed; of the rows that stand beside them the key, which must be unique
    among all. Out: per rule how many new rows break it; of the key, rows beyond the first. A rule of kind `filled` is not
    among them: nulls are counted when a file is written. Rows are read once, a part at a time. Nothing that a row holds
    makes this raise: a row for which a condition cannot be evaluated breaks the rule.
    """
    rules = [rule for rule in suite(table) if rule.kind != "filled"]
    schema = pa.schema(
        [*(pa.field(name, _without_zone(table[name].type)) for name in columns_needed(table)), pa.field(_IS_NEW, pa.bool_())]
    )

    def parts() -> Iterable[pa.RecordBatch]:
        for are_new, tables in ((True, rows), (False, beside)):
            for part in tables:
                yield from _labelled(part, schema, are_new=are_new).to_batches()

    counted = ", ".join(f"{_breaking(rule, table)} AS rule_{number}" for number, rule in enumerate(rules))
    found = duckdb_query.query(f"SELECT {counted} FROM parts", parts=pa.RecordBatchReader.from_batches(schema, parts()))
    return {rule.name: found.column(number)[0].as_py() for number, rule in enumerate(rules)}


def _labelled(rows: pa.Table, schema: pa.Schema, *, are_new: bool) -> pa.Table:
    """Rows with all columns of the schema; what they lack is null."""
    rows = rows.append_column(_IS_NEW, pa.repeat(pa.scalar(are_new), rows.num_rows))
    return pa.table(
        [rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema],
        schema=schema,
    )


def _without_zone(kind: pa.DataType) -> pa.DataType:
    """Times as they stand in UTC: DuckDB takes those of a zone apart only with an extension."""
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind


def _breaking(rule: Rule, table: Table) -> str:
    """How many rows break the rule, in SQL."""
    if rule.condition is not None:
        # TRY makes an evaluation that raises null: the row breaks the rule, so that a failure hides no violation.
        return f"coalesce(count_if({_IS_NEW} AND coalesce(TRY(NOT coalesce({rule.condition}, true)), true)), 0)"
    # 128 bits of hash stand for the key: no two keys share them by chance.
    key = ", ".join(f"coalesce(CAST(\"{name}\" AS VARCHAR), '')" for name in table.key)
    return f"count(*) - count(DISTINCT md5_number(concat_ws(chr(31), {key})))"

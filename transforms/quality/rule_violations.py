"""Count the rows of a table that break its rules: a task counts in the files that it reads, and the engine adds the counts up.

`count_rows` takes rows of a table, a part at a time, and gives PARTIAL_COUNTS. `rule_violations` is DataFrame → DataFrame: it compares
the keys of all tasks, and adds up their partial counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.suite import Rule, suite
from schemas.table import BIGINT, BINARY, INTEGER, STRING, Table, spark_schema
from transforms import duckdb_query, packed_hashes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What is counted in some files of a table: of a condition, the rows that break it; of a unique key, the rows beyond the first of each
# value. Rows of other files may have the same value. So a key comes with the hashes of its different values, divided by hash into
# shards, one row each. A row per hash would cost Spark as much as everything else that the checks do.
PARTIAL_COUNTS = pa.schema([("table", STRING), ("rule", STRING), ("amount", BIGINT), ("shard", INTEGER), ("hashes", BINARY)])
VIOLATIONS = pa.schema([("table", STRING), ("rule", STRING), ("observed", BIGINT)])


def columns_needed(table: Table) -> tuple[str, ...]:
    """The columns that `count_rows` reads of added rows. Of unchanged rows it reads the key."""
    rules = _conditions(table)
    named = {name for name in table.names for rule in rules if name in (rule.condition or "")}
    return tuple(name for name in table.names if name in named or name in table.key)


def count_rows(added: Iterable[pa.Table], unchanged: Iterable[pa.Table], table: Table, shards: int) -> pa.Table:
    """Count what `rule_violations` adds up.

    In: rows that the run adds, with the columns needed, and unchanged rows with the columns of the key, which must be unique among all.
    All calls for one table must have the same number of `shards`, which is into how many parts `rule_violations` divides the keys.
    Out: PARTIAL_COUNTS. A rule of kind `filled` is not among them: nulls are counted when a file is written. Every row is read once;
    the key of the added rows is kept until their conditions are counted.
    """
    keys: list[pa.Table] = []

    def keeping_keys() -> Iterator[pa.Table]:
        for part in added:
            keys.append(part.select(list(table.key)))
            yield part

    conditions = _count_conditions(keeping_keys(), table)
    return pa.concat_tables([conditions, _count_keys(chain(keys, unchanged), table, shards)])


def _count_conditions(rows: Iterable[pa.Table], table: Table) -> pa.Table:
    """Count the rows that break each condition of the table's suite.

    In: rows with the columns needed. Out: PARTIAL_COUNTS, one row per condition. All rows are read, once, a part at a time. Nothing
    that a row holds makes this raise: a row for which a condition cannot be evaluated breaks the rule.
    """
    rules = _conditions(table)
    # TRY makes an evaluation that raises null: the row breaks the rule, so that a failure hides no violation.
    counts = "".join(
        f", coalesce(count_if(coalesce(TRY(NOT coalesce({rule.condition}, true)), true)), 0) AS rule_{number}"
        for number, rule in enumerate(rules)
    )
    counted = duckdb_query.query(f"SELECT count(*) AS rows{counts} FROM parts", parts=_reader(rows, table, columns_needed(table)))
    amounts = {rule.name: counted[f"rule_{number}"][0].as_py() for number, rule in enumerate(rules)}
    return pa.Table.from_pylist(
        [{"table": table.name, "rule": rule, "amount": amount} for rule, amount in amounts.items()], schema=PARTIAL_COUNTS
    )


def _count_keys(rows: Iterable[pa.Table], table: Table, shards: int) -> pa.Table:
    """Count the rows beyond the first of each value of the table's key.

    In: rows with the columns of the key. Out: PARTIAL_COUNTS, one row per shard, with hashes of 128 bits: two values have the same one with
    negligible probability.
    """
    unique = [rule for rule in suite(table) if rule.kind == "unique"]
    if not unique:
        return PARTIAL_COUNTS.empty_table()
    key = ", ".join(f"coalesce(CAST(\"{name}\" AS VARCHAR), '')" for name in table.key)
    counted = duckdb_query.query(
        f"""
        SELECT {packed_hashes.columns("key")}, amount
        FROM (SELECT concat_ws(chr(31), {key}) AS key, count(*) AS amount FROM parts GROUP BY ALL)
        """,
        parts=_reader(rows, table, table.key),
    )
    repeats = counted["amount"].to_numpy() - 1
    rows_of_shards = [
        {"amount": int(repeats[of_shard].sum()), "shard": shard, "hashes": hashes}
        for shard, of_shard, hashes in packed_hashes.shards(counted["high"].to_numpy(), counted["low"].to_numpy(), shards)
    ]
    named = [{"table": table.name, "rule": unique[0].name, **row} for row in rows_of_shards]
    return pa.Table.from_pylist(named, schema=PARTIAL_COUNTS)


def rule_violations(partial_counts: DataFrame, *, in_one_task: bool = False) -> DataFrame:
    """Add up the partial counts of a rule. Of a key, the rows beyond the first of each value break the rule.

    In: PARTIAL_COUNTS of all files in which the key must be unique. Out: VIOLATIONS, one row per table and rule.
    """
    from pyspark.sql import functions as F

    shards = partial_counts.coalesce(1) if in_one_task else partial_counts.repartition("table", "rule", "shard")
    compared = shards.mapInArrow(_compare_shards, spark_schema(VIOLATIONS))
    return compared.groupBy("table", "rule").agg(F.sum("observed").alias("observed"))


def _compare_shards(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Count the values of keys that occur in several groups of files, and add them to the amounts.

    In: PARTIAL_COUNTS, all rows of each shard. Out: VIOLATIONS, which are still to be added up.
    """
    amounts: Counter[tuple[str, str]] = Counter()
    hashes: dict[tuple[str, str, int], list[bytes]] = {}
    for batch in batches:
        for row in batch.to_pylist():
            amounts[row["table"], row["rule"]] += row["amount"]
            if row["hashes"] is not None:
                hashes.setdefault((row["table"], row["rule"], row["shard"]), []).append(row["hashes"])
    for (table, rule, _), of_shard in hashes.items():
        seen, different = packed_hashes.count(of_shard)
        amounts[table, rule] += seen - different
    observed = [{"table": table, "rule": rule, "observed": amount} for (table, rule), amount in amounts.items()]
    yield pa.RecordBatch.from_pylist(observed, schema=VIOLATIONS)


def _conditions(table: Table) -> list[Rule]:
    return [rule for rule in suite(table) if rule.condition is not None]


def _reader(rows: Iterable[pa.Table], table: Table, columns: Iterable[str]) -> pa.RecordBatchReader:
    """These columns of the rows, for DuckDB; a column that they lack is null."""
    schema = pa.schema([pa.field(name, _without_zone(table[name].type)) for name in columns])
    return pa.RecordBatchReader.from_batches(schema, (batch for part in rows for batch in _conformed(part, schema).to_batches()))


def _conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with all columns of the schema."""
    return pa.table(
        [rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema],
        schema=schema,
    )


def _without_zone(kind: pa.DataType) -> pa.DataType:
    """Times without a zone, in UTC: DuckDB needs an extension for times with a zone."""
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind

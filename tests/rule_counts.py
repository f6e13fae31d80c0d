"""The rows of a table that break each rule, counted as a night counts them: in some tables of rows, and added up by the engine."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import SparkSession

from schemas.table import Table, spark_schema
from transforms.quality.rule_violations import PARTIAL_COUNTS, count_rows, rule_violations

# Fewer than the keys of the tests, and more than one.
SHARDS = 2


def observe(spark: SparkSession, added: Sequence[pa.Table], unchanged: Sequence[pa.Table], table: Table) -> dict[str, int]:
    """How many of the added rows break each rule; of the key, rows beyond the first among all."""
    counts = [*(count_rows([rows], [], table, SHARDS) for rows in added), count_rows([], unchanged, table, SHARDS)]
    frame = spark.createDataFrame(pa.concat_tables(counts), spark_schema(PARTIAL_COUNTS))
    return {row["rule"]: row["observed"] for row in rule_violations(frame).toArrow().to_pylist()}

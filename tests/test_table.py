"""A table's contract: what is derived from it, and what it refuses."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from jobs.lake.run_output import RunOutput
from jobs.lake.table_files import write, write_partitioned
from schemas.catalog import TABLES
from schemas.metrics import METRICS
from schemas.table import BIGINT, DATE, STRING, Table, array_of, column, sql_type, struct_of

TABLE = Table(
    name="things",
    one_row_per="thing",
    key=("id",),
    partitioned_by=("day",),
    sorted_by=("size",),
    columns=(
        column("id", STRING, "its id", required=True, is_personal=False),
        column("day", DATE, "its day", required=True),
        column("size", BIGINT, "how big", unit="mm"),
    ),
)


def test_types_are_written_as_spark_writes_them(spark: SparkSession) -> None:
    nested = array_of(struct_of(id=STRING, count=BIGINT))
    assert sql_type(nested) == "array<struct<id:string,count:bigint>>"
    for table in TABLES.values():
        for field, asked in zip(table.spark().fields, table.columns, strict=True):
            assert field.dataType.simpleString() == sql_type(asked.type), (table.name, field.name)


def test_every_table_and_column_has_a_meaning_and_every_key_is_required() -> None:
    for table in TABLES.values():
        assert table.one_row_per
        assert all(asked.comment for asked in table.columns)
        assert set(table.partitioned_by) <= set(table.names)
        for name in table.key:
            assert table[name].required, (table.name, name)


def test_every_metric_is_named_as_it_is_looked_up() -> None:
    assert all(name == metric.name and metric.definition for name, metric in METRICS.items())


def test_a_file_per_partition_is_written_sorted_and_without_the_partition_columns(tmp_path: Path) -> None:
    days = [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]
    rows = pa.table({"id": ["a", "b", "c"], "day": pa.array([days[1], days[0], days[1]]), "size": pa.array([9, 1, None], pa.int64())})
    written = write_partitioned(TABLE, rows, RunOutput(tmp_path, "run"))
    assert [(file.partition_values, file.rows) for file in written] == [({"day": "2026-01-01"}, 1), ({"day": "2026-01-02"}, 2)]
    second = pq.read_table(tmp_path / TABLE.name / written[1].path, partitioning=None)
    assert second.to_pylist() == [{"id": "a", "size": 9}, {"id": "c", "size": None}]
    assert json.loads(written[1].stats) == {
        "numRecords": 2,
        "minValues": {"id": "a", "size": 9},
        "maxValues": {"id": "c", "size": 9},
        "nullCount": {"id": 0, "size": 1},
    }


def test_statistics_have_no_value_of_a_column_that_can_hold_text_of_people(tmp_path: Path) -> None:
    personal = Table("t", "thing", (column("name", STRING, "what people write"), column("size", BIGINT, "its size")))
    rows = pa.table({"name": ["Ada", "Zoë", None], "size": pa.array([1, 2, 3], pa.int64())})
    written = write(personal, rows, {}, RunOutput(tmp_path, "run"))
    assert "Ada" not in written.stats
    assert json.loads(written.stats)["minValues"] == {"name": "", "size": 1}
    assert json.loads(written.stats)["nullCount"] == {"name": 1, "size": 0}
    footer = pq.read_metadata(tmp_path / "t" / written.path).row_group(0)
    assert [footer.column(number).statistics is None for number in range(2)] == [True, False]

"""Lines of Python that open a table at its recorded version, with Millrace and without it, for `millrace describe`."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.lake.state_file import NAME

MILLRACE = 'from jobs import open_lake; lake = open_lake("lake")'
IMPORTS = "import json, duckdb, polars as pl; from deltalake import DeltaTable"
VERSIONS = f'versions = json.load(open("lake/{NAME}"))["versions"]'

_LINES = {
    "pandas": 'DeltaTable("lake/{table}", version=versions["{table}"]).to_pandas()',
    "Polars": 'pl.read_delta("lake/{table}", version=versions["{table}"])',
    "DuckDB": 'duckdb.from_arrow(DeltaTable("lake/{table}", version=versions["{table}"]).to_pyarrow_dataset())',
    "Spark": 'spark.read.format("delta").option("versionAsOf", versions["{table}"]).load("lake/{table}")',
}
# A table's folder keeps the files of earlier versions until they are vacuumed.
_PARQUET = 'pd.read_parquet("lake/{table}")'


def lines(table: str) -> Mapping[str, str]:
    """Per reader the expression that opens a table of the lake `lake`. It needs IMPORTS and VERSIONS."""
    return {reader: line.format(table=table) for reader, line in _LINES.items()}


def own_line(table: str) -> str:
    """The expression that opens a table of the lake `lake` with Millrace. It needs MILLRACE."""
    return f"lake.{table}.to_pandas()"


def parquet_warning(table: str) -> str:
    """The warning that a table's folder must not be read as Parquet files."""
    return f"A reader of Parquet files, such as {_PARQUET.format(table=table)}, also gives rows that were removed from the table."

"""Read rows from a table's Parquet files, and add the partition columns, which the files do not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from jobs.lake import added_columns
from jobs.lake.table_files import NO_VALUE
from jobs.storage.parquet_files import open_parquet, open_parquet_files
from jobs.storage.storage_paths import StoragePath
from schemas.table import Table

_ROWS_AT_A_TIME = 65_536


def read_whole(table: Table, path: StoragePath, partition: Mapping[str, str]) -> pa.Table:
    """All rows of one file of a table. `partition` has the values of its partition, as text. Columns that it lacks are null."""
    rows = with_partition(table.arrow, partition, open_parquet(path).read())
    return added_columns.with_nulls(table, rows).select(table.names)


def parts(schema: pa.Schema, files: Iterable[tuple[StoragePath, Mapping[str, str]]], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns and all partition columns of some files, some rows at a time. Each file comes with the values of its partition.

    A name with a dot, such as `session_input.key`, is one field of a struct.
    """
    listed = list(files)
    for parquet, (_, partition) in zip(open_parquet_files(path for path, _ in listed), listed, strict=True):
        inside = [name for name in columns if name not in partition]
        for batch in parquet.iter_batches(_ROWS_AT_A_TIME, columns=inside):
            rows = pa.Table.from_batches([batch])
            if any("." in name for name in inside):
                rows = rows.flatten()
            yield with_partition(schema, partition, rows)


def with_partition(schema: pa.Schema, partition: Mapping[str, str], rows: pa.Table) -> pa.Table:
    """The rows of a file with its partition columns added."""
    for name, text in partition.items():
        value = pa.scalar(None if text == NO_VALUE else text, pa.string()).cast(schema.field(name).type)
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows

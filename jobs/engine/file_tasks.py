"""Files as rows of a DataFrame: a file goes to a task, which reads it or writes it again, and describes what it wrote.

The engine moves narrow rows to the task of the file that they belong to. Whole rows stay where they are read: a task writes them
down itself and gives the description of the new file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.processes import Batches
from jobs.lake import table_rows
from jobs.lake.table_changes import TableFile
from jobs.lake.table_files import WrittenFile
from jobs.storage.storage_paths import StoragePath, storage_path
from schemas.table import BIGINT, INTEGER, STRING, spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.engine.spark_session import Engine

# A file and the number by which rows of other frames name it.
FILES = pa.schema([("number", INTEGER), ("stored_file", STRING)])
# Fewer rows than this are the work of one task: to spread them costs more than it saves.
_FEW_ROWS = 100_000
# To open a file costs less than a task of its own, and to read some columns of a row a tenth of what it costs to write one.
_FILES_OF_A_TASK = 64
_ROWS_READ_BY_A_TASK = 200_000
_ROWS_WRITTEN_BY_A_TASK = 10_000


@dataclass(frozen=True)
class StoredFile:
    """A Parquet file with the values of its partition, which do not stand inside."""

    table: str
    path: str  # from the table's folder
    folder: str  # of the table
    rows: int
    partition: Mapping[str, str]  # as text

    @classmethod
    def of_lake(cls, root: StoragePath, table: str, file: TableFile) -> StoredFile:
        """A file of a table of the lake."""
        return cls(table, file.path, str(root / table), file.rows, file.partition)

    @classmethod
    def written(cls, root: StoragePath, file: WrittenFile) -> StoredFile:
        """A file that a run has written for a table of the lake."""
        return cls(file.table, file.path, str(root / file.table), file.rows, file.partition_values)

    @classmethod
    def of_json(cls, text: str) -> StoredFile:
        """The file that `as_json` describes."""
        return cls(**json.loads(text))

    def as_json(self) -> str:
        """A description that travels to a task."""
        return json.dumps(vars(self))

    @property
    def location(self) -> StoragePath:
        """Where the file is."""
        return storage_path(self.folder) / self.path


def are_few(files: Iterable[StoredFile]) -> bool:
    """Whether the rows of these files are few enough for one task."""
    return sum(file.rows for file in files) < _FEW_ROWS


def tasks_for(files: Collection[StoredFile], *, to_write: bool = False) -> int:
    """Into how many tasks these files are divided: no more than their rows are worth."""
    rows = sum(file.rows for file in files)
    return min(len(files), 1 + len(files) // _FILES_OF_A_TASK + rows // (_ROWS_WRITTEN_BY_A_TASK if to_write else _ROWS_READ_BY_A_TASK))


def spread(engine: Engine, files: Mapping[int, StoredFile], *, few: bool = False, to_write: bool = False) -> DataFrame:
    """Files by number as rows, spread over the tasks that read them or write them again. With `few`, all are in one task."""
    return _spread_evenly(_frame(engine, files), 1 if few else tasks_for(files.values(), to_write=to_write))


def spread_groups(engine: Engine, groups: Sequence[tuple[Any, ...]], schema: pa.Schema, tasks: int) -> DataFrame:
    """Groups of files, one row each with the columns of `schema`, spread evenly over so many tasks."""
    return _spread_evenly(engine.spark.createDataFrame(list(groups), spark_schema(schema)).coalesce(1), tasks)


def with_rows(engine: Engine, files: Mapping[int, StoredFile], rows: DataFrame, *, few: bool = False, to_write: bool = False) -> DataFrame:
    """Files by number, each in one task with the rows of its number. With `few`, all are in one task."""
    from pyspark.sql import functions as F

    names = [name for name in rows.columns if name != "number"]
    # A null without a type is what the engines would put there, and Sail cannot cast it.
    empty = [F.lit(None).cast(rows.schema[name].dataType).alias(name) for name in names]
    addressed = rows.select("number", F.lit(None).cast("string").alias("stored_file"), *names)
    together = _frame(engine, files).select("number", "stored_file", *empty).unionByName(addressed)
    tasks = 1 if few else tasks_for(files.values(), to_write=to_write)
    return together.coalesce(1) if tasks == 1 else together.repartition(tasks, "number")


def per_file(batches: Batches) -> Iterator[tuple[int, StoredFile, pa.Table]]:
    """Each file of a task, with its number and the rows of this number."""
    filled = [batch for batch in batches if batch.num_rows]
    if not filled:
        return
    together = pa.Table.from_batches(filled).combine_chunks()
    together = together.take(pa.array(np.argsort(together["number"].to_numpy(), kind="stable"), BIGINT)).combine_chunks()
    is_file = together["stored_file"].is_valid()
    rows = together.filter(pc.invert(is_file)).drop_columns(["stored_file"])
    numbers = rows["number"].to_numpy()
    for file in together.filter(is_file).select(FILES.names).to_pylist():
        start, end = np.searchsorted(numbers, [file["number"], file["number"] + 1]).tolist()
        yield file["number"], StoredFile.of_json(file["stored_file"]), rows.slice(start, end - start)


def parts(files: Iterable[StoredFile], schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of some files, with those of their partitions; some rows at a time.

    A name with a dot is a field of a struct, read alone: `session_input.key`.
    """
    for rows in table_rows.parts(schema, [(file.location, file.partition) for file in files], columns):
        yield rows.select(list(columns))


def numbered(number: int, rows: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of the file of this number, as batches of this schema."""
    rows = rows.append_column(FILES.field("number"), pa.repeat(pa.scalar(number, INTEGER), rows.num_rows))
    yield from rows.select(schema.names).cast(schema).to_batches()


def _frame(engine: Engine, files: Mapping[int, StoredFile]) -> DataFrame:
    """These files as rows of one partition."""
    rows = [(number, file.as_json()) for number, file in files.items()]
    return engine.spark.createDataFrame(rows, spark_schema(FILES)).coalesce(1)


def _spread_evenly(frame: DataFrame, tasks: int) -> DataFrame:
    """The rows of one partition, spread evenly over so many tasks."""
    from pyspark.sql import functions as F

    if tasks == 1:
        return frame
    # Without a column between the two, Spark leaves `coalesce` out of the plan, and rows of several partitions are not spread evenly.
    return frame.withColumn("turn", F.monotonically_increasing_id()).repartition(tasks)

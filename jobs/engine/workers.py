"""Work that the executors do on whole files: tasks by number in, descriptions of the files they wrote out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.engine import processes
from jobs.engine.processes import Work
from jobs.engine.task_reports import REPORT, report
from jobs.lake import table_rows
from jobs.lake.table_changes import TableFile
from jobs.lake.table_files import write_partitioned
from schemas.catalog import TABLES
from schemas.table import Table, spark_schema

if TYPE_CHECKING:
    from jobs.engine.spark_session import Engine

Item = TypeVar("Item")

# Looking into a file, or writing one again, costs less than a task of its own does.
_LEAST_TASKS = 16
_MOST_FILES_OF_A_TASK = 16
_WAITING_BYTES = 128 * 1024 * 1024


def run(engine: Engine, tasks: int, work: Work, schema: pa.Schema = REPORT) -> pa.Table:
    """Run a function over the numbers of so many tasks, in processes of the engine's or of ours; gives all that it reports."""
    if tasks == 0:
        return schema.empty_table()
    if engine.processes:
        return pa.Table.from_batches(processes.run(work, tasks, engine.processes), schema)

    def work_on(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from work(number)

    return engine.spark.range(0, tasks, 1, tasks).mapInArrow(work_on, spark_schema(schema)).toArrow()


def run_over(
    engine: Engine, files: Sequence[tuple[str, TableFile]], work: Callable[[tuple[str, TableFile]], Iterator[pa.RecordBatch]]
) -> pa.Table:
    """Run a function over files of the lake, each with its table's name, of which a task does several; gives all that it reports."""
    # What the log says of their columns need not travel.
    shares = _shares([(name, TableFile(file.path, file.partition, file.size, file.rows)) for name, file in files])

    def work_on(number: int) -> Iterator[pa.RecordBatch]:
        for file in shares[number]:
            yield from work(file)

    return run(engine, len(shares), work_on)


def _shares(files: Sequence[Item]) -> list[Sequence[Item]]:
    """These files, as the work of tasks."""
    tasks = min(len(files), max(_LEAST_TASKS, len(files) // _MOST_FILES_OF_A_TASK))
    return [files[start::tasks] for start in range(tasks)]


@dataclass(frozen=True)
class Probe:
    """What is looked for in Parquet files: rows whose `column` holds one of the values."""

    schema: pa.Schema  # of the rows in these files, with the columns of their partitions
    files: Sequence[tuple[Path, Mapping[str, str]]]  # each with the values of its partition, as text
    column: str
    columns: tuple[str, ...]  # what is read of the rows that are found

    @classmethod
    def of_table(cls, table: Table, root: Path, files: Iterable[TableFile], column: str, columns: tuple[str, ...]) -> Probe:
        """A look into these files of a table of the lake."""
        return cls(table.arrow, [(root / table.name / file.path, file.partition) for file in files], column, columns)

    def find(self, engine: Engine, values: pa.Array, folder: Path) -> list[Path]:
        """Write the rows that are found below `folder`; gives the files that were written.

        This one column is read of every file, and the others where it has a hit.
        """
        if not self.files or not len(values):
            return []
        folder.mkdir(parents=True, exist_ok=True)
        wanted_path = folder.with_name(f"{folder.name}.wanted.parquet")
        pq.write_table(pa.table({self.column: pc.unique(values).sort()}), wanted_path, compression="none")
        shares = _shares(self.files)

        def look(number: int) -> Iterator[pa.RecordBatch]:
            wanted = pq.read_table(wanted_path)[self.column].combine_chunks()
            found = [rows for path, partition in shares[number] if (rows := self._rows(path, partition, wanted)) is not None]
            if found:
                write_whole(folder / f"{number}.parquet", lambda path: pq.write_table(pa.concat_tables(found), path, compression="none"))
            yield from ()

        run(engine, len(shares), look)
        return sorted(folder.glob("*.parquet"))

    def _rows(self, path: Path, partition: Mapping[str, str], wanted: pa.Array) -> pa.Table | None:
        parquet = pq.ParquetFile(path)
        here = _among(parquet.read(columns=[self.column])[self.column], wanted)
        if not pc.any(here).as_py():
            return None
        inside = [name for name in self.columns if name not in partition]
        return table_rows.with_partition(self.schema, partition, parquet.read(columns=inside).filter(here)).select(self.columns)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that is seen under its name only when it is whole: a task that was given up and is tried again may still be writing."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4()}")
    write(partial)
    partial.rename(path)


def _among(values: pa.ChunkedArray, wanted: pa.Array) -> pa.Array:
    """Which of the values are wanted; `wanted` is sorted."""
    if not pa.types.is_integer(values.type):
        return pc.is_in(values.combine_chunks(), value_set=wanted)
    # Many hashes, few hits: a search in what is sorted already is quicker than a hash table made anew for every file.
    sought, sorted_wanted = values.to_numpy(), wanted.to_numpy()
    at = np.minimum(np.searchsorted(sorted_wanted, sought), len(sorted_wanted) - 1)
    return pa.array(sorted_wanted[at] == sought)


def write_built(built: Iterable[pa.RecordBatch], parts: Mapping[str, Table], folder: Path, run_id: str) -> Iterator[pa.RecordBatch]:
    """Write rows of several tables, each in a struct column of its own, as files of these tables; reports them.

    What waits to be written is bounded, however many rows come.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in built:
        waiting.append(batch)
        if sum(one.nbytes for one in waiting) > _WAITING_BYTES:
            yield from _write_parts(waiting, parts, folder, run_id)
            waiting = []
    if waiting:
        yield from _write_parts(waiting, parts, folder, run_id)


def _write_parts(batches: Sequence[pa.RecordBatch], parts: Mapping[str, Table], folder: Path, run_id: str) -> Iterator[pa.RecordBatch]:
    rows = pa.Table.from_batches(batches)
    for name, table in parts.items():
        column = rows[name]
        struct = column.filter(pc.is_valid(column)).combine_chunks()
        if len(struct):
            flat = pa.Table.from_arrays(struct.flatten(), names=[field.name for field in struct.type])
            flat = flat.append_column("run_id", pa.repeat(pa.scalar(run_id), flat.num_rows))
            yield from report(write_partitioned(table, flat.select(table.names), folder / table.name))


def write_without(
    engine: Engine,
    root: Path,
    folder: Path,
    candidates: Sequence[tuple[str, TableFile]],
    dropped: pa.Table,
    id_columns: dict[str, str],
) -> pa.Table:
    """Write files of the lake again without the rows whose id is dropped; files that hold none stay as they are.

    `dropped` has the columns `table` and `id`; `id_columns` names the id's column in each table.
    """
    if not candidates:
        return REPORT.empty_table()
    folder.mkdir(parents=True, exist_ok=True)
    ids_path = folder / "_dropped.parquet"
    pq.write_table(dropped, ids_path)

    def write(candidate: tuple[str, TableFile]) -> Iterator[pa.RecordBatch]:
        name, file = candidate
        ids = pq.read_table(ids_path, filters=[("table", "=", name)])["id"].combine_chunks()
        going = pc.is_in(pq.ParquetFile(root / name / file.path).read(columns=[id_columns[name]])[id_columns[name]], value_set=ids)
        if pc.any(going).as_py():
            rows = table_rows.read_whole(TABLES[name], root / name / file.path, file.partition).filter(pc.invert(going))
            yield from report(write_partitioned(TABLES[name], rows, folder / name), removed=f"{name}/{file.path}")

    return run_over(engine, candidates, write)

"""Work that the executors do on whole files: tasks by number in, descriptions of the files they wrote out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.lake import TableFile
from jobs.table_files import WRITTEN, WrittenFile, from_descriptions, write_partitioned
from schemas.catalog import TABLES
from schemas.table import Table, spark_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What a task reports: a file that it wrote, or counts for a landed file, or a file of the lake that is to go.
_COUNTS = ("accepted", "duplicates", "rejected")
REPORT = pa.schema(
    [*WRITTEN, pa.field("file", pa.string()), *(pa.field(name, pa.int64()) for name in _COUNTS), pa.field("removed", pa.string())]
)


def run(spark: SparkSession, tasks: int, work: Callable[[int], Iterator[pa.RecordBatch]]) -> pa.Table:
    """Run a function over the numbers of so many tasks; gives all that it reports, of the schema REPORT."""
    if tasks == 0:
        return REPORT.empty_table()

    def work_on(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from work(number)

    return spark.range(0, tasks, 1, tasks).mapInArrow(work_on, spark_schema(REPORT)).toArrow()


def report(
    written: Iterable[WrittenFile], counts: Mapping[str, Counter[str]] | None = None, removed: str | None = None
) -> Iterator[pa.RecordBatch]:
    """What a task has to say, as one Arrow batch of the schema REPORT; none where it did nothing.

    `counts` holds per kind (accepted, duplicates, rejected) how many records of each landed file were written.
    """
    rows: list[dict[str, object]] = [dict(vars(file)) for file in written]
    rows += [{"file": name, kind: count} for kind, of_file in (counts or {}).items() for name, count in sorted(of_file.items())]
    if removed is not None:
        rows.append({"removed": removed})
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=REPORT)


def counted(reports: pa.Table) -> dict[str, Counter[str]]:
    """Per kind, how many records of each landed file the tasks wrote."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in _COUNTS}
    for row in reports.filter(pc.is_valid(reports["file"])).select(["file", *_COUNTS]).to_pylist():
        for kind in _COUNTS:
            found[kind][row["file"]] += row[kind] or 0
    return found


def written_files(reports: pa.Table) -> list[WrittenFile]:
    """The files that the tasks wrote, in a fixed order."""
    return from_descriptions(reports.filter(pc.is_valid(reports["table"])))


def removed_files(reports: pa.Table) -> set[str]:
    """The files of the lake, as table/path, that the tasks wrote again."""
    return {name for name in reports["removed"].to_pylist() if name is not None}


def read_whole(table: Table, root: Path, file: TableFile) -> pa.Table:
    """All rows of one file of a table, with its partition's columns."""
    rows = pq.ParquetFile(root / file.path).read()
    for name in table.partitioned_by:
        value = pa.scalar(file.partition[name]).cast(table[name].type)
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows.select(table.names)


def write_without(
    spark: SparkSession,
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

    def write(number: int) -> Iterator[pa.RecordBatch]:
        name, file = candidates[number]
        ids = pq.read_table(ids_path, filters=[("table", "=", name)])["id"].combine_chunks()
        going = pc.is_in(pq.ParquetFile(root / name / file.path).read(columns=[id_columns[name]])[id_columns[name]], value_set=ids)
        if pc.any(going).as_py():
            rows = read_whole(TABLES[name], root / name, file).filter(pc.invert(going))
            yield from report(write_partitioned(TABLES[name], rows, folder / name), removed=f"{name}/{file.path}")

    return run(spark, len(candidates), write)

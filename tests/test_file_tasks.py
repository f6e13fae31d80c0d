"""Files as rows of a DataFrame, dealt out to tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.console.progress import Progress
from jobs.engine import file_tasks
from jobs.engine.file_tasks import StoredFile
from jobs.engine.spark_session import Engine


def stored(number: int, rows: int = 10) -> StoredFile:
    return StoredFile("events", f"{number}.parquet", "events", rows, {"source": "sunbird"})


def test_two_files_of_many_rows_are_written_by_two_processes_at_the_same_time(
    spark: SparkSession, environment: str, tmp_path: Path
) -> None:
    def meet(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number, _, _ in file_tasks.per_file(batches):
            (tmp_path / str(number)).touch()
            until = time.monotonic() + 60
            while not (tmp_path / str(1 - number)).exists() and time.monotonic() < until:
                time.sleep(0.01)
            yield pa.RecordBatch.from_pylist([{"met": (tmp_path / str(1 - number)).exists(), "process": os.getpid()}])

    with Engine(configuration.load(environment), Progress(quiet=True)) as engine:
        tasks = file_tasks.spread(engine, {0: stored(0, 10_000), 1: stored(1, 10_000)}, to_write=True)
        found = tasks.mapInArrow(engine.in_processes(meet), "met boolean, process bigint").toArrow().to_pylist()
    assert [row["met"] for row in found] == [True, True]
    assert len({row["process"] for row in found} - {os.getpid()}) == 2


def test_a_file_comes_with_the_rows_of_its_number(spark: SparkSession, environment: str) -> None:
    def pair(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _, file, rows in file_tasks.per_file(batches):
            words = rows["word"].to_pylist() or [None]
            yield pa.RecordBatch.from_pylist([{"path": file.path, "word": word} for word in words], schema=paired)

    paired = pa.schema([("path", pa.string()), ("word", pa.string())])

    rows = spark.createDataFrame([(1, "b"), (0, "a"), (1, "c")], "number int, word string")
    with Engine(configuration.load(environment), Progress(quiet=True)) as engine:
        tasks = file_tasks.with_rows(engine, {number: stored(number) for number in range(3)}, rows)
        found = tasks.mapInArrow(pair, "path string, word string").toArrow().to_pylist()
    copied = sorted((row["path"], row["word"] or "") for row in found)
    assert copied == [("0.parquet", "a"), ("1.parquet", "b"), ("1.parquet", "c"), ("2.parquet", "")]

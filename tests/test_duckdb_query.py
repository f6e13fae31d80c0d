"""Queries that share a connection do not see each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from transforms.duckdb_query import CONFIG, query


def numbers(*values: int) -> pa.Table:
    return pa.table({"n": list(values)})


def total(rows: pa.Table | pa.RecordBatchReader) -> int:
    (row,) = query("SELECT CAST(sum(n) AS BIGINT) AS total FROM rows", rows=rows).to_pylist()
    return int(row["total"])


def test_a_table_is_gone_after_its_query() -> None:
    assert total(numbers(1, 2)) == 3
    with pytest.raises(duckdb.CatalogException):
        query("SELECT * FROM rows")
    assert total(numbers(4)) == 4


def test_a_query_after_one_that_failed_gives_its_own_result() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield from numbers(1).to_batches()
        raise ValueError("the file is damaged")

    for _ in range(3):
        with pytest.raises(Exception, match="the file is damaged"):
            total(pa.RecordBatchReader.from_batches(numbers().schema.set(0, pa.field("n", pa.int64())), failing()))
        assert total(numbers(1, 2)) == 3


def test_a_reader_may_run_a_query_while_another_query_reads_it() -> None:
    def nested() -> Iterator[pa.RecordBatch]:
        for value in (1, 2):
            yield from numbers(total(numbers(value, 10))).to_batches()

    assert total(pa.RecordBatchReader.from_batches(numbers(1).schema, nested())) == 23


def test_threads_and_forked_processes_have_connections_of_their_own() -> None:
    sums: dict[int, list[int]] = {}
    assert total(numbers(5)) == 5

    def add_up(start: int) -> None:
        sums[start] = [total(numbers(start, step)) for step in range(30)]

    threads = [threading.Thread(target=add_up, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == {start: [start + step for step in range(30)] for start in range(4)}
    child = os.fork()
    if child == 0:
        os._exit(total(numbers(3, 4)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert total(numbers(6)) == 6


def test_the_settings_are_those_of_a_new_connection() -> None:
    names = ", ".join(f"current_setting('{name}') AS {name}" for name in CONFIG)
    for _ in range(2):
        assert query(f"SELECT {names}").to_pylist() == [CONFIG]

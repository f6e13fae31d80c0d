"""Rows packed as Arrow record batches, which the engine moves to the task of their key."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.console.progress import Progress
from jobs.engine.packed_rows import PACKED, Packing
from jobs.engine.spark_session import Engine
from schemas.table import spark_schema

EVENTS = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("input", pa.struct([pa.field("key", pa.string()), pa.field("user", pa.bool_())])),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("flags", pa.list_(pa.string())),
    ]
)
KEY = ("source", "input.key")
# Spark's workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def event(key: str | None, number: int, source: str = "a") -> dict[str, object]:
    at = dt.datetime(2026, 11, 20, tzinfo=dt.UTC) + dt.timedelta(microseconds=number)
    user = None if number % 3 == 0 else number % 3 == 1
    return {"source": source, "input": {"key": key, "user": user}, "at": at, "flags": ["late"] * (number % 4)}


def batch(rows: Iterable[dict[str, object]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=EVENTS)


def rows_of_parts(packing: Packing, batches: Iterable[pa.RecordBatch]) -> dict[int, list[dict[str, object]]]:
    """The rows in each part, unpacked."""
    rows: dict[int, list[dict[str, object]]] = {}
    for packed in packing.pack_output_of(iter)(batches):
        assert packed.schema == PACKED
        for part, value in zip(packed["part"].to_pylist(), packed["rows"], strict=True):
            one = pa.record_batch([pa.array([part], pa.int32()), pa.array([value.as_py()], pa.binary())], schema=PACKED)
            rows.setdefault(part, []).extend(row for inside in packing.unpack_input_of(iter)([one]) for row in inside.to_pylist())
    return rows


def test_rows_are_the_same_after_packing() -> None:
    rows = [event(f"key {number % 50}", number) for number in range(1_000)]
    unpacked = rows_of_parts(Packing(EVENTS, KEY, 4), [batch(rows[:300]), batch([]), batch(rows[300:])])
    assert sorted((row for of_part in unpacked.values() for row in of_part), key=lambda row: str(row["at"])) == rows


def test_all_rows_of_a_key_are_in_one_part_whatever_batch_they_are_in() -> None:
    rows = [event(f"key {number % 50}", number, source="ab"[number % 2]) for number in range(1_000)]
    unpacked = rows_of_parts(Packing(EVENTS, KEY, 4), [batch(rows[start::3]) for start in range(3)])
    keys = [{(row["source"], row["input"]["key"]) for row in of_part} for of_part in unpacked.values()]  # type: ignore[index]
    assert set(unpacked) == {0, 1, 2, 3}
    assert sum(map(len, keys)) == len(set().union(*keys)) == 50


def test_rows_of_a_part_keep_their_order() -> None:
    unpacked = rows_of_parts(Packing(EVENTS, KEY, 3), [batch(event(f"key {number % 7}", number) for number in range(100))])
    for of_part in unpacked.values():
        assert of_part == sorted(of_part, key=lambda row: str(row["at"]))


def test_columns_that_are_not_in_the_schema_are_left_out() -> None:
    wide = batch([event("k", 1)]).append_column("properties", pa.array(["{}"]))
    assert rows_of_parts(Packing(EVENTS, KEY, 1), [wide]) == {0: [event("k", 1)]}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_task_gets_all_rows_of_its_keys(spark: SparkSession, environment: str, tmp_path: Path, parts: int) -> None:
    """Given events of 20 keys in several tasks, each key is counted by one task, and all its events."""
    counts = pa.schema([("key", pa.string()), ("events", pa.int64())])

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for task in (number for given in batches for number in given["id"].to_pylist()):
            yield batch(event(f"key {number % 20}", number) for number in range(task * 100, task * 100 + 100))

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keys: list[str] = [row["input"]["key"] for rows in batches for row in rows.to_pylist()]
        yield pa.RecordBatch.from_pylist([{"key": key, "events": keys.count(key)} for key in sorted(set(keys))], schema=counts)

    packing = Packing(EVENTS, KEY, parts)
    with Engine(configuration.load(environment), Progress(quiet=True)) as engine:
        packed = spark.range(4).repartition(4, "id").mapInArrow(packing.pack_output_of(make), spark_schema(PACKED))
        found = engine.map_by_key(packed, packing, count, counts, tmp_path / "rows").toArrow().to_pylist()
    assert {row["key"]: row["events"] for row in found} == {f"key {number}": 20 for number in range(20)}
    assert len(found) == 20

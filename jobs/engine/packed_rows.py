"""Rows on their way to the task of their key, packed as Arrow record batches.

Between two Arrow functions, an engine turns every value of every row into its own format and back. For the columns of an event that
the session rules read, this costs Spark 15 µs per row, more than the rules themselves. So a task packs the rows of each part of the
keys into one value, and the engine moves the values: to the task of their part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.processes import ArrowFunction, Batches
from schemas.table import BINARY, INTEGER, spark_schema
from transforms.duckdb_query import query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A part of the keys, from 0, and rows with these keys, as a record batch in Arrow's IPC format.
PACKED = pa.schema([("part", INTEGER), ("rows", BINARY)])


@dataclass(frozen=True)
class Packing:
    """How rows are packed: their schema, the columns of their key, and the number of parts. All rows of a key are in the same part.

    A dot in the name of a column means a field of a struct: `session_input.key`.
    """

    schema: pa.Schema
    key: Sequence[str]
    parts: int

    def pack_output_of(self, function: ArrowFunction) -> ArrowFunction:
        """The Arrow function, which gives rows, with its result packed."""

        def call(batches: Batches) -> Iterator[pa.RecordBatch]:
            for batch in function(batches):
                if batch.num_rows:
                    yield self._pack_batch(batch.select(self.schema.names).cast(self.schema))

        return call

    def unpack_input_of(self, function: ArrowFunction) -> ArrowFunction:
        """The Arrow function, which takes rows, for packed rows."""
        schema = self.schema

        def call(batches: Batches) -> Iterator[pa.RecordBatch]:
            values = (value.as_py() for batch in batches for value in batch["rows"])
            yield from function(pa.ipc.read_record_batch(pa.py_buffer(value), schema) for value in values)

        return call

    def pack_frame(self, rows: DataFrame) -> DataFrame:
        """The rows of a frame, packed."""
        return rows.mapInArrow(self.pack_output_of(iter), spark_schema(PACKED))

    def _pack_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.parts == 1:
            return pa.RecordBatch.from_pylist([{"part": 0, "rows": batch.serialize().to_pybytes()}], schema=PACKED)
        part = self._parts_of_keys(batch)
        in_order = batch.take(pa.array(np.argsort(part, kind="stable")))
        ends = np.cumsum(np.bincount(part, minlength=self.parts)).tolist()
        rows = [
            {"part": number, "rows": in_order.slice(start, end - start).serialize().to_pybytes()}
            for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
            if end > start
        ]
        return pa.RecordBatch.from_pylist(rows, schema=PACKED)

    def _parts_of_keys(self, batch: pa.RecordBatch) -> Any:
        """The part of each row, by a hash of its key."""
        columns = pa.table({f"key_{number}": _column(batch, name) for number, name in enumerate(self.key)})
        hashed = query(f"SELECT CAST(hash({', '.join(columns.column_names)}) % {self.parts} AS INTEGER) AS part FROM keys", keys=columns)
        return hashed["part"].to_numpy()


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    column, _, field = name.partition(".")
    return pc.struct_field(batch.column(column), field) if field else batch.column(column)

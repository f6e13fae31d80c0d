"""Files that a task writes from rows that it has built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.task_reports import report
from jobs.lake.run_output import RunOutput
from jobs.lake.table_files import write_partitioned
from schemas.table import Table

_WAITING_BYTES = 128 * 1024 * 1024


def write_built(built: Iterable[pa.RecordBatch], parts: Mapping[str, Table], output: RunOutput) -> Iterator[pa.RecordBatch]:
    """Write rows of several tables, each in a struct column of its own, as files of these tables; reports them.

    What waits to be written is bounded, however many rows come.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in built:
        waiting.append(batch)
        if sum(one.nbytes for one in waiting) > _WAITING_BYTES:
            yield from _write_parts(waiting, parts, output)
            waiting = []
    if waiting:
        yield from _write_parts(waiting, parts, output)


def _write_parts(batches: Sequence[pa.RecordBatch], parts: Mapping[str, Table], output: RunOutput) -> Iterator[pa.RecordBatch]:
    rows = pa.Table.from_batches(batches)
    for name, table in parts.items():
        column = rows[name]
        struct = column.filter(pc.is_valid(column)).combine_chunks()
        if len(struct):
            flat = pa.Table.from_arrays(struct.flatten(), names=[field.name for field in struct.type])
            flat = flat.append_column("run_id", pa.repeat(pa.scalar(output.run_id), flat.num_rows))
            yield from report(write_partitioned(table, flat.select(table.names), output))

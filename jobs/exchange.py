"""Rows on their way to the task that needs all rows of a key.

The tasks that hold rows write them down by bucket, and the task of a bucket reads it from all that was written. Rows stay in
columns from the file where they stand to the memory where they are used: a shuffle of the engine's would take them apart and
put them together again, which costs more than the sessions that are made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from jobs import workers
from jobs.lake import Change, Lake
from schemas.events import EVENTS
from schemas.table import BIGINT
from transforms.documents import short_hash

if TYPE_CHECKING:
    from jobs.session import Engine

# What is read and written by one task, if it is more than one file: small nights keep two workers busy, too.
_MOST_ROWS_OF_A_TASK = 100_000
_LEAST_ROWS_OF_A_TASK = 5_000
_TASKS = 4


@dataclass(frozen=True)
class EventFile:
    """A file of `events`: one that came or went, or one of the lake's beside these."""

    path: Path
    partition: Mapping[str, str]  # values as text
    rows: int
    is_beside: bool = False


def came(folder: Path, events: Change) -> list[EventFile]:
    """The files of events that a run has staged."""
    return [EventFile(folder / EVENTS.name / file.path, file.partition_values, file.rows) for file in events.added]


def went(lake: Lake, events: Change) -> list[EventFile]:
    """The files of events that a run removes."""
    return [EventFile(lake.root / EVENTS.name / file.path, file.partition, file.rows) for file in events.removed]


def beside(lake: Lake, events: Change, sources: Collection[str], dates: Collection[str]) -> list[EventFile]:
    """The files of events that stay, of these sources and landing dates."""
    gone = {file.path for file in events.removed}
    return [
        EventFile(lake.root / EVENTS.name / file.path, file.partition, file.rows, is_beside=True)
        for file in lake.files(EVENTS.name)
        if file.path not in gone and file.partition["source"] in sources and file.partition["landing_date"] in dates
    ]


def collect(
    engine: Engine,
    files: Sequence[EventFile],
    columns: Sequence[str],
    ask: Callable[[Iterable[pa.Table]], pa.Table],
    schema: pa.Schema,
) -> pa.Table:
    """What a question about the rows of these files gives, asked of some files at a time, all answers together."""
    plan = _plan(files)

    def answer(number: int) -> Iterator[pa.RecordBatch]:
        rows = workers.parts(EVENTS, [(file.path, file.partition) for file in plan[number]], columns)
        yield from ask(rows).to_batches()

    return workers.run(engine, len(plan), answer, schema)


@dataclass(frozen=True)
class Exchange:
    """A folder in which rows wait for the task of their bucket."""

    folder: Path
    buckets: int

    def fill(
        self, engine: Engine, files: Sequence[EventFile], columns: Sequence[str], narrow: Callable[[pa.Table, EventFile], pa.Table]
    ) -> None:
        """Write the rows of these files down; `narrow` gives of a file's rows what is to travel, with a column `bucket_key`."""
        self.folder.mkdir(parents=True)
        plan = _plan(files)

        def write(number: int) -> Iterator[pa.RecordBatch]:
            travelling = [
                narrow(rows, file) for file in plan[number] for rows in workers.parts(EVENTS, [(file.path, file.partition)], columns)
            ]
            self._write(pa.concat_tables(travelling), self.folder / f"{number}.arrow")
            yield from ()

        workers.run(engine, len(plan), write)

    def bucket(self, number: int) -> Iterator[pa.RecordBatch]:
        """All rows of a bucket."""
        for path in sorted(self.folder.glob("*.arrow")):
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(number)
            if batch.num_rows:
                yield batch

    def _write(self, rows: pa.Table, path: Path) -> None:
        keys = rows["bucket_key"].combine_chunks().dictionary_encode()
        of_key = np.array([short_hash(key) % self.buckets for key in keys.dictionary.to_pylist()], np.int64)
        of_row = of_key[keys.indices.to_numpy()] if len(keys) else of_key
        rows = rows.drop_columns(["bucket_key"]).take(pa.array(np.argsort(of_row, kind="stable"), BIGINT)).combine_chunks()
        ends = np.cumsum(np.bincount(of_row, minlength=self.buckets))

        def write_buckets(target: Path) -> None:
            with pa.ipc.new_file(str(target), rows.schema) as writer:
                for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
                    # One batch a bucket, an empty one too: its number finds it.
                    found = rows.slice(start, end - start).to_batches()
                    writer.write_batch(found[0] if found else pa.RecordBatch.from_pylist([], schema=rows.schema))

        workers.write_whole(path, write_buckets)


def _plan(files: Sequence[EventFile]) -> list[list[EventFile]]:
    """The files, as the work of tasks of about the same size."""
    share = sum(file.rows for file in files) // _TASKS
    most = min(_MOST_ROWS_OF_A_TASK, max(_LEAST_ROWS_OF_A_TASK, share))
    plan: list[list[EventFile]] = []
    filled = 0
    for file in sorted(files, key=lambda file: -file.rows):
        if not plan or filled + file.rows > most:
            plan.append([])
            filled = 0
        plan[-1].append(file)
        filled += file.rows
    return plan

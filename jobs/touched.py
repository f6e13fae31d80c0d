"""What a change touches beyond its own partitions: chains of events, the events in them, and the rows made of them.

Shared by the steps that build rows from chains: sessions and workflow summaries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import workers
from jobs.lake import Change, Lake, TableFile
from jobs.table_files import NO_VALUE
from schemas.table import BIGINT, Table
from transforms.documents import short_hash

if TYPE_CHECKING:
    from jobs.session import Engine


# How many events are worth a task of their own, and how many are too many for the memory of one.
_WORTH_A_TASK = 10_000
_TOO_MANY_FOR_A_TASK = 500_000


@dataclass(frozen=True)
class Changed:
    """What the steps work on that build rows from chains."""

    lake: Lake
    folder: Path  # the run's staging folder
    run_id: str
    events: Change
    tasks_wanted: int
    from_nothing: bool = False  # nothing of the lake stays, whatever it holds

    @property
    def tasks(self) -> int:
        """Into how many tasks the keys of the night are divided."""
        rows = sum(file.rows for file in self.events.added)
        return max(1, min(self.tasks_wanted, rows // _WORTH_A_TASK), rows // _TOO_MANY_FOR_A_TASK)


@dataclass(frozen=True)
class Rows:
    """Rows of a table that are to go: their ids, and the partitions in which they stand."""

    table: Table
    id_column: str
    ids: pa.Array
    partitions: Collection[tuple[str, ...]]  # values of the partition's columns, as text


def places(*values: pa.Array | pa.ChunkedArray) -> set[tuple[str, ...]]:
    """The distinct partitions that these values of the partition's columns name, row by row."""
    return set(zip(*(pc.fill_null(column.cast(pa.string()), NO_VALUE).to_pylist() for column in values), strict=True))


@dataclass(frozen=True)
class Search:
    """The search for the chains that a change touches."""

    engine: Engine
    lake: Lake
    chains: Table
    files: Sequence[TableFile]  # those of the table in which a chain may stand
    columns: tuple[str, ...]  # of a chain, for the decision
    identity: tuple[str, ...]  # of a chain, what tells it from all others
    folder: Path  # in the run's staging folder

    def decide(self, changed: pa.Table, touched: Callable[[pa.Table, pa.Table], pa.Table]) -> pa.Table:
        """What `touched` gives of all chains of the keys that the changed spans bear, and of these spans."""
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = workers.Probe.of_table(self.chains, self.lake.root, self.files, "key_hash", self.columns)
        found = probe.find(self.engine, _hashes(pc.unique(changed["key"])), self.folder / "candidates")
        nothing = pa.schema([pa.field(name, self.chains[name].type) for name in self.columns]).empty_table()
        return touched(pa.concat_tables([nothing, *map(pq.read_table, found)]), changed)

    def whole(self, decided: pa.Table) -> pa.Table:
        """These chains with all their columns, read from the partitions in which they stand."""
        partitions = places(*(decided[name] for name in self.chains.partitioned_by))
        files = [file for file in self.files if _place(self.chains, file) in partitions]
        probe = workers.Probe.of_table(self.chains, self.lake.root, files, "key_hash", tuple(self.chains.names))
        found = probe.find(self.engine, _hashes(pc.unique(decided["key"])), self.folder / "whole")
        rows = pa.concat_tables([self.chains.arrow.remove_metadata().empty_table(), *map(pq.read_table, found)])
        return rows.filter(pc.is_in(self._names(rows), value_set=self._names(decided).combine_chunks()))

    def _names(self, rows: pa.Table) -> pa.ChunkedArray:
        """What tells each chain from all others, as one text."""
        parts = [rows[name].cast(BIGINT) if pa.types.is_timestamp(rows[name].type) else rows[name] for name in self.identity]
        return pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), "\x1f")


def _hashes(keys: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pa.array([short_hash(key) for key in keys.to_pylist()], BIGINT)


def _place(table: Table, file: TableFile) -> tuple[str, ...]:
    return tuple(file.partition[name] for name in table.partitioned_by)


def drop(engine: Engine, lake: Lake, folder: Path, going: Iterable[Rows], changes: Mapping[str, Change]) -> None:
    """Write the files that hold such rows again without them, and note that in `changes`."""
    going = list(going)
    files = [
        (rows.table.name, file) for rows in going for file in lake.files(rows.table.name) if _place(rows.table, file) in rows.partitions
    ]
    ids = pa.concat_tables([pa.table({"table": pa.repeat(pa.scalar(rows.table.name), len(rows.ids)), "id": rows.ids}) for rows in going])
    reports = workers.write_without(engine, lake.root, folder, files, ids, {rows.table.name: rows.id_column for rows in going})
    gone = workers.removed_files(reports)
    for name, file in files:
        if f"{name}/{file.path}" in gone:
            changes[name].removed.append(file)
    for written in workers.written_files(reports):
        changes[written.table].added.append(written)

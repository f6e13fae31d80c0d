"""The files of a table as a run will publish it, for the tasks that read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from jobs.engine.file_tasks import StoredFile
from jobs.lake.new_state import Dates, NewState
from jobs.lake.table_changes import Change, TableFile
from schemas.catalog import TABLES


def added(state: NewState, name: str) -> list[StoredFile]:
    """The files that the run adds to a table."""
    return [StoredFile.written(state.lake.root, file) for file in state.changes.get(name, Change()).added]


def removed(state: NewState, name: str) -> list[StoredFile]:
    """The files of the lake that the run removes from a table."""
    return [StoredFile.of_lake(state.lake.root, name, file) for file in state.changes.get(name, Change()).removed]


def kept(state: NewState, name: str, files: Iterable[TableFile]) -> list[StoredFile]:
    """Those of these files of the lake that the run does not remove."""
    paths = {file.path for file in state.changes.get(name, Change()).removed}
    return [StoredFile.of_lake(state.lake.root, name, file) for file in files if file.path not in paths]


def in_partitions(state: NewState, name: str, dates: Dates) -> list[StoredFile]:
    """The files that the run adds to a table, and the lake's files of these partitions that it does not remove.

    `dates` has the partitions of the lake's files, as dates per source.
    """
    date_column = TABLES[name].partitioned_by[0]
    files = [
        file
        for file in state.lake.files(name)
        if dt.date.fromisoformat(file.partition[date_column]) in dates.get(file.partition["source"], set())
    ]
    return added(state, name) + kept(state, name, files)

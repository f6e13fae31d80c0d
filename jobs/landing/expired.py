"""What retention has deleted of landed files, as the column `expired` of `files` says: their rows, or the files themselves.

A source and date without its events or its landed files is closed: no run reads it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from jobs.lake.table_changes import TableFile
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.storage.parquet_files import open_parquet_files
from schemas.bookkeeping import FILES
from transforms.affected_rows import ClosedDates

ACCEPTED, DUPLICATES, LANDED = "accepted", "duplicates", "landed"
_SEPARATOR = ","


def kinds_in(text: str | None) -> set[str]:
    """The kinds that a value of the column names."""
    return set(text.split(_SEPARATOR)) if text else set()


def with_kind(text: str | None, kind: str) -> str:
    """The value of the column with one kind more."""
    return _SEPARATOR.join(sorted(kinds_in(text) | {kind}))


def closed_partitions(lake: Lake) -> frozenset[Partition]:
    """The sources and dates that no run reads again."""
    return frozenset(partition for partition, kinds in _expired(lake) if kinds & {ACCEPTED, LANDED})


def without_events(lake: Lake) -> frozenset[Partition]:
    """The sources and dates whose events have expired."""
    return frozenset(partition for partition, kinds in _expired(lake) if ACCEPTED in kinds)


def closed_dates(lake: Lake) -> ClosedDates:
    """Per source the landing dates whose events have expired."""
    dates: dict[str, set[dt.date]] = {}
    for partition in without_events(lake):
        dates.setdefault(partition.source, set()).add(partition.landing_date)
    return dates


def partition_of(file: TableFile) -> Partition:
    """The source and landing date of a file of a table that is partitioned by them."""
    return Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])


def _expired(lake: Lake) -> Iterator[tuple[Partition, set[str]]]:
    """Per file of the table `files` in which something has expired, its partition and the kinds."""
    files = [file for file in lake.files(FILES.name) if file.nulls.get("expired") != file.rows]
    parquets = open_parquet_files(lake.root / FILES.name / file.path for file in files)
    for file, parquet in zip(files, parquets, strict=True):
        for text in parquet.read(columns=["expired"])["expired"].unique().to_pylist():
            yield partition_of(file), kinds_in(text)

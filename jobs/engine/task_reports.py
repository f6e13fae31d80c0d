"""Reports of tasks to the driver: files that a task wrote, files of the lake that they replace, and counts of records.

A report has some short rows, however many rows the task has read and written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lake.table_files import WRITTEN, WrittenFile, from_descriptions

_COUNTS = ("accepted", "duplicates", "rejected")
# A row has a file that was written, or counts of a landed file, or a file of the lake that is replaced.
REPORT = pa.schema(
    [*WRITTEN, pa.field("file", pa.string()), *(pa.field(name, pa.int64()) for name in _COUNTS), pa.field("removed", pa.string())]
)


def report(
    written: Iterable[WrittenFile], counts: Mapping[str, Counter[str]] | None = None, removed: str | None = None
) -> Iterator[pa.RecordBatch]:
    """The report of a task, as one Arrow batch of the schema REPORT; no batch if it is empty.

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
    """The files of the lake that the tasks replaced, as table/path."""
    return {name for name in reports["removed"].to_pylist() if name is not None}

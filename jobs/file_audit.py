"""Write the table `files`: per landed file how many of its records were accepted, repeated and rejected.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest import FileCounts
from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.landing.zone import LandedFile, Partition
from schemas.bookkeeping import FILES


@dataclass(frozen=True)
class Replaced:
    """The partitions whose rows of `files` are replaced, and by which rules their files were read."""

    lake: Lake
    output: RunOutput
    rulesets: Mapping[str, str]  # per source
    replaced: frozenset[Partition]


def write(
    of: Replaced,
    files: Sequence[LandedFile],
    file_counts: Sequence[FileCounts],
    counts: Mapping[str, Counter[str]],
    moved: Mapping[tuple[Partition, str], int],
) -> Change:
    """The change of `files`: rows for the files that were read, and new counts for files of other partitions in `moved`.

    `file_counts` has the counts of the reader, one per file. `counts` has the numbers of rows that were written, per kind (accepted,
    duplicates, rejected) and file. A check of the table compares the two before anything is published. `moved` has, per file of
    a partition that was not read, how many of its accepted records became duplicates (negative: ceased to be).
    """
    rows = [_row(file, of_file, counts, of) for file, of_file in zip(files, file_counts, strict=True)]
    others = {partition for partition, _ in moved}
    rewritten = of.replaced | others
    change = Change(removed=[file for file in of.lake.files(FILES.name) if _partition(file.partition) in rewritten])
    if others:
        known = of.lake.arrow(
            FILES.name, FILES.names, pc.field("landing_date").isin(sorted({partition.landing_date for partition in others}))
        )
        for row in known.to_pylist():
            partition = Partition(row["landing_date"], row["source"])
            if partition in others:
                became = moved.get((partition, row["file"]), 0)
                if became:
                    row.update(accepted=row["accepted"] - became, duplicates=row["duplicates"] + became, run_id=of.output.run_id)
                rows.append(row)
    change.added = write_partitioned(FILES, pa.Table.from_pylist(rows, schema=FILES.arrow.remove_metadata()), of.output)
    return change


def _row(file: LandedFile, of_file: FileCounts, counts: Mapping[str, Counter[str]], of: Replaced) -> dict[str, Any]:
    is_readable = of_file.error is None
    return {
        "source": file.partition.source,
        "landing_date": file.partition.landing_date,
        "landing_hour": file.landing_hour,
        "file": file.file,
        "size": file.size,
        "modified": dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=file.modified),
        "sha256": of_file.sha256,
        "ruleset": of.rulesets[file.partition.source],
        "records": of_file.records,
        **{kind: counts.get(kind, Counter())[file.file] if is_readable else None for kind in ("accepted", "duplicates", "rejected")},
        "erased": of_file.erased if is_readable else None,
        "blank": of_file.blank,
        "empty": of_file.empty,
        "expired": None,
        "status": "done" if is_readable else "unreadable",
        "error": of_file.error,
        "run_id": of.output.run_id,
    }


def _partition(values: Mapping[str, str]) -> Partition:
    return Partition(dt.date.fromisoformat(values["landing_date"]), values["source"])

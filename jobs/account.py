"""Account for every landed file: what was in it and what became of it.

A step of the night: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest import FileAccount
from jobs.lake import Change, Lake
from jobs.landing import LandedFile, Partition
from jobs.table_files import write_partitioned
from schemas.account import FILES


@dataclass(frozen=True)
class Inputs:
    """What the step works on."""

    lake: Lake
    folder: Path  # the run's staging folder
    run_id: str
    rulesets: Mapping[str, str]  # per source
    replaced: frozenset[Partition]


def write(
    inputs: Inputs,
    files: Sequence[LandedFile],
    accounts: Sequence[FileAccount],
    counts: Mapping[str, Counter[str]],
    moved: Mapping[tuple[Partition, str], int],
) -> Change:
    """The rows of `files` for what was read, and for files of other partitions whose records became or ceased to be duplicates.

    `counts` holds per kind how many records of each file were written; `records` is what the reader counted. That the
    two agree is checked before anything is published.
    """
    rows = [_row(file, account, counts, inputs) for file, account in zip(files, accounts, strict=True)]
    touched = inputs.replaced | {partition for partition, _ in moved}
    change = Change(removed=[file for file in inputs.lake.files(FILES.name) if _partition(file.partition) in touched])
    others = {partition for partition, _ in moved}
    if others:
        held = inputs.lake.arrow(
            FILES.name, FILES.names, pc.field("landing_date").isin(sorted({partition.landing_date for partition in others}))
        )
        for row in held.to_pylist():
            partition = Partition(row["landing_date"], row["source"])
            if partition in others:
                became = moved.get((partition, row["file"]), 0)
                if became:
                    row.update(accepted=row["accepted"] - became, duplicates=row["duplicates"] + became, run_id=inputs.run_id)
                rows.append(row)
    change.added = write_partitioned(FILES, pa.Table.from_pylist(rows, schema=FILES.arrow.remove_metadata()), inputs.folder / FILES.name)
    return change


def _row(file: LandedFile, account: FileAccount, counts: Mapping[str, Counter[str]], inputs: Inputs) -> dict[str, Any]:
    read = account.error is None
    return {
        "source": file.partition.source,
        "landing_date": file.partition.landing_date,
        "landing_hour": file.landing_hour,
        "file": file.file,
        "size": file.size,
        "modified": dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=file.modified),
        "sha256": account.sha256,
        "ruleset": inputs.rulesets[file.partition.source],
        "records": account.records,
        **{kind: counts.get(kind, Counter())[file.file] if read else None for kind in ("accepted", "duplicates", "rejected")},
        "erased": 0 if read else None,
        "blank": account.blank,
        "empty": account.empty,
        "status": "done" if read else "unreadable",
        "error": account.error,
        "run_id": inputs.run_id,
    }


def _partition(values: Mapping[str, str]) -> Partition:
    return Partition(dt.date.fromisoformat(values["landing_date"]), values["source"])

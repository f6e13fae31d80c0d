"""Compare a partition that is read again with its former content, because a large loss of records is rarely intended.

A part of the step `checks`: millrace run --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

import pyarrow.compute as pc

from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.landing.zone import LandedFile, Partition
from jobs.quality.gate import Finding
from jobs.settings import Quality
from schemas.bookkeeping import FILES
from schemas.events import EVENTS

_SHARE = "as a share of those before it was read again"


def findings(
    state: NewState, read: Collection[Partition], quality: Quality, *, accepted: bool, unreadable: Collection[LandedFile] = ()
) -> Iterator[Finding]:
    """Per partition that is read again, a finding about its accepted records as a share of those in the lake.

    Records of files that are `unreadable` now are left out of both numbers: such a file is reported by itself, and the other
    files are published. Below `quality.shrinkage.critical` the finding is critical, or a warning if the loss is `accepted`.
    """
    change = state.changes.get(EVENTS.name, Change())
    removed = {file.path for file in change.removed}
    files = state.lake.files(EVENTS.name)
    before = _rows((file.partition, file.rows) for file in files) - _accepted(state, unreadable)
    after = _rows((file.partition, file.rows) for file in files if file.path not in removed)
    after += _rows((file.partition_values, file.rows) for file in change.added)
    for partition in sorted(read):
        limits = quality.of(partition.source).shrinkage
        if not before[partition]:
            continue
        share = after[partition] / before[partition]
        is_critical = limits.critical is not None and share < limits.critical and not accepted
        minimum = limits.critical if is_critical or limits.warning is None else limits.warning
        if minimum is not None:
            severity: Literal["critical", "warning"] = "critical" if is_critical else "warning"
            name = f"accepted records of {partition.landing_date}, {_SHARE}"
            yield Finding(EVENTS.name, name, severity, share, minimum, source=partition.source)


def _accepted(state: NewState, files: Collection[LandedFile]) -> Counter[Partition]:
    """The accepted records of these files in the lake, per landing partition."""
    counted: Counter[Partition] = Counter()
    if files:
        where = pc.field("landing_date").isin(sorted({file.partition.landing_date for file in files}))
        names = {file.file for file in files}
        for row in state.lake.arrow(FILES.name, ["source", "landing_date", "file", "accepted"], where).to_pylist():
            if row["file"] in names:
                counted[Partition(row["landing_date"], row["source"])] += row["accepted"] or 0
    return counted


def is_of_shrinkage(finding: Finding) -> bool:
    """Whether a finding is about shrinkage."""
    return finding.expectation.endswith(_SHARE)


def _rows(files: Iterable[tuple[Mapping[str, str], int]]) -> Counter[Partition]:
    """Rows per landing partition."""
    counted: Counter[Partition] = Counter()
    for values, rows in files:
        counted[Partition(dt.date.fromisoformat(values["landing_date"]), values["source"])] += rows
    return counted

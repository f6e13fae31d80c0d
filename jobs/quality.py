"""The checks of a night, and why records were refused, on stdout.

millrace quality --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import UsageError
from jobs.lake import Lake
from jobs.printing import table, tell
from jobs.quality_gate import pages_of
from jobs.settings import Settings
from schemas.account import QUALITY_RESULTS
from schemas.events import REJECTED_EVENTS

TOP = 10


def show(settings: Settings, date: dt.date | None) -> int:
    """Print the results of the last run of a night.

    Raises UsageError when the night was never checked.
    """
    lake = Lake.open(settings.paths.lake)
    results = lake.arrow(QUALITY_RESULTS.name)
    if date is None:
        date = pc.max(results["date"]).as_py()
        if date is None:
            tell("no night has been checked yet: `millrace run --date …` runs one")
            return 0
    results = results.filter(pc.equal(results["date"], pa.scalar(date)))
    if results.num_rows == 0:
        raise UsageError(
            f"the night of {date} was never checked: `millrace run --date {date}` runs it, `millrace status` lists those that were"
        )
    last = pc.max(results["run_id"]).as_py()
    rows = results.filter(pc.equal(results["run_id"], last)).to_pylist()
    per_table: dict[str, list[bool]] = {}
    for row in rows:
        per_table.setdefault(row["table"], []).append(row["passed"])
    table(
        f"Checks of the night {date}, run {last}",
        ["table", "checks", "hold", "fail"],
        [[name, len(p), sum(p), len(p) - sum(p)] for name, p in per_table.items()],
        total=True,
    )
    failed = [
        [row["severity"], row["table"], row["source"], row["expectation"], row["observed"], row["threshold"]]
        for row in rows
        if not row["passed"]
    ]
    if failed:
        table("Do not hold", ["severity", "table", "source", "expectation", "found", "allowed"], failed)
    _refusals(lake, date)
    index = pages_of(lake.root, date) / "index.html"
    if index.exists():
        tell(f"pages: {index}")
    return 0


def _refusals(lake: Lake, date: dt.date) -> None:
    """The most frequent reasons for which records of the night were refused, with an example each."""
    columns = ["source", "reason", "path", "detail", "file", "record", "position"]
    refused = lake.arrow(REJECTED_EVENTS.name, columns, pc.field("landing_date") == pa.scalar(date))
    if refused.num_rows == 0:
        tell("no record was refused")
        return
    refused = refused.sort_by([(name, "ascending") for name in ("file", "record", "position")])
    grouped = refused.group_by(["source", "reason", "path", "detail"], use_threads=False).aggregate(
        [("file", "count"), ("file", "first"), ("record", "first"), ("position", "first")]
    )
    grouped = grouped.sort_by(
        [("file_count", "descending"), ("source", "ascending"), ("detail", "ascending"), ("path", "ascending")]
    ).slice(0, TOP)
    rows = [
        [
            row["file_count"],
            row["source"],
            row["reason"],
            row["path"],
            row["detail"],
            f"{row['file_first']}:{row['record_first']}:{row['position_first']}",
        ]
        for row in grouped.to_pylist()
    ]
    table("Refused", ["records", "source", "reason", "path", "detail", "for example (file:record:position)"], rows)

"""The checks of a night, and why records were refused, on stdout.

millrace quality --date 2026-11-20
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs import changed_partitions
from jobs.console.printing import print_line, print_table
from jobs.errors import UsageError
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.landing import zone
from jobs.quality.gate import pages_of
from jobs.settings import Settings
from schemas.bookkeeping import FILES, QUALITY_RESULTS
from schemas.events import REJECTED_EVENTS
from schemas.metrics import with_definition
from transforms.sources.registry import SOURCES

TOP = 10


def show(settings: Settings, date: dt.date | None) -> int:
    """Print the results of the last run of a night.

    Raises UsageError when the night was never checked.
    """
    lake = open_to_read(settings.paths.lake)
    results = lake.arrow(QUALITY_RESULTS.name)
    if date is None:
        date = pc.max(results["date"]).as_py()
        if date is None:
            print_line("no night has been checked yet: `millrace run --date …` runs one")
            return 0
    results = results.filter(pc.equal(results["date"], pa.scalar(date)))
    if results.num_rows == 0:
        raise UsageError(_why_unchecked(lake, settings, date))
    last = pc.max(results["run_id"]).as_py()
    rows = results.filter(pc.equal(results["run_id"], last)).to_pylist()
    per_table: dict[str, Counter[str]] = {}
    for row in rows:
        status = "passed" if row["passed"] else row["severity"]
        per_table.setdefault(row["table"], Counter()).update(("checks", status))
    print_table(
        f"Checks of the night {date}, run {last}",
        ["table", "checks", "passed", "failed", "warnings"],
        [[name, *(count[kind] for kind in ("checks", "passed", "critical", "warning"))] for name, count in per_table.items()],
        total=True,
    )
    _print_failed(rows)
    _refusals(lake, date)
    index = pages_of(lake.root, date) / "index.html"
    if index.exists():
        print_line(f"pages: {index}")
    return 0


def _print_failed(rows: Sequence[Mapping[str, Any]]) -> None:
    failed = [
        [row["severity"], row["table"], row["source"], with_definition(row["expectation"]), row["observed"], row["threshold"]]
        for row in rows
        if not row["passed"]
    ]
    if failed:
        print_table(
            "Checks that did not pass", ["severity", "table", "source", "expectation", "found", "allowed"], failed, prose=("expectation",)
        )


def _why_unchecked(lake: Lake, settings: Settings, date: dt.date) -> str:
    """Why a night has no checks, with the remedy."""
    root = settings.paths.landing
    has_landed = root.is_dir() and any(zone.landed(root, source, date) for source in SOURCES)
    run = f"`millrace run --landing {root} --lake {lake.root} --date {date}`"
    if lake.arrow(FILES.name, ["file"], pc.field("landing_date") == pa.scalar(date)).num_rows:
        return (
            f"the night of {date} was read and not checked, as part of another night or of a rebuild:"
            " `millrace quality` without --date shows the checks of the last run"
        )
    if date not in changed_partitions.nights_run(lake):
        return (
            f"the night of {date} was never run: {run} runs it"
            if has_landed
            else (f"the night of {date} was never run, and nothing has landed for it in {root}: land its files, then call {run}")
        )
    if has_landed:
        return f"the night of {date} was run before anything had landed, so nothing was checked: {run} reads what has landed since"
    return f"the night of {date} was run and nothing had landed, so nothing was checked: land its files in {root}, then call {run}"


def _refusals(lake: Lake, date: dt.date) -> None:
    """The most frequent reasons for which records of the night were refused, with an example each."""
    columns = ["source", "reason", "path", "detail", "file", "record", "position"]
    refused = lake.arrow(REJECTED_EVENTS.name, columns, pc.field("landing_date") == pa.scalar(date))
    if refused.num_rows == 0:
        print_line("no record was refused")
        return
    refused = refused.sort_by([(name, "ascending") for name in ("file", "record", "position")])
    grouped = refused.group_by(["source", "reason", "path", "detail"], use_threads=False).aggregate(
        [("file", "count"), ("file", "first"), ("record", "first"), ("position", "first")]
    )
    grouped = grouped.sort_by([("file_count", "descending"), ("source", "ascending"), ("detail", "ascending"), ("path", "ascending")])
    hidden = grouped.slice(TOP)
    rows = [
        [
            row["file_count"],
            row["source"],
            row["reason"],
            row["path"],
            row["detail"],
            f"{row['file_first']}:{row['record_first']}:{row['position_first']}",
        ]
        for row in grouped.slice(0, TOP).to_pylist()
    ]
    names = ["records", "source", "reason", "path", "detail", "for example (file:record:position)"]
    print_table("Refused", names, rows, prose=("detail",))
    if hidden.num_rows:
        query = f"SELECT reason, path, detail, count(*) FROM rejected_events WHERE landing_date = DATE '{date}' GROUP BY ALL"
        print_line(f'{pc.sum(hidden["file_count"])} more records in {hidden.num_rows} other ways: millrace sql "{query}"')

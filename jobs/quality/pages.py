"""Write the pages of the checks: per table what was observed, what is allowed, and the status. They need no scripts or network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from jobs.storage import storage_paths
from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath
from schemas.metrics import with_definition


@dataclass(frozen=True)
class Row:
    """One check on a page."""

    rule: str
    expectation: str
    query: str | None
    observed: str
    allowed: str
    source: str | None
    severity: str
    passed: bool

    @property
    def status(self) -> str:
        """`passed`, or `failed` for a critical check, `warning` for another one."""
        return "passed" if self.passed else "failed" if self.severity == "critical" else "warning"


@dataclass
class TablePage:
    """The page of a table."""

    name: str
    rows: list[Row] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The file name of the page."""
        return f"{self.name}.html"

    @property
    def status(self) -> str:
        """The worst status of the table's checks."""
        return next((status for status in ("failed", "warning") if self.count(status)), "passed")

    def count(self, status: str) -> int:
        """How many checks have this status."""
        return sum(row.status == status for row in self.rows)

    @property
    def troubles(self) -> list[Row]:
        """The checks that did not pass, critical ones first."""
        return sorted((row for row in self.rows if not row.passed), key=lambda row: row.status)

    @property
    def in_order(self) -> list[Row]:
        """All checks, those that did not pass first."""
        return [*self.troubles, *(row for row in self.rows if row.passed)]


def write_pages(
    folder: StoragePath, run: str, findings: Sequence[Mapping[str, Any]], passed: Sequence[bool], expectations: Sequence[str]
) -> None:
    """Write `index.html` and one page per table into the folder of a night. They replace the pages of an earlier run of the night."""
    tables: dict[str, TablePage] = {}
    for finding, holds, expectation in zip(findings, passed, expectations, strict=True):
        page = tables.setdefault(finding["table"], TablePage(finding["table"]))
        page.rows.append(_row(finding, holds, expectation))
    storage_paths.make_folder(folder)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("jobs"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    common = {"night": folder.name, "run": run, "tables": list(tables.values()), "written": dt.datetime.now(dt.UTC)}
    _write(folder / "index.html", environment.get_template("quality_index.html").render(common))
    template = environment.get_template("quality_table.html")
    for page in tables.values():
        _write(folder / page.file, template.render(common, page=page))
    _remove_others(folder, {"index.html", *(page.file for page in tables.values())})


def _row(finding: Mapping[str, Any], passed: bool, expectation: str) -> Row:
    rule = finding["rule"]
    query = None if rule is None else rule["arguments"].get("unexpected_rows_query")
    if query is not None:
        query = query.format(batch=finding["table"])
    return Row(
        with_definition(finding["expectation"]) + (f", {finding['detail']}" if finding["detail"] else ""),
        expectation,
        query,
        _observed(finding),
        "no row" if rule is not None else finding["threshold"],
        finding["source"],
        finding["severity"],
        passed,
    )


def _observed(finding: Mapping[str, Any]) -> str:
    observed, rows = finding["observed"], finding["rows"]
    if observed is None:
        return "nothing to observe"
    if finding["rule"] is None:
        return f"{observed:g}"
    share = f" ({100 * observed / rows:.2g} %)" if observed and rows else ""
    return f"{observed:,} of {rows:,} rows{share}"


def _write(path: StoragePath, text: str) -> None:
    """Replace a file atomically: a reader sees the old page or the new one, never a part."""
    if isinstance(path, BucketPath):
        path.write_bytes(text.encode())
        return
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_others(folder: StoragePath, names: Iterable[str]) -> None:
    """Remove the pages of tables that an earlier run checked and this one did not."""
    for entry in storage_paths.entries(folder):
        if entry.name.endswith(".html") and entry.name not in names:
            entry.path.unlink()

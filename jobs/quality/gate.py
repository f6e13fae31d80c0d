"""The quality gate: Great Expectations validates observed counts, and writes pages about them.

The step `checks` counts, in one aggregate per table, how many rows break each rule. Great Expectations then validates these
counts, in a process of its own (`jobs/quality/great_expectations_process.py`). So the gate takes a second or two, for any number
of rows.
"""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobs.engine.processes import uninterrupted
from jobs.errors import WorkerLostError
from jobs.storage.storage_paths import StoragePath
from schemas.suite import Rule
from schemas.table import Expectation

PAGES = "_quality"
# How the name of the check begins that names the file with most replaced times.
REPLACED_TIMES = "share of events with replaced times in the worst file"


@dataclass(frozen=True)
class Finding:
    """The result of one check: what was observed, and what is allowed.

    If `rule` is given, every row of the table must meet it: `observed` of `rows` rows break it, and `nulls` rows have no value in
    the rule's column. Without a rule, `observed` is a number measured of the table, to lie between `minimum` and `maximum`.
    """

    table: str
    expectation: str
    severity: str
    observed: float | None  # None: there was nothing to observe, and the check passes
    minimum: float | None = None
    maximum: float | None = None
    column: str | None = None
    source: str | None = None
    passed: bool = True
    rule: Expectation | None = None
    rows: int = 0
    nulls: int = 0
    detail: str | None = None  # of what it was observed, such as the file with the largest share

    @property
    def label(self) -> str:
        """The name of the check, with its source and detail, for pages and messages."""
        name = self.expectation if self.detail is None else f"{self.expectation}, {self.detail}"
        return f"{name} ({self.source})" if self.source else name

    @property
    def threshold(self) -> str:
        """The allowed range, in words."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} … {self.maximum:g}" if self.minimum != self.maximum else f"{self.minimum:g}"
        return f"at least {self.minimum:g}" if self.minimum is not None else f"at most {self.maximum:g}"


def pages_of(lake: StoragePath, night: dt.date) -> StoragePath:
    """The folder of the pages of a night."""
    return lake / PAGES / night.isoformat()


def of_rows(table: str, rule: Rule, observed: int, rows: int, nulls: Mapping[str, int]) -> Finding:
    """The finding of a rule that `observed` of `rows` rows of a table break; `nulls` has the number of nulls per column."""
    expectation = rule.expectation
    of_column = nulls.get(expectation.arguments.get("column", ""), 0)
    without_value = observed if expectation.type == "expect_column_values_to_not_be_null" else of_column
    return Finding(table, rule.name, rule.severity, observed, 0, 0, rule.column, rule=expectation, rows=rows, nulls=without_value)


def warm_up() -> None:
    """Start the process of Great Expectations early: its import takes seconds, during which other steps run."""
    _process()


def validate(findings: Sequence[Finding], name: str, pages: StoragePath | None) -> list[Finding]:
    """The findings with `passed` as Great Expectations decides it.

    `name` is the name of the run in the pages; `pages` is their folder, None for no pages. The process writes them after this
    function has returned: `pages_written` waits for that.

    Raises WorkerLostError when the process is lost.
    """
    described = [asdict(finding) | {"label": finding.label, "threshold": finding.threshold} for finding in findings]
    passed = _process().validate({"name": name, "pages": None if pages is None else str(pages), "findings": described})
    return [replace(finding, passed=holds) for finding, holds in zip(findings, passed, strict=True)]


def pages_written() -> str | None:
    """Wait until the pages of the last validation are written. Gives the reason if they could not be written, else None."""
    return _process().pages_written() if _process.cache_info().currsize else None


class _Process:
    """The process of Great Expectations, which runs in parallel to this one."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "jobs.quality.great_expectations_process"]
        # It imports packages from the same folders as this process.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with uninterrupted():
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        self._is_writing = False
        atexit.register(self._end)

    def validate(self, request: Mapping[str, Any]) -> list[bool]:
        """Whether each finding's expectation holds."""
        assert self._process.stdin is not None
        self.pages_written()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise _lost() from None
        answer = self._answer()
        self._is_writing = request["pages"] is not None and "error" not in answer
        if "error" in answer:
            raise RuntimeError(f"Great Expectations could not validate: {answer['error']}")
        passed: list[bool] = answer["passed"]
        return passed

    def pages_written(self) -> str | None:
        """Wait for the pages. Gives the reason if they could not be written, else None."""
        if not self._is_writing:
            return None
        self._is_writing = False
        try:
            why: str | None = self._answer()["pages"]
        except WorkerLostError as error:
            return str(error)
        return why

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise _lost()
        answer: dict[str, Any] = json.loads(line)
        return answer


@functools.cache
def _process() -> _Process:
    return _Process()


def _lost() -> WorkerLostError:
    _process.cache_clear()
    return WorkerLostError("the process of the checks was lost, by a signal or for want of memory: nothing was published; call again")

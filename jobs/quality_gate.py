"""The quality gate: Great Expectations judges what was observed, and writes pages that a person can browse.

What a suite asks of a table is worked out in one aggregate by whoever holds the rows; the suite itself then runs on the one
row of observed values, in a process of its own (`jobs/judgement.py`). So the gate costs a second, however many rules there are.
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
from pathlib import Path
from typing import Any

from jobs.errors import WorkerLostError
from jobs.processes import uninterrupted

PAGES = "_quality"


@dataclass(frozen=True)
class Finding:
    """One rule, what was observed, and what is allowed."""

    table: str
    expectation: str
    severity: str
    observed: float | None  # None: nothing to observe, which passes
    minimum: float | None = None
    maximum: float | None = None
    column: str | None = None
    source: str | None = None
    passed: bool = True

    @property
    def label(self) -> str:
        """The rule as it stands in the pages, with the source it is of."""
        return f"{self.expectation} ({self.source})" if self.source else self.expectation

    @property
    def threshold(self) -> str:
        """What is allowed, in words."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} … {self.maximum:g}" if self.minimum != self.maximum else f"{self.minimum:g}"
        return f"at least {self.minimum:g}" if self.minimum is not None else f"at most {self.maximum:g}"


def pages_of(lake: Path, night: dt.date) -> Path:
    """The folder of the pages of a night."""
    return lake / PAGES / night.isoformat()


def warm_up() -> None:
    """Let Great Expectations be imported beside other work: that alone takes seconds."""
    _judge()


def judge(findings: Sequence[Finding], name: str, pages: Path | None) -> list[Finding]:
    """The findings with Great Expectations' verdict; it goes on to write its pages, for which `pages_written` waits.

    `name` names the run in the pages; `pages` is the folder they are written to, None for none.

    Raises WorkerLostError when its process is lost.
    """
    asked = [asdict(finding) | {"label": finding.label, "threshold": finding.threshold} for finding in findings]
    verdicts = _judge().ask({"name": name, "pages": None if pages is None else str(pages), "findings": asked})
    return [replace(finding, passed=passed) for finding, passed in zip(findings, verdicts, strict=True)]


def pages_written() -> str | None:
    """Wait for the pages of what was judged last; why they could not be written, None where they are or none were asked for."""
    return _judge().pages_written() if _judge.cache_info().currsize else None


class _Judge:
    """Great Expectations in a process of its own, beside which this one goes on."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "jobs.judgement"]
        # It finds the packages that this process finds.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with uninterrupted():
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        self._is_writing = False
        atexit.register(self._end)

    def ask(self, question: Mapping[str, Any]) -> list[bool]:
        """Its verdict on each finding."""
        assert self._process.stdin is not None
        self.pages_written()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise _lost() from None
        answer = self._answer()
        self._is_writing = question["pages"] is not None and "error" not in answer
        if "error" in answer:
            raise RuntimeError(f"Great Expectations could not judge: {answer['error']}")
        verdicts: list[bool] = answer["verdicts"]
        return verdicts

    def pages_written(self) -> str | None:
        """Wait for its pages; why there are none."""
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
def _judge() -> _Judge:
    return _Judge()


def _lost() -> WorkerLostError:
    _judge.cache_clear()
    return WorkerLostError("the process of the checks was lost, by a signal or for want of memory: nothing was published; call again")

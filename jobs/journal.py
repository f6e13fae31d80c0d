"""The rows of `runs` that a run adds: per step what it read and wrote, its seconds and its memory. Progress shows the same."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from jobs.console import process_memory
from jobs.console.progress import Progress
from jobs.lake.table_changes import Change


@dataclass
class StepCounts:
    """What a step read and wrote; None where that is not counted. The names are those of the columns of `runs`."""

    files: int | None = None  # landed files
    records: int | None = None  # in these
    rows_in: int | None = None
    rows_out: int | None = None
    bytes: int | None = None

    def wrote(self, changes: Iterable[Change]) -> None:
        """Count the rows and bytes of the files that were added to tables."""
        added = [file for change in changes for file in change.added]
        self.rows_out, self.bytes = sum(file.rows for file in added), sum(file.size for file in added)


class Journal:
    """The rows of `runs` that one run adds, as it goes."""

    def __init__(self, command: str, progress: Progress, night: dt.date | None = None) -> None:
        self.run_id = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._command = command
        self._progress = progress
        self._night = night
        self._rows: list[dict[str, Any]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[StepCounts]:
        """Show a step while the block runs, and record it when it ends, with the counts that the block fills in."""
        started, clock = dt.datetime.now(dt.UTC), time.monotonic()
        counts = StepCounts()
        with self._progress.step(name) as logged, process_memory.watched() as memory:
            yield counts
            memory.sample()
            measured = {"seconds": round(time.monotonic() - clock, 3), "peak_memory": memory.bytes}
            logged.update(self._run_fields() | asdict(counts) | measured)
        self._rows.append(self._row(name, started) | asdict(counts) | measured)

    @contextmanager
    def last_step(
        self, name: str, *, failed: bool = False, sources: str | None = None, rules: Mapping[str, str] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Show the step that publishes; gives all rows, this step's own last, since they are part of what is published."""
        row = self._row(name, dt.datetime.now(dt.UTC)) | {"status": "failed" if failed else "done", "sources": sources}
        row["rules"] = sorted(rules.items()) if rules is not None else None
        with self._progress.step(name) as logged:
            logged.update(self._run_fields())
            yield [*self._rows, row]

    def _run_fields(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "command": self._command, "night": self._night}

    def _row(self, step: str, started: dt.datetime) -> dict[str, Any]:
        ended = dt.datetime.now(dt.UTC)
        return {
            "run_id": self.run_id,
            "command": self._command,
            "step": step,
            "night": self._night,
            "started": started,
            "ended": ended,
            "status": "done",
        }

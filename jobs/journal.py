"""What a run says of itself, in `runs` and on stderr: its name, its steps, and how long each took."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

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
        """Show a step while the block runs, and note it once it is done, with the counts that the block fills in."""
        started = dt.datetime.now(dt.UTC)
        counts = StepCounts()
        with self._progress.step(name):
            yield counts
        self._rows.append(self._row(name, started) | asdict(counts))

    @contextmanager
    def last_step(
        self, name: str, *, failed: bool = False, sources: str | None = None, rules: Mapping[str, str] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """Show the step that publishes; gives all rows, this step's own last, since they are part of what is published."""
        row = self._row(name, dt.datetime.now(dt.UTC)) | {"status": "failed" if failed else "done", "sources": sources}
        row["rules"] = sorted(rules.items()) if rules is not None else None
        with self._progress.step(name):
            yield [*self._rows, row]

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

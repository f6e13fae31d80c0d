"""What a run says of itself, in `runs` and on stderr: its name, its steps, and how long each took."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.progress import Progress


class Journal:
    """The rows of `runs` that one run adds, as it goes."""

    def __init__(self, command: str, progress: Progress, night: dt.date | None = None) -> None:
        self.run_id = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self._command = command
        self._progress = progress
        self._night = night
        self._rows: list[dict[str, Any]] = []

    @contextmanager
    def step(self, name: str, rows: int | None = None, size: int | None = None) -> Iterator[None]:
        """Show a step while the block runs, and note it once it is done; `size` is in bytes."""
        started = dt.datetime.now(dt.UTC)
        with self._progress.step(name):
            yield
        self._rows.append(self._row(name, started) | {"rows": rows, "bytes": size})

    @contextmanager
    def last_step(self, name: str, *, failed: bool = False, sources: str | None = None) -> Iterator[list[dict[str, Any]]]:
        """Show the step that publishes; gives all rows, this step's own last, since they are part of what is published."""
        row = self._row(name, dt.datetime.now(dt.UTC)) | {"status": "failed" if failed else "done", "sources": sources}
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

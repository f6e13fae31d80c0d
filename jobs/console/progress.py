"""Progress on stderr: a live line on a terminal, one line per step anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobs.console.printing import is_json_log, print_message
from jobs.console.table_layout import printable

if TYPE_CHECKING:
    from rich.console import Console


class Progress:
    """Shows which step is running, and prints how long it took."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console: Console | None = None
        self._title = ""

    def begin(self, title: str) -> None:
        """Set the title of the next steps, such as a night."""
        self._title = title

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Show the step while the block runs. What the block puts into the dictionary is added to the line of a JSON log."""
        fields: dict[str, Any] = {"step": name}
        if self._quiet:
            yield fields
            return
        console = self._on_stderr()
        label = f"{self._title} {name}".strip()
        started = time.monotonic()
        if console.is_terminal and not is_json_log():
            from rich.text import Text

            with console.status(Text(printable(label))):
                yield fields
        else:
            yield fields
        seconds = time.monotonic() - started
        # One plain line, for log files and terminals alike.
        line = label if is_json_log() else f"{label:<40} {seconds:6.1f} s"
        print_message(line, **fields | {"seconds": round(seconds, 3)})

    def note(self, line: str) -> None:
        """Print one line."""
        if not self._quiet:
            print_message(f"{self._title} {line}".strip())

    def _on_stderr(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True)
        return self._console

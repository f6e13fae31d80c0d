"""Progress on stderr: a live line on a terminal, one line per step anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.console.printing import message
from jobs.console.table_layout import printable

if TYPE_CHECKING:
    from rich.console import Console


class Progress:
    """Says which step runs and, once it is done, how long it took."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console: Console | None = None
        self._title = ""

    def begin(self, title: str) -> None:
        """Name what the next steps belong to, such as a night."""
        self._title = title

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show the step while the block runs."""
        if self._quiet:
            yield
            return
        console = self._on_stderr()
        label = f"{self._title} {name}".strip()
        started = time.monotonic()
        if console.is_terminal:
            from rich.text import Text

            with console.status(Text(printable(label))):
                yield
        else:
            yield
        # One plain line: it must read well in a log file and on a terminal alike.
        message(f"{label:<40} {time.monotonic() - started:6.1f} s")

    def say(self, line: str) -> None:
        """One line about what was found."""
        if not self._quiet:
            message(f"{self._title} {line}".strip())

    def _on_stderr(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True)
        return self._console

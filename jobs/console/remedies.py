"""Command lines that messages name as the remedy, ready to be copied.

They work on the lake, the landing zone and the configuration of the command that prints them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from jobs.console.paths import shown
from jobs.storage.storage_paths import StoragePath

_OPTIONS: ContextVar[tuple[str, ...]] = ContextVar("the options of the running command", default=())


@contextmanager
def options_of_command(landing: str | None, file: Path | None, environment: str | None) -> Iterator[None]:
    """Add these options to the remedies that are named within; None leaves an option out."""
    options = {"--landing": landing, "--conf": file, "--env": environment}
    token = _OPTIONS.set(tuple(part for name, value in options.items() if value is not None for part in (name, shown(str(value)))))
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def command_line(command: str, lake: StoragePath) -> str:
    """The call of a Millrace command on this lake, with the other options of the running command."""
    return shlex.join(["millrace", command, "--lake", shown(lake), *_OPTIONS.get()])

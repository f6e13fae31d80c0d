"""Show long output in a pager, as git does: on a terminal alone, by the program that PAGER names, else by `less`."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# less: leave when all fits on the screen, show colours, keep the text on the screen at the end.
_ENVIRONMENT = {"LESS": "FRX", "LV": "-c"}


class _PagerInput(io.TextIOWrapper):
    """A stdout whose text goes through the pager to the terminal: what is printed is laid out for a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def paged() -> Iterator[None]:
    """Let stdout of the block go through the pager; directly where stdout is no terminal, or where there is no pager.

    `PAGER=cat` and an empty PAGER mean no pager.
    """
    command = _command() if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" else []
    if not command:
        yield
        return
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=_ENVIRONMENT | os.environ)
    assert process.stdin is not None
    terminal, sys.stdout = sys.stdout, _PagerInput(process.stdin, encoding="utf-8", errors="backslashreplace")
    # Ctrl-C is for the pager: it stops a search, and does not leave the terminal without the pager's end.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        # The reader may have left before the end.
        with suppress(BrokenPipeError):
            sys.stdout.close()
        sys.stdout = terminal
        process.wait()
        signal.signal(signal.SIGINT, before)


def _command() -> list[str]:
    """The pager and its arguments; empty if there is none."""
    try:
        command = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # an open quotation mark
        return []
    return command if command and command != ["cat"] and shutil.which(command[0]) else []

"""Write results to stdout and messages to stderr: one place for what a terminal, a log file and a pipe must get.

Names in messages and tables are data that somebody has landed: control characters and newlines of them are written escaped.
A reader that has seen enough, such as `head`, closes the pipe: what is written after that goes nowhere, and the command goes on.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, TextIO

from jobs.console.table_layout import columns_of, lay_out, printable


def tell(line: str) -> None:
    """One line of results."""
    _write(sys.stdout, printable(line) + "\n")


def document(value: Any) -> None:
    """One JSON document of results, in which control characters are escaped."""
    _write(sys.stdout, json.dumps(value, indent=2, sort_keys=True) + "\n")


def message(line: str) -> None:
    """One line on stderr: progress or a fault."""
    _write(sys.stderr, printable(line) + "\n")


def table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]], *, prose: Collection[str] = (), total: bool = False) -> None:
    """A table; numbers stand right. With `total`, a last line adds up the columns of numbers.

    `prose` names the columns of sentences, which are wrapped between words on a narrow terminal. Everything else stands whole on
    one line. A pipe or a file gets lines as long as they need be.
    """
    layout = lay_out(columns_of(names, rows, prose, total=total), terminal_width(), total=total)
    lines = [*([_bold(printable(title))] if title else []), *layout.lines, ""]
    _write(sys.stdout, "\n".join(lines) + "\n")
    if layout.left_out:
        _tell_sentence(f"left out, empty or 0 in every row: {', '.join(layout.left_out)}; a wider terminal or a pipe (| cat) shows them")
        tell("")


def _tell_sentence(sentence: str) -> None:
    """A sentence of results, wrapped between words on a terminal."""
    width = terminal_width()
    for line in textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False) if width else [sentence]:
        tell(line)


def terminal_width() -> int | None:
    """How wide a line on stdout may be; None where it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def reader_is_gone(stream: TextIO) -> bool:
    """Whether nobody can read any more what is written to the stream."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def discard(stream: TextIO) -> None:
    """Let what is still written to the stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def _bold(title: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") in (None, "", "dumb")
    return title if plain else f"\x1b[1m{title}\x1b[0m"

"""Write results to stdout and messages to stderr, on a terminal, into a log file or into a pipe.

Names in messages and tables come from landed data, so their control characters and newlines are escaped. A reader such as `head` may
close the pipe: then further output is discarded, and the command continues.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import select
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, TextIO

from jobs.console.table_layout import columns_of, lay_out, printable

# How messages begin that are more than information.
_LEVELS = {"warning: ": "warning", "millrace: ": "error"}


class _Log:
    """Whether messages are JSON objects."""

    is_json = False


def log_as_json(*, as_json: bool) -> None:
    """Print messages as JSON objects from now on, one per line, or as text."""
    _Log.is_json = as_json


def print_line(line: str) -> None:
    """Print one line of results."""
    _write(sys.stdout, printable(line) + "\n")


def print_text(text: str) -> None:
    """Print results that are lines already."""
    _write(sys.stdout, text)


def print_json(value: Any) -> None:
    """Print one JSON document of results, in which control characters are escaped."""
    _write(sys.stdout, json.dumps(value, indent=2, sort_keys=True) + "\n")


def is_json_log() -> bool:
    """Whether messages are printed as JSON objects."""
    return _Log.is_json


def print_message(line: str, **fields: Any) -> None:
    """Print one line on stderr: progress or a fault.

    In a JSON log it is an object with `time`, `level` (info, warning or error, by the beginning of the line), `message`, and those of the
    fields that are not None.
    """
    if not _Log.is_json:
        _write(sys.stderr, printable(line) + "\n")
        return
    prefix = next((prefix for prefix in _LEVELS if line.startswith(prefix)), "")
    entry = {"time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "level": _LEVELS.get(prefix, "info")}
    entry |= {"message": line.removeprefix(prefix)} | {name: value for name, value in fields.items() if value is not None}
    _write(sys.stderr, json.dumps(entry, default=str) + "\n")


def print_traceback(text: str) -> None:
    """Print a traceback on stderr: its lines, or in a JSON log one object."""
    if _Log.is_json:
        print_message("millrace: traceback", traceback=text)
        return
    for line in text.splitlines():
        print_message(line)


def print_table(
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    prose: Collection[str] = (),
    total: bool = False,
    null: str = "",
    plain: Collection[int] = (),
) -> None:
    """Print a table, with numbers aligned right. With `total`, a last line adds up the columns of numbers.

    `prose` names the columns of sentences, which are wrapped between words on a narrow terminal. Other cells are never wrapped, and in
    a pipe or a file no cell is. `null` is the text for None. Columns at the positions `plain` have numbers without thousands separators.
    """
    layout = lay_out(columns_of(names, rows, prose, total=total, null=null, plain=plain), terminal_width(), total=total)
    lines = [*([_bold(printable(title))] if title else []), *layout.lines, ""]
    _write(sys.stdout, "\n".join(lines) + "\n")
    if layout.left_out:
        blank = null or "empty or 0"
        _print_sentence(f"left out, {blank} in every row: {', '.join(layout.left_out)}; a wider terminal or a pipe (| cat) shows them")
        print_line("")


def _print_sentence(sentence: str) -> None:
    """Print a sentence of results, wrapped between words on a terminal."""
    width = terminal_width()
    for line in textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False) if width else [sentence]:
        print_line(line)


def terminal_width() -> int | None:
    """How wide a line on stdout may be; None if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def reader_is_gone(stream: TextIO) -> bool:
    """Whether the reader of the stream has closed it."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def discard(stream: TextIO) -> None:
    """Discard what is written to the stream from now on."""
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

"""Results on stdout: tables that read well on a terminal, in a log file and in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

# Where nobody tells how wide a line may be, as in a log file.
WIDTH = 160
# Values up to so many characters stay on one line, such as a time or an id of a run.
SHORT = 24


def tell(line: str) -> None:
    """One line of results."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]], *, total: bool = False) -> None:
    """A table; numbers stand right. With `total`, a last line adds up the columns of numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_footer=total, pad_edge=False)
    for place, name in enumerate(names):
        column = [row[place] for row in rows]
        is_number = bool(column) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in column if value is not None
        )
        footer = _spelled(sum(value or 0 for value in column)) if total and is_number else ("all" if place == 0 else "")
        is_short = all(len(_spelled(value)) <= SHORT for value in column)
        shown.add_column(name, justify="right" if is_number else "left", footer=footer, overflow="fold", no_wrap=is_short)
    for row in rows:
        shown.add_row(*(Text(_spelled(value)) for value in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH)
    console.print(shown)


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)

"""A terminal of a given width in place of stdout, and what must be true of tables on it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest

from jobs.console import printing
from jobs.console.table_layout import PrintedColumn

WIDTHS = (40, 80, 120, 160)


class Terminal(io.StringIO):
    """A stdout that is a terminal, or a pipe where `columns` is None."""

    def __init__(self, columns: int | None) -> None:
        super().__init__()
        self.columns = columns
        self.tables: list[Sequence[PrintedColumn]] = []

    def isatty(self) -> bool:
        return self.columns is not None

    def assert_whole(self) -> None:
        """Every cell of every table stands whole on one line; of sentences every word, in their order."""
        shown = self.getvalue()
        for columns in self.tables:
            for column in columns:
                for cell in column.cells if not column.is_blank else ():
                    assert stands_in(cell, shown, is_prose=column.is_prose), (column.name, cell)


def stands_in(cell: str, shown: str, *, is_prose: bool) -> bool:
    """Whether a cell can be read in what was printed, bounded by blanks or the ends of a line."""
    parts = cell.split() if is_prose else [cell.rstrip()]
    return all(not part.strip() or re.search(rf"(?m)(?:^|(?<= )){re.escape(part)}(?= |$)", shown) for part in parts)


def put_in_place(monkeypatch: pytest.MonkeyPatch, columns: int | None) -> Terminal:
    """Let what is printed from now on go to a terminal of so many columns, or into a pipe."""
    terminal = Terminal(columns)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns or 40))
    columns_of = printing.columns_of

    def recorded(*arguments: object, **options: object) -> list[PrintedColumn]:
        made = columns_of(*arguments, **options)  # type: ignore[arg-type]
        terminal.tables.append(made)
        return made

    monkeypatch.setattr(printing, "columns_of", recorded)
    return terminal

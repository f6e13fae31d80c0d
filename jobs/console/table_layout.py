"""Lay out a table as lines of text, so that no number, date or name is ever cut.

A table that is wider than its lines may be is made narrower step by step: first headings and sentences are wrapped between words,
then columns that are empty or 0 in every row are left out, at last each row becomes a block with one line per column.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

GAP = "  "
NARROW_GAP = " "
# A column of sentences is not made narrower than so many characters.
NARROWEST_PROSE = 24
# What follows a name in a block stands below it where it would have fewer characters than these.
NARROWEST_VALUE = 16


@dataclass(frozen=True)
class Column:
    """One column: its heading and its cells as they are printed, that of the total last where there is one."""

    name: str
    cells: Sequence[str]
    is_number: bool = False
    is_prose: bool = False  # sentences, which may be wrapped between words
    is_blank: bool = False  # empty or 0 in every row

    @property
    def natural(self) -> int:
        """The width at which nothing is wrapped."""
        return max(map(cells_wide, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """The width below which something would be cut."""
        heading = _longest_word(self.name)
        if not self.is_prose:
            return max([heading, *map(cells_wide, self.cells)])
        return max(heading, min(self.natural, max([NARROWEST_PROSE, *map(_longest_word, self.cells)])))


@dataclass(frozen=True)
class Layout:
    """The lines of a table, and the names of the columns that were left out of it."""

    lines: Sequence[str]
    left_out: Sequence[str] = field(default=())


def columns_of(names: Sequence[str], rows: Sequence[Sequence[Any]], prose: Collection[str] = (), *, total: bool = False) -> list[Column]:
    """The columns of a table; with `total` their last cell adds up those of numbers."""
    columns = []
    for position, name in enumerate(names):
        values = [row[position] for row in rows]
        is_number = bool(values) and all(map(_is_number, filter(lambda value: value is not None, values)))
        cells = [format_cell(value) for value in values]
        if total:
            cells.append("all" if position == 0 else format_cell(sum(value or 0 for value in values)) if is_number else "")
        is_blank = bool(rows) and all(value in (None, "", 0) and value is not False for value in values)
        columns.append(Column(printable(name), cells, is_number, name in prose, is_blank and position > 0))
    return columns


def lay_out(columns: Sequence[Column], width: int | None, *, total: bool = False) -> Layout:
    """The lines of a table that is so many characters wide; None for as wide as it is."""
    filled = [column for column in columns if not column.is_blank]
    left_out = [column.name for column in columns if column.is_blank]
    for shown, gap in ((columns, GAP), (filled, GAP), (filled, NARROW_GAP)):
        if (widths := _widths(shown, gap, width)) is not None:
            return Layout(_side_by_side(shown, widths, gap, total=total), [] if shown is columns else left_out)
    return Layout(_upright(filled, width or 0), left_out)


def format_cell(value: Any) -> str:
    """A value as a table shows it: numbers with thousands separators, text on one line and without control characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if 0 < abs(value) < 0.001:
            return f"{value:.3g}"
        return f"{value:.6g}" if abs(value) >= 1e15 else f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return printable(str(value))


def printable(text: str) -> str:
    r"""Text on one line that steers no terminal: control characters, newlines and the like as Python writes them, such as `\n`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def cells_wide(text: str) -> int:
    """How many characters of a terminal a text takes: those of East Asia take two each."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most this width, broken between words alone: a longer word has a longer line."""
    lines: list[str] = []
    for word in text.split():
        if lines and cells_wide(lines[-1]) + 1 + cells_wide(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _widths(columns: Sequence[Column], gap: str, width: int | None) -> list[int] | None:
    """The width of each column, so that nothing of them is cut; None where they do not fit."""
    natural = [column.natural for column in columns]
    if width is None:
        return natural
    room = width - len(gap) * (len(columns) - 1)
    if sum(natural) <= room:
        return natural
    widths = [column.least for column in columns]
    room -= sum(widths)
    if room < 0:
        return None
    # Headings first, whose lines cost most; what is left goes to the sentences, to each as much.
    for prose in (False, True):
        growing = [number for number, column in enumerate(columns) if column.is_prose is prose]
        while room > 0 and (growing := [number for number in growing if widths[number] < natural[number]]):
            for number in growing[:room]:
                widths[number] += 1
                room -= 1
    return widths


def _side_by_side(columns: Sequence[Column], widths: Sequence[int], gap: str, *, total: bool) -> list[str]:
    """One line per row, or more where sentences are wrapped; headings stand on the rule, values at the top."""
    headings = [wrapped(column.name, width) for column, width in zip(columns, widths, strict=True)]
    height = max(map(len, headings), default=0)
    lines = [_line(columns, widths, gap, [[""] * (height - len(part)) + part for part in headings], number) for number in range(height)]
    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    lines.append(rule)
    rows = len(columns[0].cells) if columns else 0
    for row in range(rows):
        if total and row == rows - 1:
            lines.append(rule)
        parts = [
            wrapped(column.cells[row], width) if column.is_prose and cells_wide(column.cells[row]) > width else [column.cells[row]]
            for column, width in zip(columns, widths, strict=True)
        ]
        lines += [_line(columns, widths, gap, parts, number) for number in range(max(map(len, parts)))]
    return lines


def _line(columns: Sequence[Column], widths: Sequence[int], gap: str, parts: Sequence[Sequence[str]], number: int) -> str:
    padded = []
    for column, width, part in zip(columns, widths, parts, strict=True):
        text = part[number] if number < len(part) else ""
        blank = " " * (width - cells_wide(text))
        padded.append(blank + text if column.is_number else text + blank)
    return gap.join(padded).rstrip()


def _upright(columns: Sequence[Column], width: int) -> list[str]:
    """A block per row, with a line per column; blocks are parted by an empty line."""
    indent = max((cells_wide(column.name) for column in columns), default=0) + len(GAP)
    rows = len(columns[0].cells) if columns else 0
    lines: list[str] = [] if rows else [column.name for column in columns]
    for row in range(rows):
        if row:
            lines.append("")
        for column in columns:
            value = column.cells[row]
            if column.is_prose and cells_wide(value) > width - indent:
                is_below = width - indent < NARROWEST_VALUE
                first, *rest = wrapped(value, width - (len(GAP) if is_below else indent))
                hanging = " " * (len(GAP) if is_below else indent)
                lines.append(column.name if is_below else _named(column.name, indent) + first)
                lines += [hanging + line for line in ([first, *rest] if is_below else rest)]
            else:
                lines.append((_named(column.name, indent) + value).rstrip())
    return lines


def _named(name: str, indent: int) -> str:
    return name + " " * (indent - cells_wide(name))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _longest_word(text: str) -> int:
    return max(map(cells_wide, text.split()), default=0)

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
# A column of sentences is at least so many characters wide.
NARROWEST_PROSE = 24
# A value in a block is printed below its name if the room next to the name is smaller than so many characters.
NARROWEST_VALUE = 16


@dataclass(frozen=True)
class PrintedColumn:
    """One column: its heading and its cells as they are printed. With a total, that is the last cell."""

    name: str
    cells: Sequence[str]
    is_number: bool = False
    is_prose: bool = False  # sentences, which may be wrapped between words
    is_blank: bool = False  # empty or 0 in every row

    @property
    def full_width(self) -> int:
        """The width at which nothing is wrapped."""
        return max(map(cells_wide, (self.name, *self.cells)))

    @property
    def minimum_width(self) -> int:
        """The smallest width at which nothing is cut."""
        heading = _longest_word(self.name)
        if not self.is_prose:
            return max([heading, *map(cells_wide, self.cells)])
        return max(heading, min(self.full_width, max([NARROWEST_PROSE, *map(_longest_word, self.cells)])))


@dataclass(frozen=True)
class Layout:
    """The lines of a table, and the names of the columns that were left out of it."""

    lines: Sequence[str]
    left_out: Sequence[str] = field(default=())


def columns_of(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    prose: Collection[str] = (),
    *,
    total: bool = False,
    null: str = "",
    plain: Collection[int] = (),
) -> list[PrintedColumn]:
    """The columns of a table. With `total`, a last cell adds up each column of numbers.

    `null` is the text for None; if it is not empty, only a column without any value counts as blank. The columns at the positions `plain`
    have numbers without thousands separators.
    """
    columns = []
    for position, name in enumerate(names):
        values = [row[position] for row in rows]
        is_number = bool(values) and all(map(_is_number, filter(lambda value: value is not None, values)))
        cells = [null if value is None else format_cell(value, separators=position not in plain) for value in values]
        if total:
            cells.append("all" if position == 0 else format_cell(sum(value or 0 for value in values)) if is_number else "")
        is_blank = bool(rows) and all(value is None or (not null and value in ("", 0) and value is not False) for value in values)
        columns.append(PrintedColumn(printable(name), cells, is_number, name in prose, is_blank and position > 0))
    return columns


def lay_out(columns: Sequence[PrintedColumn], width: int | None, *, total: bool = False) -> Layout:
    """The lines of a table that is at most `width` characters wide; None for any width."""
    filled = [column for column in columns if not column.is_blank]
    left_out = [column.name for column in columns if column.is_blank]
    for shown, gap in ((columns, GAP), (filled, GAP), (filled, NARROW_GAP)):
        if (widths := _widths(shown, gap, width)) is not None:
            return Layout(_side_by_side(shown, widths, gap, total=total), [] if shown is columns else left_out)
    return Layout(_as_blocks(filled, width or 0), left_out)


def format_cell(value: Any, *, separators: bool = True) -> str:
    """A value as a table shows it: numbers with thousands separators, text on one line and without control characters."""
    if not separators and _is_number(value):
        return format_cell(value).replace(",", "")
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
    r"""Text on one line without control characters: they and newlines are escaped as Python escapes them, such as `\n`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def cells_wide(text: str) -> int:
    """How many characters of a terminal a text takes. Characters of East Asia take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most this width, broken between words. A longer word gets a longer line."""
    lines: list[str] = []
    for word in text.split():
        if lines and cells_wide(lines[-1]) + 1 + cells_wide(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _widths(columns: Sequence[PrintedColumn], gap: str, width: int | None) -> list[int] | None:
    """The width of each column so that nothing is cut; None if they do not fit."""
    full_width = [column.full_width for column in columns]
    if width is None:
        return full_width
    room = width - len(gap) * (len(columns) - 1)
    if sum(full_width) <= room:
        return full_width
    widths = [column.minimum_width for column in columns]
    room -= sum(widths)
    if room < 0:
        return None
    # First headings, because a heading of two lines makes the table taller. The rest is divided equally among columns of sentences.
    for prose in (False, True):
        growing = [number for number, column in enumerate(columns) if column.is_prose is prose]
        while room > 0 and (growing := [number for number in growing if widths[number] < full_width[number]]):
            for number in growing[:room]:
                widths[number] += 1
                room -= 1
    return widths


def _side_by_side(columns: Sequence[PrintedColumn], widths: Sequence[int], gap: str, *, total: bool) -> list[str]:
    """One line per row, or more if sentences are wrapped. Headings are aligned at the bottom, values at the top."""
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


def _line(columns: Sequence[PrintedColumn], widths: Sequence[int], gap: str, parts: Sequence[Sequence[str]], number: int) -> str:
    padded = []
    for column, width, part in zip(columns, widths, parts, strict=True):
        text = part[number] if number < len(part) else ""
        blank = " " * (width - cells_wide(text))
        padded.append(blank + text if column.is_number else text + blank)
    return gap.join(padded).rstrip()


def _as_blocks(columns: Sequence[PrintedColumn], width: int) -> list[str]:
    """A block per row, with a line per column. An empty line separates blocks."""
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
                lines.append(column.name if is_below else _padded_name(column.name, indent) + first)
                lines += [hanging + line for line in ([first, *rest] if is_below else rest)]
            else:
                lines.append((_padded_name(column.name, indent) + value).rstrip())
    return lines


def _padded_name(name: str, indent: int) -> str:
    return name + " " * (indent - cells_wide(name))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _longest_word(text: str) -> int:
    return max(map(cells_wide, text.split()), default=0)

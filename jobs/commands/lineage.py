"""The drawing of which table is computed from which: boxes in columns, from what they come from on the left to what uses them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.table import ORIGINS, Table

# In pixels. Names are set in a monospaced face of 12 px.
CHARACTER = 7.3
BOX_HEIGHT = 26
BOX_PADDING = 10
_ROW_GAP = 12
_COLUMN_GAP = 96


@dataclass(frozen=True)
class Box:
    """A table, or what tables come from, at its place in the drawing."""

    name: str
    is_table: bool
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        """The height at which lines begin and end."""
        return self.y + BOX_HEIGHT / 2


@dataclass(frozen=True)
class Drawing:
    """The boxes, the paths of the lines between them, and the size of the whole."""

    boxes: Sequence[Box]
    lines: Sequence[str]
    width: float
    height: float


def used_by(tables: Iterable[Table]) -> dict[str, list[str]]:
    """Per table or origin the tables that are computed from it."""
    users: dict[str, list[str]] = {}
    for table in tables:
        for name in table.built_from:
            users.setdefault(name, []).append(table.name)
    return users


def draw(tables: Sequence[Table]) -> Drawing:
    """The drawing. A table is one column to the right of the last of those that it is computed from."""
    columns = _columns(tables)
    inputs = {table.name: table.built_from for table in tables}
    boxes: dict[str, Box] = {}
    x = 0.0
    height = max(len(column) for column in columns) * (BOX_HEIGHT + _ROW_GAP) - _ROW_GAP
    for column in columns:
        ordered = _by_height(column, inputs, boxes)
        width = max(map(len, column)) * CHARACTER + 2 * BOX_PADDING
        y = (height - len(ordered) * (BOX_HEIGHT + _ROW_GAP) + _ROW_GAP) / 2
        for name in ordered:
            boxes[name] = Box(name, name in inputs, x, y, width)
            y += BOX_HEIGHT + _ROW_GAP
        x += width + _COLUMN_GAP
    lines = [_line(boxes[name], boxes[table.name]) for table in tables for name in table.built_from]
    return Drawing(list(boxes.values()), lines, x - _COLUMN_GAP, height)


def _columns(tables: Sequence[Table]) -> list[list[str]]:
    """The names in each column, from left to right."""
    inputs = {table.name: table.built_from for table in tables}

    def column_of(name: str) -> int:
        return 1 + max((column_of(one) for one in inputs[name]), default=0) if name in inputs else 0

    names = [*(origin for origin in ORIGINS if origin in used_by(tables)), *inputs]
    columns: list[list[str]] = [[] for _ in range(1 + max(map(column_of, names)))]
    for name in names:
        columns[column_of(name)].append(name)
    return columns


def _by_height(column: Sequence[str], inputs: Mapping[str, Sequence[str]], boxes: Mapping[str, Box]) -> list[str]:
    """The names of a column by the mean height of what they are computed from: fewer lines cross."""

    def height(name: str) -> float:
        heights = [boxes[one].y for one in inputs.get(name, ())]
        return sum(heights) / len(heights) if heights else 0.0

    return sorted(column, key=height)


def _line(left: Box, right: Box) -> str:
    """A curve from the right side of one box to the left side of another one."""
    start, end = left.x + left.width, right.x
    middle = (start + end) / 2
    return f"M{start:.1f} {left.middle:.1f}C{middle:.1f} {left.middle:.1f} {middle:.1f} {right.middle:.1f} {end:.1f} {right.middle:.1f}"

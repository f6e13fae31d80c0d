"""The drawing of which table is computed from which: boxes in columns, from what they come from on the left to what uses them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.table import ORIGINS, Table

# In pixels. Names are set in a monospaced face of 12 px.
CHARACTER = 7.3
BOX_HEIGHT = 26
BOX_PADDING = 10
_ROW_GAP = 12
_COLUMN_GAP = 96


@dataclass(frozen=True)
class Box:
    """The place of a table, of what tables come from, or of a line that crosses a column."""

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
        for name in table.computed_from:
            users.setdefault(name, []).append(table.name)
    return users


def draw(tables: Sequence[Table]) -> Drawing:
    """The drawing. A table is one column to the right of the last of those that it is computed from.

    A line that crosses a column has a place there of its own, so that it does not pass behind a box.
    """
    inputs = {table.name: table.computed_from for table in tables}
    column_of = _column_numbers(inputs)
    places = _places(inputs, column_of)
    height = max(map(len, places)) * (BOX_HEIGHT + _ROW_GAP) - _ROW_GAP
    boxes: dict[tuple[str, int], Box] = {}
    x = 0.0
    for number, names in enumerate(places):
        here = [name for name in names if column_of[name] == number]
        width = max(map(len, here)) * CHARACTER + 2 * BOX_PADDING
        y = (height - len(names) * (BOX_HEIGHT + _ROW_GAP) + _ROW_GAP) / 2
        for name in _by_height(names, number, inputs, boxes):
            boxes[name, number] = Box(name, name in inputs, x, y, width)
            y += BOX_HEIGHT + _ROW_GAP
        x += width + _COLUMN_GAP
    lines = [
        _line([*(boxes[name, number] for number in range(column_of[name], column_of[table])), boxes[table, column_of[table]]])
        for table, names in inputs.items()
        for name in names
    ]
    shown = [box for (name, number), box in boxes.items() if column_of[name] == number]
    return Drawing(shown, lines, x - _COLUMN_GAP, height)


def _column_numbers(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The column of every table and of what tables come from, counted from the left."""

    def number(name: str) -> int:
        return 1 + max(map(number, inputs[name]), default=0) if name in inputs else 0

    used = {name for names in inputs.values() for name in names}
    return {name: number(name) for name in (*(origin for origin in ORIGINS if origin in used), *inputs)}


def _places(inputs: Mapping[str, Sequence[str]], column_of: Mapping[str, int]) -> list[list[str]]:
    """Per column the names that have a place there: those of the column, and those whose lines cross it."""
    last = dict(column_of)
    for table, names in inputs.items():
        for name in names:
            last[name] = max(last[name], column_of[table] - 1)
    columns = range(1 + max(column_of.values()))
    return [[name for name in column_of if column_of[name] <= number <= last[name]] for number in columns]


def _by_height(names: Sequence[str], column: int, inputs: Mapping[str, Sequence[str]], boxes: Mapping[tuple[str, int], Box]) -> list[str]:
    """The names of a column by the mean height of what their lines come from: fewer lines cross."""

    def height(name: str) -> float:
        before = [name] if (name, column - 1) in boxes else inputs.get(name, ())
        heights = [boxes[one, column - 1].y for one in before if (one, column - 1) in boxes]
        return sum(heights) / len(heights) if heights else 0.0

    return sorted(names, key=height)


def _line(stops: Sequence[Box]) -> str:
    """A curve from the right side of the first box to the left side of the last one, straight through the places between."""
    path = f"M{stops[0].x + stops[0].width:.1f} {stops[0].middle:.1f}"
    for left, right in pairwise(stops):
        start, end = left.x + left.width, right.x
        middle = (start + end) / 2
        path += f"C{middle:.1f} {left.middle:.1f} {middle:.1f} {right.middle:.1f} {end:.1f} {right.middle:.1f}"
        if right is not stops[-1]:
            path += f"H{right.x + right.width:.1f}"
    return path

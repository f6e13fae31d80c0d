"""Plots with axes: lines over dates or periods, and stacked bars over dates. Numbers in, shapes with positions in pixels out."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jobs.commands.plot_shapes import Bar, Curve, Dot, Plot, StraightLine, Text

Values = Mapping[int, float]  # per position on the x axis

_TOP, _BOTTOM, _RIGHT = 8, 20, 8  # margins, px
_CHARACTER = 7.0  # width of a digit of 11 px
_LABEL_GAP = 12  # least distance of two labels of the x axis
_DOTS_UP_TO = 14  # points of a curve that are marked one by one
# Above it, the next round number is too large for a double.
_HIGHEST = 1e300
SERIES = ("s1", "s2", "s3", "s4")  # colours and dashes of the style sheet


@dataclass(frozen=True)
class Size:
    """The size of a plot in pixels."""

    width: float
    height: float


LOW = Size(232, 124)
HIGH = Size(232, 156)
_SHARES_WIDTH = 320


@dataclass(frozen=True)
class Axis:
    """The x axis: the names of its positions, and which of them may be labelled."""

    names: Sequence[str]  # as titles have them
    labels: Mapping[int, str]  # as the axis has them, per position, from left to right


def date_axis(dates: Sequence[dt.date]) -> Axis:
    """An axis of successive dates, labelled on Mondays; on all dates if there are at most seven."""
    few = len(dates) <= 7
    labels = {number: f"{date:%-d %b}" for number, date in enumerate(dates) if few or date.weekday() == 0}
    return Axis([date.isoformat() for date in dates], labels)


def period_axis(unit: str, periods: int) -> Axis:
    """An axis of the periods from 1 on, labelled every seventh day or every fourth week; all of them if they are few."""
    every = 7 if unit == "day" else 4
    labelled = range(1, periods + 1) if periods <= every else range(every, periods + 1, every)
    labels = {period - 1: f"{unit} {period}" if period == labelled[0] else str(period) for period in labelled}
    return Axis([f"{unit} {period}" for period in range(1, periods + 1)], labels)


def line_plot(
    label: str, series: Mapping[str, Values], axis: Axis, format_value: Callable[[float], str], *, size: Size, highest: float | None = None
) -> Plot:
    """A curve per series, at most four. A position without a value interrupts its curve. The y axis begins at 0, and cuts what is below.

    `highest` is the value at the top of the y axis; by default it follows from the values.
    """
    plot = Plot(label, size.width, size.height)
    top = highest if highest is not None else _round_up(max((value for values in series.values() for value in values.values()), default=0))
    place = _axes(plot, axis, top, format_value)
    # The first series is drawn last: on top.
    for kind, (_, values) in reversed(list(zip(SERIES, series.items(), strict=False))):
        for run in _runs(values):
            points = [(place.x(position), place.y(values[position])) for position in run]
            if len(points) > 1:
                plot.curves.append(Curve(points, kind))
            if len(points) == 1 or len(values) <= _DOTS_UP_TO:
                plot.dots += [Dot(x, y, kind) for x, y in points]
        if len(values) > _DOTS_UP_TO:
            last = max(values)
            plot.dots.append(Dot(place.x(last), place.y(values[last]), kind))
    _add_targets(plot, series, axis, place, format_value)
    return plot


def stacked_bars(
    label: str, series: Mapping[str, Values], axis: Axis, format_value: Callable[[float], str], *, size: Size, kinds: Sequence[str] = SERIES
) -> Plot:
    """A bar per position, of the series from the floor upwards. Values below 0 have a title alone."""
    plot = Plot(label, size.width, size.height)
    totals = [sum(values.get(position, 0) for values in series.values()) for position in range(len(axis.names))]
    place = _axes(plot, axis, _round_up(max(totals, default=0)), format_value)
    width = max(place.step - 1.5, place.step * 0.6)
    for position in range(len(axis.names)):
        below = 0.0
        for kind, values in zip(kinds, series.values(), strict=False):
            value = values.get(position, 0)
            if value > 0:
                y = place.y(below + value)
                plot.bars.append(Bar(place.x(position) - width / 2, y, width, place.y(below) - y, kind))
                below += value
    _add_targets(plot, series, axis, place, format_value)
    return plot


@dataclass(frozen=True)
class _Place:
    """Where values stand: pixels of positions and values."""

    left: float
    step: float
    floor: float
    scale: float

    def x(self, position: int) -> float:
        return self.left + (position + 0.5) * self.step

    def y(self, value: float) -> float:
        return self.floor - max(value, 0) * self.scale


def _axes(plot: Plot, axis: Axis, top: float, format_value: Callable[[float], str]) -> _Place:
    """Draw the axes. Gives the scales of both."""
    floor = plot.height - _BOTTOM
    ticks = [format_value(top * part) for part in (0, 0.5, 1)]
    left = max(map(len, ticks)) * _CHARACTER + 6
    place = _Place(left, (plot.width - left - _RIGHT) / max(len(axis.names), 1), floor, (floor - _TOP) / top)
    for part, text in zip((0, 0.5, 1), ticks, strict=True):
        y = place.y(top * part)
        plot.lines.append(StraightLine(left, y, plot.width - _RIGHT, y, "axis" if part == 0 else "grid"))
        plot.words.append(Text(left - 5, y + 4, text, "end"))
    for x, middle, text in _labels_that_fit(axis, place, plot.width):
        plot.words.append(Text(middle, plot.height - 5, text))
        plot.lines.append(StraightLine(x, floor, x, floor + 3, "tick"))
    return place


def _labels_that_fit(axis: Axis, place: _Place, width: float) -> list[tuple[float, float, str]]:
    """Tick position, text position and text of each label of the x axis; of every second one if they would overlap, and so on."""
    every = []
    for position, text in axis.labels.items():
        x, half = place.x(position), len(text) * _CHARACTER / 2
        every.append((x, min(max(x, place.left + half), width - half), text))
    for step in range(1, len(every)):
        chosen = every[::step]
        gaps = [after[1] - before[1] - (len(before[2]) + len(after[2])) * _CHARACTER / 2 for before, after in pairwise(chosen)]
        if min(gaps) >= _LABEL_GAP:
            return chosen
    return every[:1]


def _add_targets(plot: Plot, series: Mapping[str, Values], axis: Axis, place: _Place, format_value: Callable[[float], str]) -> None:
    """Add where the pointer shows the values of a position."""
    for position, name in enumerate(axis.names):
        shown = [(of, values[position]) for of, values in series.items() if position in values]
        if shown:
            text = ", ".join(f"{format_value(value)} {of}".rstrip() for of, value in shown)
            plot.targets.append(Bar(place.x(position) - place.step / 2, 0, place.step, place.floor, "target", f"{name}: {text}"))


def _runs(values: Values) -> list[list[int]]:
    """The positions that have values, split where one has none."""
    runs: list[list[int]] = []
    for position in sorted(values):
        if runs and runs[-1][-1] == position - 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def _round_up(value: float) -> float:
    """The next number that is round, and half of which is round, too; 1 for 0."""
    if value <= 0 or value > _HIGHEST:
        return max(value, 1.0)
    power = 10.0 ** math.floor(math.log10(value))
    return next((factor * power for factor in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8) if value <= factor * power * (1 + 1e-9)), 10 * power)


@dataclass(frozen=True)
class Share:
    """A row of a plot of shares: a name on the left, a text on the right, and below both a bar of so much of the whole width."""

    name: str
    text: str
    share: float
    title: str


_SHARE_HEIGHT = 34


def share_bars(label: str, shares: Sequence[Share]) -> Plot:
    """A bar per share, from top to bottom."""
    width = _SHARES_WIDTH
    plot = Plot(label, width, max(len(shares), 1) * _SHARE_HEIGHT)
    for number, share in enumerate(shares):
        y = number * _SHARE_HEIGHT
        room = max(int(width / _CHARACTER) - len(share.text) - 2, 8)
        name = share.name if len(share.name) <= room else share.name[: room - 1] + "…"
        plot.words += [Text(0, y + 12, name, "start", "name"), Text(width, y + 12, share.text, "end")]
        filled = max(width * min(share.share, 1), 1.0 if share.share > 0 else 0.0)
        plot.bars += [Bar(0, y + 17, width, 9, "rest"), Bar(0, y + 17, filled, 9, "s1")]
        plot.targets.append(Bar(0, y, width, _SHARE_HEIGHT - 4, "target", share.title))
    return plot

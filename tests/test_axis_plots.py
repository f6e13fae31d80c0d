"""Plots with axes: where values stand, what the pointer shows, and that no label lies on another."""

from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise

import pytest

from jobs.commands import axis_plots
from jobs.commands.axis_plots import HIGH, LOW, Axis, Share
from jobs.commands.number_formats import number
from jobs.commands.plot_shapes import Plot

MONDAY = dt.date(2026, 11, 2)


def dates(count: int) -> list[dt.date]:
    return [MONDAY + dt.timedelta(days=days) for days in range(count)]


def plot_of(*series: dict[int, float], count: int = 10) -> Plot:
    named = {f"series {number}": values for number, values in enumerate(series)}
    return axis_plots.line_plot("a plot", named, axis_plots.date_axis(dates(count)), number, size=LOW)


def test_a_value_twice_as_high_stands_twice_as_far_from_the_floor() -> None:
    (curve,) = plot_of({0: 0, 1: 30, 2: 60}).curves
    floor = LOW.height - 20
    heights = [floor - y for _, y in curve.points]
    assert heights[0] == 0
    assert heights[2] == pytest.approx(2 * heights[1])
    assert heights[2] == pytest.approx(floor - 8)  # 60 is round, and so the top of the axis


def test_a_date_without_a_value_interrupts_the_curve() -> None:
    plot = plot_of({0: 1, 1: 2, 3: 3, 5: 4, 6: 5})
    assert [len(curve.points) for curve in plot.curves] == [2, 2]
    assert len(plot.dots) == 5  # among them the one at 3, which is on no curve


def test_the_pointer_shows_every_series_that_has_a_value_there() -> None:
    titles = [target.title for target in plot_of({0: 1_500, 1: 2}, {1: 7}).targets]
    assert titles == ["2026-11-02: 1,500 series 0", "2026-11-03: 2 series 0, 7 series 1"]


def test_bars_are_stacked_in_the_order_of_the_series() -> None:
    axis = axis_plots.date_axis(dates(2))
    plot = axis_plots.stacked_bars("a plot", {"below": {0: 30, 1: 10}, "above": {0: 30}}, axis, number, size=HIGH)
    lower, upper, other = plot.bars
    assert (lower.kind, upper.kind, other.kind) == ("s1", "s2", "s1")
    assert upper.y + upper.height == pytest.approx(lower.y)
    assert lower.height == pytest.approx(3 * other.height)


@pytest.mark.parametrize("values", [{0: -5.0, 1: 3.0}, {0: 1.7e308, 1: 1.0}, {0: 0.0}, {}, {0: 1e-9}])
def test_every_number_has_a_place_within_the_plot(values: dict[int, float]) -> None:
    axis = axis_plots.date_axis(dates(2))
    for plot in (plot_of(values, count=2), axis_plots.stacked_bars("a plot", {"": values}, axis, number, size=LOW)):
        places = [place for curve in plot.curves for point in curve.points for place in point]
        places += [place for bar in plot.bars for place in (bar.x, bar.y, bar.width, bar.height)]
        places += [place for line in plot.lines for place in (line.x1, line.y1, line.x2, line.y2)]
        assert all(math.isfinite(place) and -1 <= place <= LOW.width for place in places)


@pytest.mark.parametrize("count", range(1, 57, 5))
def test_labels_of_dates_are_apart_and_at_equal_distances(count: int) -> None:
    plot = plot_of({0: 1_000}, count=count)
    labels = [word for word in plot.words if word.anchor == "middle"]
    assert labels
    for before, after in pairwise(labels):
        assert after.x - before.x > 3.5 * (len(before.text) + len(after.text))
    ticks = [line.x1 for line in plot.lines if line.kind == "tick"]
    assert len({round(after - before, 3) for before, after in pairwise(ticks)}) <= 1


def test_a_week_is_labelled_on_its_monday() -> None:
    plot = plot_of({0: 1}, count=20)
    assert [word.text for word in plot.words if word.anchor == "middle"] == ["2 Nov", "9 Nov", "16 Nov"]


def test_periods_are_labelled_in_weeks_or_months_or_one_by_one_where_they_are_few() -> None:
    assert list(axis_plots.period_axis("day", 28).labels.items()) == [(6, "day 7"), (13, "14"), (20, "21"), (27, "28")]
    assert list(axis_plots.period_axis("week", 3).labels.values()) == ["week 1", "2", "3"]
    assert axis_plots.period_axis("week", 3).names == ["week 1", "week 2", "week 3"]


@pytest.mark.parametrize(
    ("highest", "top"), [(0, "1"), (1, "1"), (7, "8"), (8, "8"), (9, "10"), (101, "120"), (119, "120"), (4_100, "5,000"), (0.03, "0.03")]
)
def test_the_axis_ends_at_the_next_round_number(highest: float, top: str) -> None:
    def plain(value: float) -> str:
        return f"{value:,.2f}".rstrip("0").rstrip(".")

    plot = axis_plots.line_plot("a plot", {"": {0: highest}}, Axis(["a"], {}), plain, size=LOW)
    assert [word.text for word in plot.words if word.anchor == "end"][-1] == top


def test_a_share_is_that_much_of_the_whole_width_and_a_long_name_is_cut() -> None:
    plot = axis_plots.share_bars("shares", [Share("first", "10", 1.0, "first: 10"), Share("second " * 20, "4", 0.4, "second: 4")])
    filled = [bar.width for bar in plot.bars if bar.kind == "s1"]
    assert filled == [plot.width, pytest.approx(0.4 * plot.width)]
    cut = plot.words[2].text
    assert cut.endswith("…")
    assert len(cut) * 7 < plot.width
    assert [target.title for target in plot.targets] == ["first: 10", "second: 4"]

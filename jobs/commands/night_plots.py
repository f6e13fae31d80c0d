"""The plots of one night: numbers in, shapes with positions in pixels out."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from jobs.commands.night_facts import BINS, BINS_PER_DECADE, NIGHTS, LandingHour, SessionDurations, StepTimes
from jobs.commands.plot_shapes import Bar, Plot, StraightLine, Text

PANEL_WIDTH = 232
PANEL_HEIGHT = 116
SPARK_WIDTH = 84
SPARK_HEIGHT = 22
STEP_WIDTH = 280
STEP_HEIGHT = 14
SHARE_WIDTH = 200
SHARE_HEIGHT = 12

_LEFT, _TOP, _BOTTOM = 2, 14, 20  # margins of a panel's bars, px
_NAME_WIDTH = 46
_TICK_HOURS = (0, 6, 12, 18)
_TICK_SECONDS = ((1, "1 s"), (10, ""), (60, "1 min"), (600, ""), (3_600, "1 h"), (36_000, "10 h"))


def sparkline(label: str, values: Mapping[dt.date, float], nights: Sequence[dt.date], format_value: Callable[[float], str]) -> Plot:
    """A bar per night, the last one highlighted. A night without a value has no bar."""
    plot = Plot(label, SPARK_WIDTH, SPARK_HEIGHT)
    plot.lines.append(StraightLine(0, SPARK_HEIGHT + 0.5, SPARK_WIDTH - 1.5, SPARK_HEIGHT + 0.5, "base"))
    most = max((values.get(night, 0) for night in nights), default=0)
    step = SPARK_WIDTH / NIGHTS
    for index, night in enumerate(nights):
        if night in values:
            height = max(1.0, SPARK_HEIGHT * values[night] / most) if most > 0 else 1.0
            kind = "tonight" if night == nights[-1] else "before"
            plot.bars.append(Bar(index * step, SPARK_HEIGHT - height, step - 1.5, height, kind, f"{night}: {format_value(values[night])}"))
    return plot


def shares(label: str, parts: Iterable[tuple[str, int]]) -> Plot:
    """Counts as parts of one bar; `parts` are kind and count."""
    plot = Plot(label, SHARE_WIDTH, SHARE_HEIGHT)
    counted = [(kind, count) for kind, count in parts if count]
    total = sum(count for _, count in counted)
    # Every part is wide enough to be seen.
    least = 1.5
    room = SHARE_WIDTH - least * len(counted)
    x = 0.0
    for kind, count in counted:
        width = least + room * count / total
        plot.bars.append(Bar(x, 0, width, SHARE_HEIGHT, kind, f"{kind}: {count:,} of {total:,}"))
        x += width
    return plot


def arrivals(source: str, hours: Sequence[LandingHour]) -> Plot:
    """The accepted events of a source per hour of arrival, late ones on top; hours without a file are marked."""
    by_hour = {hour.hour: hour for hour in hours}
    # Files whose path names no hour stand before midnight, as they sort.
    slots: list[int | None] = [*([None] if None in by_hour else []), *range(24)]
    most = max((hour.events for hour in hours), default=0)
    total, late = sum(hour.events for hour in hours), sum(hour.late for hour in hours)
    plot = _panel(
        f"{source}: {total:,} events, of which {late:,} late, by hour of arrival; {most:,} in the fullest hour", f"max {most:,} an hour"
    )
    step = (PANEL_WIDTH - 2 * _LEFT) / len(slots)
    scale = _bar_room() / most if most else 0.0
    for index, slot in enumerate(slots):
        x, hour = _LEFT + index * step, by_hour.get(slot)
        name = "no hour" if slot is None else f"{slot:02}:00"
        if hour is None:
            plot.bars.append(Bar(x, _TOP, step - 1, _bar_room(), "missing", f"{name}: no file"))
            continue
        unreadable = f", of which {hour.unreadable:,} unreadable" if hour.unreadable else ""
        title = f"{name}: {hour.events:,} events, {hour.late:,} late, {hour.files:,} {'file' if hour.files == 1 else 'files'}{unreadable}"
        on_time = hour.events - hour.late
        plot.bars.append(Bar(x, _floor() - on_time * scale, step - 1, on_time * scale, "accepted", title))
        if hour.late:
            plot.bars.append(Bar(x, _floor() - hour.events * scale, step - 1, hour.late * scale, "late", title))
        if hour.unreadable:
            plot.bars.append(Bar(x, _floor() + 1, step - 1, 3, "refused", title))
    for index, slot in enumerate(slots):
        if slot is None or slot in _TICK_HOURS:
            x = _LEFT + (index + 0.5) * step - 0.5
            plot.words.append(Text(x, PANEL_HEIGHT - 5, "none" if slot is None else f"{slot:02}", "start" if index == 0 else "middle"))
            plot.lines.append(StraightLine(x, _floor(), x, _floor() + 3, "tick"))
    return plot


def durations(source: str, sessions: SessionDurations, points: Mapping[str, float]) -> Plot:
    """How long the sessions of a source lasted, on a logarithmic scale; `points` are the two named durations, in ms, to mark."""
    short, *longer = sessions.bins
    most, total = max(longer, default=0) or short, short + sum(longer)
    # If most sessions are a single event, their bar is cut and its count is written, so that the other bars can be seen.
    notes = [f"max {most:,}"] + ([f"{short:,} under 1 s"] if short > most else [])
    notes += [f"{sessions.without_duration:,} unknown"] if sessions.without_duration else []
    label = f"{source}: durations of {total:,} sessions that began on {sessions.began}; {', '.join(notes)}"
    plot = _panel(label, ", ".join(notes))
    # The scale begins at one second. Shorter sessions have a bar before it.
    step = (PANEL_WIDTH - 2 * _LEFT) / (BINS + 3)
    zero = _LEFT + 3 * step

    def x_of(seconds: float) -> float:
        return zero + min(max(math.log10(max(seconds, 1e-3)) * BINS_PER_DECADE, -2.5), BINS) * step

    scale = _bar_room() / most if most else 0.0
    for number, count in enumerate(sessions.bins):
        x = _LEFT if number == 0 else zero + (number - 1) * step
        reach = "under 1 s" if number == 0 else f"from {_edge(number - 1)}" + ("" if number == BINS else f" to {_edge(number)}")
        if count:
            height = max(1.0, min(count, most) * scale)
            plot.bars.append(Bar(x, _floor() - height, step - 1, height, "accepted", f"{reach}: {count:,} sessions"))
        if count > most:
            plot.bars.append(Bar(x - 1, _TOP + 8, step + 1, 3, "cut"))
    for seconds, text in _TICK_SECONDS:
        plot.words.append(Text(x_of(seconds), PANEL_HEIGHT - 5, text))
        plot.lines.append(StraightLine(x_of(seconds), _floor(), x_of(seconds), _floor() + 3, "tick"))
    plot.words.append(Text(_LEFT, PANEL_HEIGHT - 5, "<1", "start"))
    # The name of the lower one is on its left and that of the higher one on its right, so that they do not overlap.
    for number, (name, milliseconds) in enumerate(points.items()):
        x = x_of(milliseconds / 1000)
        on_the_left = number == 0 and x > _NAME_WIDTH
        plot.lines.append(StraightLine(x, 2, x, _floor(), "point"))
        plot.words.append(Text(x - 3 if on_the_left else x + 3, _TOP - 4, name, "end" if on_the_left else "start", "point"))
    return plot


def step_bar(step: StepTimes, seconds: float) -> Plot:
    """When a step ran, within the seconds that the whole run took."""
    plot = Plot(f"{step.name}: {step.seconds:,.1f} s, from second {step.offset:,.1f}", STEP_WIDTH, STEP_HEIGHT)
    scale = STEP_WIDTH / seconds if seconds > 0 else 0.0
    width = max(1.5, step.seconds * scale)
    plot.bars.append(Bar(min(step.offset * scale, STEP_WIDTH - width), 2, width, STEP_HEIGHT - 4, "accepted", plot.label))
    return plot


def _panel(label: str, highest: str) -> Plot:
    plot = Plot(label, PANEL_WIDTH, PANEL_HEIGHT, highest)
    plot.lines.append(StraightLine(0, _floor(), PANEL_WIDTH, _floor(), "axis"))
    return plot


def _floor() -> float:
    return PANEL_HEIGHT - _BOTTOM


def _bar_room() -> float:
    return _floor() - _TOP


def _edge(bins: int) -> str:
    seconds = 10 ** (bins / BINS_PER_DECADE)
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"

"""The headline numbers of the marts as the report and the site show them: formatted, with their change over a week, and as plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jobs.commands import axis_plots
from jobs.commands.mart_facts import RETENTION_DAYS, TREND_DATES, WINDOWS, Headline, MartFacts
from jobs.commands.number_formats import number, percent_change, points_change, share
from jobs.commands.plot_shapes import Plot


@dataclass(frozen=True)
class Cell:
    """A number of a table, how it has changed over a week, and what it was before; the last two are empty where that is not known."""

    value: str
    change: str = ""
    before: str = ""

    @property
    def direction(self) -> str:
        """Up, down, or neither."""
        return {"+": "up", "−": "down"}.get(self.change[:1], "")


@dataclass(frozen=True)
class HeadlineRow:
    """One row of a table of headline numbers."""

    names: Sequence[str]
    cells: Sequence[Cell]
    note: str = ""


@dataclass(frozen=True)
class TrendPanel:
    """A metric of a source over the weeks; `plot` is None where there are too few dates for one."""

    name: str
    unit: str
    plot: Plot | None


@dataclass(frozen=True)
class Headlines:
    """All headline numbers and trends of a night."""

    visitors: Sequence[HeadlineRow]
    visitor_headings: Sequence[str]
    purchases: Sequence[HeadlineRow]
    funnels: Sequence[HeadlineRow]
    notes: Sequence[str]  # what is not there yet, and when it will be
    trends: Mapping[str, Sequence[TrendPanel]]  # per source
    trend_dates: int
    weeks: int  # at most so many


def of(facts: MartFacts) -> Headlines:
    """The headline numbers and trends of these facts."""
    windows = [f"{days} day{'s' if days > 1 else ''}" for days in WINDOWS]
    return Headlines(
        visitors=list(_visitors(facts)),
        visitor_headings=[*windows, *(f"back on day {days}" for days in RETENTION_DAYS)],
        purchases=[
            HeadlineRow([one.source, one.currency or "own currency"], [_count(one.transactions), _count(one.value, digits=2)])
            for one in facts.purchases
        ],
        funnels=[
            HeadlineRow(
                [one.funnel, one.source],
                [Cell(number(one.begun)), Cell(number(one.ended)), _share(one.conversion)],
                f"to “{one.last_step}”",
            )
            for one in facts.funnels
        ],
        notes=list(_notes(facts)),
        trends={source: list(_trend_panels(facts, source)) for source in sorted({source for source, _ in facts.trends})},
        trend_dates=len(facts.dates),
        weeks=TREND_DATES // 7,
    )


def _visitors(facts: MartFacts) -> Iterator[HeadlineRow]:
    for one in facts.visitors:
        cells = [*(_count(one.active[days]) for days in WINDOWS), *(_share(one.retention[days]) for days in RETENTION_DAYS)]
        note = "" if facts.dates and one.date == facts.dates[-1] else one.date.isoformat()
        yield HeadlineRow([one.source], cells, note)


def _count(headline: Headline, digits: int = 0) -> Cell:
    return _cell(headline, lambda value: number(value, digits), percent_change)


def _share(headline: Headline) -> Cell:
    return _cell(headline, share, points_change)


def _cell(headline: Headline, format_value: Callable[[float], str], change: Callable[[float, float], str]) -> Cell:
    if headline.value is None:
        return Cell("–")
    if headline.before is None or (change is percent_change and headline.before <= 0):
        return Cell(format_value(headline.value))
    return Cell(format_value(headline.value), change(headline.value, headline.before), format_value(headline.before))


def _notes(facts: MartFacts) -> Iterator[str]:
    """What is not there yet, in words."""
    if not facts.visitors:
        yield "No visitor is known yet: no event up to this night has a user or a device."
        return
    late = [days for days in RETENTION_DAYS if all(one.retention[days].value is None for one in facts.visitors)]
    for days in late:
        yield f"Who is back on day {days} is known once a source has landed on {days + 1} successive dates."
    if all(headline.before is None for one in facts.visitors for headline in one.active.values()):
        yield "Changes over a week are shown once a source has landed on eight successive dates."
    elif all(one.active[28].before is None for one in facts.visitors):
        yield "Changes of numbers over 7 days need two weeks of landed dates, and over 28 days five weeks."


# Metric, its heading.
_TRENDS = (("accepted", "events accepted"), ("sessions", "sessions begun"), ("visitors", "visitors"), ("median_session_duration", ""))


def _trend_panels(facts: MartFacts, source: str) -> Iterator[TrendPanel]:
    axis = axis_plots.date_axis(facts.dates)
    positions = {date: position for position, date in enumerate(facts.dates)}
    for metric, heading in _TRENDS:
        by_date = facts.trends.get((source, metric), {})
        values = {positions[date]: value for date, value in by_date.items()}
        name, unit, said = heading, "per day", heading
        if metric == "median_session_duration":
            name, (unit, divisor) = "median session duration", _time_unit(max(values.values(), default=0))
            values, said = {position: value / divisor for position, value in values.items()}, unit
        # A tick of a low y axis may be half a number.
        digits = 0 if max(values.values(), default=0) >= 2 and metric != "median_session_duration" else 1
        plot = None
        if len(values) > 1:
            label = f"{source}: {name}, {unit}, {min(by_date)} to {max(by_date)}"
            plot = axis_plots.line_plot(label, {said: values}, axis, partial(_tick, digits=digits), size=axis_plots.LOW)
        yield TrendPanel(name, unit, plot)


def _tick(value: float, digits: int) -> str:
    return number(value, 0 if value == round(value) else digits)


def _time_unit(milliseconds: float) -> tuple[str, float]:
    """The unit in which so many milliseconds are shown, and how many of them it has."""
    return next(
        ((unit, size) for unit, size in (("h", 3_600_000.0), ("min", 60_000.0), ("s", 1_000.0)) if milliseconds >= 2 * size), ("ms", 1.0)
    )

"""Compute what is usual for a source on a night, from the nights before it."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from transforms.times import shifted

# Records per landing hour that has a file.
Hours = Mapping[int, int]


@dataclass(frozen=True)
class PastRules:
    """Which nights a night is compared with, and the minimum numbers for a comparison."""

    weeks: int  # as many weeks back, the same weekday
    weekdays_minimum: int  # with fewer of these, the last nights in their place
    nights: int  # so many
    nights_minimum: int  # with fewer nights since the source began, nothing is compared
    records_minimum: int  # an hour or night that usually has fewer is not compared

    @property
    def days(self) -> int:
        """How many days back a compared night can be."""
        return max(7 * self.weeks, self.nights)


@dataclass(frozen=True)
class Landed:
    """What one source landed on one date."""

    files: int
    records: int
    hours: Hours  # files without an hour are in none


def landed_before(night: dt.date, dates: Iterable[dt.date]) -> bool:
    """Whether a source landed on any date before the night."""
    return any(date < night for date in dates)


def compared(night: dt.date, landed: Iterable[dt.date], in_lake: Iterable[dt.date], rules: PastRules) -> list[dt.date]:
    """The nights that this one is compared with, in order; none if there are too few of them.

    In: the dates on which the source landed files, and those of which anything is known, so that a night without a file of
    this source says that it sent nothing. Nights of the same weekday come first: a quiet weekend is no alarm. Later nights are
    never looked at.
    """
    reach = shifted(night, -rules.days)
    landed = {date for date in landed if reach <= date < night}
    past = sorted(date for date in landed.union(in_lake) if min(landed, default=night) <= date < night)
    if len(past) < rules.nights_minimum:
        return []
    weekdays = [date for date in past if date.weekday() == night.weekday() and (night - date).days <= 7 * rules.weeks]
    return weekdays if len(weekdays) >= rules.weekdays_minimum else past[-rules.nights :]


def usual(past: Sequence[float]) -> float:
    """The usual number, from those of the past nights: their median, the lower one of two."""
    return statistics.median_low(past)


def usual_hours(past: Sequence[Hours], records_minimum: int) -> dict[int, float]:
    """Per landing hour the usual number of its records, where that is at least `records_minimum`.

    A night without a file in the hour counts as 0, so an hour is usual only where more than half of the nights have it.
    """
    hours = sorted({hour for night in past for hour in night})
    numbers = {hour: usual([night.get(hour, 0) for night in past]) for hour in hours}
    return {hour: number for hour, number in numbers.items() if number >= max(records_minimum, 1)}


def missing_hours(hours: Collection[int], expected: Iterable[int]) -> list[int]:
    """The expected hours that are not among these."""
    return [hour for hour in expected if hour not in hours]


def unusual_hours(hours: Hours, expected: Mapping[int, float], least: float | None, most: float | None) -> list[int]:
    """The expected hours with less than `least` or more than `most` times the expected records. A missing hour has 0 records."""
    shares = {hour: hours.get(hour, 0) / number for hour, number in expected.items()}
    return [hour for hour, share in shares.items() if (least is not None and share < least) or (most is not None and share > most)]


def silent_hours(date: dt.date, hours: Hours, night: dt.date) -> int:
    """Hours from the last landing hour with records on a date, its midnight where none is known, to the last hour of the night."""
    last = max((hour for hour, records in hours.items() if records), default=0)
    return (night - date).days * 24 + 23 - last

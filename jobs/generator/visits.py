"""Visits: who comes on a day, when, and for how many events.

A visit is what one person does at one sitting, one or a few sessions: the unit that the generator plans. It begins on a day
and ends by the evening of the next one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jobs.generator import draws
from jobs.generator.draws import Bits, Flags, Share, Whole
from jobs.generator.rows import DAY, HOUR, MINUTE, SECOND

EPOCH = dt.date(1970, 1, 1)
Column = TypeVar("Column", bound=np.generic)
# Irrational, so that `spread` fills [0, 1); different ones, so that traits do not go together.
_LENGTHS, _STARTS = 0.6180339887498949, 0.4142135623730951
# The special scenarios repeat after so many visits.
_ROUND = 160
# One of so many visits begins just before midnight. By `_LENGTHS`, the first of these are longer than most, and end after midnight.
_EVENING = (34, 12)
# A visit is that of a returning visitor with this probability, who has returned at most so often.
_RETURNING, _MOST_RETURNS = 0.62, 40
_ORDINARY = 0  # the scenario in which nothing is special, of every source
# Devices are numbered by the number of their visits and their first day. Those of special scenarios come every third day, so that
# their sessions are days apart, far beyond any silence.
_FIRST_DAYS, _DAYS = 4093, 4096
# Visits in this share of a day begin on the same day, whatever their spread.
_BEFORE_MIDNIGHT = 0.9
# An ordinary visit is over after so long, a long one after this: by then the next night's hours are known.
ORDINARY_SPAN, LONG_SPAN = 3 * HOUR, 20 * HOUR


@dataclass(frozen=True)
class Crowd:
    """How the visits of a source are spread: over the day, in length, and over the special scenarios."""

    hours: tuple[int, ...]  # relative weight of each hour of the day, UTC
    # Number of events: Pareto type II, the common shape of session lengths, cut at the longest.
    scale: float
    tail: float
    longest: int
    # Places in each round of visits that a scenario takes; low ones, so that a small night has them too.
    scenarios: Mapping[int, tuple[int, ...]]
    # Relative weight of how many days before a returning visitor was last there.
    returns: Mapping[int, int] = field(default_factory=lambda: {1: 24, 2: 18, 3: 12, 4: 8, 5: 6, 6: 6, 7: 16, 14: 7, 28: 3})

    def lengths(self, quantile: Share) -> Whole:
        """The number of events of the visit at each quantile."""
        extra = self.scale * ((1.0 - quantile) ** (-1.0 / self.tail) - 1.0)
        length: Whole = np.minimum(1 + np.floor(extra), self.longest).astype(np.int64)
        return length

    @cached_property
    def mean_length(self) -> float:
        """Events of a visit, on the average."""
        return float(self.lengths((np.arange(100_000) + 0.5) / 100_000).mean())

    @cached_property
    def scenario_of_place(self) -> Whole:
        """The scenario of each place in a round."""
        places = np.zeros(_ROUND, dtype=np.int64)
        for scenario, taken in self.scenarios.items():
            places[list(taken)] = scenario
        return places

    def starts(self, quantile: Share) -> Whole:
        """The time of day of the start at each quantile, ms."""
        reached = np.concatenate([[0.0], np.cumsum(np.array(self.hours, dtype=np.float64))])
        hour = np.interp(quantile, reached / reached[-1], np.arange(25.0))
        time: Whole = np.minimum((hour * HOUR).astype(np.int64), DAY - 1)
        return time


@dataclass(frozen=True)
class Visits:
    """One row per visit."""

    day: int  # on which they began, days since 1970
    index: Whole  # number among the visits of that day
    bits: Bits
    device: Bits
    person: Whole  # number of the device
    software: Bits  # what the client is like; it repeats after three days
    session: Bits  # what the client takes its session id from
    scenario: Whole
    start: Whole  # epoch ms
    length: Whole  # events
    long: Flags  # goes on for hours

    def __len__(self) -> int:
        return len(self.bits)

    def take(self, which: Whole) -> Visits:
        """These visits only."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return Visits(**{name: column if name == "day" else column[which] for name, column in columns.items()})

    @property
    def latest_end(self) -> Whole:
        """A time by which the visit is over and all of it has been sent."""
        return self.start + np.where(self.long, LONG_SPAN, ORDINARY_SPAN) + self.length * SECOND + 5 * MINUTE


def day_number(date: dt.date) -> int:
    """Days since 1970."""
    return (date - EPOCH).days


def begun(seed_bits: int, crowd: Crowd, day: int, index: Whole, reused: int) -> Visits:
    """The visits of these numbers that begin on a day. A visit is the same however many others there are.

    In the scenario `reused` the client takes the session id that it had three days before or will have three days later.
    """
    of_day = draws.root(seed_bits, "day", day)
    bits = draws.children(of_day, index)
    scenario = crowd.scenario_of_place[index % _ROUND]
    long = index % 97 == 13
    earlier = draws.root(seed_bits, "day", day - 3 * (day % 6 // 3))
    is_spread = (draws.spread(index, _STARTS) < _BEFORE_MIDNIGHT) & ~long & (index % _EVENING[0] != _EVENING[1])
    first_day = np.where(scenario == _ORDINARY, _first_days(seed_bits, crowd, day, index, is_spread), 0)
    person = index * _DAYS + np.where(scenario == _ORDINARY, first_day % _FIRST_DAYS, _FIRST_DAYS + day % 3)
    quantile = (0.5 + draws.spread(index, _LENGTHS) + 0.02 * draws.share(bits, "length")) % 1.0
    time_of_day = crowd.starts((draws.spread(index, _STARTS) + 0.05 * draws.share(bits, "start")) % 1.0)
    shortly_before_midnight = DAY - MINUTE + draws.below(bits, "evening", 50 * SECOND)
    return Visits(
        day=day,
        index=index,
        bits=bits,
        device=draws.children(draws.root(seed_bits, "device"), person),
        person=person,
        software=draws.children(draws.root(seed_bits, "device"), index * 3 + day % 3),
        session=np.where(scenario == reused, draws.children(earlier, index), bits),
        scenario=scenario,
        start=day * DAY + np.where(index % _EVENING[0] == _EVENING[1], shortly_before_midnight, time_of_day),
        length=crowd.lengths(quantile),
        long=long,
    )


def _first_days(seed_bits: int, crowd: Crowd, day: int, index: Whole, comes_next_day: Flags) -> Whole:
    """The first day of the visitors of a day's visits.

    A visitor is either new, or the one of the visit of the same number some days before. So who was there once comes back less
    and less often, and a visit is the same whichever nights are made. Visits of a number begin at about the same time of day: two of
    them are hours apart. Those that may not be, such as long ones, are never on two days in a row.
    """
    identity = draws.children(draws.root(seed_bits, "returns"), index)
    days, weights = np.array(list(crowd.returns)), np.cumsum(list(crowd.returns.values()))
    first = np.full(len(index), day)
    going = np.ones(len(index), dtype=np.bool_)
    for _ in range(_MOST_RETURNS):
        bits = draws.child(identity, first)
        going &= draws.share(bits, "returns") < _RETURNING
        back = days[np.searchsorted(weights, draws.below(bits, "days", int(weights[-1])), side="right")]
        first = np.where(going, first - np.where(comes_next_day, back, np.maximum(back, 2)), first)
    return first


@dataclass(frozen=True)
class Moments:
    """One row per event of some visits, in order: who, and which of the visit's events."""

    visits: Visits
    owner: Whole  # row of the visit
    number: Whole  # place in the visit, from 0
    bits: Bits

    def of(self, per_visit: NDArray[Column]) -> NDArray[Column]:
        """A column of the visits, for each event."""
        return per_visit[self.owner]

    @property
    def left(self) -> Whole:
        """How many events of the visit follow."""
        return self.visits.length[self.owner] - 1 - self.number


def moments(visits: Visits) -> Moments:
    """The events of the visits, without anything about them yet."""
    owner = np.repeat(np.arange(len(visits)), visits.length)
    first = np.cumsum(visits.length) - visits.length
    number = np.arange(len(owner)) - first[owner]
    return Moments(visits, owner, number, draws.child(visits.bits[owner], number))

"""What goes wrong on the way: events that come days late, events that come again.

A third of the rate each are late events, repeated ones, and bad records. What is late or repeated clusters in visits, as it does
when a phone is offline or an upload is retried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Flags, Whole
from jobs.generator.rows import DAY, HOUR, GeneratedRows
from jobs.generator.visits import Crowd, Moments, Visits

# Each part of a visit lands at most so many days after the visit began.
LONGEST_WAY = 7
LATE_DAYS, AGAIN_DAYS = 5, 6
# A fault changes one event of its visit, and this share of the others.
_EVENTS_MET = 0.3
# Irrational numbers for `spread`, and the first visit that each fault meets: a low one, so that a small night has each.
_LATE, _SAME_FILE, _ELSEWHERE, _AGAIN = (0.7320508075688772, 2), (0.6055512754639891, 4), (0.6457513110645906, 6), (0.3166247903553998, 8)


@dataclass(frozen=True)
class Faults:
    """One row per visit: which faults meet it."""

    late_days: Whole  # its late events come so many days late; 0: none is late
    same_file: Flags  # some events come twice with the same upload
    elsewhere: Flags  # some come again hours later
    again_days: Whole  # some come again so many days later; 0: none does

    def take(self, which: Whole) -> Faults:
        """The faults of these visits only."""
        return Faults(self.late_days[which], self.same_file[which], self.elsewhere[which], self.again_days[which])

    def may_land_after(self, days: int) -> Flags:
        """Whether a fault may bring events of the visit on the day that is so many days after its start."""
        # What the visit sends after midnight lands a day later still.
        late = (self.late_days > 0) & ((self.late_days == days) | (self.late_days == days - 1))
        again = (self.again_days > 0) & ((self.again_days == days) | (self.again_days == days - 1))
        may_land: Flags = late | again | (self.elsewhere & (days <= 2))
        return may_land


def met(visits: Visits, crowd: Crowd, rate: float) -> Faults:
    """The faults that meet the visits, at this rate of all records."""
    chance = rate / 3 / (_EVENTS_MET + (1 - _EVENTS_MET) / crowd.mean_length)

    def meets(sequence: tuple[float, int], chance: float) -> Flags:
        met: Flags = draws.spread(visits.index, *sequence) < chance
        return met

    return Faults(
        late_days=np.where(meets(_LATE, chance), 1 + (visits.index - _LATE[1] + 1) % LATE_DAYS, 0),
        same_file=meets(_SAME_FILE, chance / 3),
        elsewhere=meets(_ELSEWHERE, chance / 3),
        again_days=np.where(meets(_AGAIN, chance / 3), 1 + (visits.index - _AGAIN[1]) % AGAIN_DAYS, 0),
    )


@dataclass(frozen=True)
class Journey:
    """Some of the planned events on one way to the landing zone."""

    number: int  # of the journey: no event makes the same one twice
    events: Flags
    arrival: Whole  # of all events, epoch ms


def journeys(moment: Moments, rows: GeneratedRows, faults: Faults) -> tuple[Journey, ...]:
    """All the ways in which the planned events of the visits arrive: on time or late, and those of them that come again."""

    def some(name: str, always: Whole | int) -> Flags:
        chosen: Flags = (draws.share(rows.bits, name) < _EVENTS_MET) | (rows.number == always)
        return chosen

    late_days, again_days = moment.of(faults.late_days), moment.of(faults.again_days)
    late = (late_days > 0) & some("late", moment.of(moment.visits.length) // 2)
    hours_later = 1 + draws.below(rows.visit, "elsewhere", 5)
    return (
        Journey(0, ~late, rows.sent),
        Journey(1, late, rows.sent + late_days * DAY),
        Journey(2, moment.of(faults.same_file) & some("same file", 0), rows.sent),
        Journey(3, moment.of(faults.elsewhere) & some("elsewhere", 0), rows.sent + hours_later * HOUR),
        Journey(4, (again_days > 0) & some("again", 0), rows.sent + again_days * DAY),
    )

"""Which nights a night is compared with, and what is usual for an hour."""

from __future__ import annotations

import datetime as dt

from nights_before import nights_before
from tiny_lake import NIGHT

from transforms.quality.baseline import PastRules, compared, silent_hours, unusual_hours, usual_hours

PAST_RULES = PastRules(weeks=4, weekdays_minimum=2, nights=3, nights_minimum=5, records_minimum=10)


def test_a_night_is_compared_with_the_same_weekday_of_the_weeks_before() -> None:
    every_night = nights_before(*range(-20, 60))
    assert compared(NIGHT, every_night, every_night, PAST_RULES) == nights_before(28, 21, 14, 7)


def test_with_too_few_of_the_same_weekday_a_night_is_compared_with_the_last_nights_in_the_lake() -> None:
    nights_in_lake = nights_before(1, 3, 4, 5, 7, 9)
    assert compared(NIGHT, nights_in_lake, nights_in_lake, PAST_RULES) == nights_before(4, 3, 1)
    assert compared(NIGHT, [*nights_in_lake, *nights_before(14)], nights_in_lake, PAST_RULES) == nights_before(14, 7)


def test_with_too_few_nights_a_night_is_compared_with_none() -> None:
    assert compared(NIGHT, nights_before(1, 2, 3, 4), nights_before(1, 2, 3, 4), PAST_RULES) == []
    assert compared(NIGHT, nights_before(1, 2, 3, 4, 5), [], PAST_RULES) == nights_before(3, 2, 1)
    assert compared(NIGHT, [], nights_before(*range(1, 40)), PAST_RULES) == []


def test_nights_before_the_first_of_a_source_do_not_count_and_later_nights_without_it_do() -> None:
    nights_in_lake = nights_before(*range(1, 40))
    assert compared(NIGHT, nights_before(4), nights_in_lake, PAST_RULES) == []
    assert compared(NIGHT, nights_before(8), nights_in_lake, PAST_RULES) == nights_before(3, 2, 1)
    assert compared(NIGHT, nights_before(15), nights_in_lake, PAST_RULES) == nights_before(14, 7)


def test_the_usual_records_of_an_hour_are_the_discrete_median_with_0_for_a_missing_hour() -> None:
    past = [{0: 10, 1: 90, 2: 50}, {0: 30, 1: 9}, {0: 20, 2: 70}, {0: 40, 1: 9}]
    assert usual_hours(past, records_minimum=10) == {0: 20}
    assert usual_hours(past, records_minimum=0) == {0: 20, 1: 9}


def test_an_hour_is_unusual_only_beyond_its_bounds() -> None:
    hours = {0: 50, 1: 49, 2: 300, 3: 301}
    assert unusual_hours(hours, dict.fromkeys(range(5), 100), 0.5, 3) == [1, 3, 4]
    assert unusual_hours(hours, dict.fromkeys(range(5), 100), None, None) == []


def test_silent_hours_are_counted_from_the_last_hour_with_records() -> None:
    assert silent_hours(NIGHT, {0: 5, 23: 1}, NIGHT) == 0
    assert silent_hours(NIGHT, {4: 5, 23: 0}, NIGHT) == 19
    assert silent_hours(NIGHT - dt.timedelta(days=1), {23: 1}, NIGHT) == 24
    assert silent_hours(NIGHT, {}, NIGHT) == 23

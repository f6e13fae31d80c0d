"""Times as integer milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.times import (
    EARLIEST_MS,
    LATEST_MS,
    epoch_ms,
    epoch_seconds_ms,
    landing_ms,
    representable,
    rfc3339_ms,
    round_half_away,
)

NEW_YEAR_2017 = 1_483_228_800_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2019-08-19T19:28:31.079Z", 1_566_242_911_079),
        ("2019-08-19t19:28:31.079z", 1_566_242_911_079),
        ("2019-08-20T00:58:31.079+05:30", 1_566_242_911_079),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_an_rfc_3339_time_is_read(text: str, ms: int) -> None:
    assert rfc3339_ms(text) == ms


@pytest.mark.parametrize("fraction", ["0799", "07999999999999", "079"])
def test_digits_below_the_millisecond_are_dropped(fraction: str) -> None:
    assert rfc3339_ms(f"2019-08-19T19:28:31.{fraction}Z") == 1_566_242_911_079


def test_a_short_fraction_is_tenths() -> None:
    assert rfc3339_ms("1970-01-01T00:00:00.5Z") == 500


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-30T00:00:00Z",
        "2019-02-29T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:60:00Z",
        "2020-01-01T00:00:61Z",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00Z",
        "2020-01-01T00:00:00+0530",
        "2020-01-01T00:00:00+24:00",
        "2020-01-01T00:00:00.Z",
        "2020-01-01T00:00:00Z\n",
        "२०२०-01-01T00:00:00Z",
        "20200101T000000Z",
        "",
        None,
        1_566_242_911_079,
    ],
)
def test_what_is_no_rfc_3339_time_is_none(text: object) -> None:
    assert rfc3339_ms(text) is None


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T05:29:60+05:30", "2016-12-31T15:59:60-08:00"])
def test_a_leap_second_is_the_second_after_it(text: str) -> None:
    assert rfc3339_ms(text) == NEW_YEAR_2017


def test_a_leap_second_is_legal_at_the_end_of_a_utc_day_alone() -> None:
    assert rfc3339_ms("2016-12-31T12:59:60Z") is None
    assert rfc3339_ms("2016-12-31T23:59:60+01:00") is None


def test_the_year_0000_and_what_lies_past_9999_are_not_representable() -> None:
    assert rfc3339_ms("0000-06-01T00:00:00Z") is None
    assert rfc3339_ms("0001-01-01T00:00:00Z") == EARLIEST_MS
    assert rfc3339_ms("0001-01-01T00:00:00+00:01") is None
    assert rfc3339_ms("9999-12-31T23:59:59.999Z") == LATEST_MS
    assert rfc3339_ms("9999-12-31T23:59:60Z") is None


@given(st.datetimes(), st.integers(-1439, 1439))
def test_every_time_of_the_calendar_is_read_as_written(moment: datetime, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    expected = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) - offset * 60_000
    assert rfc3339_ms(moment.replace(tzinfo=zone).isoformat()) == representable(expected)


def test_epoch_milliseconds_are_floored() -> None:
    assert epoch_ms(1.566242911079e12) == 1_566_242_911_079
    assert epoch_ms(1.9) == 1
    assert epoch_ms(-0.1) == -1


@pytest.mark.parametrize("value", [True, None, "1566242911079", [1], 1e300, -(2**70), LATEST_MS + 1, EARLIEST_MS - 1])
def test_what_is_no_time_in_epoch_milliseconds_is_none(value: object) -> None:
    assert epoch_ms(value) is None


def test_epoch_seconds_keep_their_decimal_milliseconds() -> None:
    assert epoch_seconds_ms(1442816723) == 1_442_816_723_000
    assert epoch_seconds_ms(1442816723.123) == 1_442_816_723_123
    assert epoch_seconds_ms(-1.7e308) is None


def test_a_landing_hour_starts_at_its_utc_hour_and_without_one_at_midnight() -> None:
    assert landing_ms(date(2026, 11, 20), 3) == datetime(2026, 11, 20, 3, tzinfo=UTC).timestamp() * 1000
    assert landing_ms(date(2026, 11, 20), None) == datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("number", "rounded"),
    [(0.5, 1), (-0.5, -1), (1.5, 2), (2.5, 3), (-2.5, -3), (0.49999999999999994, 0), (2.4, 2), (7, 7), (2**53 + 1.0, 2**53)],
)
def test_halves_round_away_from_zero(number: float, rounded: int) -> None:
    assert round_half_away(number) == rounded

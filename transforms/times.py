"""Compute with times as integer milliseconds since 1970-01-01 UTC, within the years 1 to 9999, which tables can hold.

Rules: docs/rules/sources.md, "Times".
"""

from __future__ import annotations

import math
import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH_DAY = date(1970, 1, 1).toordinal()
# The first millisecond of the year 1 and the last one of the year 9999.
EARLIEST_MS = (date.min.toordinal() - _EPOCH_DAY) * DAY_MS
LATEST_MS = (date.max.toordinal() - _EPOCH_DAY + 1) * DAY_MS - 1

_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


def rfc3339_ms(text: Any) -> int | None:
    """The time of an RFC 3339 text, epoch ms; None for any other value, and for a time outside the years 1 to 9999.

    Digits below the millisecond are dropped. A leap second, legal only as 23:59:60 UTC, is the second after it.
    The year 0000 is legal and not representable.
    """
    matched = _RFC_3339.fullmatch(text) if isinstance(text, str) else None
    if matched is None:
        return None
    calendar_date, hour, minute, second, fraction, sign, offset_hour, offset_minute = matched.groups()
    midnight = _midnight_ms(calendar_date)
    if midnight is None:
        return None
    minutes = int(hour) * 60 + int(minute)
    if sign:
        offset = int(offset_hour) * 60 + int(offset_minute)
        minutes += offset if sign == "-" else -offset
    if second == "60" and minutes % 1440 != 1439:
        return None
    ms = midnight + minutes * MINUTE_MS + int(second) * SECOND_MS
    if fraction:
        ms += int(fraction[:3].ljust(3, "0"))
    return representable(ms)


@lru_cache(maxsize=4096)  # the times of a night name a handful of dates
def _midnight_ms(calendar_date: str) -> int | None:
    try:
        return (date.fromisoformat(calendar_date).toordinal() - _EPOCH_DAY) * DAY_MS
    except ValueError:  # 30 February, or the year 0000
        return None


def epoch_ms(value: Any) -> int | None:
    """A JSON number of epoch milliseconds, floored; None for any other value, and for a time outside the years 1 to 9999."""
    if type(value) is int:
        return representable(value)
    return representable(math.floor(value)) if type(value) is float else None


def epoch_seconds_ms(value: Any) -> int | None:
    """A JSON number of epoch seconds as epoch ms, floored by its decimal digits; None as for `epoch_ms`."""
    if type(value) is int:
        return representable(value * SECOND_MS)
    # 1442816723.123 as a double is a little less, and times 1000 would floor to …122.
    return representable(math.floor(Decimal(repr(value)).scaleb(3))) if type(value) is float else None


def representable(ms: int) -> int | None:
    """The same time if it is within the years 1 to 9999, else None."""
    return ms if EARLIEST_MS <= ms <= LATEST_MS else None


def landing_ms(landing_date: date, landing_hour: int | None) -> int:
    """The start of a landing hour, epoch ms; midnight if the landing path has no hour."""
    return (landing_date.toordinal() - _EPOCH_DAY) * DAY_MS + (landing_hour or 0) * HOUR_MS


def shifted(day: date, days: int) -> date:
    """The date `days` days later (earlier, if negative), within the years 1 to 9999."""
    return date.fromordinal(min(max(day.toordinal() + days, date.min.toordinal()), date.max.toordinal()))


def round_half_away(number: float) -> int:
    """The nearest whole number, halves away from zero. `number` is finite."""
    if type(number) is int:
        return number
    whole = math.floor(abs(number))
    if abs(number) - whole >= 0.5:
        whole += 1
    return -whole if number < 0 else whole

"""Times as text."""

from __future__ import annotations

import datetime as dt


def iso(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds; the argument in epoch ms."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


def iso_second(milliseconds: int) -> str:
    """RFC 3339 in UTC to the second, the rest cut off."""
    return f"{_second(milliseconds // 1000)}Z"


def spaced(milliseconds: int) -> str:
    """YYYY-MM-DD HH:MM:SS in UTC, the rest cut off."""
    return _second(milliseconds // 1000).replace("T", " ")


def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()[:19]

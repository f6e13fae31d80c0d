"""How numbers are written on pages."""

from __future__ import annotations


def number(value: float, digits: int = 0) -> str:
    """A number with thousands separators; a number of more than 15 digits with three of them."""
    return f"{value:,.{digits}f}" if abs(value) < 1e15 else f"{value:.3g}"


def share(value: float) -> str:
    """A share in per cent. A share above 0 is never shown as 0 %, and one below 1 never as 100 %."""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.9995 < value < 1:
        return "> 99.9 %"
    return f"{value * 100:.1f} %"


def clock(seconds: float) -> str:
    """A duration in at most two units."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


def size(count: float) -> str:
    """Bytes, in a unit that gives fewer than four digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def percent_change(now: float, before: float) -> str:
    """By how much a count has changed, in per cent of what it was."""
    change = now / before - 1
    if abs(change) < 0.0005:
        return "±0 %"
    return f"{'+' if change > 0 else '−'}{number(abs(change) * 100, 0 if abs(change) >= 0.0995 else 1)} %"


def points_change(now: float, before: float) -> str:
    """By how many percentage points a share has changed."""
    change = (now - before) * 100
    return "±0 points" if abs(change) < 0.05 else f"{'+' if change > 0 else '−'}{abs(change):.1f} points"

"""Read fields of parsed JSON by type: a value of any other type counts as absent.

The formats leave many of their fields unvalidated, so a mapping must not rely on the type of a field that no schema checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.times import round_half_away

# Senders write these texts for an id that they do not have. Rule: docs/rules/sources.md, "Absent values".
_NO_ID = frozenset(("", "n/a", "N/A"))
_LARGEST_BIGINT = 2**63 - 1
_NO_FIELDS: Mapping[str, Any] = {}


def text(value: Any) -> str | None:
    """A string, also the empty one; None for any other value."""
    return value if type(value) is str else None


def identifier(value: Any) -> str | None:
    """A string that is neither empty nor "n/a"; None for any other value."""
    return value if type(value) is str and value not in _NO_ID else None


def number(value: Any) -> float | None:
    """A number as a double; None for any other value, also for true and false."""
    return float(value) if type(value) is float or type(value) is int else None


def integer(value: Any) -> int | None:
    """A number rounded half away from zero; None for any other value, and for one that 64 bits cannot hold."""
    if type(value) is not int and type(value) is not float:
        return None
    rounded = round_half_away(value)
    return rounded if -_LARGEST_BIGINT <= rounded <= _LARGEST_BIGINT else None


def unless_minus_one(value: float | None) -> float | None:
    """The number, or None for -1, which senders write for a number that they do not have."""
    return None if value == -1 else value


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one for any other value."""
    return value if type(value) is dict else _NO_FIELDS


def mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects among the items of an array; none for any other value."""
    return [item for item in value if type(item) is dict] if type(value) is list else ()

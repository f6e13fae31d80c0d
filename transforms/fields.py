"""Fields of parsed JSON, read by the type that is wanted: a value of any other type counts as absent.

The formats leave many of their fields unvalidated, so a mapping must never trust a type that no schema asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.times import round_half_away

# What senders write for an id that they do not have. Rule: the sources' text, "Sentinels are absent".
_NO_ID = frozenset(("", "n/a", "N/A"))
_LARGEST_BIGINT = 2**63 - 1
_NO_FIELDS: Mapping[str, Any] = {}


def text(value: Any) -> str | None:
    """A string as it is, the empty one too."""
    return value if type(value) is str else None


def identifier(value: Any) -> str | None:
    """A string that names something: neither empty nor "n/a"."""
    return value if type(value) is str and value not in _NO_ID else None


def number(value: Any) -> float | None:
    """A number, as a double; true and false are none."""
    return float(value) if type(value) is float or type(value) is int else None


def integer(value: Any) -> int | None:
    """A number rounded half away from zero, where 64 bits hold it."""
    if type(value) is not int and type(value) is not float:
        return None
    rounded = round_half_away(value)
    return rounded if -_LARGEST_BIGINT <= rounded <= _LARGEST_BIGINT else None


def reported(value: float | None) -> float | None:
    """A number that makes sense from 0 on, where senders write -1 for one that they do not have."""
    return None if value == -1 else value


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; one without fields in place of anything else."""
    return value if type(value) is dict else _NO_FIELDS


def mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects among the items of an array; none in place of anything else."""
    return [item for item in value if type(item) is dict] if type(value) is list else ()

"""Which of the known names a mistyped name most likely means, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from schemas.catalog import TABLES

# How alike two names are, from 0 to 1. Less alike than _ALIKE is no suggestion; _SURE is a typing mistake.
_ALIKE = 0.6
_SURE = 0.8
_ABOUT_EQUAL = 0.05
_SHOWN = 3


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are most like this one, at most three. If none looks mistyped, also those of which it is a word."""
    wanted = name.lower()
    likeness = {one: SequenceMatcher(None, wanted, one.lower()).ratio() for one in sorted(set(known))}
    best = max(likeness.values(), default=0.0)
    return [
        one
        for one, ratio in likeness.items()
        if ratio >= max(_ALIKE, best - _ABOUT_EQUAL) or (best < _SURE and wanted in one.lower().split("_"))
    ][:_SHOWN]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`: did you mean sessions?`, or nothing if no known name is like this one."""
    found = nearest(name, known)
    return f": did you mean {' or '.join(found)}?" if found else ""


def no_table(name: str, known: Iterable[str] = TABLES) -> str:
    """That no table is called so, the nearest one, and where all are listed."""
    return f"no table is called {name!r}{suggestion(name, known) or ':'} `millrace describe` lists the tables"

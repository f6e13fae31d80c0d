"""Bad records: damaged copies of good ones, each made to be refused for a known reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Document, Spoiler

_NO_OBJECTS: tuple[Any, ...] = (17, "just text", True, None, -0.5, "")
_NO_OBJECTS_IN_A_LIST: tuple[Any, ...] = (*_NO_OBJECTS, [1, 2], [[]])


def _truncated(line: bytes, draw: int) -> bytes:
    # An object that misses its last brace is no JSON, wherever it ends.
    return line[: 1 + draw % (len(line) - 1)]


def _with_field(value: bytes) -> Callable[[bytes, int], bytes]:
    return lambda line, draw: b'%b,"x%d":%b}' % (line[:-1], draw % 7, value)


@dataclass(frozen=True)
class Form:
    """A form of bad record: either its whole line is damaged, or one item in its line or its list."""

    reason: str
    damage_line: Callable[[bytes, int], bytes] | None = None
    items: tuple[Any, ...] = ()  # that replace the document
    spoiler: int = -1  # which of the source's spoilers the document meets


# Numbered from 1; any three that follow each other have all three reasons.
FORMS = (
    Form("invalid_json", damage_line=_truncated),
    Form("not_an_object", items=_NO_OBJECTS_IN_A_LIST),
    Form("schema_violation", spoiler=0),
    Form("invalid_json", damage_line=_with_field(b"NaN")),
    Form("not_an_object", damage_line=lambda _, draw: orjson.dumps(_NO_OBJECTS[draw % len(_NO_OBJECTS)])),
    Form("schema_violation", spoiler=1),
    Form("invalid_json", damage_line=_with_field(b'"\xff"')),
    Form("not_an_object", items=_NO_OBJECTS_IN_A_LIST),
    Form("schema_violation", spoiler=2),
    Form("invalid_json", damage_line=_with_field(b'"\\ud83d"')),
    Form("not_an_object", items=_NO_OBJECTS_IN_A_LIST),
    Form("schema_violation", spoiler=3),
)


def forms_of(records: int, rate: float, first: int) -> Whole:
    """The forms of a night's bad records, by number, in turn: a third of the rate, yet each reason at least once."""
    count = max(3, round(records * rate / 3)) if rate > 0 and records else 0
    return (first + np.arange(count)) % len(FORMS) + 1


def damages_line(form: Whole) -> Flags:
    """Whether records of these forms are whole lines. False for 0."""
    return np.array([False, *(kind.damage_line is not None for kind in FORMS)])[form]


def stands_for_document(form: Whole) -> Flags:
    """Whether records of these forms are something else than a document. False for 0."""
    return np.array([False, *(bool(kind.items) for kind in FORMS)])[form]


def reasons(form: Whole) -> dict[str, int]:
    """How many records of these forms are refused, by reason."""
    counts: dict[str, int] = {}
    for kind, count in zip(FORMS, np.bincount(form, minlength=len(FORMS) + 1)[1:].tolist(), strict=True):
        counts[kind.reason] = counts.get(kind.reason, 0) + count
    return counts


def damaged_line(form: int, line: bytes, draw: int) -> bytes:
    """The line of a bad record that is a whole line; `draw` is a random number."""
    damage = FORMS[form - 1].damage_line
    assert damage is not None
    return damage(line, draw)


def damaged_item(form: int, document: Document, draw: int, spoilers: Sequence[Spoiler]) -> Any:
    """The bad record that replaces a document."""
    kind = FORMS[form - 1]
    return kind.items[draw % len(kind.items)] if kind.items else spoilers[kind.spoiler].spoil(document)

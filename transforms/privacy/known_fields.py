"""Drop fields at known places: those that nearly every record of a source has. A search would find every record for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class KnownFields:
    """Fields of an object, by the names of the objects around them."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        paths = list(paths)
        self._names = [path[0] for path in paths if len(path) == 1]
        outer = {path[0] for path in paths if len(path) > 1}
        self._within = {name: KnownFields(path[1:] for path in paths if path[0] == name and len(path) > 1) for name in outer}

    def __bool__(self) -> bool:
        """Whether there is any such field."""
        return bool(self._names or self._within)

    def without(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A copy of the object without these fields."""
        copied = fields.copy()
        for name in self._names:
            copied.pop(name, None)
        for name, known in self._within.items():
            inner = copied.get(name)
            if type(inner) is dict:
                copied[name] = known.without(inner)
        return copied

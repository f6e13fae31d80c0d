"""Recognise the ids of people who were erased, by keyed hashes. The ids themselves are kept nowhere."""

from __future__ import annotations

import hmac
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from transforms.privacy.people import Kind, compiled
from transforms.privacy.raw_records import json_text

_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RUNS = (
    re.compile(rb"[^\s\"'\\,;{}\[\]()<>&=?]+"),
    re.compile(rb"[^\s\"'\\,;{}\[\]()<>&=?:/]+"),
    re.compile(rb"[0-9A-Za-z][-_.@+0-9A-Za-z]*"),
    re.compile(rb"[0-9A-Za-z]+"),
)
_ESCAPE = re.compile(rb"\\[nrtbf]")
_MOST_TEXTS = 200_000
# RE2 counts no further.
_LONGEST = 1_000


def hash_of(salt: str, source: str, kind: Kind, text: str) -> str:
    """The keyed hash of an id: HMAC-SHA256 of source, kind and id, in upper-case hexadecimal."""
    return hmac.digest(salt.encode(), "\x1f".join((source, kind, text)).encode("utf-8", "surrogatepass"), "sha256").hex().upper()


@dataclass(frozen=True)
class ErasedIds:
    """The hashes of the erased ids of one source."""

    source: str
    salt: str
    everywhere: Mapping[Kind, frozenset[str]]  # of ids that are recognised in every text
    in_fields: Mapping[Kind, frozenset[str]]  # of ids that are recognised in fields of ids alone
    lengths: frozenset[int] = frozenset()  # of the ids that are recognised in every text, bytes
    names: tuple[str, ...] = ()  # of the fields that hold ids in records of the source
    _known: dict[tuple[Kind, str], bool] = field(default_factory=dict, compare=False, repr=False)

    def are_erased(self, ids: Mapping[Kind, Sequence[str | None]], size: int) -> list[bool]:
        """Which of so many records are of an erased person. In: per kind the ids of the records."""
        erased = [False] * size
        for kind, of_kind in ids.items():
            found = {text for text in set(of_kind) if text is not None and self._is_erased(kind, text)}
            if found:
                erased = [known or text in found for known, text in zip(erased, of_kind, strict=True)]
        return erased

    def mentions(self, documents: Sequence[bytes]) -> list[int]:
        """The numbers of the documents, canonical JSON, that have the id of an erased person as one of their texts."""
        if not self.lengths:
            return []
        joined = b"\n".join(documents)
        lengths = "|".join(f'[^"\\\\]{{{length}}}' for length in sorted(self.lengths, reverse=True) if length <= _LONGEST)
        found: dict[int, None] = {}
        ends: list[int] = []
        # The mark after a text is left for the next match, where it may be the one before a text.
        for match in compiled(f'"({lengths})'.encode()).finditer(joined):
            end = match.end()
            if joined[end : end + 1] == b'"' and self._is_mentioned(match[1].decode("utf-8", "replace")):
                ends = ends or list(accumulate(len(document) + 1 for document in documents))
                found[bisect_right(ends, match.start())] = None
        return list(found)

    def is_refused_record_erased(self, raw: bytes) -> bool:
        """Whether a refused record, which may be anything, has the id of an erased person."""
        if any(self.everywhere.values()) and any(self._matches(self.everywhere, text) for text in _texts(raw)):
            return True
        return any(self.in_fields.values()) and any(self._matches(self.in_fields, text) for text in self._values_of_fields(raw))

    def _is_mentioned(self, text: str) -> bool:
        return any(of_kind and self._is_erased(kind, text) for kind, of_kind in self.everywhere.items())

    def _is_erased(self, kind: Kind, text: str) -> bool:
        known = self._known.get((kind, text))
        if known is None:
            if len(self._known) >= _MOST_TEXTS:
                self._known.clear()
            hashed = hash_of(self.salt, self.source, kind, text)
            known = hashed in self.everywhere.get(kind, ()) or hashed in self.in_fields.get(kind, ())
            self._known[kind, text] = known
        return known

    def _matches(self, hashes: Mapping[Kind, frozenset[str]], text: str) -> bool:
        return any(hash_of(self.salt, self.source, kind, text) in of_kind for kind, of_kind in hashes.items() if of_kind)

    def _values_of_fields(self, raw: bytes) -> Iterator[str]:
        """The texts after the names of fields of ids."""
        names = "|".join(map(re.escape, self.names)).encode()
        expression = rb"\b(?:" + names + rb')(?:[\\"\s])*[:=](?:[\\"\s])*([^\s"\\,;{}\[\]&]+)'
        yield from (match[1].decode("utf-8", "surrogateescape") for match in re.finditer(expression, raw) if names)

    def __getstate__(self) -> dict[str, object]:
        """What is known of texts is not sent to another process."""
        return {**self.__dict__, "_known": {}}


def _texts(raw: bytes) -> Iterable[str]:
    """The texts in a record that may be ids: texts of JSON, and what stands between marks."""
    texts: dict[str, None] = {}
    for match in _STRING.finditer(raw):
        texts[json_text(match[1].decode("utf-8", "surrogateescape"))] = None
        if len(texts) > _MOST_TEXTS:
            break
    without_escapes = _ESCAPE.sub(b" ", raw)
    for expression in _RUNS:
        for match in expression.finditer(without_escapes):
            if len(texts) > 2 * _MOST_TEXTS:
                break
            texts[match[0].decode("utf-8", "surrogateescape")] = None
    return texts

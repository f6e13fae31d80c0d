"""Recognise the ids of people who were erased, by keyed hashes. The ids themselves are kept nowhere."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.privacy.people import Kind
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


def hash_of(salt: str, source: str, text: str) -> str:
    """The keyed hash of an id: HMAC-SHA256 of source and id, in upper-case hexadecimal."""
    return _digest(salt.encode(), _prefix(source) + text.encode("utf-8", "surrogatepass")).hex().upper()


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _prefix(source: str) -> bytes:
    return f"{source}\x1f".encode()


@dataclass(frozen=True)
class ErasedIds:
    """The hashes of the erased ids of one source."""

    source: str
    salt: str
    everywhere: Mapping[Kind, frozenset[str]]  # of ids that are recognised in every text
    in_fields: Mapping[Kind, frozenset[str]]  # of ids that are recognised in fields of ids alone
    lengths: frozenset[int] = frozenset()  # of the ids that are recognised in every text, bytes
    names: tuple[str, ...] = ()  # of the fields that hold ids in records of the source
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, compare=False, repr=False)

    def are_erased(self, ids: Mapping[str, Sequence[str | None]], size: int) -> list[bool]:
        """Which of so many records are of an erased person. In: per kind the ids of the records, also of kinds that nobody has."""
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
        # Nearly all texts are of nobody who was erased. So the different ones are hashed, and only then is a document looked for.
        texts = self._texts_as_long(b"\n".join(documents))
        erased = [text for text in texts if self._is_mentioned(text)]
        marked = [b'"' + text + end for text in erased for end in (b'"', b'\\"')]
        return [number for number, document in enumerate(documents) if any(text in document for text in marked)] if marked else []

    def _texts_as_long(self, content: bytes) -> set[bytes]:
        """The texts between two quotation marks that are as long as an erased id; also those of JSON within a text."""
        marks = np.flatnonzero(np.frombuffer(content, np.uint8) == ord('"'))
        sizes = np.diff(marks) - 1
        chosen = np.flatnonzero(self._are_lengths[np.minimum(sizes, len(self._are_lengths) - 1)])
        texts = set()
        for start, size in zip((marks[chosen] + 1).tolist(), sizes[chosen].tolist(), strict=True):
            text = content[start : start + size]
            texts.add(text[:-1] if text.endswith(b"\\") else text)
        return texts

    @cached_property
    def _are_lengths(self) -> npt.NDArray[np.bool_]:
        """Per number whether a text of so many bytes may be an id; one byte more is the escape of the mark after it."""
        are_lengths = np.zeros(max(self.lengths) + 3, bool)
        for length in self.lengths:
            are_lengths[length : length + 2] = True
        return are_lengths

    def is_refused_record_erased(self, raw: bytes) -> bool:
        """Whether a refused record, which may be anything, has the id of an erased person."""
        if self.lengths:
            as_long = (text for text in _texts(raw) if len(text) in self.lengths)
            if any(self._is_mentioned(text) for text in as_long):
                return True
        in_fields = frozenset().union(*self._digests_in_fields.values())
        return bool(in_fields) and any(_digest(self._key, self._start + text) in in_fields for text in self._values_of_fields(raw))

    def _is_mentioned(self, text: bytes) -> bool:
        return _digest(self._key, self._start + text) in self._mentioned

    def _is_erased(self, kind: str, text: str) -> bool:
        known = self._known.get((kind, text))
        if known is None:
            if len(self._known) >= _MOST_TEXTS:
                self._known.clear()
            digest = _digest(self._key, self._start + text.encode("utf-8", "surrogatepass"))
            known = digest in self._mentioned or digest in self._digests_in_fields.get(kind, ())
            self._known[kind, text] = known
        return known

    @cached_property
    def _key(self) -> bytes:
        return self.salt.encode()

    @cached_property
    def _start(self) -> bytes:
        return _prefix(self.source)

    @cached_property
    def _mentioned(self) -> frozenset[bytes]:
        """The digests of all ids that are recognised in every text."""
        return frozenset(bytes.fromhex(hashed) for hashes in self.everywhere.values() for hashed in hashes)

    @cached_property
    def _digests_in_fields(self) -> dict[str, frozenset[bytes]]:
        return {kind: frozenset(map(bytes.fromhex, hashes)) for kind, hashes in self.in_fields.items()}

    def _values_of_fields(self, raw: bytes) -> Iterator[bytes]:
        """The texts after the names of fields of ids."""
        names = "|".join(map(re.escape, self.names)).encode()
        expression = rb"\b(?:" + names + rb')(?:[\\"\s])*[:=](?:[\\"\s])*([^\s"\\,;{}\[\]&]+)'
        yield from (match[1] for match in re.finditer(expression, raw) if names)

    def __getstate__(self) -> dict[str, object]:
        """Only the hashes are sent to another process, not what is known of texts."""
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__} | {"_known": {}}


def _texts(raw: bytes) -> Iterable[bytes]:
    """The texts in a record that may be ids: texts of JSON, and what stands between marks."""
    texts: dict[bytes, None] = {}
    for match in _STRING.finditer(raw):
        text = match[1]
        if b"\\" in text:
            # Two escapes may be one character.
            units = json_text(text.decode("utf-8", "surrogateescape")).encode("utf-16-le", "surrogatepass")
            text = units.decode("utf-16-le", "replace").encode()
        texts[text] = None
    without_escapes = _ESCAPE.sub(b" ", raw)
    for expression in _RUNS:
        texts |= dict.fromkeys(expression.findall(without_escapes))
    return texts

"""Find the rows of people by their ids: in columns of ids, and as part of any text.

An id that is long and has a digit is sought in every text. Any other, such as `42` or `guest`, may be a number or a word: it counts only in
columns of ids, in keys, and in the bytes of refused records after the name of a field of ids.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import escape
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import re2

from transforms.documents.json_documents import canonical
from transforms.privacy.pseudonyms import Pseudonyms

Kind = Literal["user", "device"]
# Per kind of a person's id, the columns that hold it.
COLUMNS: Mapping[Kind, tuple[str, ...]] = {"user": ("user_id", "uid"), "device": ("device_id", "did")}
# The column with the id of a user or a device, in tables that have no column for each.
_VISITOR = "visitor_id"
# The column of chains with a list of ids.
_KEY = "key"
_BEFORE_ELEMENT = rb'[\[,]"?'
# Names of files are chosen by whoever lands them.
_NOT_SEARCHED = ("file", "earlier_file", "run_id")
_SHORTEST = 8
_SHORTEST_NUMBER = 9
_LONG = 20
# Bytes of memory for the states of one expression, which RE2 makes as it meets them.
_MEMORY = 64 << 20
# With more alternatives, an expression is too large for RE2's quick way.
_SPELLINGS_AT_ONCE = 1_200
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def is_distinctive(text: str) -> bool:
    """Whether a text is an id wherever it stands, and neither a word nor a small number."""
    has_digit = any(character.isdigit() for character in text)
    return ("@" in text and "." in text) or len(text) >= (_SHORTEST_NUMBER if text.isdigit() else _SHORTEST if has_digit else _LONG)


@dataclass(frozen=True)
class People:
    """Ids of people of one source."""

    ids: Mapping[Kind, frozenset[str]]  # as their clients sent them
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    names: tuple[str, ...] = ()  # of the fields that hold ids in records of the source

    def stored(self, kind: Kind) -> dict[str, str]:
        """What columns may hold in place of an id: itself, or its pseudonym of any period; with the id."""
        stored = {text: text for text in self.ids.get(kind, ())}
        return stored | {name: text for text in stored for name in self.pseudonyms.of_every_period(text)}

    @cached_property
    def columns(self) -> dict[str, pa.Array]:
        """Per column of ids the values that are of these people."""
        return {column: pa.array(sorted(self.stored(kind)), pa.string()) for kind, names in COLUMNS.items() for column in names}

    @cached_property
    def _everywhere(self) -> TextSearch:
        return TextSearch({text for kind in COLUMNS for text in self.stored(kind) if is_distinctive(text)})

    @cached_property
    def _in_keys(self) -> TextSearch:
        return TextSearch({text for kind in COLUMNS for text in self.stored(kind)}, _BEFORE_ELEMENT)

    @cached_property
    def _after_names(self) -> TextSearch:
        names = b"|".join(re.escape(name.encode()) for name in sorted(self.names))
        before = rb"\b(?:" + names + rb')(?:[\\"\s])*[:=](?:[\\"\s])*'
        return TextSearch({text for kind in COLUMNS for text in self.stored(kind) if names and not is_distinctive(text)}, before)

    def rows(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows of any table are of these people."""
        found = np.zeros(rows.num_rows, bool)
        for name in rows.column_names:
            column = rows[name].combine_chunks()
            if name in _NOT_SEARCHED:
                continue
            if name in self.columns:
                found |= pc.is_in(column, value_set=self.columns[name]).to_numpy(zero_copy_only=False)
            if name == _VISITOR and COLUMNS["user"][0] not in rows.column_names:
                for kind in COLUMNS:
                    found |= pc.is_in(column, value_set=self.columns[COLUMNS[kind][0]]).to_numpy(zero_copy_only=False)
            if name == "raw":
                found |= self._after_names.rows(column)
            found |= (self._in_keys if name == _KEY else self._everywhere).rows(column)
        return found

    def found_in(self, content: bytes) -> Iterator[tuple[Kind, str]]:
        """The ids of these people, as they are stored, in some bytes: those that `rows` finds in texts."""
        for search in (self._everywhere, self._after_names):
            written = {spelling: text for text in search.ids for spelling in _spellings(text)}
            for text in {written[match] for match in search.matches(content)}:
                yield from ((kind, text) for kind in COLUMNS if text in self.stored(kind))

    def are_in(self, content: bytes) -> bool:
        """Whether some bytes have an id of these people that is recognised in every text."""
        return self._everywhere.is_in(content)

    def __getstate__(self) -> dict[str, object]:
        """Only the ids are sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}


class TextSearch:
    """A search for ids in texts. An id is found where no letter and no digit is next to it, after what the expression `before` matches."""

    def __init__(self, ids: Iterable[str], before: bytes = b"") -> None:
        self.ids = sorted(text for text in ids if text)
        # The longest comes first: RE2 takes the first that matches.
        spellings = sorted({spelling for text in self.ids for spelling in _spellings(text)}, key=lambda text: (-len(text), text))
        parts = (spellings[at : at + _SPELLINGS_AT_ONCE] for at in range(0, len(spellings), _SPELLINGS_AT_ONCE))
        self._expressions = [before + b"(" + b"|".join(map(re.escape, part)) + b")" for part in parts]

    def rows(self, column: pa.Array) -> npt.NDArray[np.bool_]:
        """Which values of a column have an id, in texts, bytes, and lists and structs of them."""
        found = np.zeros(len(column), bool)
        if self._expressions:
            for texts, numbers in _texts(column, np.arange(len(column))):
                found[numbers[self._matching(texts)]] = True
        return found

    def matches(self, content: bytes) -> Iterator[bytes]:
        """The ids in some bytes, as they are written there."""
        for expression in map(_compiled, self._expressions):
            at = 0
            while (match := expression.search(content, at)) is not None:
                is_whole = _is_whole(content, match.span(1), 0, len(content))
                if is_whole:
                    yield match[1]
                at = match.end() if is_whole else match.start() + 1

    def is_in(self, content: bytes) -> bool:
        """Whether an id is in these bytes."""
        return bool(self.rows(pa.array([content], pa.binary()))[0])

    def _matching(self, texts: pa.Array) -> list[int]:
        """The numbers of the texts with an id. All texts are searched as one."""
        if not len(texts):
            return []
        filled = pc.fill_null(texts.cast(pa.large_binary()), b"")
        _, offsets, data = filled.buffers()
        # Text number i is from limits[i] to limits[i + 1].
        limits = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1].tolist()
        content = data.to_pybytes() if data is not None else b""
        found = []
        for expression in map(_compiled, self._expressions):
            at = limits[0]
            while (match := expression.search(content, at, limits[-1])) is not None:
                number = bisect_right(limits, match.start()) - 1
                if _is_whole(content, match.span(1), limits[number], limits[number + 1]):
                    found.append(number)
                    at = limits[number + 1]
                else:
                    at = match.start() + 1
        return found


def _is_whole(content: bytes, span: tuple[int, int], start: int, end: int) -> bool:
    """Whether a span lies within a text, which is from `start` to `end`, and is not part of a longer word there."""
    first, last = span
    if last > end:
        return False
    # A letter after a backslash is an escape, such as that of a line feed.
    continues = first > start and content[first - 1] in _WORD and content[first] in _WORD and content[first - 2 : first - 1] != b"\\"
    return not continues and not (last < end and content[last] in _WORD and content[last - 1] in _WORD)


def _texts(column: pa.Array, numbers: npt.NDArray[np.int64]) -> Iterator[tuple[pa.Array, npt.NDArray[np.int64]]]:
    """The texts in a column, however nested, and per text the number of its row."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield column, numbers
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part, numbers)
    elif pa.types.is_list(kind):
        yield from _texts(pc.list_flatten(column), numbers[pc.list_parent_indices(column).to_numpy(zero_copy_only=False)])


def _spellings(text: str) -> set[bytes]:
    """An id as it may be written: itself, in JSON with fewer or more escapes, in HTML, and in a URL."""
    in_json = canonical(text)[1:-1].decode()
    in_ascii = "".join(c if ord(c) < 128 else "".join(f"\\u{unit:04x}" for unit in _units(c)) for c in in_json)
    in_url = "".join(chr(b) if b in _WORD or b in b"-._~" else f"%{b:02X}" for b in text.encode())
    spellings = {text, in_json, in_ascii, in_json.replace("/", "\\/"), escape(text), in_url}
    return {spelling.encode() for spelling in spellings}


def _units(character: str) -> Iterator[int]:
    """The UTF-16 code units of a character."""
    encoded = character.encode("utf-16-be")
    yield from (int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2))


@lru_cache(maxsize=256)
def _compiled(expression: bytes) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _MEMORY
    return re2.compile(expression, options=options)

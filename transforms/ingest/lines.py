"""Split bytes into lines at line feeds, numbered from 1, in bounded memory.

Rules: docs/rules/sources.md, "Lines and records".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hashlib import _Hash

LINE_LIMIT = 10 * 1024 * 1024
# A line over the limit keeps its first bytes: this many.
KEPT_OF_TOO_LARGE = 64 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r"


class Line(NamedTuple):
    """One physical line of a landed file, without its line feed and one carriage return before that."""

    number: int  # in the file, from 1, blank lines counted
    content: bytes  # the first 64 KiB of a line over the limit
    length: int  # of the whole content, bytes
    sha256: str | None  # of the whole content, if `content` is cut; else None
    too_large: bool
    blank: bool  # it has only spaces, tabs and carriage returns

    @property
    def document(self) -> bytes:
        """The bytes to parse as JSON: the content without the byte-order mark of a file's first line."""
        return self.content.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else self.content


def split_lines(chunks: Iterable[bytes], limit: int = LINE_LIMIT) -> Iterator[Line]:
    """The lines of a file that is read in chunks of any size.

    The last line needs no line feed. If the file ends with a line feed, no empty line follows it. A line of more than `limit` bytes is
    `too_large`, and memory never holds the whole of it. Rule: docs/rules/sources.md, "Limits".
    """
    number = 0
    last = _OpenLine(limit)
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        last.add(first)
        if not others:
            continue
        number += 1
        yield last.close(number)
        for content in others[:-1]:
            number += 1
            yield _whole_line(number, content, limit)
        last = _OpenLine(limit)
        last.add(others[-1])
    if last.size:
        yield last.close(number + 1)


def _whole_line(number: int, content: bytes, limit: int) -> Line:
    content = content.removesuffix(b"\r")
    length = len(content)
    blank = not content.strip(_BLANKS) or (number == 1 and not content.removeprefix(_BYTE_ORDER_MARK).strip(_BLANKS))
    if length <= limit or blank:
        return Line(number, content, length, None, False, blank)
    return Line(number, content[:KEPT_OF_TOO_LARGE], length, hashlib.sha256(content).hexdigest(), True, False)


class _OpenLine:
    """A line whose end has not been read yet. Up to the limit its bytes are kept; beyond it they are only hashed."""

    def __init__(self, limit: int) -> None:
        self.size = 0  # bytes so far, including a carriage return at the end
        self._limit = limit
        self._pieces: list[bytes] = []
        self._hash: _Hash | None = None
        self._kept = b""
        self._returned = False  # the last byte is a carriage return, which is not hashed yet because it may be dropped
        self._blank = True

    def add(self, piece: bytes) -> None:
        if not piece:
            return
        self.size += len(piece)
        if self._hash is None:
            self._pieces.append(piece)
            if self.size <= self._limit + 1:  # + 1: a carriage return, which may be dropped
                return
            piece = b"".join(self._pieces)
            self._pieces = []
            self._hash = hashlib.sha256()
        self._kept += piece[: KEPT_OF_TOO_LARGE - len(self._kept)]
        self._blank = self._blank and not piece.strip(_BLANKS)
        if self._returned:
            self._hash.update(b"\r")
        self._returned = piece.endswith(b"\r")
        self._hash.update(memoryview(piece)[: len(piece) - self._returned])

    def close(self, number: int) -> Line:
        if self._hash is None:
            return _whole_line(number, b"".join(self._pieces), self._limit)
        length = self.size - self._returned
        sha256 = None if self._blank else self._hash.hexdigest()
        return Line(number, self._kept[:length], length, sha256, not self._blank, self._blank)

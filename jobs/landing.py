"""The landing zone: which files have landed where, and their bytes.

Layout: `<landing>/<source>/date=YYYY-MM-DD/hour=HH/*.{json,jsonl,ndjson}[.gz|.bz2]`; `hour=` may be absent.
"""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from jobs.errors import LandingError

CHUNK_BYTES = 1 << 20
TRUTH = "_truth"
_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_HOUR = re.compile(r"hour=([01]\d|2[0-3])")
# What gzip and bzip2 files begin with, and no JSON does.
_COMPRESSED = (b"\x1f\x8b", b"BZh")
_NAME = re.compile(r".+\.(?:json|jsonl|ndjson)(\.gz|\.bz2)?")


@dataclass(frozen=True, order=True)
class Partition:
    """What one source landed on one date."""

    landing_date: dt.date
    source: str

    @property
    def values(self) -> dict[str, str]:
        """As partition values of a table."""
        return {"landing_date": self.landing_date.isoformat(), "source": self.source}


@dataclass(frozen=True)
class LandedFile:
    """One landed file, or whatever stands in its place."""

    partition: Partition
    landing_hour: int | None
    file: str  # path from the landing root
    size: int  # bytes
    modified: int  # epoch µs
    fault: str | None = None  # why it cannot be read, where that shows without opening it


class UnreadableError(Exception):
    """A landed file cannot be read to its end; the message says why."""


def check_root(landing: Path) -> None:
    """Raises LandingError when there is no landing folder."""
    if not landing.is_dir():
        raise LandingError(
            f"no landing folder at {landing}: name it with --landing, or make data with `millrace generate --landing {landing}`"
        )


def dates(landing: Path, sources: Iterable[str]) -> list[dt.date]:
    """Every date on which any of these sources has a partition, in order."""
    found = set()
    for source in sources:
        for name, _ in _entries(landing / source):
            date = _date(name)
            if date is not None:
                found.add(date)
    return sorted(found)


def landed(landing: Path, source: str, date: dt.date) -> list[LandedFile]:
    """Every file of a partition, sorted by path; an entry that is no landed file bears its fault."""
    partition = Partition(date, source)
    root = landing / source / f"date={date.isoformat()}"
    found = []
    for name, path in _entries(root):
        hour = _HOUR.fullmatch(name)
        if hour and path.is_dir():
            try:
                inside = list(_entries(path))
            except PermissionError:
                found.append(_described(landing, path, partition, int(hour[1]), "permission denied"))
                continue
            found += [_described(landing, below, partition, int(hour[1])) for _, below in inside]
        else:
            found.append(_described(landing, path, partition, None))
    return sorted(found, key=lambda file: os.fsencode(file.file))


def chunks(landing: Path, file: LandedFile, digest: hashlib._Hash) -> Iterator[bytes]:
    """The file's decompressed bytes, piece by piece; `digest` is fed the bytes as landed.

    Raises UnreadableError when the file is gone, has changed since it was listed, may not be read, or is damaged.
    """
    if file.fault is not None:
        raise UnreadableError(file.fault)
    try:
        with (landing / file.file).open("rb", buffering=0) as raw:
            if file.size == 0 and file.file.endswith((".gz", ".bz2")):
                raise EOFError  # nothing compressed is some bytes; Python's gzip takes no bytes for nothing
            hashed = _Hashed(raw, digest)
            with _decompressed(file.file, hashed) as content:
                chunk = content.read(CHUNK_BYTES)
                if chunk.startswith(_COMPRESSED):
                    raise UnreadableError("compressed, which its name does not say")
                while chunk:
                    yield chunk
                    chunk = content.read(CHUNK_BYTES)
            hashed.drain()
            now = os.fstat(raw.fileno())
            if (now.st_size, now.st_mtime_ns // 1000) != (file.size, file.modified) or hashed.length != file.size:
                raise UnreadableError("changed while it was read")
    except FileNotFoundError:
        raise UnreadableError("gone since it was listed") from None
    except PermissionError:
        raise UnreadableError("permission denied") from None
    except EOFError:
        raise UnreadableError("truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise UnreadableError("not valid gzip") from None
    except (OSError, ValueError) as error:
        if file.file.endswith(".bz2"):
            raise UnreadableError("not valid bzip2") from None
        raise UnreadableError(
            f"cannot be read: {os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__}"
        ) from None


class _Hashed(io.RawIOBase):
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, raw: IO[bytes], digest: hashlib._Hash) -> None:
        super().__init__()
        self._raw = raw
        self._digest = digest
        self.length = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = cast(io.RawIOBase, self._raw).readinto(buffer) or 0
        self._digest.update(memoryview(buffer)[:count])
        self.length += count
        return count

    def drain(self) -> None:
        """Read what a decompressor left, so that the hash covers the whole file."""
        while self.read(CHUNK_BYTES):
            pass


def _decompressed(name: str, raw: io.RawIOBase) -> IO[bytes]:
    buffered = io.BufferedReader(raw, CHUNK_BYTES)
    if name.endswith(".gz"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=buffered, mode="rb"))
    if name.endswith(".bz2"):
        return io.BufferedReader(_Bzip2(cast(IO[bytes], buffered)), CHUNK_BYTES)
    return buffered


class _Bzip2(io.RawIOBase):
    """The content of bzip2 streams that follow each other.

    Not bz2.BZ2File: that takes whatever follows a stream and is none for the end, so that a second stream which is damaged
    would be lost in silence.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__()
        self._packed = packed
        self._stream = bz2.BZ2Decompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = b""
        while not content:
            piece = self._stream.unused_data
            if not piece and (self._stream.eof or self._stream.needs_input):
                piece = self._packed.read(io.DEFAULT_BUFFER_SIZE)
                if not piece and self._stream.eof:
                    return 0
                if not piece:
                    raise EOFError
            if self._stream.eof:
                self._stream = bz2.BZ2Decompressor()
            content = self._stream.decompress(piece, len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths in a folder, but for those that are to be ignored; nothing where there is no folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(("_", ".")):
                yield entry.name, Path(entry.path)


def _date(name: str) -> dt.date | None:
    matched = _DATE.fullmatch(name)
    try:
        return dt.date.fromisoformat(matched[1]) if matched else None
    except ValueError:
        return None


def _described(landing: Path, path: Path, partition: Partition, hour: int | None, fault: str | None = None) -> LandedFile:
    relative = path.relative_to(landing).as_posix()
    shown = os.fsencode(relative).decode("utf-8", "backslashreplace")
    try:
        status = path.stat()
    except OSError as error:
        return LandedFile(partition, hour, shown, 0, 0, fault or f"cannot be looked at: {os.strerror(error.errno or 0)}")
    if fault is None:
        if shown != relative:
            fault = "name is not UTF-8"
        elif stat.S_ISDIR(status.st_mode):
            fault = "a folder, not a file"
        elif not stat.S_ISREG(status.st_mode):
            fault = "no regular file"
        elif not _NAME.fullmatch(path.name):
            fault = "unknown extension"
    return LandedFile(partition, hour, shown, status.st_size, status.st_mtime_ns // 1000, fault)

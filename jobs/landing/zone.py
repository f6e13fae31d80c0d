"""The landing zone, a folder or a part of a bucket: list the landed files of each partition, and read their bytes.

Layout: `<landing>/<source>/date=YYYY-MM-DD/hour=HH/*.{json,jsonl,ndjson}[.gz|.bz2]`; `hour=` may be absent.
"""

from __future__ import annotations

import bz2
import datetime as dt
import errno
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from jobs.console import paths
from jobs.errors import LandingError
from jobs.storage import storage_paths
from jobs.storage.bucket import BucketPath, ObjectReader, fault_of_key
from jobs.storage.object_store import StoreError
from jobs.storage.storage_paths import Entry, StoragePath
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY

CHUNK_BYTES = 1 << 20
_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_HOUR = re.compile(r"hour=([01][0-9]|2[0-3])")
_MISNAMED_HOUR = re.compile(r"hour=([0-9]+)", re.IGNORECASE)
# The first bytes of gzip and bzip2 files. No JSON begins with them.
_COMPRESSED = (b"\x1f\x8b", b"BZh")
_ENDING = re.compile(r"\.(?:json|jsonl|ndjson)(\.gz|\.bz2)?$")
_NAME = re.compile(r".+\.(?:json|jsonl|ndjson)(\.gz|\.bz2)?", re.DOTALL)


@dataclass(frozen=True, order=True)
class Partition:
    """The files of one source that landed on one date."""

    landing_date: dt.date
    source: str

    @property
    def values(self) -> dict[str, str]:
        """The partition as values of partition columns, as text."""
        return {"landing_date": self.landing_date.isoformat(), "source": self.source}


@dataclass(frozen=True)
class LandedFile:
    """One landed file, or another entry of a partition's folder."""

    partition: Partition
    landing_hour: int | None
    file: str  # path from the landing root, without addresses and keys in the name
    size: int  # bytes
    modified: int  # epoch µs
    fault: str | None = None  # why it cannot be read, if its name or kind shows that
    is_unlisted: bool = False  # a folder that cannot be listed
    path: str | None = None  # the path as it landed, where `file` is another


class UnreadableError(Exception):
    """A landed file cannot be read to its end; the message says why."""


def check_root(landing: StoragePath) -> None:
    """Raises LandingError when there is no landing folder, or the store does not let this user list it."""
    check_usable(landing)
    if isinstance(landing, BucketPath):
        _check_bucket(landing)
    elif not landing.is_dir():
        raise LandingError(
            f"no landing folder at {paths.shown(landing)}: name it with --landing,"
            f" or make data with `millrace generate --landing {paths.shown(landing)}`"
        )


def _check_bucket(landing: BucketPath) -> None:
    fault = paths.fault_of_bucket(landing, "--landing")
    if fault is None and not landing.is_dir():
        fault = "nothing has landed there", "name another folder with --landing"
    if fault is not None:
        why, remedy = fault
        raise LandingError(f"the landing zone {paths.shown(str(landing))} cannot be read ({why}): {remedy}")


def check_usable(landing: StoragePath) -> None:
    """Raises LandingError when this path cannot be a landing folder."""
    if isinstance(landing, Path) and (why := paths.unusable(landing)):
        raise LandingError(f"the landing folder {paths.shown(landing)} cannot be opened ({why}): name another with --landing")


def dates(landing: StoragePath, sources: Iterable[str]) -> list[dt.date]:
    """Every date on which any of these sources has a partition, in order.

    Raises LandingError when the folder of a source cannot be listed.
    """
    dates = set()
    for source in sources:
        try:
            dates |= {date for entry in _entries(landing / source) if (date := date_of(entry.name)) is not None}
        except OSError as error:
            folder = paths.shown(str(landing / source))
            raise LandingError(f"the folder {folder} cannot be listed ({_why(error)}): let this user read it") from None
    return sorted(dates)


def landed(landing: StoragePath, source: str, date: dt.date) -> list[LandedFile]:
    """Every file of a partition, sorted by path. Other entries, and folders that cannot be listed, are included with their `fault`."""
    partition = Partition(date, source)
    root = landing / source / f"date={date.isoformat()}"
    listed: list[tuple[LandedFile, StoragePath]] = []

    def add(entry: Entry, hour: int | None, unlisted: OSError | None = None) -> None:
        file = _described(landing, entry, partition, hour, None if unlisted is None else _why(unlisted))
        listed.append((replace(file, is_unlisted=unlisted is not None), entry.path))

    try:
        list_folder = _lister(root)
        for entry in list_folder(root):
            hour = _HOUR.fullmatch(entry.name)
            if hour and entry.is_folder:
                try:
                    inside = list_folder(entry.path)
                except StoreError:
                    raise
                except OSError as error:
                    add(entry, int(hour[1]), error)
                    continue
                for below in inside:
                    add(below, int(hour[1]))
            else:
                add(entry, None)
    except StoreError:
        raise
    except OSError as error:
        listed = []
        add(Entry(root.name, root, is_folder=True), None, error)
    return sorted(_with_distinct_names(listed), key=lambda file: os.fsencode(file.file))


def names(landing: StoragePath, partition: Partition) -> int:
    """How many files a partition has: as many as `landed` lists. This lists folders and reads no file's size or time."""
    if isinstance(landing, BucketPath):
        return len(landed(landing, partition.source, partition.landing_date))
    # A folder's listing says of each name whether it is a folder.
    entries = _listed(os.path.join(landing, partition.source, f"date={partition.landing_date.isoformat()}"))  # noqa: PTH118 - ten times as quick
    if entries is None:
        return 1
    hours = [entry for entry in entries if _HOUR.fullmatch(entry.name) and _is_folder(entry)]
    inside = [_listed(hour.path) for hour in hours]
    return len(entries) - len(hours) + sum(1 if below is None else len(below) for below in inside)


def _listed(folder: str) -> list[os.DirEntry[str]] | None:
    """The entries of a folder without ignored ones; none if there is no folder, None if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(("_", "."))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None


def has_files(landing: StoragePath, partition: Partition) -> bool:
    """Whether a partition has any file, or a folder that cannot be listed."""
    return names(landing, partition) > 0


def chunks(landing: StoragePath, file: LandedFile, digest: hashlib._Hash) -> Iterator[bytes]:
    """The file's decompressed bytes in chunks. `digest` is updated with the bytes as landed.

    Raises UnreadableError when the file is gone, has changed since it was listed, may not be read, or is damaged.
    """
    if file.fault is not None:
        raise UnreadableError(file.fault)
    with _faults_of(landing, file):
        yield from _read(landing / (file.path or file.file), file, digest)


def _read(path: StoragePath, file: LandedFile, digest: hashlib._Hash) -> Iterator[bytes]:
    with _opened(path) as raw:
        if file.size == 0 and file.file.endswith((".gz", ".bz2")):
            raise EOFError  # a compressed file has a header; Python's gzip reads an empty file as empty content
        hashed = _Hashed(raw, digest)
        with _decompressed(file.file, hashed) as content:
            chunk = content.read(CHUNK_BYTES)
            if chunk.startswith(_COMPRESSED):
                raise UnreadableError("compressed, which its name does not say")
            while chunk:
                yield chunk
                chunk = content.read(CHUNK_BYTES)
        hashed.drain()
        now = raw.status if isinstance(raw, ObjectReader) else os.fstat(raw.fileno())
        if (now.st_size, now.st_mtime_ns // 1000) != (file.size, file.modified) or hashed.length != file.size:
            raise UnreadableError("changed while it was read")


@contextmanager
def _faults_of(landing: StoragePath, file: LandedFile) -> Iterator[None]:
    """Raise UnreadableError for what goes wrong while the file is read."""
    try:
        yield
    except StoreError:
        raise  # another file may be read no better: the run ends
    except FileNotFoundError as error:
        raise UnreadableError(_why_gone(landing, file)) from error
    except PermissionError:
        raise UnreadableError("permission denied") from None
    except EOFError:
        raise UnreadableError("truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise UnreadableError("not valid gzip") from None
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ESTALE:
            raise UnreadableError("changed while it was read") from None
        if number is None and file.file.endswith(".bz2"):
            raise UnreadableError("not valid bzip2") from None
        why = _why(error) if isinstance(error, OSError) and number else type(error).__name__
        raise UnreadableError(f"cannot be read: {why}") from None


def _why_gone(landing: StoragePath, file: LandedFile) -> str:
    """Why a file that was listed is not there. The listing of a bucket leaves out a slash at the end of a key."""
    path = landing / (file.path or file.file)
    if isinstance(path, BucketPath) and path.has_slash():
        return "its key ends with a slash: rename it"
    return "gone since it was listed"


def _opened(file: StoragePath) -> io.FileIO | ObjectReader:
    """The bytes of a file as landed, not buffered."""
    return file.open_object() if isinstance(file, BucketPath) else file.open("rb", buffering=0)


class _Hashed(io.RawIOBase):
    """A file that counts and hashes the bytes that are read from it."""

    def __init__(self, raw: io.RawIOBase, digest: hashlib._Hash) -> None:
        super().__init__()
        self._raw = raw
        self._digest = digest
        self.length = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer) or 0
        self._digest.update(memoryview(buffer)[:count])
        self.length += count
        return count

    def drain(self) -> None:
        """Read the bytes that the decompressor has not read, so that the hash covers the whole file."""
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
    """The content of a sequence of bzip2 streams.

    bz2.BZ2File would not do: it ignores a damaged second stream, because it reads everything after a stream that is no stream as
    the end of the file.
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


def _lister(root: StoragePath) -> Callable[[StoragePath], list[Entry]]:
    """The function that lists this folder and the folders in it. A bucket is listed once for all of them. Raises OSError."""
    if isinstance(root, Path):
        return _entries
    tree = storage_paths.tree(root)
    return lambda folder: _visible(tree.get(folder, []))


def _entries(folder: StoragePath) -> list[Entry]:
    """The entries of a folder without ignored ones; none if there is no folder. Raises OSError."""
    return _visible(storage_paths.entries(folder))


def _visible(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if not _is_ignored(entry.name)]


def _is_ignored(name: str) -> bool:
    """Whether a name says that no night reads it. The key of an object can have `.` and `..` for a folder's name: these are named."""
    first = name.partition("/")[0]
    return first.startswith(("_", ".")) and first not in (".", "..")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def date_of(name: str) -> dt.date | None:
    """The date in a folder's name `date=YYYY-MM-DD`; None for any other name."""
    matched = _DATE.fullmatch(name)
    try:
        return dt.date.fromisoformat(matched[1]) if matched else None
    except ValueError:
        return None


def _described(landing: StoragePath, entry: Entry, partition: Partition, hour: int | None, fault: str | None = None) -> LandedFile:
    relative = storage_paths.relative(entry.path, landing)
    written = os.fsencode(relative).decode("utf-8", "backslashreplace")
    shown = _without_addresses(written)
    path = None if shown == written else relative
    if entry.is_folder and isinstance(landing, BucketPath):
        return LandedFile(partition, hour, shown, 0, 0, fault or f"a folder, not a file{_remedy_for_hour(entry.name)}", path=path)
    try:
        status = entry.status()
    except OSError as error:
        return LandedFile(partition, hour, shown, 0, 0, fault or f"cannot be opened: {_why(error)}", path=path)
    if fault is None:
        if written != relative:
            fault = "name is not UTF-8"
        elif isinstance(landing, BucketPath) and (wrong := fault_of_key(entry.name)):
            fault = f"{wrong}: rename it"
        elif entry.is_folder:
            fault = f"a folder, not a file{_remedy_for_hour(entry.name)}"
        elif isinstance(status, os.stat_result) and not stat.S_ISREG(status.st_mode):
            fault = "no regular file"
        elif not _NAME.fullmatch(entry.name):
            fault = "unknown extension"
    return LandedFile(partition, hour, shown, status.st_size, status.st_mtime_ns // 1000, fault, path=path)


def _without_addresses(path: str) -> str:
    """A path without addresses and keys in the file's name, and with a hash in their place that tells the file from others."""
    folder, slash, name = path.rpartition("/")
    ending = _ENDING.search(name)
    stem = name[: ending.start()] if ending else name
    redacted = SHIPPED_PRIVACY.texts.redacted(stem)
    if redacted == stem:
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    return f"{folder}{slash}{redacted}~{digest}{name[len(stem) :]}"


def _remedy_for_hour(name: str) -> str:
    """The remedy for a folder whose name is similar to that of an hour; empty for any other name."""
    matched = _MISNAMED_HOUR.fullmatch(name)
    if not matched:
        return ""
    hour = int(matched[1][-9:])
    return f": name it hour={hour:02}" if hour < 24 and len(matched[1]) < 3 else ": hours are hour=00 to hour=23"


def _with_distinct_names(listed: Sequence[tuple[LandedFile, StoragePath]]) -> list[LandedFile]:
    """The files with distinct names. A name that is not UTF-8 is shown with escapes, and another file may have that very name."""
    shown = Counter(file.file for file, _ in listed)
    files = []
    for file, path in listed:
        raw = os.fsencode(path.name)
        name = file.file
        if shown[name] > 1 and raw.decode("utf-8", "replace").encode() != raw:
            digest = hashlib.sha256(raw).hexdigest()
            while shown[name] > 0:
                name += f"~{digest[:8]}"
        files.append(replace(file, file=name))
    return files


def _why(error: OSError) -> str:
    return "permission denied" if isinstance(error, PermissionError) else error.strerror or os.strerror(error.errno or 0)

"""Folders and objects of a bucket, by the part of pathlib's interface that the landing zone and the lake need.

A bucket has no folders: what is called one here is the common beginning of keys, up to a slash.
"""

from __future__ import annotations

import errno
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from jobs.storage.object_store import arrow_file_system, os_errors, store_of

# Bytes of an object that are read at once, at most.
_RANGE_BYTES = 8 << 20
# The names that stores allow; in one of Azure, the account follows an @.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class ObjectStatus:
    """The size and the time of an object, by the names of `os.stat_result`, and its version.

    Stores give the time in whole seconds. The microseconds are a checksum of the version.
    """

    st_size: int
    st_mtime_ns: int
    version: str | None  # its ETag; None if the store gives none


# The name of a folder or an object directly in a folder, and the status of an object; None for a folder.
Listed = tuple[str, ObjectStatus | None]


@dataclass(frozen=True, order=True)
class BucketPath:
    """A folder or an object in a bucket."""

    bucket: str  # with its scheme: s3://name
    key: str = ""  # without a slash at either end; empty for the whole bucket

    @classmethod
    def of_url(cls, url: str) -> BucketPath:
        """The path of a URL. Raises ValueError if it names no bucket, or no folder that can be in one; the message has the remedy."""
        scheme, _, rest = url.partition("://")
        name, _, key = rest.partition("/")
        if not name:
            raise ValueError(f"{url} names no bucket: write it as {scheme}://BUCKET/FOLDER")
        if not _BUCKET.fullmatch(name):
            raise ValueError(f"{url} names no bucket that there can be: a name has letters, digits, dots, hyphens and underscores")
        folder = key.strip("/")
        if why := fault_of_key(folder):
            raise ValueError(f"{url} names no folder that can be read, because {why}: name another")
        return cls(f"{scheme}://{name}", folder)

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, below: str) -> BucketPath:
        return BucketPath(self.bucket, "/".join(part for part in (self.key, below) if part))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        """The folder that holds it; the bucket itself has no other."""
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def relative_to(self, folder: BucketPath) -> PurePosixPath:
        """The path from a folder above."""
        return PurePosixPath(self.key).relative_to(folder.key)

    def is_dir(self) -> bool:
        """Whether any key lies below this path. Raises OSError if the store does not say."""
        return bool(self.entries())

    def exists(self) -> bool:
        """Whether there is an object or a folder at this path. Raises OSError if the store does not say."""
        try:
            self.stat()
        except FileNotFoundError:
            return self.is_dir()
        return True

    def is_file(self) -> bool:
        """Whether there is an object at this path. Raises OSError if the store does not say."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def stat(self) -> ObjectStatus:
        """The size and the time of the object. Raises OSError if there is none, or it may not be read."""
        import obstore

        with os_errors(self):
            return _status(obstore.head(store_of(self.bucket), self.key))

    def entries(self) -> list[Listed]:
        """What is directly in the folder; nothing if there is no such folder. Raises OSError if it cannot be listed."""
        import obstore

        prefix = f"{self.key}/" if self.key else None
        with os_errors(self):
            listed = obstore.list_with_delimiter(store_of(self.bucket), prefix)
        folders: list[Listed] = [(folder.rstrip("/").rpartition("/")[2], None) for folder in listed["common_prefixes"]]
        objects = (found for found in listed["objects"] if not _is_folder_marker(found, self.key))
        return folders + [(found["path"].rpartition("/")[2], _status(found)) for found in objects]

    def tree(self) -> dict[BucketPath, list[Listed]]:
        """What is directly in this folder and in each folder below it, from one listing. Raises OSError if it cannot be listed.

        An object whose key the client does not read is in the folder above the part that is wrong. Its name is the rest of its key.
        """
        import obstore

        folders_in: dict[BucketPath, set[str]] = {self: set()}
        objects_in: dict[BucketPath, list[Listed]] = {}
        try:
            with os_errors(self):
                objects = [found for page in obstore.list(store_of(self.bucket), f"{self.key}/" if self.key else None) for found in page]
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            objects, unreadable = self._objects_by_arrow(error)
            for folder, name, status in unreadable:
                objects_in.setdefault(folder, []).append((name, status))
        for found in objects:
            if _is_folder_marker(found, self.key):
                continue
            *folders, name = found["path"].removeprefix(f"{self.key}/").split("/")
            folder = self
            for below in folders:
                folders_in[folder].add(below)
                folder = folder / below
                folders_in.setdefault(folder, set())
            objects_in.setdefault(folder, []).append((name, _status(found)))
        return {folder: [*((name, None) for name in names), *objects_in.get(folder, [])] for folder, names in folders_in.items()}

    def _objects_by_arrow(self, error: OSError) -> tuple[list[Any], list[tuple[BucketPath, str, ObjectStatus]]]:
        """All objects below, as obstore describes them, and those whose keys it does not read: folder, name, status.

        obstore refuses a whole listing for one such key. Arrow lists any key, but gives no version: each object is asked for it.
        Raises the error if Arrow cannot list them either.
        """
        import obstore
        import pyarrow as pa
        from pyarrow import fs

        bucket = self.bucket.partition("://")[2]
        try:
            found = arrow_file_system(self.bucket).get_file_info(fs.FileSelector(f"{bucket}/{self.key}", recursive=True))
        except (pa.ArrowException, OSError):
            raise error from None
        keys = {one.path.removeprefix(f"{bucket}/"): one for one in found if one.type == fs.FileType.File}
        readable, unreadable = [], []
        for key, one in keys.items():
            if fault_of_key(key):
                folder, name = _parts(self, key)
                unreadable.append((folder, name, ObjectStatus(one.size, one.mtime_ns or 0, None)))
                continue
            with suppress(FileNotFoundError), os_errors(self):
                readable.append(obstore.head(store_of(self.bucket), key))
        return readable, unreadable

    def iterdir(self) -> Iterator[BucketPath]:
        """The paths of what is directly in the folder; nothing if there is no such folder. Raises OSError if it cannot be listed."""
        return (self / name for name, _ in self.entries())

    def objects_below(self) -> dict[BucketPath, ObjectStatus]:
        """All objects below this path. Raises OSError if they cannot be listed."""
        listed = self.tree()
        return {folder / name: status for folder, inside in listed.items() for name, status in inside if status is not None}

    def has_slash(self) -> bool:
        """Whether there is an object with this key and a slash. A listing leaves the slash out, and no other call finds the object."""
        import obstore

        with os_errors(self):
            return any(found["path"] == self.key for page in obstore.list(store_of(self.bucket), f"{self.key}/") for found in page)

    def read_bytes(self) -> bytes:
        """The bytes of the object. Raises OSError if there is none, or it may not be read."""
        return self.read_version()[0]

    def read_version(self) -> tuple[bytes, str | None]:
        """The bytes of the object and its version. Raises OSError as `read_bytes` does."""
        import obstore

        with os_errors(self):
            found = obstore.get(store_of(self.bucket), self.key)
            return bytes(found.bytes()), found.meta.get("e_tag")

    def read_end(self, size: int) -> tuple[bytes, bool]:
        """The last bytes of the object, at most `size` of them, and whether these are all. Raises OSError as `read_bytes` does."""
        import obstore

        options: Any = {"range": {"suffix": size}}
        with os_errors(self):
            found = obstore.get(store_of(self.bucket), self.key, options=options)
            content = bytes(found.bytes())
        return content, len(content) == found.meta["size"]

    def write_bytes(self, content: bytes) -> int:
        """Write an object, in place of one that is there. Readers see all of it or none. Raises OSError if it may not be written."""
        self._put(content, "overwrite")
        return len(content)

    def create(self, content: bytes) -> str | None:
        """Write an object where there is none; gives its version. Raises FileExistsError if there is one."""
        return self._put(content, "create")

    def replace_version(self, version: str | None, content: bytes) -> str | None:
        """Write an object in place of this version; gives the new one. Raises OSError with ESTALE if another version is there."""
        return self._put(content, {"e_tag": version})

    def _put(self, content: bytes, mode: Any) -> str | None:
        import obstore

        with os_errors(self):
            return obstore.put(store_of(self.bucket), self.key, content, mode=mode).get("e_tag")

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete the object. Raises FileNotFoundError if there is none, unless `missing_ok`; some stores do not tell."""
        import obstore

        try:
            with os_errors(self):
                obstore.delete(store_of(self.bucket), self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Delete all objects below this path."""
        import obstore

        if objects := [path.key for path in self.objects_below()]:
            with os_errors(self):
                obstore.delete(store_of(self.bucket), objects)

    def move_tree(self, target: BucketPath) -> None:
        """Copy all objects below this path to below another one of the bucket, then delete them here."""
        import obstore

        for path in self.objects_below():
            with os_errors(path):
                obstore.copy(store_of(self.bucket), path.key, f"{target.key}/{path.relative_to(self).as_posix()}")
            path.unlink(missing_ok=True)

    def open_object(self) -> ObjectReader:
        """The bytes of the object from its start. Raises OSError if there is none, or it may not be read."""
        return ObjectReader(self, self.stat())


def fault_of_key(key: str) -> str | None:
    """Why the client of a store does not read an object with this key; None if it does."""
    if _CONTROL.search(key):
        return "a part of its key has a control character"
    parts = key.split("/") if key else []
    wrong = next((part for part in parts if part in ("", ".", "..")), None)
    if wrong is None:
        return None
    return f"a part of its key is {wrong or 'empty'}"


def _parts(folder: BucketPath, key: str) -> tuple[BucketPath, str]:
    """The folder above the first part of a key that is wrong, at most the one of its last part, and the rest of the key."""
    parts = key.removeprefix(f"{folder.key}/").split("/")
    while len(parts) > 1 and not fault_of_key(parts[0]) and parts[0]:
        folder /= parts.pop(0)
    return folder, "/".join(parts)


class ObjectReader(io.RawIOBase):
    """The bytes of an object as it was when it was opened.

    It is read by ranges, so a pause between two of them holds no connection open. Raises OSError, also when the object is replaced.
    """

    def __init__(self, path: BucketPath, status: ObjectStatus) -> None:
        super().__init__()
        self._path = path
        self._position = 0
        self._piece = memoryview(b"")
        self.status = status

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into the buffer; gives how many."""
        if not self._piece:
            self._piece = self._next_piece()
        count = min(len(buffer), len(self._piece))
        memoryview(buffer)[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _next_piece(self) -> memoryview:
        end = min(self._position + _RANGE_BYTES, self.status.st_size)
        if self._position >= end:
            return memoryview(b"")
        import obstore

        options: Any = {"range": (self._position, end)}
        if self.status.version is not None:
            options["if_match"] = self.status.version
        with os_errors(self._path):
            piece = bytes(obstore.get(store_of(self._path.bucket), self._path.key, options=options).bytes())
        self._position = end
        return memoryview(piece)


def _is_folder_marker(found: Mapping[str, Any], folder: str) -> bool:
    """Whether an object stands for a folder: some programs make an empty one, with a slash at the end of its key, which is not listed."""
    return found["path"] == folder or (found["size"] == 0 and "." not in found["path"].rpartition("/")[2])


def _status(found: Mapping[str, Any]) -> ObjectStatus:
    modified: datetime = found["last_modified"]
    version: str | None = found.get("e_tag")
    # Two versions of the same second differ in their microseconds. Some stores put quotes around an ETag, but not in a listing.
    microseconds = zlib.crc32(version.strip('"').encode()) % 1_000_000 if version else 0
    return ObjectStatus(found["size"], int(modified.timestamp()) * 1_000_000_000 + microseconds * 1000, version)

"""Folders and objects of a bucket, by the part of pathlib's interface that the landing zone needs.

A bucket has no folders: what is called one here is the common beginning of keys, up to a slash. Credentials and the endpoint come from
the environment, under the names of the AWS SDKs: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
AWS_ENDPOINT_URL. Google's and Azure's variables are those of obstore.
"""

from __future__ import annotations

import errno
import io
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from jobs.errors import STORE_FAILED

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3://", "gs://", "abfss://")
# The code in an error of S3, and those of wrong credentials or missing permissions.
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REFUSED = {"AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_TIMEOUT = timedelta(seconds=30)
_RETRIES = 3
# Bytes of an object that are read at once, at most.
_RANGE_BYTES = 8 << 20


class StoreError(OSError):
    """The store cannot be reached, or answers with an error of its own."""


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
        """The path of a URL. Raises ValueError if it names no bucket."""
        scheme, _, rest = url.partition("://")
        name, _, key = rest.partition("/")
        if not name:
            raise ValueError(f"{url} names no bucket")
        return cls(f"{scheme}://{name}", key.strip("/"))

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, below: str) -> BucketPath:
        return BucketPath(self.bucket, f"{self.key}/{below}" if self.key else below)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.key.rpartition("/")[2]

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

    def stat(self) -> ObjectStatus:
        """The size and the time of the object. Raises OSError if there is none, or it may not be read."""
        import obstore

        with _os_errors(self):
            return _status(obstore.head(_store(self.bucket), self.key))

    def entries(self) -> list[Listed]:
        """What is directly in the folder; nothing if there is no such folder. Raises OSError if it cannot be listed."""
        import obstore

        prefix = f"{self.key}/" if self.key else None
        with _os_errors(self):
            listed = obstore.list_with_delimiter(_store(self.bucket), prefix)
        folders: list[Listed] = [(folder.rstrip("/").rpartition("/")[2], None) for folder in listed["common_prefixes"]]
        objects = (found for found in listed["objects"] if not _is_folder_marker(found, self.key))
        return folders + [(found["path"].rpartition("/")[2], _status(found)) for found in objects]

    def tree(self) -> dict[BucketPath, list[Listed]]:
        """What is directly in this folder and in each folder below it, from one listing. Raises OSError if it cannot be listed."""
        import obstore

        folders_in: dict[BucketPath, set[str]] = {self: set()}
        objects_in: dict[BucketPath, list[Listed]] = {}
        with _os_errors(self):
            objects = [found for page in obstore.list(_store(self.bucket), f"{self.key}/" if self.key else None) for found in page]
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

    def open_object(self) -> ObjectReader:
        """The bytes of the object from its start. Raises OSError if there is none, or it may not be read."""
        return ObjectReader(self, self.stat())


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
        with _os_errors(self._path):
            piece = bytes(obstore.get(_store(self._path.bucket), self._path.key, options=options).bytes())
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


def forget_stores() -> None:
    """Read credentials and endpoints from the environment again."""
    _store.cache_clear()


@lru_cache(maxsize=16)
def _store(bucket: str) -> ObjectStore:
    """The store of a bucket, with what the environment says of credentials and endpoint."""
    from obstore.store import from_url

    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    # obstore refuses http:// unless it is allowed.
    client: Any = {"allow_http": True, "timeout": _TIMEOUT} if endpoint.startswith("http://") else {"timeout": _TIMEOUT}
    retries: Any = {"max_retries": _RETRIES, "retry_timeout": _TIMEOUT}
    config: Any = {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"}
    return from_url(bucket, config=config if bucket.startswith("s3://") else None, client_options=client, retry_config=retries)


@contextmanager
def _os_errors(path: BucketPath) -> Iterator[None]:
    """Raise the errors of the store as those that a file system would raise."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError):
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError):
        raise PermissionError(errno.EACCES, "permission denied", str(path)) from None
    except exceptions.InvalidPathError:
        raise OSError(errno.EINVAL, "the key of an object has an empty part, `.` or `..`: rename it", str(path)) from None
    except exceptions.PreconditionError:
        raise OSError(errno.ESTALE, "changed while it was read", str(path)) from None
    except exceptions.BaseError as error:
        code = _CODE.search(str(error))
        if code and code[1] == "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket", str(path)) from None
        if code and code[1] in _REFUSED:
            raise PermissionError(errno.EACCES, f"permission denied ({code[1]})", str(path)) from None
        why = f"it answers with {code[1]}" if code else "it cannot be reached"
        raise StoreError(errno.EIO, f"{STORE_FAILED}: {why}", str(path)) from None

"""A place for files: a folder of a file system, or a bucket named by a URL such as `s3://name/folder`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jobs.storage.bucket import BucketPath, ObjectStatus
from jobs.storage.object_store import SCHEMES

StoragePath = Path | BucketPath
_REQUESTS_AT_ONCE = 16
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Schemes of other programs for the stores that are read here.
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss"}
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def storage_path(text: str) -> StoragePath:
    """The path that a text names. Raises ValueError if it is a URL of something else, or of no bucket; the message has the remedy."""
    if text.startswith(SCHEMES):
        return BucketPath.of_url(text)
    if why := fault_of_url(text):
        raise ValueError(why)
    return Path(text)


def is_url(text: str) -> bool:
    """Whether a text is a URL, of a bucket or of anything else."""
    return _URL.match(text) is not None


def fault_of_url(text: str) -> str | None:
    """Why a URL names no place that can be read, and the remedy; None for the URL of a bucket and for a path."""
    matched = _URL.match(text)
    if matched is None or text.startswith(SCHEMES):
        return None
    scheme = matched[1].lower()
    scheme = _OTHER_NAMES.get(scheme, scheme)
    if f"{scheme}://" in SCHEMES:
        return f"{text} begins with {matched[0]}: write {scheme}://{text[matched.end() :]}"
    if scheme == "file":
        return f"{text} is a URL: write the path alone, {re.sub('^(localhost)?/*', '/', text[matched.end() :])}"
    return f"{text} is a URL of another kind: name a folder, or a bucket by {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"


@dataclass(frozen=True)
class Entry:
    """What is directly in a folder: another folder, a file, or something else. Links are followed."""

    name: str
    path: StoragePath
    is_folder: bool
    listed: ObjectStatus | None = None  # of an object in a bucket

    def status(self) -> os.stat_result | ObjectStatus:
        """The size and the time. Raises OSError if the system does not say."""
        return self.listed or self.path.stat()


def entries(folder: StoragePath) -> list[Entry]:
    """What is directly in a folder, in any order; nothing if there is no such folder.

    Raises OSError if it cannot be listed.
    """
    if isinstance(folder, BucketPath):
        return _of_bucket(folder, folder.entries())
    try:
        with os.scandir(folder) as listed:
            return [Entry(entry.name, Path(entry.path), _is_folder(entry)) for entry in listed]
    except (FileNotFoundError, NotADirectoryError):
        return []


def tree(folder: BucketPath) -> dict[StoragePath, list[Entry]]:
    """What is directly in a folder of a bucket and in each folder below it. Raises OSError if it cannot be listed."""
    return {path: _of_bucket(path, inside) for path, inside in folder.tree().items()}


def _of_bucket(folder: BucketPath, inside: Iterable[tuple[str, ObjectStatus | None]]) -> list[Entry]:
    return [Entry(name, folder / name, status is None, status) for name, status in inside]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def relative(path: StoragePath, folder: StoragePath) -> str:
    """The path from a folder above, with slashes. Both are on a file system, or both in one bucket."""
    if isinstance(path, BucketPath) and isinstance(folder, BucketPath):
        return path.key.removeprefix(f"{folder.key}/")  # pathlib would change a key with an empty part
    assert isinstance(path, Path)
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix()


def each(folder: StoragePath, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """The results of a function that reads or writes below a folder, for each item, in order. A bucket gets several requests at once."""
    if isinstance(folder, Path):
        return [function(item) for item in items]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
        running = [threads.submit(copy_context().run, function, item) for item in items]
        return [one.result() for one in running]


def make_folder(folder: StoragePath) -> None:
    """Make a folder, and those above it. A bucket needs none. Raises OSError."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def paths_below(folder: StoragePath) -> Iterator[str]:
    """The paths of all files below a folder, from it, in any order."""
    if isinstance(folder, BucketPath):
        yield from (relative(path, folder) for path in folder.objects_below())
        return
    for above, _, names in os.walk(folder):
        yield from (relative(Path(above, name), folder) for name in names)


def sizes_of(folder: StoragePath, paths: Collection[str]) -> dict[str, int]:
    """The sizes in bytes of these files below a folder, by their paths from it. Those that are not there are left out."""
    if isinstance(folder, Path):
        return {path: (folder / path).stat().st_size for path in paths if (folder / path).is_file()}
    sizes = {relative(path, folder): status.st_size for path, status in folder.objects_below().items()} if paths else {}
    return {path: sizes[path] for path in paths if path in sizes}


def modified_at(entry: Entry) -> float:
    """When a file, or the contents of a folder, were last changed, in seconds since 1970. Raises OSError."""
    if entry.is_folder and isinstance(entry.path, BucketPath):
        return max((status.st_mtime_ns for status in entry.path.objects_below().values()), default=0) / 1e9
    return entry.status().st_mtime_ns / 1e9


def remove_tree(path: StoragePath) -> None:
    """Remove a folder with all that is in it, or a file. What cannot be removed from a file system is left."""
    if isinstance(path, BucketPath):
        path.remove_tree()
        path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def move_tree(folder: StoragePath, target: StoragePath) -> None:
    """Move a folder. Both paths are on a file system, or both in one bucket. Raises OSError."""
    if isinstance(folder, BucketPath) and isinstance(target, BucketPath):
        folder.move_tree(target)
        return
    assert isinstance(folder, Path)
    assert isinstance(target, Path)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)

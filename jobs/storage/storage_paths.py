"""A place for files: a folder of a file system, or a bucket named by a URL such as `s3://name/folder`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jobs.storage.bucket import SCHEMES, BucketPath, ObjectStatus

StoragePath = Path | BucketPath


def storage_path(text: str) -> StoragePath:
    """The path that a text names. Raises ValueError if a URL names no bucket."""
    return BucketPath.of_url(text) if text.startswith(SCHEMES) else Path(text)


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
        return path.relative_to(folder).as_posix()
    assert isinstance(path, Path)
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix()

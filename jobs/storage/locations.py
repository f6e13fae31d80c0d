"""A place for files: a folder of a file system, or a bucket named by a URL such as `s3://name/folder`."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from jobs.storage.bucket import SCHEMES, BucketPath, ObjectStatus

Location = Path | BucketPath


def location(text: str) -> Location:
    """The location that a text names. Raises ValueError if a URL names no bucket."""
    return BucketPath.of_url(text) if text.startswith(SCHEMES) else Path(text)


@dataclass(frozen=True)
class LocationEntry:
    """What is directly in a folder: another folder, a file, or something else. Links are followed."""

    name: str
    path: Location
    is_folder: bool
    listed: ObjectStatus | None = None  # of an object in a bucket

    def status(self) -> os.stat_result | ObjectStatus:
        """The size and the time. Raises OSError if the system does not say."""
        return self.listed or self.path.stat()

    @property
    def is_file(self) -> bool:
        """Whether this is an object, or a regular file. Raises OSError if the system does not say."""
        return self.listed is not None or (not self.is_folder and isinstance(self.path, Path) and stat.S_ISREG(self.path.stat().st_mode))


def entries(folder: Location) -> list[LocationEntry]:
    """What is directly in a folder, in any order; nothing if there is no such folder.

    Raises OSError if it cannot be listed.
    """
    if isinstance(folder, BucketPath):
        return [LocationEntry(entry.name, entry.path, entry.is_folder, entry.status) for entry in folder.entries()]
    try:
        with os.scandir(folder) as listed:
            return [LocationEntry(entry.name, Path(entry.path), _is_folder(entry)) for entry in listed]
    except (FileNotFoundError, NotADirectoryError):
        return []


def tree(folder: BucketPath) -> dict[Location, list[LocationEntry]]:
    """What is directly in a folder of a bucket and in each folder below it. Raises OSError if it cannot be listed."""
    return {
        path: [LocationEntry(entry.name, entry.path, entry.is_folder, entry.status) for entry in inside]
        for path, inside in folder.tree().items()
    }


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def relative(path: Location, folder: Location) -> str:
    """The path from a folder above, with slashes. Both are on a file system, or both in one bucket."""
    if isinstance(path, BucketPath) and isinstance(folder, BucketPath):
        return path.relative_to(folder).as_posix()
    assert isinstance(path, Path)
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix()

"""Folders of the landing zone that no night reads, because they are in no partition or hold files outside of one.

`strays` only lists folders, so it is quick enough for every run. `below` counts the files of one folder, for `millrace status`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.console import paths
from jobs.landing.zone import date_of
from jobs.storage import storage_paths
from jobs.storage.storage_paths import Entry, StoragePath
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY

LAYOUT = "SOURCE/date=YYYY-MM-DD/hour=HH"
_DATE = re.compile(r"([0-9]{4})[-_.]?([0-9]{1,2})[-_.]?([0-9]{1,2})")
_BEFORE_A_DATE = re.compile(r"[A-Za-z_]*[=_-]?")


@dataclass(frozen=True)
class Stray:
    """A folder with files that no night reads."""

    path: StoragePath
    shown: str  # path from the landing root, in printable characters
    reason: str
    remedy: str
    whole: bool = True  # no night reads any file below it; else only the files directly in it

    @property
    def line(self) -> str:
        """The folder, the reason and the remedy, for a message."""
        return f"{self.shown} is read by no night: {self.reason}; {self.remedy}"


def strays(root: StoragePath, sources: Collection[str]) -> list[Stray]:
    """Every folder that is in no partition, and every folder above the partitions that has files, sorted by path."""
    return [*_of_the_root(root, sources), *(stray for source in sorted(sources) for stray in _of_a_source(root, source))]


def below(stray: Stray) -> tuple[int, int]:
    """How many files a stray folder has, and their bytes. Links are not followed. What cannot be read is not counted."""
    files = size = 0
    waiting = [stray.path]
    while waiting:
        for entry in _entries(waiting.pop()) or ():
            is_link = stray.whole and isinstance(entry.path, Path) and entry.path.is_symlink()
            if entry.is_folder and not is_link:
                waiting += [entry.path] if stray.whole else []
                continue
            files += 1
            try:
                size += entry.path.lstat().st_size if isinstance(entry.path, Path) else entry.status().st_size
            except OSError:
                continue
    return files, size


def _of_the_root(root: StoragePath, sources: Collection[str]) -> Iterator[Stray]:
    entries = _entries(root) or []
    if any(not entry.is_folder for entry in entries):
        yield Stray(root, ".", "files outside of a source's folder", f"move them to {LAYOUT}", whole=False)
    for entry in entries:
        if entry.is_folder and entry.name not in sources:
            yield _stray(root, entry, "no source has this name", _remedy_for_source(root, entry.name, sources))


def _of_a_source(root: StoragePath, source: str) -> Iterator[Stray]:
    folder = root / source
    entries = _entries(folder)
    if entries is None:
        if _is_there(folder):
            yield Stray(folder, source, "it cannot be listed", "let this user read it")
        return
    if any(not entry.is_folder for entry in entries):
        yield Stray(folder, source, "files outside of a date's folder", f"move them to {source}/date=YYYY-MM-DD/hour=HH", whole=False)
    for entry in entries:
        if entry.is_folder and date_of(entry.name) is None:
            yield _stray(root, entry, *_remedy_for_date(folder, entry.name))


def _stray(root: StoragePath, entry: Entry, reason: str, remedy: str) -> Stray:
    name = SHIPPED_PRIVACY.texts.redacted(storage_paths.relative(entry.path, root))
    return Stray(entry.path, paths.shown(name), reason, remedy)


def _remedy_for_source(root: StoragePath, name: str, sources: Collection[str]) -> str:
    """The remedy for a folder of the root whose name is no source. If it is similar to a source's name, that one is proposed."""
    by_letters = {_letters(source): source for source in sorted(sources)}
    similar = difflib.get_close_matches(_letters(name), by_letters, n=1, cutoff=0.8)
    if not similar:
        return f"move its files to {LAYOUT}, or put _ before its name to have it ignored"
    return _rename(root, by_letters[similar[0]])


def _remedy_for_date(folder: StoragePath, name: str) -> tuple[str, str]:
    """Why a folder of a source is no partition, and the remedy. If its name contains a date, that one is proposed."""
    before = _BEFORE_A_DATE.match(name)
    matched = _DATE.fullmatch(name, before.end() if before else 0)
    if not matched:
        return "not named date=YYYY-MM-DD", "rename it to the date on which its files arrived, or put _ before its name to have it ignored"
    try:
        date = dt.date(*map(int, matched.groups()))
    except ValueError:
        return "there is no such date", "rename it to the date=YYYY-MM-DD on which its files arrived"
    return "not named date=YYYY-MM-DD", _rename(folder, f"date={date.isoformat()}")


def _rename(folder: StoragePath, name: str) -> str:
    """The remedy for a folder that should have this name: rename it, or move its files if the name is in use."""
    return f"move its files to {name}" if _is_there(folder / name) else f"rename it to {name}"


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _entries(folder: StoragePath) -> list[Entry] | None:
    """The entries of a folder, sorted by name, without ignored ones; None if the folder cannot be listed."""
    try:
        listed = storage_paths.entries(folder)
    except OSError:
        return None
    return sorted((entry for entry in listed if not entry.name.startswith(("_", "."))), key=lambda entry: os.fsencode(entry.name))


def _is_there(path: StoragePath) -> bool:
    """Whether there is anything at this path, also a link that leads nowhere."""
    try:
        return os.path.lexists(path) if isinstance(path, Path) else path.exists()
    except OSError:
        return True

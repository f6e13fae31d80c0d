"""The folder of a site: written beside its place, then put there as a whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from jobs.console.paths import shown
from jobs.errors import UsageError

# By this file a folder is known as a site. It says of which state of the lake.
MARK = "millrace-site.json"


def check(folder: Path) -> None:
    """Raises UsageError when there is something at this path that is neither a site nor an empty folder."""
    try:
        is_free = not folder.exists() or (folder.is_dir() and ((folder / MARK).is_file() or not any(folder.iterdir())))
    except OSError as error:
        raise UsageError(f"the site cannot be written to {shown(folder)} ({error.strerror}): name another folder with --out") from None
    if not is_free:
        raise UsageError(f"{shown(folder)} is not a site of Millrace, and is left as it is: name another or a new folder with --out")


def write(folder: Path, pages: Mapping[str, str], state: int) -> None:
    """Write the pages, by their paths, in place of all that the site had. A reader finds the former site or the new one, never a part.

    Raises UsageError when the folder is not a site, or when it cannot be written.
    """
    check(folder)
    # A link stays, and the folder that it leads to is replaced.
    place = Path(os.path.realpath(folder))
    fresh, former = (place.parent / f".millrace-site.{os.getpid()}.{kind}" for kind in ("new", "old"))
    try:
        for path, page in ({**pages, MARK: json.dumps({"state": state}) + "\n"}).items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_text(page, encoding="utf-8")
        _replace(place, fresh, former)
    except OSError as error:
        raise UsageError(f"the site cannot be written to {shown(folder)} ({error.strerror}): name another folder with --out") from None
    finally:
        for leftover in (fresh, former):
            shutil.rmtree(leftover, ignore_errors=True)


def _replace(place: Path, fresh: Path, former: Path) -> None:
    if place.exists():
        place.rename(former)
    try:
        fresh.rename(place)
    except OSError:
        if former.exists():
            former.rename(place)
        raise

"""The folder of a site: it is written under another name next to its path, and then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from jobs.console.paths import shown
from jobs.errors import UsageError

# By this file a folder is known as a site. It says of which state of the lake.
MARK = "millrace-site.json"
# The new and the former site, while one replaces the other.
NEW, OLD = "new", "old"


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
    # A link is kept, and the folder that it leads to is replaced.
    target = Path(os.path.realpath(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".millrace-site.", dir=target.parent))
        try:
            for path, page in {**pages, MARK: json.dumps({"state": state}) + "\n"}.items():
                (work / NEW / path).parent.mkdir(parents=True, exist_ok=True)
                (work / NEW / path).write_text(page, encoding="utf-8")
            _replace(target, work)
        finally:
            # Without a site in its path, what this folder has is the only copy of the former one.
            if target.exists() or not (work / OLD).exists():
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"the site cannot be written to {shown(folder)} ({error.strerror}): name another folder with --out") from None


def _replace(target: Path, work: Path) -> None:
    if target.exists():
        target.rename(work / OLD)
    try:
        (work / NEW).rename(target)
    except OSError:
        if (work / OLD).exists():
            (work / OLD).rename(target)
        raise

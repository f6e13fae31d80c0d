"""Paths and names as data: which paths a lake cannot have, and how a path is shown.

A path that comes from a user or from a landed name may hold any character. What reads it must take it for one path: not for
a pattern, nor for an encoded URL. Where a library cannot do that, the path is refused before anything is made.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from jobs.errors import LakeError
from schemas.catalog import TABLES

# What Linux takes, and what a table's files need below the lake.
PATH_BYTES = 4096
_BELOW_A_LAKE_BYTES = 512
# delta-rs decodes the first, splits at the second and refuses the third.
_LOG_CANNOT = (
    (re.compile(r"%[0-9A-Fa-f]{2}"), "a percent sign before two hexadecimal digits"),
    (re.compile(r"\\"), "a backslash"),
    (re.compile(r"[\x00-\x1f\x7f]"), "a control character"),
    (re.compile("[\ud800-\udfff]"), "bytes that are not UTF-8"),
)


def check_lake(root: Path) -> None:
    """Raises LakeError when no lake can be made or read at this path."""
    remedy = "name another folder with --lake"
    if why := unusable(root):
        raise LakeError(f"the lake {shown(root)} cannot be opened ({why}): {remedy}")
    for path in (str(root.absolute()), os.path.realpath(root)):
        for pattern, what in _LOG_CANNOT:
            if pattern.search(path):
                raise LakeError(f"the path of the lake {shown(root)} holds {what}, which Delta's log cannot be kept under: {remedy}")
        partitions = {name for table in TABLES.values() for name in table.partitioned_by}
        for folder in Path(path).parts:
            if folder.partition("=")[0] in partitions and "=" in folder:
                raise LakeError(f"the path of the lake {shown(root)} holds {folder}, which readers take for a partition: {remedy}")
        if len(os.fsencode(path)) > PATH_BYTES - _BELOW_A_LAKE_BYTES:
            raise LakeError(f"the path of the lake is {len(os.fsencode(path))} bytes long, too long for the files below it: {remedy}")


def unusable(path: Path) -> str | None:
    """Why the system cannot look a path up, such as a name that is too long; None if it can, or if nothing is there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return os.strerror(error.errno or 0)
    except ValueError:
        return "it holds a NUL character"
    return None


def shown(path: Path | str) -> str:
    """A path in a message: on one line, and in characters that can be printed."""
    text = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)

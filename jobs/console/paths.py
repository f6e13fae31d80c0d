"""Paths and names as data: which paths a lake cannot have, and how a path is shown.

A path that comes from a user or from a landed name may hold any character. What reads it must take it for one path: not for
a pattern, nor for an encoded URL. Where a library cannot do that, the path is refused before anything is made.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path, PurePosixPath

from jobs.errors import LakeError
from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath
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


def check_lake(root: StoragePath) -> None:
    """Raises LakeError when no lake can be made or read at this path."""
    remedy = "name another folder with --lake"
    if isinstance(root, BucketPath):
        _check_bucket(root)
        return
    if why := unusable(root):
        raise LakeError(f"the lake {shown(root)} cannot be opened ({why}): {remedy}")
    for path in (str(root.absolute()), os.path.realpath(root)):
        _check_characters(root, path, remedy)
        if len(os.fsencode(path)) > PATH_BYTES - _BELOW_A_LAKE_BYTES:
            raise LakeError(f"the path of the lake is {len(os.fsencode(path))} bytes long, too long for the files below it: {remedy}")


def _check_bucket(root: BucketPath) -> None:
    _check_characters(root, root.key, "name another folder with --lake")
    if not root.bucket.startswith("s3://"):
        raise LakeError(f"the lake {shown(root)} is in a store whose lease Millrace cannot hold: name a folder or an s3:// URL with --lake")
    if not root.key:
        raise LakeError(f"the lake {shown(root)} is a whole bucket: name a folder in it with --lake, such as {shown(root)}/lake")
    if fault := fault_of_bucket(root, "--lake"):
        why, remedy = fault
        raise LakeError(f"the lake {shown(root)} cannot be opened ({why}): {remedy}")


def fault_of_bucket(folder: BucketPath, option: str) -> tuple[str, str] | None:
    """Why a folder of a bucket cannot be listed, and the remedy; None if it can. `option` is the one that names the folder."""
    on_s3 = folder.bucket.startswith("s3://")
    try:
        folder.is_dir()
    except FileNotFoundError:
        return "there is no such bucket", f"name another with {option}"
    except PermissionError as error:
        variables = ", in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if on_s3 else ""
        return error.strerror or "permission denied", f"set credentials of a user who may list it{variables}"
    except OSError as error:
        if error.errno == errno.EINVAL:
            why, _, remedy = (error.strerror or "").rpartition(": ")
            return why, f"{remedy}, or name another folder with {option}"
        variables = ", in AWS_ENDPOINT_URL and AWS_REGION" if on_s3 else ""
        return error.strerror or str(error), f"check its address{variables}"
    return None


def _check_characters(root: StoragePath, path: str, remedy: str) -> None:
    for pattern, what in _LOG_CANNOT:
        if pattern.search(path):
            raise LakeError(f"the path of the lake {shown(root)} holds {what}, which Delta's log cannot be kept under: {remedy}")
    partitions = {name for table in TABLES.values() for name in table.partitioned_by}
    for folder in PurePosixPath(path).parts:
        if folder.partition("=")[0] in partitions and "=" in folder:
            raise LakeError(f"the path of the lake {shown(root)} holds {folder}, which readers take for a partition: {remedy}")


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


def shown(path: StoragePath | str) -> str:
    """A path in a message: on one line, and in characters that can be printed."""
    text = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)

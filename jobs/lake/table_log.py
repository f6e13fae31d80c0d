"""Check the Delta log of a table: which part of it is missing or unreadable, and which data files it lists.

delta-rs reports that a log cannot be read, but not which part of it. It reads an empty entry as one that changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from jobs.console.paths import shown
from jobs.errors import LakeError
from jobs.lake import atomic_json
from jobs.lake.delta_tables import open_delta
from jobs.storage import storage_paths
from jobs.storage.object_store import StoreError, raise_store_failure
from jobs.storage.parquet_files import open_parquet
from jobs.storage.storage_paths import Entry, StoragePath

FOLDER = "_delta_log"
# This field of an entry's first action has the number of actions after it. An incomplete entry has fewer.
ACTIONS = "actions"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(\.[\d.]+)?\.parquet")
_HINT = "_last_checkpoint"


class UnreadableLogError(Exception):
    """A table's log is missing or unreadable in part; the message says which part."""


@dataclass(frozen=True)
class LoggedFile:
    """A data file as the log lists it."""

    path: str  # from the table's folder
    size: int  # bytes
    rows: int | None


def open_table(folder: StoragePath, version: int | None = None) -> DeltaTable:
    """The table in this folder at a version; None: the latest one. Raises UnreadableLogError when its log does not give that version."""
    try:
        table = open_delta(folder, version)
    except StoreError:
        raise
    except (DeltaError, OSError) as error:
        raise UnreadableLogError(fault(folder, version) or f"its log cannot be read ({_first_line(error)})") from error
    if empty := _empty_entries(folder, table.version()):
        raise UnreadableLogError(_entry(empty[0], "is empty"))
    return table


def data_files(table: DeltaTable) -> list[LoggedFile]:
    """The data files of a table at the version at which it was opened."""
    actions = pa.table(table.get_add_actions(flatten=False))
    columns = (actions[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
    return [LoggedFile(*row) for row in zip(*columns, strict=True)]


def fault(folder: StoragePath, version: int | None = None) -> str | None:
    """The part of a table's log that is missing or unreadable, up to a version (None: the latest one); None if the log is whole."""
    if not folder.is_dir():
        return "its folder is missing"
    commits, checkpoints = _contents(folder)
    if not commits and not checkpoints:
        return "its log is missing"
    last = max([*commits, *checkpoints]) if version is None else version
    start = max((number for number in checkpoints if number <= last), default=-1)
    for path in checkpoints.get(start, ()):
        if not _is_parquet(path):
            return f"the checkpoint {start} of its log is unreadable"
    for number in range(start + 1, last + 1):
        if number not in commits:
            return _entry(number, "is missing")
        if not _is_whole(commits[number].path):
            return _entry(number, "is unreadable")
    if start < 0 and (folder / FOLDER / _HINT).exists():
        return "the checkpoint of its log is missing"
    return None


def exists(folder: StoragePath) -> bool:
    """Whether a table has been made in this folder."""
    commits, checkpoints = _contents(folder)
    return bool(commits or checkpoints)


def has_held_rows(folder: StoragePath) -> bool:
    """Whether a table has ever held rows, by its folder: a table that was only created has one entry in its log and no data file."""
    if not folder.is_dir():
        return False
    commits, checkpoints = _contents(folder)
    return bool(checkpoints) or any(commits) or any(path.endswith(".parquet") for path in storage_paths.paths_below(folder))


def drop_checkpoints(folder: StoragePath) -> bool:
    """Delete the checkpoints of a log that has all its entries and so needs none. True if any was deleted."""
    commits, checkpoints = _contents(folder)
    hint = folder / FOLDER / _HINT
    if not commits or sorted(commits) != list(range(len(commits))) or not all(_is_whole(entry.path) for entry in commits.values()):
        return False
    if not checkpoints and not hint.exists():
        return False
    hint.unlink(missing_ok=True)
    for path in (path for paths in checkpoints.values() for path in paths):
        path.unlink()
    return True


def permission_error(path: StoragePath, error: PermissionError) -> LakeError:
    """The error that names a file of a table which this user may not read, and the remedy."""
    return LakeError(f"{shown(path)} cannot be read ({error.strerror or 'permission denied'}): give this user the right to read it")


def _contents(folder: StoragePath) -> tuple[dict[int, Entry], dict[int, list[StoragePath]]]:
    """The commits and the checkpoints of a log, by version."""
    commits: dict[int, Entry] = {}
    checkpoints: dict[int, list[StoragePath]] = {}
    log = folder / FOLDER
    try:
        entries = storage_paths.entries(log)
    except PermissionError as error:
        raise LakeError(f"the table {shown(folder)} cannot be read ({error.strerror}): give this user the right to read it") from None
    for entry in entries:
        if matched := _COMMIT.fullmatch(entry.name):
            commits[int(matched[1])] = entry
        elif matched := _CHECKPOINT.fullmatch(entry.name):
            checkpoints.setdefault(int(matched[1]), []).append(entry.path)
    return commits, checkpoints


def _empty_entries(folder: StoragePath, version: int) -> list[int]:
    commits, checkpoints = _contents(folder)
    start = max((number for number in checkpoints if number <= version), default=-1)
    return sorted(number for number, entry in commits.items() if start < number <= version and _is_empty(entry))


def _is_empty(entry: Entry) -> bool:
    """Whether a commit has no bytes. One that cannot be looked up is not: delta-rs has read it, or a checkpoint in its place."""
    try:
        return not entry.status().st_size
    except StoreError:
        raise
    except OSError:
        return False


def _is_parquet(path: StoragePath) -> bool:
    try:
        open_parquet(path).close()
    except PermissionError as error:
        raise permission_error(path, error) from None
    except (pa.ArrowException, OSError) as error:
        raise_store_failure(error, path)
        return False
    return True


def _is_whole(path: StoragePath) -> bool:
    """Whether a commit is a list of JSON objects, as many as its first action says."""
    try:
        actions = [atomic_json.parse(line) for line in path.read_bytes().splitlines() if line.strip()]
        expected = next((action["commitInfo"].get(ACTIONS) for action in actions if "commitInfo" in action), None)
    except StoreError:
        raise
    except PermissionError as error:
        raise permission_error(path, error) from None
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    return bool(actions) and (expected is None or len(actions) > int(expected))


def _entry(number: int, what: str) -> str:
    return f"the entry {number} of its log {what}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

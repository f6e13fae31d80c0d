"""The file `_state.json`: a copy of the recorded state, for readers that open the Delta tables without Millrace.

`runs` decides which state is the recorded one. A writer copies that state into the file right after its commit point. When the
file is missing, damaged or of an older state, the next writer writes it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.console.paths import shown
from jobs.console.printing import print_message
from jobs.lake import atomic_json
from jobs.storage.object_store import StoreError
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS

NAME = "_state.json"
# Only the holder of the lake's lock writes these files.
PARTIAL = atomic_json.partial_path(Path(NAME)).name


@dataclass(frozen=True)
class RecordedState:
    """A set of table versions that belong together, from the row of `runs` that records it."""

    state: int
    run_id: str
    ended: dt.datetime | None
    versions: Mapping[str, int]  # of every table but `runs`
    runs_version: int  # a version of `runs` that holds the row

    @property
    def all_versions(self) -> dict[str, int]:
        """The versions of all tables, by name."""
        return dict(sorted({**self.versions, RUNS.name: self.runs_version}.items()))

    def document(self) -> dict[str, Any]:
        """The state as JSON values; `ended` is an ISO 8601 time in UTC."""
        return {
            "state": self.state,
            "run_id": self.run_id,
            "ended": self.ended.astimezone(dt.UTC).isoformat() if self.ended else None,
            "versions": self.all_versions,
        }


@dataclass(frozen=True)
class StateInFile:
    """The state that `_state.json` names. It may be older than the recorded one."""

    state: int
    versions: Mapping[str, int]  # of all tables


def state_in(root: StoragePath) -> StateInFile | None:
    """The state that `_state.json` of a lake names; None if the file is missing or names none."""
    match read(root):
        case {"state": int(state), "versions": dict(versions)} if all(isinstance(version, int) for version in versions.values()):
            return StateInFile(state, versions)
    return None


def read(root: StoragePath) -> Any:
    """The JSON value of `_state.json` of a lake; None if the file is missing, is not JSON or may not be read."""
    try:
        return atomic_json.parse((root / NAME).read_bytes())
    except StoreError:
        raise
    except (OSError, ValueError):
        return None


def refusal(root: StoragePath) -> str | None:
    """Why this user may not read `_state.json` of a lake; None if it may, or if there is no such file."""
    try:
        (root / NAME).read_bytes()
    except StoreError:
        raise
    except PermissionError as error:
        return error.strerror or "permission denied"
    except OSError:
        pass
    return None


def renew(root: StoragePath, recorded: RecordedState) -> None:
    """Write the file if it does not hold the recorded state."""
    if read(root) != recorded.document():
        write(root, recorded)


def write(root: StoragePath, recorded: RecordedState) -> None:
    """Write the file, whole or not at all.

    If it cannot be written, this prints a warning and does not raise: the state is recorded in `runs` already.
    """
    try:
        atomic_json.write(root / NAME, recorded.document())
    except OSError as error:
        if isinstance(root, Path):
            with suppress(OSError):
                (root / PARTIAL).unlink()
        why = error.strerror or error
        print_message(f"warning: {shown(root / NAME)} still names an older state ({why}): make it writable, then call `millrace restore`")

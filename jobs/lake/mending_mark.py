"""The file `_mending` of a lake: a rebuild has begun to mend the damaged lake and has not finished."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from jobs.console.paths import shown
from jobs.errors import LakeBusyError, LakeDamagedError, LakeError
from jobs.lake import atomic_json, damage, lock
from jobs.storage.object_store import StoreError
from jobs.storage.storage_paths import StoragePath

NAME = "_mending"


@dataclass(frozen=True)
class Mark:
    """A rebuild writes this mark before it mends the tables. As long as the mark is there, the lake counts as damaged."""

    is_emptied: bool  # the rows of all sources and dates are dropped, also those without landed files


def read(root: StoragePath) -> Mark | None:
    """The mark of a lake; None if it has none. An unreadable mark counts as `is_emptied`."""
    try:
        return Mark(atomic_json.parse((root / NAME).read_bytes())["is_emptied"])
    except FileNotFoundError:
        return None
    except StoreError:
        raise
    except PermissionError as error:
        raise LakeError(f"{shown(root / NAME)} cannot be read ({error.strerror}): give this user the right to read it") from None
    except (OSError, ValueError, TypeError, KeyError):
        return Mark(is_emptied=True)


def write(root: StoragePath, mark: Mark) -> None:
    """Write the mark. It is on the disk before any change that follows."""
    atomic_json.write(root / NAME, asdict(mark))


def check_mended(root: StoragePath, *, is_writer: bool = False) -> None:
    """Raises LakeDamagedError when a mending was started and not finished, LakeBusyError while one is running.

    `is_writer`: the caller holds the lock of the lake, so no other process can be mending it.
    """
    if read(root) is not None:
        if not is_writer and lock.is_locked(root):
            raise LakeBusyError(f"a rebuild is mending the lake {shown(root)}: wait for it to end, then call again")
        raise LakeDamagedError(
            f"the lake {shown(root)} is damaged: a rebuild that mends it was not finished: call `{damage.rebuild_command(root)}` again"
        )

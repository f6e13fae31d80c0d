"""The lock that lets one process at a time write a lake.

On a file system it is the kernel's: released when the process ends, also when it is killed. In a bucket it is a lease.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jobs.console import termination
from jobs.console.paths import shown
from jobs.errors import LakeBusyError, LakeError, fault_of_the_machine
from jobs.lake import lease
from jobs.lake.lease import Lease
from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath

LOCK = "_lock"
# `is_locked` holds the lock for a moment. A writer therefore tries several times.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class HeldLock:
    """The lock of a lake while this process holds it."""

    check: Callable[[], None]  # raises LakeBusyError when the lock was lost
    was_taken_over: bool  # from a process that may still be running


@contextmanager
def acquire(root: StoragePath, command: str, lease_seconds: float) -> Iterator[HeldLock]:
    """Hold the lock of a lake within the block. In a bucket, a killed holder's lease ends after `lease_seconds`.

    Raises LakeBusyError when another run is writing, LakeError when this user may not write the lake.
    """
    if isinstance(root, BucketPath):
        held = Lease(root / LOCK, command, lease_seconds)
        held.acquire()
        with termination.released_at_end(held.release):
            try:
                yield HeldLock(held.check, held.was_taken_over)
            finally:
                held.release()
        return
    with _opened(root) as lock:
        if not _try_lock(lock):
            lock.seek(0)
            holder = lock.read().strip() or "another run"
            raise LakeBusyError(f"{holder} is writing the lake {root}: wait for it to end, then call again")
        lock.truncate(0)
        lock.write(f"{command} (process {os.getpid()}, since {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC)")
        lock.flush()
        yield HeldLock(lambda: None, was_taken_over=False)


def is_locked(root: StoragePath) -> bool:
    """Whether a run is writing the lake; also True if the lock cannot be read."""
    try:
        if isinstance(root, BucketPath):
            return lease.is_held(root / LOCK)
        if not stat.S_ISREG((root / LOCK).stat().st_mode):
            return False  # no run can hold it, and to open a pipe would wait for its writer
        with (root / LOCK).open() as lock:
            # A shared lock: several readers can hold it, and it needs no right to write.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _opened(root: Path) -> IO[str]:
    """The lock of a lake in a folder. Raises LakeError when this user may not write it, or when it is no file."""
    path = root / LOCK
    try:
        if path.exists() and not path.is_file():
            raise LakeError(f"{shown(path)}, the lock of the lake, is no file: remove it, then call again")
        return path.open("a+")
    except OSError as error:
        if fault_of_the_machine(error):
            raise
        raise LakeError(
            f"the lake {shown(root)} cannot be written ({LOCK}: {os.strerror(error.errno or 0)}):"
            " call as a user who may write it, or name another with --lake"
        ) from None


def _try_lock(lock: IO[str]) -> bool:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False

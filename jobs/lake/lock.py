"""The lock that lets one process at a time write a lake. The kernel releases it when that process ends, also when it is killed."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from jobs.errors import LakeBusyError

LOCK = "_lock"
# `is_locked` holds the lock for a moment. A writer therefore tries several times.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05


@contextmanager
def acquire(root: Path, command: str) -> Iterator[None]:
    """Hold the lock of a lake within the block. Raises LakeBusyError when another run is writing."""
    with (root / LOCK).open("a+") as lock:
        if not _try_lock(lock):
            lock.seek(0)
            holder = lock.read().strip() or "another run"
            raise LakeBusyError(f"{holder} is writing the lake {root}: wait for it to end, then call again")
        lock.truncate(0)
        lock.write(f"{command} (process {os.getpid()}, since {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC)")
        lock.flush()
        yield


def is_locked(root: Path) -> bool:
    """Whether a run is writing the lake; also True if the lock cannot be read."""
    try:
        with (root / LOCK).open() as lock:
            # A shared lock: several readers can hold it, and it needs no right to write.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _try_lock(lock: IO[str]) -> bool:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False

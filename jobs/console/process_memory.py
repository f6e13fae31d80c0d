"""The memory of this process and of all processes that it has started. Linux only: elsewhere it is unknown."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN_SAMPLES = 1.0
_PROCESSES = Path("/proc")


class PeakMemory:
    """The largest memory so far, in bytes; None if it is unknown.

    It is the sum of the anonymous memory (RssAnon) of this process and all its descendants, such as the Spark driver's JVM and workers.
    Memory that processes share after a fork counts in each of them. Executors of a cluster are not included. It is sampled once a second.
    """

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Measure once."""
        now = memory_of_tree(os.getpid())
        if now is not None:
            with self._lock:
                self.bytes = max(self.bytes or 0, now)

    def sample_until_ended(self) -> None:
        """Measure once a second, until `end`."""
        self.sample()
        while not self._ended.wait(_SECONDS_BETWEEN_SAMPLES):
            self.sample()

    def end(self) -> None:
        """Measure no more."""
        self._ended.set()


@contextmanager
def watched() -> Iterator[PeakMemory]:
    """Sample memory in the background while the block runs."""
    peak = PeakMemory()
    thread = threading.Thread(target=peak.sample_until_ended, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        peak.end()


def memory_of_tree(process: int) -> int | None:
    """The anonymous memory of a process and of all its descendants, in bytes; None if the system does not say."""
    own = _anonymous_memory(process)
    if own is None:
        return None
    return own + sum(memory_of_tree(child) or 0 for child in _children(process))


def _anonymous_memory(process: int) -> int | None:
    try:
        status = (_PROCESSES / str(process) / "status").read_bytes().decode(errors="replace")
    except OSError:  # it has ended, or there is no /proc
        return None
    sizes = (line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:"))
    return next((int(size) * 1024 for size in sizes), None)


def _children(process: int) -> list[int]:
    children: list[int] = []
    try:
        for task in (_PROCESSES / str(process) / "task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except OSError:  # the process or the thread has ended
        pass
    return children

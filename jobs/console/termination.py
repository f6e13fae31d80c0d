"""Stop the command on SIGTERM or Ctrl-C (SIGINT): one line, exit code 143 or 130, no process left.

SIGTERM is what a scheduler, systemd, Kubernetes or `kill` sends. A lake survives SIGKILL at any moment, so nothing has to be undone.
A second thread ends the process, because the main thread may be in a library that returns late, or that swallows an exception or
prints it as a traceback; in a callback of the garbage collector, Python itself swallows it. A publication that has begun is completed
first, so that readers of the latest table versions see no mixture. Exit handlers are not called: some wait for tasks, and these for
processes that take no more work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from jobs.storage.storage_paths import StoragePath

# The exit code, and the name of the signal in the final line.
_ENDINGS = {signal.SIGTERM: (143, "SIGTERM"), signal.SIGINT: (130, "Ctrl-C")}
# Seconds. Docker sends SIGKILL after 10, Kubernetes after 30, Airflow after 60.
_PUBLICATION_SECONDS = 8.0
_PROCESSES_SECONDS = 5.0
_RELEASE_SECONDS = 5.0
# A signal to a process group may reach other processes this many seconds before this one.
_ARRIVAL_SECONDS = 0.5
# multiprocessing's resource tracker removes the semaphores of this process, and would print a warning for each.
_SILENT = "ignore::UserWarning:multiprocessing.resource_tracker"
_SHOW_CURSOR = b"\r\x1b[2K\x1b[?25h"


class _StopState:
    """State that the main thread shares with the thread that waits for a signal."""

    is_received = False
    publications_open = 0
    publications_done = 0
    mending: StoragePath | None = None  # the mark of a repair that this process has begun
    release: Callable[[], None] | None = None  # of what other processes wait for


def install() -> None:
    """Let SIGTERM and Ctrl-C end this process. A signal that is ignored stays ignored: a shell script starts `command &` that way."""
    defaults = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    handled = [number for number, default in defaults.items() if signal.getsignal(number) is default]
    if not handled:
        return
    sys.warnoptions.append(_SILENT)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    # Python writes the number of each signal there at once, whatever the main thread does.
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in handled:
        signal.signal(number, _on_signal)
    threading.Thread(target=_wait_for_a_signal, args=(read_end,), name="termination", daemon=True).start()


@contextmanager
def delay_exit(*, publishes: bool) -> Iterator[None]:
    """Complete the block before a signal ends the process. `publishes`: the final line then says that something was published."""
    _StopState.publications_open += 1
    if _StopState.is_received:
        _StopState.publications_open -= 1
        _block_forever()
    try:
        yield
        _StopState.publications_done += publishes
    finally:
        _StopState.publications_open -= 1
        if _StopState.is_received:
            _block_forever()


def note_mending(mark: StoragePath) -> None:
    """Let the final line say that the lake is damaged, as long as the file of this mark exists."""
    _StopState.mending = mark


@contextmanager
def released_at_end(release: Callable[[], None]) -> Iterator[None]:
    """When a signal ends this process within the block, call this function first, for some seconds at most."""
    _StopState.release = release
    try:
        yield
    finally:
        _StopState.release = None


def is_mending() -> bool:
    """Whether this process has started to mend a damaged lake and not finished."""
    try:
        return _StopState.mending is not None and _StopState.mending.exists()
    except OSError:  # the store does not say
        return True


def await_pending_signal() -> None:
    """Wait up to half a second for a signal: the failure of a child process may come from a signal to the whole process group."""
    if _on_signal in (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)):
        time.sleep(_ARRIVAL_SECONDS)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from now on: the command is done, and its exit code stays."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _StopState.is_received:
        _block_forever()


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    """Stop the main thread, so that it starts no process and writes no file or output."""
    _StopState.is_received = True
    if not _StopState.publications_open:
        _block_forever()


def _block_forever() -> None:
    """Never return: the other thread ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def _wait_for_a_signal(read_end: int) -> None:
    while True:
        for number in os.read(read_end, 64):
            # The main thread may ignore interrupts by now.
            if number in _ENDINGS and (_StopState.is_received or signal.getsignal(number) is not signal.SIG_IGN):
                _end_process(*_ENDINGS[signal.Signals(number)])


def _end_process(code: int, name: str) -> NoReturn:
    """End this process with this code, and all that it has started. `name`: the signal's, for the final line.

    It imports nothing and uses no Python stream, because the main thread may hold their locks.
    """
    _StopState.is_received = True
    stderr = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    until = time.monotonic() + _PUBLICATION_SECONDS
    while _StopState.publications_open and time.monotonic() < until:
        time.sleep(0.01)
    _end_processes()
    if _StopState.release is not None:
        releasing = threading.Thread(target=_StopState.release, daemon=True)
        releasing.start()
        releasing.join(_RELEASE_SECONDS)
    line = f"millrace: stopped by {name}{_outcome()}; call the same command again to go on\n".encode()
    # The reader of stderr may be gone.
    with suppress(OSError):
        os.write(stderr, (_SHOW_CURSOR if os.isatty(stderr) else b"") + line)
    os._exit(code)


def _outcome() -> str:
    """What the process had done when the signal came, for the final line."""
    if _StopState.publications_open:
        return (
            " in the middle of a publication that did not end: Millrace shows the tables as they were before it,"
            " and its next run restores them for all other readers"
        )
    if is_mending():
        return " while a damaged lake was mended: it is damaged until the rebuild is done"
    if _StopState.publications_done:
        return " after a publication: the tables are whole and hold what was published"
    return ": nothing was published, the tables are as before"


def _end_processes() -> None:
    """End all descendants of this process: with SIGTERM first, so that a JVM removes its temporary files, then with SIGKILL.

    Processes of a JVM get no SIGTERM, because the JVM ends them itself and would report their death.
    """
    signalled: set[int] = set()
    known: set[int] = set()
    until = time.monotonic() + _PROCESSES_SECONDS
    while (left := _descendants(of_jvm=True) | set(filter(_is_alive, known))) and time.monotonic() < until:
        known |= left
        for process in _descendants(of_jvm=False) - signalled:
            _send(process, signal.SIGTERM)
            signalled.add(process)
        time.sleep(0.02)
    for process in left:
        _send(process, signal.SIGKILL)


def _descendants(*, of_jvm: bool) -> set[int]:
    """The descendants of this process without the resource tracker, which removes the semaphores after all others have ended.

    `of_jvm`: those below a JVM too.
    """
    tracker = getattr(getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None), "_pid", None)
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc") if Path("/proc/self/stat").exists() else ():
        if entry.name.isdecimal() and (status := _status(int(entry.name))):
            children.setdefault(int(status[2]), []).append(int(entry.name))
    found: set[int] = set()
    pending = [os.getpid()]
    while pending:
        below = [child for child in children.get(pending.pop(), ()) if child != tracker and _is_alive(child)]
        found.update(below)
        pending += [child for child in below if of_jvm or _status(child)[:1] != ["java"]]
    return found


def _is_alive(process: int) -> bool:
    """Whether a process runs: it exists and is no zombie."""
    return (_status(process) or ["", "Z"])[1] not in "ZX"


def _status(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the name on: name, state, parent, and more. Empty for a process that does not exist."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name is in parentheses and may hold any character.
    before, _, after = text.rpartition(")")
    return [before.partition("(")[2], *after.split()]


def _send(process: int, number: signal.Signals) -> None:
    # The process may have ended.
    with suppress(OSError):
        os.kill(process, number)

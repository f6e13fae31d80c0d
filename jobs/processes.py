"""Python processes that do the work of tasks where the engine has none of its own.

Spark gives every task a Python process. Sail runs Python in threads of one process, of which one at a time may work, so
there the tasks that read and write whole files are given to these. They share nothing with the driver but the files.
"""

from __future__ import annotations

import atexit
import functools
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# The session's option that says how many processes there are; a session without it runs tasks itself.
OPTION = "millrace.processes"
# What a task imports, imported once.
_PRELOADED = ["jobs.preloaded"]

Work = Callable[[int], "Iterator[pa.RecordBatch]"]


def available() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(work: Work, tasks: int, count: int) -> Iterator[pa.RecordBatch]:
    """What a function gives for each of the numbers of so many tasks, in their order, done by so many processes."""
    from pyspark import cloudpickle

    packed = cloudpickle.dumps(work)  # type: ignore[no-untyped-call]
    try:
        for batches in pool(count).map(functools.partial(_work_on, packed), range(tasks)):
            yield from batches
    except BrokenProcessPool:
        pool.cache_clear()
        raise


@contextmanager
def importing() -> Iterator[None]:
    """Libraries are imported in the block: they are no garbage, and to look for some in them is a quarter of the time it takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # Libraries that count what they leave behind would complain.
        atexit.register(gc.unfreeze)
        gc.enable()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Processes that are started in the block are not interrupted by a terminal, which means the one that started them, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let an interrupt wait for the end of the block.

    A handler that the block puts in place, as Spark does, which cancels its jobs first, is taken back: what asks for their results
    would then fail of that, and not of the interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def defer(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    # Where interrupts are ignored, as by what a script calls with an `&`, they stay so.
    if asked.is_set() and before is not signal.SIG_IGN:
        raise KeyboardInterrupt


def warm_up() -> None:
    """Start the server from which processes are forked: it imports what tasks need."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    # The server starts this tracker, which takes the block of interrupts back, unless it runs already.
    resource_tracker.ensure_running()
    with uninterrupted():
        forkserver.ensure_running()


@functools.cache
def pool(count: int) -> ProcessPoolExecutor:
    """So many processes, started one by one as they are needed; they end with this one."""
    warm_up()
    # A process with threads, as this one, is not to be forked; a server forked from nothing is.
    made = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver"), initializer=_end_with_the_driver)
    # Before Python itself waits for them.
    atexit.register(made.shutdown, cancel_futures=True)
    # A process whose start is given up would not find what it is to share.
    with interrupts_deferred():
        for _ in range(count):
            made.submit(os.getpid)
    return made


def _work_on(packed: bytes, number: int) -> list[pa.RecordBatch]:
    return list(_unpacked(packed)(number))


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Work:
    from pyspark import cloudpickle

    work: Work = cloudpickle.loads(packed)
    return work


def _end_with_the_driver() -> None:
    """Stop when the driver does: what nobody waits for must not go on writing, even where the driver was killed."""
    driver = multiprocessing.parent_process()
    if driver is not None:

        def follow() -> None:
            driver.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()

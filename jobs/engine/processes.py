"""Python processes that run the tasks of Sail.

Spark gives every task a Python process. Sail runs Python in the threads of one process, where only one thread at a time can work.
There, the tasks that read and write whole files run in the processes of this pool. They share only files with the driver.
"""

from __future__ import annotations

import atexit
import functools
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

# The option of a session that has the number of processes. A session without it runs tasks itself.
OPTION = "millrace.processes"
# The server of the processes imports it once for all of them.
_PRELOADED = ["jobs.engine.preloaded"]

Batches: TypeAlias = "Iterable[pa.RecordBatch]"
ArrowFunction = Callable[[Batches], "Iterator[pa.RecordBatch]"]
_POOL_LOCK = threading.Lock()


def available() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(function: ArrowFunction, count: int) -> ArrowFunction:
    """The same Arrow function, called in one of `count` processes with all batches of its task."""
    from pyspark import cloudpickle

    packed = cloudpickle.dumps(function)  # type: ignore[no-untyped-call]

    def call(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _call_elsewhere(packed, [batch for batch in batches if batch.num_rows], count)

    return call


def of_folders(function: ArrowFunction) -> ArrowFunction:
    """An Arrow function over rows that name folders: it calls `function` with the rows of all Parquet files of each folder."""

    def call(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        for batch in batches:
            for folder in batch.column(0).to_pylist():
                files = (pq.ParquetFile(file) for file in sorted(Path(folder).glob("*.parquet")))
                groups = ((file, number) for file in files for number in range(file.num_row_groups))
                # A batch of rows across groups would be a copy of the whole file.
                yield from function(rows for file, number in groups for rows in file.read_row_group(number).to_batches())

    return call


def _call_elsewhere(packed: bytes, batches: list[pa.RecordBatch], count: int) -> list[pa.RecordBatch]:
    if not batches:
        return []
    try:
        # Several tasks of the engine start the pool at the same moment.
        with _POOL_LOCK:
            processes = pool(count)
        return processes.submit(_work_on, packed, batches).result()
    except BrokenProcessPool:
        pool.cache_clear()
        raise


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries in this block. Garbage collection costs a quarter of the import time; it is off while importing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # Some libraries report objects that are left at exit; they must see these objects, too.
        atexit.register(gc.unfreeze)
        gc.enable()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Start processes in this block. An interrupt from the terminal does not reach them: it is for the process that started them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Delay a KeyboardInterrupt until the end of the block.

    Restores our SIGINT handler after Spark has replaced it: Spark's handler cancels its jobs first, and a call that waits for their
    results would then fail with an error of Spark instead of the interrupt.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = threading.Event()
    # Another handler raises nothing: that of the command line ends the process, and SIG_IGN is how a shell script starts `command &`.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda _number, _frame: interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted.is_set():
        raise KeyboardInterrupt


def warm_up() -> None:
    """Start the server that the processes are forked from. It imports the modules that tasks need."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
    # Without a running tracker, the server would start it, and the tracker unblocks interrupts.
    resource_tracker.ensure_running()
    with uninterrupted():
        forkserver.ensure_running()


@functools.cache
def pool(count: int) -> ProcessPoolExecutor:
    """A pool of `count` processes, which end with this process."""
    warm_up()
    # This process has threads, so a fork of it is unsafe. The server has none.
    made = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver"), initializer=_end_with_the_driver)
    # Runs before Python itself waits for the processes.
    atexit.register(made.shutdown, cancel_futures=True)
    # A process whose start is interrupted would not find the objects that it shares with this one.
    with interrupts_deferred():
        for _ in range(count):
            made.submit(os.getpid)
    return made


def _work_on(packed: bytes, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return list(_unpacked(packed)(batches))


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Iterator[pa.RecordBatch]]:
    from pyspark import cloudpickle

    work: Callable[[Any], Iterator[pa.RecordBatch]] = cloudpickle.loads(packed)
    return work


def _end_with_the_driver() -> None:
    """End this process when the driver ends, also when it is killed: without a driver, nothing may be written."""
    driver = multiprocessing.parent_process()
    if driver is not None:

        def follow() -> None:
            driver.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()

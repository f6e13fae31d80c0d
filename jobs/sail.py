"""Sail, an engine that serves Spark Connect from within this process: no JVM, and a session in a second.

It stays on one machine. A cluster is Spark's.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from jobs import processes
from jobs.errors import SetupError
from jobs.settings import Settings

# Seconds within which the server has taken the interrupt: ten to forty milliseconds on a busy machine.
_PATIENCE = 1.0

if TYPE_CHECKING:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession


def serve() -> tuple[str, int]:
    """Start the server; gives its address.

    Raises SetupError when Sail is not installed.
    """
    try:
        address: tuple[str, int] = _server().listening_address
    except ImportError as error:
        raise _missing(error) from error
    return address


def start(settings: Settings) -> SparkSession:
    """Start a session on this process's own Sail server.

    Raises SetupError when Sail, or what Spark Connect's client needs, is not installed.
    """
    host, port = serve()
    # The client would ask a proxy for this very machine, where one is set.
    os.environ["no_grpc_proxy"] = host  # noqa: SIM112 - the name that gRPC reads
    try:
        with processes.importing():
            import_module("pyspark.sql.connect.session")
        from pyspark.sql import SparkSession

        session = SparkSession.builder.appName("millrace").remote(f"sc://{host}:{port}").getOrCreate()
    except ImportError as error:
        raise _missing(error) from error
    for key, value in settings.sail.options.items():
        session.conf.set(key, str(value).lower() if isinstance(value, bool) else str(value))
    session.conf.set(processes.OPTION, str(processes_of(settings)))
    return session


def processes_of(settings: Settings) -> int:
    """How many processes do the work of tasks."""
    return settings.sail.processes or processes.available()


def _missing(error: ImportError) -> SetupError:
    return SetupError(f"Sail cannot be used ({error}): run `make setup`, or compute on Spark with `--env spark`")


@functools.cache
def _server() -> SparkConnectServer:
    """The server of all of this process's sessions, on the loopback interface alone; it ends with the process."""
    # Its log has nothing that an error does not tell.
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    with _interrupts_kept():
        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
    return server


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Let an interrupt be Python's alone again, once the server that is started in the block has taken it for itself, too.

    It would end, and its client would call it again for ten minutes. Python lets the main thread alone do this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, asked = signal.getsignal(signal.SIGINT), _handler()
    yield
    # It takes it a moment after it has started.
    until = time.monotonic() + _PATIENCE
    while _handler() == asked and time.monotonic() < until:
        time.sleep(0.001)
    signal.signal(signal.SIGINT, ours or signal.default_int_handler)


def _handler() -> int:
    """The address of what the system calls on an interrupt: the first member of its `struct sigaction`."""
    told = (ctypes.c_size_t * 64)()
    ctypes.CDLL(None).sigaction(int(signal.SIGINT), None, told)
    return int(told[0])

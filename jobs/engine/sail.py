"""Sail, an engine that serves Spark Connect from within this process: it needs no JVM and starts in a second.

It runs on one machine. On a cluster, use Spark.
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
from typing import TYPE_CHECKING, Any, cast

from jobs.engine import processes
from jobs.errors import SetupError
from jobs.settings import Settings

# Seconds to wait until the server has set its SIGINT handler, which takes ten to forty milliseconds on a busy machine.
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
    # Without it, the client would use a configured proxy even for this machine.
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
    # At an interrupt the client asks the server to stop and waits for the answer, but tasks may hold all threads of the server. The
    # server ends with this process.
    cast("Any", session).client.interrupt_operation = lambda _operation: []
    return session


def processes_of(settings: Settings) -> int:
    """The number of processes that run tasks."""
    return settings.sail.processes or processes.available()


def _missing(error: ImportError) -> SetupError:
    return SetupError(f"Sail cannot be used ({error}): run `make setup`, or compute on Spark with `--env spark`")


@functools.cache
def _server() -> SparkConnectServer:
    """The server of all sessions of this process, on the loopback interface only. It ends with the process."""
    # Its log only repeats the errors.
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    with _interrupts_kept():
        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
    return server


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Start the server in this block. Restores our SIGINT handler after the server has replaced it.

    With its own handler the server would end at an interrupt, and its client would retry for ten minutes. Only the main thread can
    set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, before = signal.getsignal(signal.SIGINT), _handler()
    yield
    # The server sets its handler a moment after it has started.
    until = time.monotonic() + _PATIENCE
    while _handler() == before and time.monotonic() < until:
        time.sleep(0.001)
    signal.signal(signal.SIGINT, ours or signal.default_int_handler)


def _handler() -> int:
    """The address of the current SIGINT handler: the first member of its `struct sigaction`."""
    action = (ctypes.c_size_t * 64)()
    ctypes.CDLL(None).sigaction(int(signal.SIGINT), None, action)
    return int(action[0])

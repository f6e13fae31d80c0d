"""Sail, an engine that serves Spark Connect from within this process: no JVM, and a session in a second.

It stays on one machine. A cluster is Spark's.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from typing import TYPE_CHECKING

from jobs import processes
from jobs.errors import SetupError
from jobs.settings import Settings

if TYPE_CHECKING:
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession


def serve(count: int) -> tuple[str, int]:
    """Start the server, and so many processes for tasks, which import what they need while this one does; gives the server's address.

    Raises SetupError when Sail is not installed.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    processes.pool(count)
    try:
        address: tuple[str, int] = _server().listening_address
    except ImportError as error:
        raise _missing(error) from error
    if threading.current_thread() is threading.main_thread():
        # The server takes an interrupt for itself and ends, and its client would call it again for ten minutes.
        signal.signal(signal.SIGINT, interrupt or signal.default_int_handler)
    return address


def start(settings: Settings) -> SparkSession:
    """Start a session on this process's own Sail server.

    Raises SetupError when Sail, or what Spark Connect's client needs, is not installed.
    """
    count = settings.sail.processes or processes.available()
    host, port = serve(count)
    try:
        from pyspark.sql import SparkSession

        session = SparkSession.builder.appName("millrace").remote(f"sc://{host}:{port}").getOrCreate()
    except ImportError as error:
        raise _missing(error) from error
    for key, value in settings.sail.options.items():
        session.conf.set(key, str(value).lower() if isinstance(value, bool) else str(value))
    session.conf.set(processes.OPTION, str(count))
    return session


def _missing(error: ImportError) -> SetupError:
    return SetupError(f"Sail cannot be used ({error}): run `make setup`, or compute on Spark with `--env spark`")


@functools.cache
def _server() -> SparkConnectServer:
    """The server of all of this process's sessions, on the loopback interface alone; it ends with the process."""
    # Its log has nothing that an error does not tell.
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    return server

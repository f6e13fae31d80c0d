"""The daemon that forks Spark's Python workers, without the errors of workers that are idle when the session ends.

Over Unix sockets, such a worker cannot write to the JVM, which has closed its end, and Spark prints a traceback for each. An error of
a task is reported through the JVM, and a worker whose JVM is gone has nobody to report to.
"""

from __future__ import annotations

import sys
import traceback

from pyspark import daemon

_print_exception = traceback.print_exc


def _print_if_connected() -> None:
    if not isinstance(sys.exception(), BrokenPipeError):
        _print_exception()


if __name__ == "__main__":
    traceback.print_exc = _print_if_connected  # type: ignore[assignment]
    daemon.manager()

"""The daemon of Spark's Python workers prints errors, but not those of workers whose JVM has ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINTS = """
import pyspark.daemon, runpy, traceback
pyspark.daemon.manager = lambda: None
runpy.run_module("jobs.engine.python_daemon", run_name="__main__")
try:
    raise {error}("of a worker")
except OSError:
    traceback.print_exc()
"""


@pytest.mark.parametrize(("error", "is_printed"), [("BrokenPipeError", False), ("FileNotFoundError", True)])
def test_only_a_connection_that_the_jvm_has_closed_is_no_error(error: str, is_printed: bool) -> None:
    printed = subprocess.run([sys.executable, "-c", PRINTS.format(error=error)], capture_output=True, text=True, check=True).stderr
    assert ("Traceback" in printed) is is_printed

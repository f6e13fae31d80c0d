"""The driver holds lists of files and aggregated numbers. So its memory does not grow with the events of a night."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import plain_environment

from jobs.generator.generate import generate

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))
# `millrace`, which writes the largest memory of its own process, without that of the JVM and of tasks, into a file.
DRIVER = """
import atexit, pathlib, sys
from jobs.commands.program import program

path = pathlib.Path(sys.argv.pop(1))
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: path.write_text(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))))
program()
"""


def driver_memory(root: Path, events: int) -> float:
    """The largest memory, in MiB, of the driver of a night with so many events, after another such night."""
    for night in NIGHTS:
        generate(root / "landing", night, events=events, seed=3)
        command = ["run", "--date", str(night), "--env", "spark", "--landing", str(root / "landing"), "--lake", str(root / "lake")]
        subprocess.run(
            [sys.executable, "-c", DRIVER, str(root / "memory"), *command], check=True, capture_output=True, env=plain_environment()
        )
    return int((root / "memory").read_text()) / 1024


@pytest.mark.slow
def test_ten_times_the_events_take_no_more_memory_in_the_driver(tmp_path: Path) -> None:
    few, many = (driver_memory(tmp_path / str(events), events) for events in (20_000, 200_000))
    assert many < 1.15 * few, (few, many)

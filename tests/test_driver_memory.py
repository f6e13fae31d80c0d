"""The driver holds lists of files and aggregated numbers. So its memory does not grow with the events of a night."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import plain_environment

from jobs.generator.generate import generate

MILLRACE = str(Path(sys.executable).with_name("millrace"))
NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))


def driver_memory(root: Path, events: int) -> float:
    """The largest memory, in MiB, that a night of so many events, after another such night, takes in the driver until it is published.

    The memory of the JVM and of tasks is not part of it.
    """
    for night in NIGHTS:
        generate(root / "landing", night, events=events, seed=3)
        command = [
            MILLRACE,
            "run",
            "--date",
            str(night),
            "--env",
            "spark",
            "--landing",
            str(root / "landing"),
            "--lake",
            str(root / "lake"),
        ]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=plain_environment())
        assert run.stderr is not None
        assert any(" publish " in line for line in run.stderr)
        status = Path(f"/proc/{run.pid}/status").read_text()
        run.communicate()
        assert run.returncode == 0
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


@pytest.mark.slow
def test_five_times_the_events_take_no_more_memory_in_the_driver(tmp_path: Path) -> None:
    few, many = (driver_memory(tmp_path / str(events), events) for events in (200_000, 1_000_000))
    assert many < 1.15 * few, f"{few:.0f} MiB for 200,000 events, {many:.0f} MiB for 1,000,000"

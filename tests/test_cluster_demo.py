"""`make cluster-demo`: a bucket, a Spark cluster and Airflow on this machine, and nothing left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import airflow_standalone
import pytest
from spark_cluster import REPOSITORY

pytestmark = pytest.mark.slow
# All processes of the demonstration inherit it.
MARK = "TMPDIR"


@pytest.fixture(scope="module", autouse=True)
def airflow() -> None:
    airflow_standalone.install()


def test_two_nights_run_through_the_scheduler_on_a_cluster(tmp_path: Path) -> None:
    done = subprocess.run(["make", "cluster-demo"], cwd=REPOSITORY, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" success: ") == 2
    assert "the tables are those of one machine: " in done.stdout
    assert left_of(tmp_path) == []


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demonstration_leaves_nothing(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    """Given an interrupt while Airflow and the cluster run a night."""
    command = [sys.executable, "-m", "cluster_demo"]
    variables = environment(tmp_path) | {"PYTHONPATH": str(REPOSITORY / "tests")}
    demo = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert demo.stdout is not None
    next(line for line in demo.stdout if line.startswith("nights"))
    demo.send_signal(number)
    assert demo.wait(120) == exit_code
    assert left_of(tmp_path) == []


def environment(folder: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return plain | {MARK: str(folder)}


def left_of(folder: Path) -> list[str]:
    """The command lines of processes of the demonstration that still run, and the files that it left."""
    left = [str(path) for path in folder.glob("millrace-*")]
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if not process.name.isdecimal():
                continue
            is_inside = str((process / "cwd").readlink()).startswith(str(folder))
            # A process that has changed its title has no environment any more.
            if is_inside or f"{MARK}={folder}".encode() in (process / "environ").read_bytes():
                left.append((process / "cmdline").read_text().replace("\0", " "))
    return left

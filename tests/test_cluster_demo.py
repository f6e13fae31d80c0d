"""`make cluster-demo`: a bucket, a Spark cluster and Airflow on this machine, and nothing left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
    demo = subprocess.Popen(command, cwd=REPOSITORY, env=variables, start_new_session=True)
    try:
        wait_for_a_night(demo, tmp_path)
        demo.send_signal(number)
        time.sleep(1)
        demo.send_signal(number)  # again, as somebody does who does not want to wait
        assert demo.wait(120) == exit_code
        # PySpark's workers notice a moment later that their executor has ended.
        until = time.monotonic() + 10
        while left_of(tmp_path) and time.monotonic() < until:
            time.sleep(0.5)
        assert left_of(tmp_path) == []
    finally:
        demo.kill()


def wait_for_a_night(demo: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until an executor of the cluster has a Python worker."""
    until = time.monotonic() + 240
    while not any("pyspark.daemon" in command for command in left_of(folder)):
        assert demo.poll() is None
        assert time.monotonic() < until, "no night has begun"
        time.sleep(0.5)


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

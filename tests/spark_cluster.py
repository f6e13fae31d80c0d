"""A standalone Spark cluster on the loopback interface: a master and workers, each a process with folders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bucket_server import free_port, wait_for_port
from conftest import plain_environment

REPOSITORY = Path(__file__).parents[1]
_PATIENCE_SECONDS = 60


@dataclass
class Cluster:
    """A running cluster."""

    master: str  # its URL
    page: str  # the URL of its UI
    folder: Path
    workers: list[subprocess.Popen[bytes]]

    def submit(self, arguments: Sequence[object], *options: str, python: str = sys.executable) -> subprocess.Popen[str]:
        """Submit a night, from a working folder in which nothing is. `python` is that of the executors."""
        driver = self.folder / "driver"
        driver.mkdir(exist_ok=True)
        pythons = ("--conf", f"spark.pyspark.driver.python={sys.executable}", "--conf", f"spark.pyspark.python={python}")
        application = REPOSITORY / "jobs" / "night.py"
        words = [spark_home() / "bin" / "spark-submit", "--master", self.master, *pythons, *options, application, *arguments]
        variables = plain_environment() | {"SPARK_LOCAL_IP": "127.0.0.1"}
        return subprocess.Popen(
            [str(word) for word in words],
            cwd=driver,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@contextmanager
def running(folder: Path, *, workers: int = 2, memory: str = "2g") -> Iterator[Cluster]:
    """Start a master and one-core workers, without the variables of the object store, and stop them."""
    folder.mkdir(parents=True, exist_ok=True)
    port, page = free_port(), free_port()
    # What the workers know of a store, they know from the night.
    environment = {name: value for name, value in plain_environment().items() if not name.startswith("AWS_")}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false"}
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, main: str, *arguments: object) -> subprocess.Popen[bytes]:
        home = folder / name
        home.mkdir()
        command = [spark_home() / "bin" / "spark-class", f"org.apache.spark.deploy.{main}", *arguments]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=home,
                env=environment | {"SPARK_LOCAL_DIRS": str(home / "local"), "HOME": str(home), "TMPDIR": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        processes.append(process)
        return process

    try:
        start("master", "master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", page)
        master = f"spark://127.0.0.1:{port}"
        _wait_for_workers(page, 0)
        of_worker = (master, "--cores", 1, "--memory", memory, "--host", "127.0.0.1", "--work-dir")
        names = [f"worker-{number}" for number in range(workers)]
        started = [start(name, "worker.Worker", *of_worker, folder / name / "work") for name in names]
        _wait_for_workers(page, workers)
        yield Cluster(master, f"http://127.0.0.1:{page}", folder, started)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in processes:
            process.wait()


def spark_home() -> Path:
    """Where PySpark's own Spark is."""
    found = find_spec("pyspark")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _wait_for_workers(page: int, number: int) -> None:
    """Wait until the master, by its page, is alive and has so many workers."""
    until = time.monotonic() + _PATIENCE_SECONDS
    found = -1
    while found != number:
        assert time.monotonic() < until, f"the master has {found} of {number} workers"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{page}/json/", timeout=5) as response:
                found = json.load(response)["aliveworkers"]
        except (OSError, ValueError):  # the page is there before its JSON is
            time.sleep(0.1)


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Start a Spark Connect server on this machine, and stop it; gives its address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [spark_home() / "bin" / "spark-submit", "--master", "local[2]", "--driver-memory", "2g"]
    command += ["--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.connect.grpc.binding.address=127.0.0.1"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    variables = plain_environment() | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_port(port, process)
        yield f"sc://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""Airflow with its scheduler, its triggerer and its UI, on the loopback interface: `airflow standalone` with a database of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucket_server import free_port

ROOT = Path(__file__).parents[1]
_START_SECONDS = 120
# What a run or a task is in when nothing more happens to it.
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass(frozen=True)
class Run:
    """A run of a DAG that has ended."""

    state: str
    tasks: Mapping[str, str]  # their states


@dataclass(frozen=True)
class StandaloneAirflow:
    """A running Airflow."""

    url: str  # of its UI
    home: Path
    variables: Mapping[str, str]

    def command(self, *words: str) -> str:
        """Call `airflow`; gives its output, and fails if it fails."""
        program = ROOT / ".venv-airflow" / "bin" / "airflow"
        done = subprocess.run([program, *words], env=dict(self.variables), cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def unpause(self, dag: str) -> None:
        """Let the scheduler run a DAG, once it has found it."""
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.request("PATCH", f"/api/v2/dags/{dag}?update_mask=is_paused", {"is_paused": False})
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > until:
                    raise RuntimeError(self.log()) from error
                time.sleep(1)
            else:
                return

    def wait_for(self, dag: str, nights: Collection[str], seconds: float) -> dict[str, Run]:
        """The runs of a DAG for these nights, when all of them have ended."""
        until = time.monotonic() + seconds
        while True:
            listed = self.request("GET", f"/api/v2/dags/{dag}/dagRuns?limit=100")["dag_runs"]
            ended = {run["logical_date"][:10]: run for run in listed if run["state"] in _ENDED}
            if set(nights) <= set(ended):
                return {night: self._run(dag, ended[night]) for night in nights}
            assert time.monotonic() < until, f"{[(run['logical_date'], run['state']) for run in listed]}\n{self.log()}"
            time.sleep(1)

    def log(self) -> str:
        """The end of what Airflow has printed, and of the logs of the tasks."""
        logs = [self.home / "standalone.log", *sorted((self.home / "logs").rglob("attempt=*.log"))]
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-3000:]}" for path in logs)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Call the REST API."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}
        return _request(self.url, method, path, headers, body)

    def _token(self) -> str:
        return str(_request(self.url, "GET", "/auth/token", {})["access_token"])

    def _run(self, dag: str, run: Mapping[str, Any]) -> Run:
        tasks = self.request("GET", f"/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
        return Run(run["state"], {task["task_id"]: task["state"] for task in tasks})


def install() -> None:
    """Make Airflow's environment from its lock, once."""
    # Called from `make test`, it must not take part in that make's jobs.
    variables = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run(["make", "airflow", f"PYTHON={sys.executable}"], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


@contextmanager
def running(home: Path, variables: Mapping[str, str]) -> Iterator[StandaloneAirflow]:
    """Start Airflow with these environment variables, and stop it with all that it has started."""
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{free_port()}"
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MILLRACE"))}
    given |= _settings(home, url) | dict(variables)
    # It calls itself by its name, and the night must not get its Python.
    (home / "bin").mkdir()
    (home / "bin" / "airflow").symlink_to(ROOT / ".venv-airflow" / "bin" / "airflow")
    given["PATH"] = f"{home / 'bin'}:{given['PATH']}"
    airflow = StandaloneAirflow(url, home, given)
    with (home / "standalone.log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / ".venv-airflow" / "bin" / "airflow", "standalone"],
            cwd=home,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(airflow, process)
        yield airflow
    finally:
        _stop(process, home)


def _settings(home: Path, url: str) -> dict[str, str]:
    """How Airflow is configured: nothing but its own folder and this machine's loopback interface."""
    ports = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": free_port(), "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": free_port()}
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": url.rpartition(":")[2],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
        **{name: str(port) for name, port in ports.items()},
    }


def _wait_until_healthy(airflow: StandaloneAirflow, process: subprocess.Popen[bytes]) -> None:
    """Wait until the database, the scheduler, the triggerer and the processor of DAGs say that they are healthy."""
    until = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, airflow.log()
        with suppress(OSError, ValueError):
            health = _request(airflow.url, "GET", "/api/v2/monitor/health", {})
            if all(part["status"] == "healthy" for part in health.values()):
                return
        assert time.monotonic() < until, airflow.log()
        time.sleep(0.5)


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    """Stop Airflow, and kill what is left of it and of the tasks that it was running: tasks have sessions of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    until = time.monotonic() + 10
    # A process may start another one while it is looked for.
    while (left := processes_of(home)) and time.monotonic() < until:
        for number in left:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.1)
    process.wait()


def processes_of(home: Path) -> list[int]:
    """The processes of the Airflow with this folder: they work in it, or have it in their environment."""
    mark, found = f"AIRFLOW_HOME={home}".encode(), []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdecimal() and ((folder / "cwd").readlink() == home or mark in (folder / "environ").read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return found


def _request(url: str, method: str, path: str, headers: Mapping[str, str], body: object = None) -> Any:
    request = urllib.request.Request(
        url + path, method=method, headers=dict(headers), data=None if body is None else json.dumps(body).encode()
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        return json.load(response)

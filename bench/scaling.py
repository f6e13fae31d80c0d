"""The cost of a night on a Spark cluster, by the number of executors: seconds of each step, memory, and how even the tasks were.

    PYTHONPATH=tests python -m bench.scaling [--events N]… [--executors N]… [--folder DIR]

A standalone master and workers of one core each share this machine with the driver and an S3-compatible server that holds the landing
zone and the lake. Prints Markdown tables, and the stages of each night.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bucket_server
import click
import spark_cluster
from bucket_server import BUCKET
from spark_cluster import Cluster

from bench import event_log
from jobs.console.process_memory import memory_of_tree
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from jobs.storage.storage_paths import storage_path

NIGHT = dt.date(2026, 11, 20)
_MIB = 2**20


@dataclass
class NightCost:
    """What a night cost."""

    events: int
    executors: int
    seconds: float  # from spark-submit to its end
    steps: Mapping[str, float]  # seconds of each step
    task_seconds: Mapping[str, float]  # of all tasks of each step
    executor_mib: float  # peak memory of the largest executor, with its Python workers
    driver_mib: float  # peak memory of the driver, with its JVM
    stage_table: str  # Markdown


@click.command()
@click.option("--events", "sizes", type=int, multiple=True, default=(200_000, 1_000_000, 5_000_000), show_default=True)
@click.option("--executors", "counts", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--memory", default="3g", show_default=True, help="Memory of a worker, which its executor takes.")
@click.option("--conf", multiple=True, help="A setting of Spark: key=value.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where landing zones are made, and kept. [default: a temporary one]")
@click.option("--logs", type=click.Path(path_type=Path), help="Where Spark's event logs stay. [default: nowhere]")
def main(sizes: Sequence[int], counts: Sequence[int], memory: str, conf: Sequence[str], folder: Path | None, logs: Path | None) -> None:
    """Run a first night of each size with each number of executors."""
    nights = []
    with tempfile.TemporaryDirectory() as temporary:
        for events in sizes:
            landing = (folder or Path(temporary)) / str(events)
            if not landing.exists():
                # An interrupted one is not taken for the whole.
                generate(landing.with_suffix(".new"), NIGHT, events=events)
                landing.with_suffix(".new").rename(landing)
            for executors in counts:
                log = (logs or Path(temporary) / "logs") / f"{events}-{executors}"
                if log.exists():
                    raise click.UsageError(f"{log} is there: name another --logs")
                nights.append(_measure(landing, events, executors, memory, conf, log))
                click.echo(f"{events:,} events, {executors} executors: {nights[-1].seconds:.0f} s\n\n{nights[-1].stage_table}\n")
    click.echo(_table(nights))


def _measure(landing: Path, events: int, executors: int, memory: str, conf: Sequence[str], log: Path) -> NightCost:
    with tempfile.TemporaryDirectory() as temporary, bucket_server.serving() as server:
        server.upload(landing, "landing")
        log.mkdir(parents=True)
        options = [f"--conf=spark.eventLog.{key}" for key in ("enabled=true", f"dir={log.resolve().as_uri()}")]
        options += [f"--conf=spark.executor.memory={memory}", *(f"--conf={setting}" for setting in conf)]
        with spark_cluster.running(Path(temporary) / "cluster", workers=executors, memory=memory) as cluster:
            return _night(cluster, events, options, log)


def _night(cluster: Cluster, events: int, options: Sequence[str], log: Path) -> NightCost:
    lake = f"s3://{BUCKET}/lake"
    arguments = ["--date", NIGHT, "--env", "cluster", "--landing", f"s3://{BUCKET}/landing", "--lake", lake]
    started = time.monotonic()
    process = cluster.submit(arguments, *options)
    try:
        with _peaks([*(worker.pid for worker in cluster.workers), process.pid]) as peaks:
            output, errors = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    seconds = time.monotonic() - started
    if process.returncode not in (0, 3):
        raise SystemExit(output + errors)
    runs = Lake.open(storage_path(lake)).arrow("runs", ["step", "seconds"]).to_pylist()
    (application,) = event_log.applications(log)
    *workers, driver = peaks
    return NightCost(
        events,
        len(cluster.workers),
        seconds,
        {row["step"]: row["seconds"] for row in runs if row["seconds"] is not None},
        event_log.seconds_of_tasks(application),
        max(workers) / _MIB,
        driver / _MIB,
        event_log.table_of_stages(application),
    )


@contextmanager
def _peaks(processes: Sequence[int]) -> Iterator[list[int]]:
    """Sample the memory of processes and of all that they start, while the block runs; gives the largest of each, in bytes."""
    peaks = [0] * len(processes)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.5):
            peaks[:] = [max(peak, memory_of_tree(process) or 0) for peak, process in zip(peaks, processes, strict=True)]

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _table(nights: Sequence[NightCost]) -> str:
    """Seconds of the steps, and in brackets the seconds of all their tasks."""
    steps = list(dict.fromkeys(step for night in nights for step in night.steps))
    head = [f"{night.events:,}, {night.executors}" for night in nights]
    rows = [f"| events, executors | {' | '.join(head)} |", f"| --- |{' ---: |' * len(nights)}"]
    rows.append(f"| whole night, s | {' | '.join(f'{night.seconds:.0f}' for night in nights)} |")
    for step in steps:
        cells = [f"{night.steps.get(step, 0):.1f} ({night.task_seconds.get(step, 0):.1f})" for night in nights]
        rows.append(f"| {step} | {' | '.join(cells)} |")
    rows.append(f"| peak memory of an executor, MiB | {' | '.join(f'{night.executor_mib:,.0f}' for night in nights)} |")
    rows.append(f"| peak memory of the driver, MiB | {' | '.join(f'{night.driver_mib:,.0f}' for night in nights)} |")
    return "\n".join([f"{os.cpu_count()} processors", "", *rows])


if __name__ == "__main__":
    main()

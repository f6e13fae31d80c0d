"""Millrace on a cluster, on this machine: a bucket, a Spark cluster and Airflow run two nights. At the end all of them are stopped.

    make cluster-demo

The tables must be those of the same nights on this machine alone.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import airflow_standalone
import bucket_server
import click
import spark_cluster
from bucket_server import BUCKET, MILLRACE, run_as_a_program
from lakes import LANDED, assert_same_but_for_uploads, contents
from spark_cluster import Cluster, spark_home

from jobs.generator.generate import generate
from jobs.storage.bucket import BucketPath

DAG = "millrace_nightly"
LANDING, LAKE = f"s3://{BUCKET}/landing", f"s3://{BUCKET}/lake"
EVENTS = 1000
# A night takes about a minute on two cores that Airflow also uses.
PATIENCE_SECONDS = 600


def main() -> None:
    """Run the demonstration. It ends with an error when a night fails or a table differs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)
    # A younger night may still wait for late files.
    newest = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=4, minutes=35)).date() - dt.timedelta(days=1)
    nights = [newest - dt.timedelta(days=1), newest]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-")))
        server = stack.enter_context(bucket_server.serving())
        click.echo(f"bucket         {server.endpoint}")
        for night in nights:
            generate(folder / "landing", night, events=EVENTS, faults=0.05)
        server.upload(folder / "landing", "landing")
        cluster = stack.enter_context(spark_cluster.running(folder / "cluster"))
        click.echo(f"Spark master   {cluster.page}, with {len(cluster.workers)} workers")
        airflow = stack.enter_context(airflow_standalone.running(folder / "airflow", _variables(cluster, nights[0])))
        click.echo(f"Airflow        {airflow.url}")
        airflow.unpause(DAG)
        click.echo(f"nights         {nights[0]} and {nights[1]}, by the schedule of {DAG}")
        runs = airflow.wait_for(DAG, [night.isoformat() for night in nights], PATIENCE_SECONDS)
        for night, run in runs.items():
            click.echo(f"{night}     {run.state}: {', '.join(f'{task} {state}' for task, state in sorted(run.tasks.items()))}")
            assert run.state == "success", airflow.log()
        _compare(folder, nights)
    click.echo("stopped        Airflow, the cluster and the bucket")


def _variables(cluster: Cluster, first: dt.date) -> dict[str, str]:
    """The settings of the DAGs."""
    host, _, port = cluster.master.rpartition(":")
    python = {"spark.pyspark.python": sys.executable, "spark.pyspark.driver.python": sys.executable}
    return {
        "AIRFLOW_CONN_SPARK_MILLRACE": json.dumps({"conn_type": "spark", "host": host, "port": int(port), "extra": {"conf": python}}),
        "MILLRACE_SPARK_CONNECTION": "spark_millrace",
        "MILLRACE_BIN": MILLRACE,
        "MILLRACE_LANDING": LANDING,
        "MILLRACE_LAKE": LAKE,
        "MILLRACE_CATCHUP_FROM": first.isoformat(),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PATH": f"{spark_home() / 'bin'}:{os.environ['PATH']}",
    }


def _compare(folder: Path, nights: list[dt.date]) -> None:
    """Run the same nights on this machine alone, and compare all tables."""
    for night in nights:
        done = run_as_a_program(folder / "landing", folder / "lake", folder / "conf.yaml", "run", "--date", night)
        assert done.exit_code in (0, 3), done.stderr
    lake = BucketPath.of_url(LAKE)
    assert_same_but_for_uploads(lake, folder / "lake")
    rows = contents(lake)
    click.echo("the tables are those of one machine: " + ", ".join(f"{name} {len(rows[name]):,}" for name in LANDED))


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Stop everything; another signal does not interrupt that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()

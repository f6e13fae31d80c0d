"""A Spark cluster whose machines share nothing but a bucket: the tables of one machine, also when a worker is killed."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import bucket_server
import pytest
import spark_cluster
from bucket_server import BUCKET, Server, run_as_a_program
from lakes import assert_same_but_for_uploads
from spark_cluster import Cluster

from jobs.generator.generate import generate
from jobs.storage.bucket import BucketPath

NIGHTS = [dt.date(2026, 11, 20), dt.date(2026, 11, 21)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with bucket_server.serving() as server:
        yield server


@pytest.fixture(scope="module")
def landing(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights, in a folder and in the bucket."""
    folder = tmp_path_factory.mktemp("cluster") / "landing"
    for night in NIGHTS:
        generate(folder, night, events=1000, faults=0.05)
    server.upload(folder, "landing")
    return folder


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with spark_cluster.running(tmp_path / "cluster") as cluster:
        yield cluster


def test_a_night_on_a_cluster_gives_the_tables_of_one_machine(server: Server, landing: Path, cluster: Cluster) -> None:
    lake = BucketPath.of_url(f"s3://{BUCKET}/one-night")
    output = wait_for(submit(cluster, lake, NIGHTS[0]))
    assert "checks: s3://" in output
    assert_same_but_for_uploads(lake, lake_of_one_machine(landing, NIGHTS[0]))
    assert not [path for path in (cluster.folder / "driver").rglob("*") if path.is_file()], "the night needs no folder of its own"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["survey", "deduplicate", "account", "workflows"])
def test_a_night_whose_worker_is_killed_ends_right(server: Server, landing: Path, cluster: Cluster, step: str) -> None:
    """Given two nights, and a worker that is killed with its executor a moment after this step of the second."""
    lake = BucketPath.of_url(f"s3://{BUCKET}/killed-after-{step}")
    wait_for(submit(cluster, lake, NIGHTS[0]))
    night = submit(cluster, lake, NIGHTS[1])
    assert night.stdout is not None
    next(line for line in night.stdout if f"{NIGHTS[1]} {step} " in line)
    time.sleep(1)
    assert night.poll() is None
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    wait_for(night)
    assert_same_but_for_uploads(lake, lake_of_one_machine(landing, *NIGHTS))


@pytest.mark.slow
def test_executors_get_millrace_and_its_dependencies_with_the_night(
    server: Server, landing: Path, cluster: Cluster, tmp_path: Path
) -> None:
    """Given workers on which neither Millrace nor any package is installed."""
    made = subprocess.run(["make", "executors", f"DIST={tmp_path}"], cwd=spark_cluster.REPOSITORY, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    lake = BucketPath.of_url(f"s3://{BUCKET}/archives")
    files = ("--py-files", f"{tmp_path}/millrace.zip", "--archives", f"{tmp_path}/environment.tar.gz#environment")
    wait_for(submit(cluster, lake, NIGHTS[0], *files, python="./environment/bin/python"))
    assert_same_but_for_uploads(lake, lake_of_one_machine(landing, NIGHTS[0]))


def submit(cluster: Cluster, lake: BucketPath, night: dt.date, *options: str, python: str = sys.executable) -> subprocess.Popen[str]:
    """Submit a night; what the driver prints, spark-submit prints on stdout."""
    arguments = ["--date", night, "--env", "cluster", "--landing", f"s3://{BUCKET}/landing", "--lake", lake]
    return cluster.submit(arguments, *options, python=python)


def wait_for(night: subprocess.Popen[str]) -> str:
    """The output of a night that ends well."""
    output, log = night.communicate(timeout=600)
    assert night.returncode in (0, 3), output + log
    return output


@cache
def lake_of_one_machine(landing: Path, *nights: dt.date) -> Path:
    """A lake of these nights, run on this machine."""
    lake = landing.with_name(f"lake-{len(nights)}")
    for night in nights:
        done = run_as_a_program(landing, lake, landing.with_name("conf.yaml"), "run", "--date", night)
        assert done.exit_code in (0, 3), done.stderr
    return lake

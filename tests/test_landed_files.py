"""Landed files of every kind of trouble: each is isolated, the rest is published, and what is repaired is picked up."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from landing_files import land_file
from pyspark.sql import SparkSession
from quiet_runs import run_quietly

from jobs import changed_partitions
from jobs.lake.tables import Lake
from jobs.landing import zone
from jobs.settings import Settings

NIGHT = dt.date(2026, 11, 18)
MILLRACE = Path(sys.executable).with_name("millrace")
KIB, MIB, GIB = 2**10, 2**20, 2**30


def line(mid: str, payload: str = "") -> str:
    event = {
        "eid": "INTERACT",
        "ets": 1795010400000,
        "ver": "3.0",
        "mid": mid,
        "actor": {"id": "u1", "type": "User"},
        "context": {"channel": "c1", "env": "home", "sid": mid[:3], "did": "d1"},
        "edata": {"type": "TOUCH", "id": "button", "extra": {"payload": payload}},
    }
    return json.dumps(event) + "\n"


def land_events(settings: Settings, name: str, *mids: str, hour: int = 10) -> Path:
    return land_file(settings.paths.landing, "sunbird", NIGHT, name, "".join(map(line, mids)), hour)


def accounts(settings: Settings) -> dict[str, Any]:
    files = Lake.open(settings.paths.lake).arrow("files", ["file", "status", "error", "accepted"]).to_pylist()
    return {Path(row["file"]).name: (row["status"], row["error"], row["accepted"]) for row in files}


def test_a_file_that_disappears_during_the_run_harms_no_other(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_events(settings, "stays.jsonl", "m1")
    gone = land_events(settings, "gone.jsonl", "m2")
    of_nights = changed_partitions.of_nights

    def surveyed_and_gone(*arguments: Any, **options: Any) -> Any:
        found = of_nights(*arguments, **options)
        gone.unlink()
        return found

    monkeypatch.setattr(changed_partitions, "of_nights", surveyed_and_gone)
    outcome = run_quietly(settings, NIGHT)
    assert [Path(file).name for file, _ in outcome.unreadable] == ["gone.jsonl"]
    assert accounts(settings)["stays.jsonl"] == ("done", None, 1)
    monkeypatch.undo()
    assert run_quietly(settings, NIGHT).exit_code == 0
    assert accounts(settings) == {"stays.jsonl": ("done", None, 1)}


def test_a_file_that_grows_after_it_was_read_is_read_again_by_the_next_run(spark: SparkSession, settings: Settings) -> None:
    path = land_events(settings, "grows.jsonl", "m1")
    run_quietly(settings, NIGHT)
    with path.open("a") as file:
        file.write(line("m2"))
    run_quietly(settings, NIGHT)
    assert accounts(settings) == {"grows.jsonl": ("done", None, 2)}
    assert Lake.open(settings.paths.lake).arrow("events").num_rows == 2


def test_a_file_that_may_not_be_read_says_so(settings: Settings) -> None:
    path = land_events(settings, "secret.jsonl", "m1")
    path.chmod(0)
    (file,) = zone.landed(settings.paths.landing, "sunbird", NIGHT)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # whom the superuser's rights do not help
    try:
        with pytest.raises(zone.UnreadableError, match="permission denied"):
            list(zone.chunks(settings.paths.landing, file, hashlib.sha256()))
    finally:
        os.seteuid(me)


@pytest.mark.slow
def test_a_file_that_grows_while_it_is_read_is_whole_in_the_end(spark: SparkSession, settings: Settings) -> None:
    path = land_events(settings, "grows.jsonl", "m")
    grown = 0
    stop = threading.Event()

    def grow() -> None:
        nonlocal grown
        while not stop.is_set() and grown < 100_000:
            with path.open("a") as file:
                file.writelines(line(f"g{number}") for number in range(grown, grown + 500))
            grown += 500
            time.sleep(0.01)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        run_quietly(settings, NIGHT)
    finally:
        stop.set()
        writer.join()
    run_quietly(settings, NIGHT)
    run_quietly(settings, NIGHT)
    assert accounts(settings) == {"grows.jsonl": ("done", None, grown + 1)}
    assert Lake.open(settings.paths.lake).arrow("rejected_events").num_rows == 0


@pytest.mark.slow
def test_ten_thousand_tiny_files_of_one_hour_and_two_gigabytes_of_another_are_one_night(settings: Settings, environment: str) -> None:
    for number in range(10_000):
        land_events(settings, f"{number}.jsonl", f"tiny-{number}")
    big = land_events(settings, "big.jsonl", hour=11)
    records = 0
    payload = "x" * 2 * KIB  # or there would be eight million events, which show no more and take ten minutes
    with big.open("w") as file:
        while file.tell() < 2 * GIB:
            file.writelines(line(f"{number % 997:03}-{number}", payload) for number in range(records, records + 50_000))
            records += 50_000
    paths = ["--landing", str(settings.paths.landing), "--lake", str(settings.paths.lake)]
    call = [str(MILLRACE), "run", "--date", str(NIGHT), "--env", environment, *paths]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    most = 0
    while process.poll() is None:
        most = max(most, resident(process.pid))
        time.sleep(0.5)
    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    lake = Lake.open(settings.paths.lake)
    files = lake.arrow("files", ["records", "accepted", "status"])
    assert files.num_rows == 10_001
    assert pc.sum(files["accepted"]).as_py() == records + 10_000 == lake.dataset("events").count_rows()
    assert most < 8 * GIB


def resident(session: int) -> int:
    """The memory of all processes of a session, in bytes."""
    sizes = subprocess.run(["ps", "-o", "rss=", "-s", str(session)], capture_output=True, text=True, check=False).stdout.split()
    return sum(map(int, sizes)) * KIB

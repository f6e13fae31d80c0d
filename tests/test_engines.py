"""Spark and Sail make the same tables, row for row."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import broken_documents
import pytest
import random_nights
from conftest import plain_environment, without_pages
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lakes import assert_same
from pyspark.sql import SparkSession
from random_nights import NIGHTS
from test_across_nights import disturb

from jobs import settings as configuration
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from jobs.night import run_night

# A process has one session, and it is of the other engine: this one is called as from a shell.
MILLRACE = Path(sys.executable).with_name("millrace")


@pytest.fixture
def other_environment(environment: str) -> str:
    return {"spark": "local", "local": "spark"}[environment]


def land_two_nights(landing: Path, random: Random, people: int) -> list[Path]:
    """Land the first two nights, of which every tenth document is broken in one way or another; gives files that come later."""
    later = []
    for path, documents in random_nights.landed_files(random, people).items():
        if dt.date.fromisoformat(path.parts[1].removeprefix("date=")) in NIGHTS[:2]:
            lines = [
                broken_documents.mutated(random, document) if random.random() < 0.1 else json.dumps(document).encode()
                for document in documents
            ]
            is_late = random.random() < 0.2
            target = landing.with_name("later") / path if is_late else landing / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join(line + b"\n" for line in lines))
            later += [path] * is_late
    return later


def assert_same_on_both(seed: int, people: int, root: Path, other_environment: str) -> None:
    """Two nights, then late files and a disturbed landing zone, on this engine and by the other one."""
    random = Random(seed)
    landing, lake, other_lake = root / "landing", root / "lake", root / "other lake"
    settings = without_pages(configuration.load()).at(landing, lake)

    def call_other(*arguments: object) -> None:
        call = [*arguments, "--env", other_environment, "--landing", landing, "--lake", other_lake]
        done = subprocess.run([MILLRACE, *map(str, call)], env=plain_environment(), capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr

    later = land_two_nights(landing, random, people)
    with Engine(settings, Progress(quiet=True)) as engine:
        for night in NIGHTS[:2]:
            run_night(engine, settings, night, progress=Progress(quiet=True))
        call_other("backfill", "--from", NIGHTS[0], "--to", NIGHTS[1])
        assert_same(lake, other_lake)
        for path in later:
            (landing / path).parent.mkdir(parents=True, exist_ok=True)
            (landing.with_name("later") / path).rename(landing / path)
        disturb(random, landing)
        run_night(engine, settings, NIGHTS[1], accept_empty=True, progress=Progress(quiet=True))
    call_other("run", "--date", NIGHTS[1], "--accept-empty")
    assert_same(lake, other_lake)
    held = Lake.open(lake)
    assert all(held.files(name) for name in ("duplicate_events", "rejected_events", "sessions", "workflow_summaries"))


def test_both_engines_make_the_same_tables_of_nights_with_late_and_broken_files(
    spark: SparkSession, tmp_path: Path, other_environment: str
) -> None:
    assert_same_on_both(20261117, 12, tmp_path, other_environment)


def test_sail_is_reached_where_a_proxy_is_set(tmp_path: Path) -> None:
    landing, lake = tmp_path / "landing", tmp_path / "lake"
    generate(landing, NIGHTS[0], events=300, faults=0.3, workers=1)
    proxied = plain_environment() | dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
    call = [MILLRACE, "run", "--env", "local", "--date", str(NIGHTS[0]), "--landing", str(landing), "--lake", str(lake)]
    done = subprocess.run(call, env=proxied, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "start Sail" in done.stderr


@pytest.mark.slow
def test_both_engines_make_the_same_tables_of_many_random_nights(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, other_environment: str
) -> None:
    @examples(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        assert_same_on_both(seed, 40, tmp_path_factory.mktemp("engines"), other_environment)

    holds()

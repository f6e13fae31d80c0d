"""What a fixed night costs, counted and not timed: jobs, stages and shuffles of Spark, files written, bytes read.

A number that rises here is a night that got slower everywhere. One that falls may be lowered.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import without_pages
from pyspark.sql import SparkSession
from quiet_runs import run_quietly

from jobs import settings as configuration
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from schemas.catalog import TABLES

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19), dt.date(2026, 11, 20))
EVENTS = 3_000
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What the last night cost: it has late events of the nights before."""

    jobs: int
    stages: int
    shuffles: int
    read: int  # bytes that the driver, its JVM and their workers asked the system for
    written: dict[str, int]  # files per table


@pytest.fixture(scope="module")
def cost(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Cost:
    root = tmp_path_factory.mktemp("cost")
    settings = without_pages(configuration.load()).at(root / "landing", root / "lake")
    for night in NIGHTS:
        generate(settings.paths.landing, night, events=EVENTS, seed=11, workers=1)
    for night in NIGHTS[:-1]:
        assert run_quietly(settings, night).published
    before, held = bytes_read(), files(settings.paths.lake)
    spark.sparkContext.setJobGroup("the last night", "")
    assert run_quietly(settings, NIGHTS[-1]).published
    after = bytes_read()
    # Spark tells of its jobs a moment after they have ended.
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    jobs = spark.sparkContext.statusTracker().getJobIdsForGroup("the last night")
    stages = stages_that_ran(spark, jobs)
    shuffled = shuffles(spark, stages)
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    now = files(settings.paths.lake)
    written = {name: len(now[name] - held[name]) for name in TABLES if name not in ("runs", "quality_results")}
    read = sum(count - before.get(process, 0) for process, count in after.items())
    return Cost(len(jobs), len(stages), shuffled, read, written)


def stages_that_ran(spark: SparkSession, jobs: Iterable[int]) -> set[int]:
    """The stages that these jobs ran. Spark skips those that a job lists and another one has run."""
    tracker = spark.sparkContext.statusTracker()
    listed = {stage for job in jobs if (info := tracker.getJobInfo(job)) is not None for stage in info.stageIds}
    return {number for number in listed if (stage := tracker.getStageInfo(number)) is not None and stage.numCompletedTasks}


def shuffles(spark: SparkSession, stages: Iterable[int]) -> int:
    """How many of these stages wrote rows for a shuffle."""
    store = spark.sparkContext._jsc.sc().statusStore()
    return sum(store.lastStageAttempt(stage).shuffleWriteRecords() > 0 for stage in stages)


def files(lake: Path) -> dict[str, set[str]]:
    opened = Lake.open(lake)
    return {name: {file.path for file in opened.files(name)} for name in TABLES}


def bytes_read() -> dict[int, int]:
    """Per process of this test, what it has read so far."""
    counted = {}
    for process in descendants(os.getpid()):
        try:
            counters = Path(f"/proc/{process}/io").read_text()
        except OSError:
            continue
        counted[process] = int(counters.split()[1])
    return counted


def descendants(process: int) -> Iterator[int]:
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from descendants(int(child))


def test_a_night_is_few_jobs_of_few_stages(cost: Cost) -> None:
    # Adaptive execution makes a job of each shuffle, and decides by what has ended first whether a join needs one: of the same night
    # 33 and 34 jobs were counted, and 5 and 6 shuffles. Most of the shuffles spread the names of files over tasks.
    assert cost.jobs <= 38
    assert cost.stages <= 38
    assert cost.shuffles <= 9


def test_a_night_writes_few_files(cost: Cost) -> None:
    assert cost.written == {
        "events": 7,
        "duplicate_events": 7,
        "rejected_events": 7,
        "sessions": 22,
        "session_events": 22,
        "session_chains": 24,
        "workflow_summaries": 9,
        "workflow_chains": 10,
        "daily_metrics": 6,
        "visitor_days": 18,
        "active_visitors": 6,
        "retention": 9,
        "pages": 6,
        "performance": 6,
        "transactions": 4,
        "assessments": 4,
        "content_plays": 4,
        "homepage": 6,
        "event_rate": 6,
        "funnels": 8,
        "files": 4,
        "erasures": 0,
    }


def test_a_night_reads_little_more_than_what_it_affects(cost: Cost) -> None:
    assert cost.read < 52 * MIB

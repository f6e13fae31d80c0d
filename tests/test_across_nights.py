"""Whatever the split into nights and the order: sessions and workflow summaries are those of the plain references."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from random import Random
from typing import Any

import marts_reference
import pyarrow.compute as pc
import pytest
import random_nights
import sessions_reference
import workflows_reference
from conftest import without_pages
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lakes import assert_same
from pyspark.sql import SparkSession
from random_nights import NIGHTS, Row

from jobs import maintain
from jobs import settings as configuration
from jobs.commands import run_nights
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.lake.tables import Lake
from jobs.night import run_night
from jobs.rules import funnels
from jobs.settings import Settings
from jobs.storage.storage_paths import StoragePath
from transforms.marts.registry import marts
from transforms.sessions.sessions import INPUT, SessionRules, as_input
from transforms.workflows.summaries import WorkflowRules

PEOPLE = 40


def in_lake(seed: int, root: Path, lake: StoragePath) -> Settings:
    """A lake of four nights. Some files come only after their night was run, some go again, some are replaced by others."""
    random = Random(seed)
    settings = without_pages(configuration.load()).at(root / "landing", lake)
    files = random_nights.landed_files(random, PEOPLE)
    waiting = dict(files)
    with Engine(settings, Progress(quiet=True)) as engine:
        for night in [*NIGHTS, NIGHTS[-1]]:
            last = waiting.keys() if night == NIGHTS[-1] else []
            arrived = [path for path in waiting if path in last or (landing_date(path) <= night and random.random() < 0.8)]
            for path in arrived:
                random_nights.write(settings.paths.landing, path, waiting.pop(path))
            disturb(random, settings.paths.landing)
            run_night(engine, settings, night, accept_empty=True, accept_shrunk=True, progress=Progress(quiet=True))
            if random.random() < 0.5:
                maintain.run(settings)
    return settings


def disturb(random: Random, landing: Path) -> None:
    """Take a file away, cut another one short, move a third one to another hour, split a fourth, and empty a partition."""
    gone, cut, moved, split = random.sample(sorted(landing.rglob("*.jsonl")), 4)
    gone.unlink()
    lines = cut.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(lines[: len(lines) // 2]))
    lines = split.read_bytes().splitlines(keepends=True)
    split.write_bytes(b"".join(lines[::2]))
    rest = split.parent.parent / "hour=22" / f"rest-{random.random()}.jsonl"
    rest.parent.mkdir(exist_ok=True)
    rest.write_bytes(b"".join(lines[1::2]))
    target = moved.parent.parent / "hour=23" / moved.name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        moved.rename(target)
    if random.random() < 0.2:
        shutil.rmtree(random.choice(sorted(landing.glob("*/date=*"))))


def landing_date(path: Path) -> dt.date:
    return dt.date.fromisoformat(path.parts[1].removeprefix("date="))


def of_table(lake: Lake, name: str) -> list[Row]:
    return lake.arrow(name).drop_columns(["run_id"]).to_pylist()


def in_one_order(rows: list[Row]) -> list[Any]:
    return sorted((sorted(row.items()) for row in rows), key=repr)


def assert_as_references(lake: Lake) -> None:
    """What the tables of sessions and workflows hold is what the references make of the table of events."""
    events = lake.arrow("events", [*INPUT.names, "workflow_input", "landing_hour", "file", "record", "position"])
    rows = [row for batch in events.select(INPUT.names).to_batches() for row in as_input(batch).to_pylist()]
    built = sessions_reference.build(rows, SessionRules())
    for name, expected in zip(("sessions", "session_events", "session_chains"), built, strict=True):
        assert in_one_order(of_table(lake, name)) == in_one_order(expected), name
    landed = events.sort_by([(name, "ascending") for name in ("landing_date", "landing_hour", "file", "record", "position")])
    steps = [row | row["workflow_input"] for row in landed.filter(pc.is_valid(landed["workflow_input"])).to_pylist()]
    assert in_one_order(of_table(lake, "workflow_summaries")) == in_one_order(workflows_reference.summaries(steps, WorkflowRules()))
    assert in_one_order(of_table(lake, "workflow_chains")) == in_one_order(workflows_reference.chains(steps, WorkflowRules()))


def assert_as_marts(lake: Lake) -> None:
    """The marts are what the plain computation makes of all events, sessions and workflow summaries of the lake."""
    names = ("events", "sessions", "session_events", "workflow_summaries")
    tables = {name: of_table(lake, name) for name in names}
    for event in tables["events"]:
        of_session, of_workflow = event.pop("session_input") or {}, event.pop("workflow_input") or {}
        event |= {name: of_session.get(name) for name in ("load_latency", "currency", "key")}
        event |= {name: of_workflow.get(name) for name in ("object_id", "mode", "item")}
    landed = lake.arrow("files", ["source", "landing_date"]).to_pylist()
    last_dates = {row["source"]: max(other["landing_date"] for other in landed if other["source"] == row["source"]) for row in landed}
    for name in ("visitor_days", *(one.name for one in marts(()))):
        made = [{column: value for column, value in row.items() if column != "visitor_hash"} for row in of_table(lake, name)]
        expected = marts_reference.rows_of(name, tables, funnels(configuration.load()), last_dates)
        assert marts_reference.in_one_order(made) == marts_reference.in_one_order(expected), name


def assert_sums(lake: Lake) -> None:
    """Time is neither lost nor counted twice, in any session and any workflow."""
    for session in of_table(lake, "sessions"):
        if session["timespent"] is not None:
            spent = round(session["timespent"] * 1000)
            assert sum(round(env["timespent"] * 1000) for env in session["envsummary"]) == spent
            assert sum(round(page["timespent"] * 1000) for page in session["pagesummary"]) <= spent <= session["session_duration"]
        assert sum(name["count"] for name in session["eventssummary"]) == session["events"]
    for workflow in of_table(lake, "workflow_summaries"):
        spent = round(workflow["time_spent"] * 100)
        assert sum(round(env["time_spent"] * 100) for env in workflow["env_summary"]) == spent
        assert sum(round(page["time_spent"] * 100) for page in workflow["page_summary"]) <= spent


def assert_right(seed: int, root: Path, lake_path: StoragePath | None = None) -> None:
    """The tables are those of the references and of a rebuild, the marts too. The lake is in the folder, or at another path."""
    settings = in_lake(seed, root, lake_path or root / "lake")
    lake = Lake.open(settings.paths.lake)
    assert lake.arrow("rejected_events").num_rows == 0
    assert_as_references(lake)
    assert_as_marts(lake)
    assert_sums(lake)
    again = settings.at(lake=root / "rebuilt")
    # 3: the last night may have lost all files of a source.
    assert run_nights.rebuild(again, "drop") in (0, 3)
    assert_same(settings.paths.lake, again.paths.lake)


def few(count: int) -> examples:
    # A lake takes half a minute: what fails is told by its seed and need not be made smaller.
    return examples(
        max_examples=count, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=count == 1
    )


def test_random_nights_make_the_sessions_and_workflows_of_the_references(spark: SparkSession, tmp_path: Path) -> None:
    assert_right(20261117, tmp_path)
    # Other seeds may lose most events of a source with the files of a date.
    lake = Lake.open(tmp_path / "lake")
    assert lake.arrow("sessions").num_rows > 2 * PEOPLE
    assert lake.arrow("workflow_summaries").num_rows > PEOPLE / 2


@pytest.mark.slow
def test_many_random_nights_make_the_sessions_and_workflows_of_the_references(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @few(5)
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        assert_right(seed, tmp_path_factory.mktemp("nights"))

    holds()

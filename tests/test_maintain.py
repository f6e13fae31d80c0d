"""Maintenance: fewer and larger files with the same rows, and what has outlived its retention gone."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny_lake
from conftest import Demo
from deltalake import DeltaTable
from lakes import age, contents
from pyspark.sql import SparkSession
from tiny_lake import NIGHT

from jobs import maintain
from jobs import settings as configuration
from jobs.lake.table_changes import TableFile
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.catalog import TABLES

TODAY = NIGHT + dt.timedelta(days=1)


def of_night(files: int) -> list[dict[str, Any]]:
    """Rows of `events` for one publication."""
    return [{"source": "sunbird", "event_id": f"e{files}-{number}", "event_date": NIGHT - dt.timedelta(days=number)} for number in range(3)]


def paths(root: Path, name: str) -> list[str]:
    return [file.path for file in Lake.open(root).files(name)]


def parquet_files(root: Path) -> int:
    return sum(1 for _ in root.glob("[a-z]*/**/*.parquet") if "_delta_log" not in _.parts)


@pytest.fixture
def scattered(settings: Settings) -> Settings:
    """A lake into which three runs wrote files of the same partitions."""
    for number in range(3):
        tiny_lake.publish(
            settings.paths.lake,
            {
                "events": of_night(number),
                "quality_results": [{"table": "events"}],
                "rejected_events": [{"source": "sunbird", "record": number + 1, "raw": b"{", "raw_length": 1}],
            },
            run_id=f"run-{number}",
        )
    return settings


def test_small_files_of_a_partition_become_one_whose_rows_are_in_order(spark: SparkSession, scattered: Settings) -> None:
    before = contents(scattered.paths.lake)
    assert maintain.run(scattered, TODAY) == 0
    assert contents(scattered.paths.lake) == before
    assert {name: len(paths(scattered.paths.lake, name)) for name in ("events", "quality_results", "rejected_events")} == {
        "events": 1,
        "quality_results": 1,
        "rejected_events": 1,
    }
    (path,) = paths(scattered.paths.lake, "events")
    dates = pq.ParquetFile(scattered.paths.lake / "events" / path).read(columns=["event_date"])["event_date"].to_pylist()
    assert len(dates) == 9
    assert dates == sorted(dates)


def test_the_journal_itself_becomes_one_file_and_one_row_more_per_step(spark: SparkSession, scattered: Settings) -> None:
    rows = Lake.open(scattered.paths.lake).arrow("runs").num_rows
    assert maintain.run(scattered, TODAY) == 0
    runs = Lake.open(scattered.paths.lake).arrow("runs", ["command", "step"]).to_pylist()
    steps = [row["step"] for row in runs if row["command"] == "maintain"]
    assert steps == ["delete", "compact", "publish"]
    assert len(runs) == rows + len(steps)
    # What was there in one file, and the publication's own rows in another.
    assert len(paths(scattered.paths.lake, "runs")) == 2


def test_maintenance_that_has_nothing_to_do_writes_nothing_and_starts_no_engine(
    spark: SparkSession, scattered: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintain.run(scattered, TODAY)
    before = {name: DeltaTable(str(scattered.paths.lake / name)).version() for name in TABLES}
    monkeypatch.setattr("jobs.maintain._rewrite", lambda *_: pytest.fail("rewrote files"))
    maintain.run(scattered, TODAY)
    assert before == {name: DeltaTable(str(scattered.paths.lake / name)).version() for name in TABLES}


def test_a_follower_of_a_table_sees_no_change_in_a_compaction(spark: SparkSession, scattered: Settings) -> None:
    maintain.run(scattered, TODAY)
    log = max((scattered.paths.lake / "events" / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    changes_data = [action[kind]["dataChange"] for action in actions for kind in ("add", "remove") if kind in action]
    assert len(changes_data) == 4
    assert not any(changes_data)


def file(path: str, size: int, rows: int = 1, nulls: int = 0, **partition: str) -> TableFile:
    return TableFile(path, {"landing_date": "2026-11-20", "source": "sunbird"} | partition, size, rows, nulls={"raw": nulls})


BASE = configuration.load()
RULES = BASE.model_copy(update={"maintain": BASE.maintain.model_copy(update={"target_bytes": 100})})


def due(name: str, *files: TableFile, today: dt.date = TODAY) -> list[tuple[list[str], bool]]:
    return [([one.path for one in rewrite.files], rewrite.without_raw) for rewrite in maintain.rewrites_due({name: files}, RULES, today)]


def test_small_files_are_gathered_up_to_the_target_and_large_ones_stay_alone() -> None:
    assert due("events", file("a", 49), file("b", 49), file("c", 1), file("d", 2), file("e", 50)) == [(["a", "b", "d"], False)]


def test_files_of_different_partitions_stay_apart() -> None:
    assert due("events", file("a", 1), file("b", 1, source="homepagevisit"), file("c", 1, landing_date="2026-11-19")) == []


def test_what_was_gathered_is_not_gathered_again() -> None:
    files = [file(f"{number:02}", 7 + number) for number in range(30)]
    sizes = {one.path: one.size for one in files}
    gathered = due("events", *files)
    left = set(sizes) - {path for together, _ in gathered for path in together}
    after = [file(f"new-{number}", sum(sizes[path] for path in together)) for number, (together, _) in enumerate(gathered)]
    assert due("events", *after, *(file(path, sizes[path]) for path in left)) == []


@pytest.mark.parametrize(("days", "expected"), [(30, []), (31, [(["a"], True)])])
def test_a_refused_record_keeps_its_bytes_for_so_many_days(days: int, expected: Any) -> None:
    assert due("rejected_events", file("a", 90), today=dt.date(2026, 11, 20) + dt.timedelta(days=days)) == expected


def test_files_whose_bytes_are_gone_are_left_alone() -> None:
    assert due("rejected_events", file("a", 90, rows=3, nulls=3), today=dt.date(2027, 11, 20)) == []


def test_retention_takes_the_bytes_of_refused_records_and_nothing_else(spark: SparkSession, scattered: Settings) -> None:
    lake, raw_days = scattered.paths.lake, scattered.retention.raw
    assert raw_days is not None
    before = Lake.open(lake).arrow("rejected_events").to_pylist()
    rest = {name: rows for name, rows in contents(lake).items() if name != "rejected_events"}
    assert maintain.run(scattered, NIGHT + dt.timedelta(days=raw_days + 1)) == 0
    after = Lake.open(lake).arrow("rejected_events").sort_by("record").to_pylist()
    assert after == sorted((row | {"raw": None} for row in before), key=lambda row: row["record"])
    assert {name: rows for name, rows in contents(lake).items() if name != "rejected_events"} == rest


def test_every_state_younger_than_a_week_stays_readable_and_older_ones_do_not(spark: SparkSession, scattered: Settings) -> None:
    lake = scattered.paths.lake
    age(lake, 2)
    runs = Lake.open(lake).arrow("runs", ["state", "versions"]).sort_by("state").to_pylist()
    states = [dict(row["versions"]) for row in runs if row["versions"]]
    maintain.run(scattered, TODAY)
    before = contents(lake)
    age(lake, 6)  # what the compaction put aside is six days old
    maintain.run(scattered, TODAY)
    for versions in states:
        for name, version in versions.items():
            DeltaTable(str(lake / name), version=version).to_pyarrow_table()
    held = parquet_files(lake)
    age(lake, 2)
    maintain.run(scattered, TODAY)
    assert parquet_files(lake) <= held - 9
    assert contents(lake) == before
    with pytest.raises(OSError, match=r"No such file|not found"):
        DeltaTable(str(lake / "events"), version=states[-1]["events"]).to_pyarrow_table()


def test_files_that_a_killed_publication_left_in_a_table_go_after_a_week(spark: SparkSession, scattered: Settings) -> None:
    lake = scattered.paths.lake
    orphan = lake / "events" / Path(paths(lake, "events")[0]).parent / "part-orphan.zstd.parquet"
    shutil.copyfile(lake / "events" / paths(lake, "events")[0], orphan)
    maintain.run(scattered, TODAY)
    assert orphan.exists()
    age(lake, 8)
    maintain.run(scattered, TODAY)
    assert not orphan.exists()


def test_a_state_that_a_dead_run_hid_long_ago_is_restored_before_anything_is_deleted(spark: SparkSession, scattered: Settings) -> None:
    lake = scattered.paths.lake
    before = contents(lake)
    # A run that was killed before it recorded what it had done to this table.
    DeltaTable(str(lake / "events")).delete()
    age(lake, 30)
    assert maintain.run(scattered, TODAY) == 0
    assert contents(lake) == before


def test_stages_of_failed_runs_damaged_tables_and_pages_go_after_their_time(spark: SparkSession, settings: Settings) -> None:
    lake = settings.paths.lake
    tiny_lake.publish(lake, {"events": of_night(0)}, run_id="failed", failed=True)
    old = [lake / "_staging" / "failed", lake / "_damaged" / "20261120T000000-5f2c81", lake / "_quality" / "2026-08-01", lake / "_reports"]
    for folder in old:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "page.html").write_text("")
    maintain.run(settings, TODAY)
    assert all((folder / "page.html").exists() for folder in old)
    age(lake, 8)
    maintain.run(settings, TODAY)
    assert [(folder / "page.html").exists() for folder in old] == [False, False, True, True]
    age(lake, 83)
    maintain.run(settings, TODAY)
    assert not any((folder / "page.html").exists() for folder in old)


def test_the_lake_of_real_nights_has_the_same_rows_in_fewer_files(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(demo.lake, lake)
    before, files = contents(lake), sum(len(Lake.open(lake).files(name)) for name in TABLES)
    assert maintain.run(configuration.load().at(demo.landing, lake)) == 0
    assert contents(lake) == before
    after = sum(len(Lake.open(lake).files(name)) for name in TABLES)
    assert after < files
    assert f"{after}" in capsys.readouterr().out

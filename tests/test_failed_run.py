"""What a run with a failed check leaves: `millrace sql --run` queries the tables that it would have published."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_lake
from lakes import age
from pyspark.sql import SparkSession
from tiny_lake import NIGHT, frame

from jobs import maintain
from jobs import settings as configuration
from jobs.commands import sql
from jobs.errors import LakeError
from jobs.lake import failed_run
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.events import EVENTS

FAILED = "20261121T030000-bad001"
QUERY = "SELECT event_id FROM events ORDER BY 1"


def event(name: str) -> dict[str, object]:
    return {"event_id": name, "source": "sunbird", "landing_date": NIGHT}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake with the event `old`, which a run with a failed check would have replaced by `new`."""
    settings = configuration.load().at(tmp_path / "landing", tmp_path / "lake")
    tiny_lake.publish(settings.paths.lake, {"events": [event("old")]})
    fail(settings.paths.lake, "new")
    return settings


def fail(root: Path, name: str) -> None:
    with Lake.writing(root, "a test") as lake:
        output = lake.begin(FAILED)
        (output.working_folder / "_records").mkdir()
        added = write_partitioned(EVENTS, frame(EVENTS, [event(name)], FAILED), output)
        failed_run.record(output, lake.versions, {"events": Change(added, lake.files("events"))})
        row = {"run_id": FAILED, "command": "run", "step": "publish", "started": tiny_lake.STARTED, "status": "failed"}
        lake.publish({}, [row], FAILED, failed=True)


def query(settings: Settings, capsys: pytest.CaptureFixture[str], run_id: str | None) -> str:
    capsys.readouterr()
    assert sql.show(settings, QUERY, "csv", run_id) == 0
    return capsys.readouterr().out


def test_its_tables_are_queried_while_others_are_published(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert query(settings, capsys, None) == "event_id\nold\n"
    assert query(settings, capsys, FAILED) == "event_id\nnew\n"


def test_of_its_working_folder_the_list_of_its_files_is_left(settings: Settings) -> None:
    assert [path.name for path in (settings.paths.lake / "_staging" / FAILED).iterdir()] == ["changes.json"]


def test_later_nights_change_nothing_of_what_it_would_have_published(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_lake.publish(settings.paths.lake, {"events": [event("later")]}, run_id="20261122T030000-b00b1e")
    assert query(settings, capsys, None) == "event_id\nlater\nold\n"
    assert query(settings, capsys, FAILED) == "event_id\nnew\n"


def test_another_run_is_refused_with_the_runs_that_there_are(settings: Settings) -> None:
    with pytest.raises(LakeError, match=f"no run with a failed check is called 'mine': name one of {FAILED}"):
        sql.show(settings, QUERY, "csv", "mine")


def test_a_lake_without_a_failed_run_says_so(tmp_path: Path) -> None:
    settings = configuration.load().at(tmp_path / "landing", tmp_path / "lake")
    tiny_lake.publish(settings.paths.lake, {"events": [event("old")]})
    with pytest.raises(LakeError, match="the lake has none"):
        sql.show(settings, QUERY, "csv", FAILED)


def test_a_run_whose_files_are_deleted_says_so(settings: Settings) -> None:
    for path in (settings.paths.lake / "events").rglob(f"part-{FAILED}-*"):
        path.unlink()
    with pytest.raises(LakeError, match=f"the files of the run {FAILED} have been deleted"):
        sql.show(settings, QUERY, "csv", FAILED)


def test_maintenance_removes_its_files_after_their_days_and_no_published_one(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    maintain.run(settings, NIGHT)
    assert query(settings, capsys, FAILED) == "event_id\nnew\n"

    age(settings.paths.lake, 8)
    maintain.run(settings, NIGHT)

    assert not list((settings.paths.lake / "_staging").iterdir())
    assert not list((settings.paths.lake / "events").rglob(f"part-{FAILED}-*"))
    assert query(settings, capsys, None) == "event_id\nold\n"

"""A lake of which something is missing or unreadable: every command says what, in one line with the remedy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CommandResult, call_millrace
from damaged_lakes import (
    SESSION,
    change_bytes,
    damage_checkpoint,
    empty_last_entry,
    first_file,
    last_entry,
    remove_checkpoint,
    remove_file,
    remove_folder,
    remove_last_entry,
    remove_log,
    rows_of,
    tear_last_entry,
    truncate_file,
)
from deltalake import DeltaTable
from tiny_lake import NIGHT, publish

from jobs.lake.damage import rebuild_command
from jobs.lake.state_file import NAME

pytestmark = pytest.mark.usefixtures("without_arguments")
Call = Callable[..., CommandResult]


@pytest.fixture
def call_on_lake(lake_copy: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls a command on the lake, with its landing zone; the result has no traceback, and one fault or none."""

    def call(*arguments: str) -> CommandResult:
        result = call_millrace(capfd, *arguments, "--lake", lake_copy, "--landing", lake_copy.parent / "landing", "--env", "spark")
        assert "Traceback" not in result.stderr
        assert len(result.faults) <= 1
        return result

    return call


VISIBLE = [
    (remove_folder, "events", "events: its folder is missing"),
    (remove_folder, "workflow_chains", "workflow_chains: its folder is missing"),
    (remove_log, "files", "files: its log is missing"),
    (remove_last_entry, "sessions", "sessions: the entry 3 of its log is missing"),
    (tear_last_entry, "events", "events: the entry 3 of its log is unreadable"),
    (empty_last_entry, "events", "events: the entry 3 of its log is empty"),
    (remove_checkpoint, "files", "files: the checkpoint of its log is missing"),
    (damage_checkpoint, "quality_results", "quality_results: the checkpoint 2 of its log is unreadable"),
    (remove_file, "events", "is missing (1 row)"),
    (truncate_file, "files", "has 100 bytes in place of"),
    (remove_folder, "runs", "runs: its folder is missing"),
    (remove_log, "runs", "runs: its log is missing"),
    (tear_last_entry, "runs", "runs: the entry 4 of its log is unreadable"),
    (remove_last_entry, "runs", "the last state of the lake"),
    (remove_file, "runs", "is missing ("),
]


@pytest.mark.parametrize(("destroy", "table", "what"), VISIBLE, ids=lambda value: getattr(value, "__name__", str(value).split(":")[0]))
def test_damage_is_named_with_its_remedy_by_whoever_reads_and_whoever_writes(
    call_on_lake: Call, lake_copy: Path, destroy: Callable[[Path], None], table: str, what: str
) -> None:
    before = sorted(lake_copy.rglob("*"))
    destroy(lake_copy / table)
    left = sorted(lake_copy.rglob("*"))
    assert left != before or destroy not in (remove_folder, remove_log, remove_file)
    for command in (["verify"], ["sql", "SELECT 1"], ["backfill", "--from", str(NIGHT), "--to", str(NIGHT)]):
        result = call_on_lake(*command)
        assert (result.exit_code, "is damaged" in result.fault, "millrace rebuild" in result.fault) == (2, True, True), result
        line = result.stdout if command == ["verify"] else result.fault
        assert f"{table}: " in line
        assert what in line
    # Nothing was made in the place of what is lost.
    assert {path for path in lake_copy.rglob("*") if path.name != "_lock"} <= set(left)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--date", str(NIGHT)],
        ["backfill", "--missing"],
        ["report", "--date", str(NIGHT)],
        ["site", "--out", "site"],
        ["status"],
        ["quality", "--date", str(NIGHT)],
        ["session", SESSION],
        ["maintain"],
    ],
    ids=" ".join,
)
def test_every_command_says_that_the_lake_is_damaged(call_on_lake: Call, lake_copy: Path, command: list[str]) -> None:
    remove_file(lake_copy / "events")
    result = call_on_lake(*command)
    assert result.exit_code == 2
    assert "is damaged: events: the file landing_date=2026-11-20/source=sunbird/part-" in result.fault
    assert "millrace rebuild" in result.fault


def test_a_whole_lake_is_said_to_be_whole(call_on_lake: Call) -> None:
    for options in ([], ["--deep"]):
        result = call_on_lake("verify", *options)
        assert (result.exit_code, result.fault) == (0, "")
        assert "every file of the recorded state is there" in result.stdout


def test_bytes_that_have_changed_are_found_by_reading_the_files(call_on_lake: Call, lake_copy: Path) -> None:
    change_bytes(lake_copy / "sessions")
    assert call_on_lake("verify").exit_code == 0
    result = call_on_lake("verify", "--deep")
    assert result.exit_code == 2
    assert "damaged: sessions: the file session_date=2026-11-20/" in result.stdout
    assert "is unreadable (1 row): millrace rebuild" in result.stdout


def test_a_query_that_meets_changed_bytes_names_the_file(call_on_lake: Call, lake_copy: Path) -> None:
    path = first_file(lake_copy / "sessions")
    path.write_bytes(b"x" * path.stat().st_size)
    result = call_on_lake("sql", "SELECT * FROM sessions")
    assert result.exit_code == 2
    assert "is damaged: sessions: the file session_date=2026-11-20/" in result.fault
    assert "`millrace verify --deep` names all" in result.fault


def test_rows_that_landed_files_do_not_account_for_are_damage(call_on_lake: Call, lake_copy: Path) -> None:
    publish(lake_copy, {"events": [rows_of(NIGHT)["events"][0] | {"event_id": "another"}]}, run_id="another")
    assert call_on_lake("verify").exit_code == 0
    result = call_on_lake("verify", "--deep")
    assert result.exit_code == 2
    assert (
        f"damaged: events: 2 rows of the landed file sunbird/date={NIGHT}/a.json where `files` counts 1: millrace rebuild" in result.stdout
    )


def test_a_table_at_another_version_than_the_recorded_one_needs_a_look(call_on_lake: Call, lake_copy: Path) -> None:
    DeltaTable(str(lake_copy / "files")).delete("source = 'sunbird'")
    result = call_on_lake("verify")
    assert (result.exit_code, result.fault) == (3, "")
    assert "look: files stands at version 4, recorded is 3: " in result.stdout


@pytest.mark.parametrize("content", [None, "torn {", '{"state": 0}'])
def test_a_state_file_that_does_not_hold_the_recorded_state_needs_a_look(call_on_lake: Call, lake_copy: Path, content: str | None) -> None:
    (lake_copy / NAME).unlink()
    if content is not None:
        (lake_copy / NAME).write_text(content)
    result = call_on_lake("verify")
    assert (result.exit_code, result.fault) == (3, "")
    assert f"look: {NAME} is missing, damaged or of another state" in result.stdout
    assert (call_on_lake("restore").exit_code, call_on_lake("verify").exit_code) == (0, 0)


def test_bounds_that_hide_rows_need_maintenance_and_are_no_damage(call_on_lake: Call, lake_copy: Path) -> None:
    entry = last_entry(lake_copy / "events")
    entry.write_text(entry.read_text().replace(r"event_id\": \"\"", r"event_id\": \"\\ud842\\udfb7\""))
    result = call_on_lake("verify")
    assert (result.exit_code, result.fault) == (3, "")
    remedy = f"millrace maintain --lake {lake_copy} --landing {lake_copy.parent / 'landing'} --env spark"
    assert f"look: events: bounds in the log of 1 file hide rows or have values of personal columns: {remedy}" in result.stdout


def test_the_remedy_can_be_copied_with_the_options_of_the_call(call_on_lake: Call, lake_copy: Path) -> None:
    remove_folder(lake_copy / "events")
    for command in (("status",), ("sql", "SELECT count(*) FROM sessions")):
        assert f"`millrace rebuild --lake {lake_copy} --landing {lake_copy.parent / 'landing'} --env spark`" in call_on_lake(*command).fault
    # Outside of a command there are no other options.
    assert rebuild_command(lake_copy) == f"millrace rebuild --lake {lake_copy}"


def test_a_landed_file_that_changed_behind_its_size_and_time_needs_a_look(call_on_lake: Call, lake_copy: Path) -> None:
    landed = lake_copy.parent / "landing" / "sunbird" / f"date={NIGHT}" / "b.json"
    landed.parent.mkdir(parents=True, exist_ok=True)
    landed.write_text("[]")
    modified = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=landed.stat().st_mtime_ns // 1000)
    row = rows_of(NIGHT)["files"][0] | {"records": 0, "accepted": 0, "size": 2, "modified": modified, "sha256": "0" * 64}
    publish(lake_copy, {"files": [row | {"file": f"sunbird/date={NIGHT}/b.json"}]}, run_id="another")
    result = call_on_lake("verify", "--deep")
    assert (result.exit_code, result.fault) == (3, "")
    assert f"look: the landed file sunbird/date={NIGHT}/b.json has changed since it was read" in result.stdout
    landed.write_text("{}, ")
    assert call_on_lake("verify", "--deep").exit_code == 0

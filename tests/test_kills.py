"""SIGKILL, a full disk and a second writer, at every step of a night: readers see the old state or the new one, and nothing is lost."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ENVIRONMENTS
from deltalake import DeltaTable
from killed_publication import KillPoint, publish, publish_in_a_process
from lakes import contents
from process_groups import assert_all_end
from pyspark.sql import SparkSession
from quiet_runs import run_quietly
from random_nights import NIGHTS
from staged_nights import StagedNight, stage_second_night, staging_publication

from jobs import maintain
from jobs.commands import named_people
from jobs.lake import state_file
from jobs.lake.tables import Lake, recorded
from jobs.people import erase
from jobs.settings import Settings
from schemas.catalog import TABLES

FIRST, SECOND = NIGHTS[:2]
MILLRACE = Path(sys.executable).with_name("millrace")
ENGINE_START = "start"  # the progress line of the engine's start
STEPS = ("survey", ENGINE_START, "ingest", "deduplicate", "write", "account", "sessions", "workflows", "metrics", "checks")


# --- given: a lake of one night and the staged publication of the next; the same of its maintenance


@pytest.fixture(scope="module")
def night(spark: SparkSession, environment: str, tmp_path_factory: pytest.TempPathFactory) -> StagedNight:
    return stage_second_night(environment, tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def maintenance(night: StagedNight, tmp_path_factory: pytest.TempPathFactory) -> StagedNight:
    """The lake of two nights, and its maintenance, staged: it changes no row."""
    root = tmp_path_factory.mktemp("maintenance")
    settings = night.copied_to(root)
    publish(settings.paths.lake, night.publication)
    publication = root / "publication.pickle"
    with staging_publication(publication):
        maintain.run(settings, SECOND)
    return StagedNight(settings, publication, night.rows_after, night.rows_after)


@pytest.fixture(scope="module")
def erasure(night: StagedNight, tmp_path_factory: pytest.TempPathFactory) -> StagedNight:
    """The lake of two nights, and the erasure of a person, staged."""
    root = tmp_path_factory.mktemp("erasure")
    settings = night.copied_to(root)
    publish(settings.paths.lake, night.publication)
    publication = root / "publication.pickle"
    with staging_publication(publication):
        erase.run(settings, named_people.of_call(settings, "sunbird", [], ["sunbird-3"]))
    after = night.copied_to(tmp_path_factory.mktemp("erased"), staged=False).paths.lake
    shutil.rmtree(after)
    shutil.copytree(settings.paths.lake, after)
    publish(after, publication)
    return StagedNight(settings, publication, night.rows_after, contents(after))


# --- killed while it publishes

LAST = 0  # the number of the last commit, which depends on what has changed
MOMENTS = ("before", "after")
# One commit per table that changes; with fewer commits, the points beyond the last one kill nothing.
COMMITS = [KillPoint("commit", number, moment) for number in range(1, len(TABLES) + 1) for moment in MOMENTS]
AFTER_THE_COMMITS = [KillPoint(function, 1, moment) for function in ("state", "sweep") for moment in MOMENTS]
QUICK_POINTS = [
    KillPoint("commit", 1, "before"),
    KillPoint("commit", 5, "after"),
    KillPoint("commit", LAST, "before"),
    KillPoint("commit", LAST, "after"),
]
MAINTENANCE_POINTS = [
    KillPoint("commit", 1, "before"),
    KillPoint("commit", 1, "after"),
    KillPoint("commit", LAST, "before"),
    KillPoint("commit", LAST, "after"),
    KillPoint("sweep", 1, "before"),
]
CREATIONS = [KillPoint("create", number, moment) for number in (1, 2, len(TABLES) // 2, len(TABLES)) for moment in MOMENTS]


@pytest.mark.parametrize("point", QUICK_POINTS, ids=str)
def test_a_publication_that_is_killed_leaves_the_old_state_or_the_new_one(night: StagedNight, tmp_path: Path, point: KillPoint) -> None:
    assert_whole_after_a_kill(night, tmp_path, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*COMMITS, *AFTER_THE_COMMITS], ids=str)
def test_a_publication_that_is_killed_anywhere_leaves_the_old_state_or_the_new_one(
    night: StagedNight, tmp_path: Path, point: KillPoint
) -> None:
    assert_whole_after_a_kill(night, tmp_path, point)


def test_maintenance_that_is_to_be_killed_has_something_to_do(maintenance: StagedNight) -> None:
    assert maintenance.commits > 3
    assert all(len(change.removed) > len(change.added) > 0 for change in maintenance.changes.values())


@pytest.mark.parametrize("point", MAINTENANCE_POINTS[1:3], ids=str)
def test_maintenance_that_is_killed_while_it_publishes_changes_no_row(maintenance: StagedNight, tmp_path: Path, point: KillPoint) -> None:
    assert_whole_after_a_kill(maintenance, tmp_path, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*COMMITS, *MAINTENANCE_POINTS], ids=str)
def test_maintenance_that_is_killed_anywhere_changes_no_row(maintenance: StagedNight, tmp_path: Path, point: KillPoint) -> None:
    assert_whole_after_a_kill(maintenance, tmp_path, point)


@pytest.mark.parametrize("point", [KillPoint("commit", 3, "after"), KillPoint("commit", LAST, "after")], ids=str)
def test_an_erasure_that_is_killed_removes_all_of_a_person_or_nothing(erasure: StagedNight, tmp_path: Path, point: KillPoint) -> None:
    assert erasure.rows_before["events"] != erasure.rows_after["events"]
    assert_whole_after_a_kill(erasure, tmp_path, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*COMMITS, *AFTER_THE_COMMITS], ids=str)
def test_an_erasure_that_is_killed_anywhere_removes_all_of_a_person_or_nothing(
    erasure: StagedNight, tmp_path: Path, point: KillPoint
) -> None:
    assert_whole_after_a_kill(erasure, tmp_path, point)


@pytest.mark.parametrize("point", CREATIONS, ids=str)
def test_a_lake_that_is_killed_while_it_is_made_is_made_whole_by_the_next_writer(tmp_path: Path, point: KillPoint) -> None:
    assert publish_in_a_process(tmp_path / "lake", tmp_path / "nothing to publish", point)

    open_for_writing(tmp_path / "lake")

    assert all(rows == [] for rows in contents(tmp_path / "lake").values())


def test_a_long_reader_continues_with_the_state_that_it_opened(night: StagedNight, tmp_path: Path) -> None:
    lake = night.copied_to(tmp_path).paths.lake
    reader = Lake.open(lake)
    sessions = reader.dataset("sessions")

    publish(lake, night.publication)

    assert sessions.count_rows() == len(night.rows_before["sessions"])
    assert reader.arrow("events", ["event_id"]).num_rows == len(night.rows_before["events"])
    assert contents(lake) == night.rows_after


def assert_whole_after_a_kill(night: StagedNight, root: Path, point: KillPoint) -> None:
    """The lake holds the old rows or the new ones after the kill, still does after the next writer, and can then be published to."""
    lake = night.copied_to(root).paths.lake
    last = night.commits
    exact_point = point._replace(number=point.number or last)

    was_killed = publish_in_a_process(lake, night.publication, exact_point)

    # The last commit decides: from then on the new state counts.
    is_published = not was_killed or exact_point.function in ("state", "sweep") or exact_point == ("commit", last, "after")
    rows = night.rows_after if is_published else night.rows_before
    assert contents(lake) == rows
    assert all(DeltaTable(str(lake / name)).version() >= 0 for name in TABLES)

    open_for_writing(lake)

    assert contents(lake) == rows
    assert_every_reader_sees(lake, rows)
    assert_no_file_is_left_of_a_killed_run(lake)
    if not is_published:
        night.stage_again(lake)
        publish(lake, night.publication)
        assert contents(lake) == night.rows_after


def assert_no_file_is_left_of_a_killed_run(lake: Path) -> None:
    """No run has a working folder, and every data file is one of a run that the lake has recorded."""
    assert not list((lake / "_staging").glob("*"))
    files = [path.name for name in TABLES for path in (lake / name).rglob("part-*.zstd.parquet")]
    writers = {name.removeprefix("part-")[: -len(f"-{uuid.uuid4()}.zstd.parquet")] for name in files}
    assert writers <= {*Lake.open(lake).arrow("runs", ["run_id"])["run_id"].to_pylist(), "create", "restore"}


def open_for_writing(lake: Path) -> None:
    """The next writer restores the state that counts before it does anything else."""
    with Lake.writing(lake, "a test"):
        pass


def assert_every_reader_sees(lake: Path, rows: dict[str, list[str]]) -> None:
    """`_state.json` names the state that counts, and the tables as they stand hold its rows."""
    state = recorded(lake)
    assert state is not None
    assert state_file.read(lake) == state.document()
    for name, expected in rows.items():
        assert DeltaTable(str(lake / name)).to_pyarrow_dataset().count_rows() == len(expected), name


# --- killed or interrupted while it works


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_after_any_step_is_made_good_by_the_next_one(
    night: StagedNight, tmp_path: Path, step: str, seconds: float
) -> None:
    settings = night.copied_to(tmp_path, staged=False)
    process = start(millrace(settings))
    wait_for_step(process, step)
    time.sleep(seconds)

    kill_with_all_children(process)

    assert contents(settings.paths.lake) in (night.rows_before, night.rows_after)
    run_quietly(settings, SECOND)
    assert contents(settings.paths.lake) == night.rows_after
    assert_no_file_is_left_of_a_killed_run(settings.paths.lake)


def test_a_run_that_is_interrupted_stops_with_a_line_and_leaves_no_process(night: StagedNight, tmp_path: Path) -> None:
    assert_stops_when_interrupted(night, tmp_path, "ingest", 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.5])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_interrupted_anywhere_stops_with_a_line_and_leaves_no_process(
    night: StagedNight, tmp_path: Path, step: str, seconds: float
) -> None:
    assert_stops_when_interrupted(night, tmp_path, step, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["vacuum", ENGINE_START, "compact", "sweep"])
def test_maintenance_that_is_killed_after_any_step_is_made_good_by_the_next_one(
    maintenance: StagedNight, tmp_path: Path, step: str
) -> None:
    settings = maintenance.copied_to(tmp_path, staged=False)
    process = start(millrace(settings, "maintain"))
    wait_for_step(process, step)

    kill_with_all_children(process)

    assert contents(settings.paths.lake) == maintenance.rows_before
    assert maintain.run(settings, SECOND) == 0
    assert contents(settings.paths.lake) == maintenance.rows_after
    assert_no_file_is_left_of_a_killed_run(settings.paths.lake)


@pytest.mark.slow
@pytest.mark.parametrize("step", [ENGINE_START, "deduplicate", "write"])
def test_a_run_whose_workers_are_killed_publishes_nothing_or_all(night: StagedNight, tmp_path: Path, step: str) -> None:
    settings = night.copied_to(tmp_path)
    process = start(millrace(settings))
    wait_for_step(process, step)
    time.sleep(1)

    kill_workers(process)

    _, errors = process.communicate(timeout=300)
    assert "Traceback" not in errors
    assert contents(settings.paths.lake) == (night.rows_after if process.returncode == 0 else night.rows_before), errors
    run_quietly(settings, SECOND)
    assert contents(settings.paths.lake) == night.rows_after


def kill_workers(process: subprocess.Popen[str]) -> None:
    """Kill the processes that run tasks, as soon as there are any."""
    command = ["pkill", "-KILL", "-s", str(process.pid), "-f", "pyspark.worker|multiprocessing.forkserver"]
    while subprocess.run(command).returncode != 0:
        assert process.poll() is None
        time.sleep(0.1)


def assert_stops_when_interrupted(night: StagedNight, root: Path, step: str, seconds: float) -> None:
    """Ctrl-C, so many seconds after this step, ends the run with one line and no process; the next run completes the night."""
    settings = night.copied_to(root, staged=False)
    process = start(millrace(settings))
    wait_for_step(process, step)
    time.sleep(seconds)

    # A terminal sends SIGINT to all processes of the command at once.
    os.killpg(process.pid, signal.SIGINT)

    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors
    assert (process.returncode == 130) == ("millrace: stopped by Ctrl-C" in errors)
    assert contents(settings.paths.lake) in (night.rows_before, night.rows_after)
    assert_all_end(process.pid, 60)
    run_quietly(settings, SECOND)
    assert contents(settings.paths.lake) == night.rows_after


def millrace(settings: Settings, *command: str) -> list[str]:
    """The command line of this command, or of a run of the second night, on the engine of these settings."""
    paths = ["--env", ENVIRONMENTS[settings.engine], "--landing", str(settings.paths.landing), "--lake", str(settings.paths.lake)]
    return [str(MILLRACE), *(command or ("run", "--date", str(SECOND))), *paths]


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_step(process: subprocess.Popen[str], step: str) -> None:
    """Read the progress of a command up to the line of this step."""
    assert process.stderr is not None
    for line in process.stderr:
        if f" {step} " in line:
            return
    raise AssertionError(f"the command ended without a line of the step {step}")


def kill_with_all_children(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- a disk that fills up


@pytest.mark.slow
@pytest.mark.parametrize("room", [0.1, 0.2, 0.5, 0.8])
def test_a_disk_that_fills_up_harms_nothing_and_the_next_run_with_room_is_whole(night: StagedNight, tmp_path: Path, room: float) -> None:
    with small_disk(tmp_path / "disk") as disk:
        settings = night.copied_to(disk, staged=False)
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        resize(disk, f"{used + int(room * 2**20)}")

        process = subprocess.run(millrace(settings), capture_output=True, text=True)

        assert "Traceback" not in process.stderr
        if room < 0.8:
            assert process.returncode == 2, process.stderr
            assert process.stderr.splitlines()[-1].startswith("millrace: no space left on the disk: nothing was published")
            assert contents(settings.paths.lake) == night.rows_before
        else:
            # The tables fit, and the pages of the checks do not, which fails no run.
            assert process.returncode == 0, process.stderr
            assert "the pages of the checks could not be written (OSError: [Errno 28] No space left on device)" in process.stderr
            assert contents(settings.paths.lake) == night.rows_after
        resize(disk, "500m")
        run_quietly(settings, SECOND)
        assert contents(settings.paths.lake) == night.rows_after


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own; skips the test where mounting one is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


# --- two at once


@pytest.mark.slow
@pytest.mark.parametrize("other", [SECOND, FIRST], ids=["of the same night", "of different nights"])
def test_of_two_runs_at_once_one_stops_with_a_line_that_names_the_other(night: StagedNight, tmp_path: Path, other: dt.date) -> None:
    settings = night.copied_to(tmp_path)
    commands = [millrace(settings), millrace(settings, "run", "--date", str(other))]

    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate(timeout=300)[1] for process in processes]

    if other == SECOND:
        assert sorted(process.returncode for process in processes) == [0, 75], errors
    for process, text in zip(processes, errors, strict=True):
        # The run of an unchanged night takes a second: it may end before the other one starts to write.
        assert process.returncode in (0, 75)
        assert "Traceback" not in text
        assert ("millrace run (process" in text) == (process.returncode == 75)
    run_quietly(settings, SECOND)
    assert contents(settings.paths.lake) == night.rows_after


@pytest.mark.slow
def test_maintenance_stops_with_a_line_while_a_run_is_writing_and_the_run_continues(night: StagedNight, tmp_path: Path) -> None:
    settings = night.copied_to(tmp_path)
    run = subprocess.Popen(millrace(settings), stderr=subprocess.PIPE, text=True)
    wait_for_step(run, "survey")

    maintain_process = subprocess.run(millrace(settings, "maintain"), capture_output=True, text=True)

    run.communicate(timeout=300)
    assert maintain_process.returncode == 75
    assert maintain_process.stderr.startswith("millrace: millrace run (process")
    assert run.returncode == 0
    assert contents(settings.paths.lake) == night.rows_after


def test_a_run_stops_with_a_line_while_maintenance_is_writing(night: StagedNight, tmp_path: Path) -> None:
    settings = night.copied_to(tmp_path)

    with Lake.writing(settings.paths.lake, "millrace maintain"):
        run = subprocess.run(millrace(settings), capture_output=True, text=True)

    assert run.returncode == 75
    assert "millrace: millrace maintain (process" in run.stderr
    assert contents(settings.paths.lake) == night.rows_before

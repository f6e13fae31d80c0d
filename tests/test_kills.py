"""SIGKILL, a full disk and a second writer, at every step of a night: readers see the old state or the new one, and nothing is lost."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import random_nights
from conftest import ENVIRONMENTS, without_pages
from deltalake import DeltaTable
from killed_publication import publish
from lakes import contents
from pyspark.sql import SparkSession
from random_nights import NIGHTS

from jobs import maintain
from jobs import settings as configuration
from jobs.lake import Lake
from jobs.night import run_night
from jobs.progress import Progress
from jobs.session import Engine
from jobs.settings import Settings
from schemas.catalog import TABLES

FIRST, SECOND = NIGHTS[:2]
MILLRACE = Path(sys.executable).with_name("millrace")
# As many as a publication has: a table that does not change has no commit, but `runs` always has one.
COMMITS = len(TABLES)
EVERY_COMMIT = [("commit", number, moment) for number in range(1, COMMITS + 1) for moment in ("before", "after")]
RENAMES = [("rename", number, moment) for number in (1, 2, 3, 5, 10, 20, 40) for moment in ("before", "after")]
SWEEPS = [("sweep", 1, "before"), ("sweep", 1, "after")]
LAST = 0  # in the place of a number
QUICK = [
    ("rename", 3, "after"),
    ("commit", 1, "before"),
    ("commit", 5, "after"),
    ("commit", LAST, "before"),
    ("commit", LAST, "after"),
]
CREATIONS = [("create", number, moment) for number in (1, 2, COMMITS // 2, COMMITS) for moment in ("before", "after")]


@dataclass(frozen=True)
class Night:
    """A lake of one night, and the next one landed and staged, up to its publication."""

    settings: Settings
    staged: Path  # what is to be published, pickled
    old: dict[str, list[str]]
    new: dict[str, list[str]]

    def copy(self, root: Path) -> Settings:
        """The same lake and landing zone in another folder."""
        shutil.copytree(self.settings.paths.landing, root / "landing")
        shutil.copytree(self.settings.paths.lake, root / "lake")
        return self.settings.at(root / "landing", root / "lake")


class InterruptedHereError(Exception):
    """Raised in the place of a publication."""


@pytest.fixture(scope="module")
def night(spark: SparkSession, environment: str, tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = tmp_path_factory.mktemp("kills")
    settings = without_pages(configuration.load(environment)).at(root / "landing", root / "lake")
    for path, documents in random_nights.landed_files(Random(7), people=12).items():
        if any(f"date={date}" in path.parts for date in (FIRST, SECOND)):
            random_nights.write(settings.paths.landing, path, documents)
    run(settings, FIRST)
    old = contents(settings.paths.lake)
    with published_into(root / "staged.pickle"):
        run(settings, SECOND)
    whole = root / "whole"
    shutil.copytree(settings.paths.lake, whole)
    publish(whole, root / "staged.pickle")
    made = Night(settings, root / "staged.pickle", old, contents(whole))
    assert made.old != made.new
    return made


@pytest.fixture(scope="module")
def maintenance(night: Night, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The lake of two nights, and its maintenance staged up to the publication: it changes no row."""
    root = tmp_path_factory.mktemp("maintenance")
    settings = night.copy(root)
    publish(settings.paths.lake, night.staged)
    with published_into(root / "staged.pickle"):
        maintain.run(settings, SECOND)
    return Night(settings, root / "staged.pickle", night.new, night.new)


@contextlib.contextmanager
def published_into(path: Path) -> Iterator[None]:
    """What the block would publish is pickled instead."""

    def interrupted(lake: Lake, *arguments: Any, **_: Any) -> None:
        path.write_bytes(pickle.dumps(arguments))
        raise InterruptedHereError

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InterruptedHereError):
        patch.setattr(Lake, "publish", interrupted)
        yield


def run(settings: Settings, date: Any) -> None:
    with Engine(settings, Progress(quiet=True)) as engine:
        run_night(engine, settings, date, progress=Progress(quiet=True))


# --- killed while it publishes


def die(lake: Path, staged: Path, where: str, number: int, moment: str) -> bool:
    """Publish in a process of its own, which is killed there; says whether it was."""
    script = Path(__file__).with_name("killed_publication.py")
    done = subprocess.run([sys.executable, str(script), str(lake), str(staged), where, str(number), moment], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def assert_whole_after_death(night: Night, root: Path, point: tuple[str, int, str]) -> None:
    settings = night.copy(root)
    lake = settings.paths.lake
    where, number, moment = point
    killed = die(lake, night.staged, where, number or commits_of(night), moment)
    # The last commit is the one that counts: once it is there, so is the night.
    is_new = not killed or where == "sweep" or ((where, moment) == ("commit", "after") and number in (LAST, commits_of(night)))
    expected = night.new if is_new else night.old
    assert contents(lake) == expected, point
    for name in TABLES:
        assert DeltaTable(str(lake / name)).version() >= 0, point
    with Lake.writing(lake, "a test"):
        pass
    assert contents(lake) == expected, point
    # Whoever reads a table as it stands sees the state that counts, too.
    for name in night.old:
        assert DeltaTable(str(lake / name)).to_pyarrow_dataset().count_rows() == len(expected[name]), point
    assert not list((lake / "_staging").glob("*")), point
    if not is_new:
        shutil.copytree(night.settings.paths.lake / "_staging", lake / "_staging", dirs_exist_ok=True)
        publish(lake, night.staged)
        assert contents(lake) == night.new, point


def commits_of(night: Night) -> int:
    changes, *_ = pickle.loads(night.staged.read_bytes())
    return sum(bool(change) for name, change in changes.items() if name != "runs") + 1


@pytest.mark.parametrize("point", QUICK, ids=str)
def test_a_publication_that_is_killed_leaves_the_old_state_or_the_new_one(night: Night, tmp_path: Path, point: Any) -> None:
    assert_whole_after_death(night, tmp_path, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*EVERY_COMMIT, *RENAMES, *SWEEPS], ids=str)
def test_a_publication_that_is_killed_anywhere_leaves_the_old_state_or_the_new_one(night: Night, tmp_path: Path, point: Any) -> None:
    assert_whole_after_death(night, tmp_path, point)


MAINTENANCE = [
    ("rename", 1, "after"),
    ("commit", 1, "after"),
    ("commit", LAST, "before"),
    ("commit", LAST, "after"),
    ("sweep", 1, "before"),
]


def test_maintenance_that_is_to_be_killed_has_something_to_do(maintenance: Night) -> None:
    changes, *_ = pickle.loads(maintenance.staged.read_bytes())
    assert commits_of(maintenance) > 3
    assert all(len(change.removed) > len(change.added) > 0 for change in changes.values())


@pytest.mark.parametrize("point", MAINTENANCE[1:3], ids=str)
def test_maintenance_that_is_killed_while_it_publishes_changes_no_row(maintenance: Night, tmp_path: Path, point: Any) -> None:
    assert_whole_after_death(maintenance, tmp_path, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*EVERY_COMMIT, *MAINTENANCE], ids=str)
def test_maintenance_that_is_killed_anywhere_changes_no_row(maintenance: Night, tmp_path: Path, point: Any) -> None:
    assert_whole_after_death(maintenance, tmp_path, point)


@pytest.mark.parametrize("point", CREATIONS, ids=str)
def test_a_lake_that_is_killed_while_it_is_made_is_made_whole_by_the_next_writer(tmp_path: Path, point: Any) -> None:
    assert die(tmp_path / "lake", tmp_path / "nothing", *point)
    with Lake.writing(tmp_path / "lake", "a test"):
        pass
    assert all(rows == [] for rows in contents(tmp_path / "lake").values())


def test_a_long_reader_goes_on_with_the_state_that_it_opened(night: Night, tmp_path: Path) -> None:
    settings = night.copy(tmp_path)
    reader = Lake.open(settings.paths.lake)
    sessions = reader.dataset("sessions")
    publish(settings.paths.lake, night.staged)
    assert sessions.count_rows() == len(night.old["sessions"])
    assert reader.arrow("events", ["event_id"]).num_rows == len(night.old["events"])
    assert contents(settings.paths.lake) == night.new


# --- killed while it works


def call(settings: Settings, *command: str) -> list[str]:
    """A call as from a shell, on the engine of these settings."""
    paths = ["--env", ENVIRONMENTS[settings.engine], "--landing", str(settings.paths.landing), "--lake", str(settings.paths.lake)]
    return [str(MILLRACE), *(command or ("run", "--date", str(SECOND))), *paths]


# The line of the engine's start, whichever it is.
START = "start"


def lines_until(process: subprocess.Popen[str], step: str) -> Iterator[str]:
    """What a run says of its progress, up to the line of this step."""
    assert process.stderr is not None
    for line in process.stderr:
        yield line
        if f" {step} " in line:
            return
    raise AssertionError(f"no line told of the step {step}")


STEPS = ("survey", START, "ingest", "deduplicate", "write", "account", "sessions", "workflows", "metrics", "checks")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_after_any_step_is_made_good_by_the_next_one(night: Night, tmp_path: Path, step: str, seconds: float) -> None:
    settings = night.copy(tmp_path)
    shutil.rmtree(settings.paths.lake / "_staging")
    process = subprocess.Popen(call(settings), stderr=subprocess.PIPE, text=True, start_new_session=True)
    list(lines_until(process, step))
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert contents(settings.paths.lake) in (night.old, night.new)
    run(settings, SECOND)
    assert contents(settings.paths.lake) == night.new
    assert not list((settings.paths.lake / "_staging").iterdir())


def assert_interrupted(night: Night, root: Path, step: str, seconds: float) -> None:
    settings = night.copy(root)
    shutil.rmtree(settings.paths.lake / "_staging")
    process = subprocess.Popen(call(settings), stderr=subprocess.PIPE, text=True, start_new_session=True)
    list(lines_until(process, step))
    time.sleep(seconds)
    # As a terminal does: all processes at once.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said
    assert (process.returncode == 130) == ("millrace: stopped: the tables are whole" in said)
    assert contents(settings.paths.lake) in (night.old, night.new)
    until = time.monotonic() + 60
    while (left := members(process.pid)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left
    run(settings, SECOND)
    assert contents(settings.paths.lake) == night.new


def members(session: int) -> list[str]:
    """The processes of a session."""
    return subprocess.run(["pgrep", "-s", str(session)], capture_output=True, text=True, check=False).stdout.split()


def test_a_run_that_is_interrupted_stops_with_a_line_and_leaves_no_process(night: Night, tmp_path: Path) -> None:
    assert_interrupted(night, tmp_path, "ingest", 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.5])
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_interrupted_anywhere_stops_with_a_line_and_leaves_no_process(
    night: Night, tmp_path: Path, step: str, seconds: float
) -> None:
    assert_interrupted(night, tmp_path, step, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["vacuum", START, "compact", "sweep"])
def test_maintenance_that_is_killed_after_any_step_is_made_good_by_the_next_one(maintenance: Night, tmp_path: Path, step: str) -> None:
    settings = maintenance.copy(tmp_path)
    if step == START and settings.engine == "sail":
        pytest.skip("its tasks need no session, so none is started")
    shutil.rmtree(settings.paths.lake / "_staging")
    process = subprocess.Popen(call(settings, "maintain"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    list(lines_until(process, step))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert contents(settings.paths.lake) == maintenance.old
    assert maintain.run(settings, SECOND) == 0
    assert contents(settings.paths.lake) == maintenance.new
    assert not list((settings.paths.lake / "_staging").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("step", [START, "deduplicate", "write"])
def test_a_run_whose_workers_are_killed_publishes_nothing_or_all(night: Night, tmp_path: Path, step: str) -> None:
    settings = night.copy(tmp_path)
    process = subprocess.Popen(call(settings), stderr=subprocess.PIPE, text=True, start_new_session=True)
    list(lines_until(process, step))
    time.sleep(1)
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid), "-f", "pyspark.worker|multiprocessing.forkserver"], check=True)
    _, said = process.communicate(timeout=300)
    assert "Traceback" not in said
    assert contents(settings.paths.lake) == (night.new if process.returncode == 0 else night.old), said
    run(settings, SECOND)
    assert contents(settings.paths.lake) == night.new


# --- a disk that fills up


@pytest.mark.slow
@pytest.mark.parametrize("room", [0.1, 0.2, 0.5, 1.0])
def test_a_disk_that_fills_up_harms_nothing_and_the_next_run_with_room_is_whole(night: Night, tmp_path: Path, room: float) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        settings = night.copy(disk)
        shutil.rmtree(settings.paths.lake / "_staging")
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        limit = used + int(room * 2**20)
        subprocess.run(["mount", "-o", f"remount,size={limit}", str(disk)], check=True)
        done = subprocess.run(call(settings), capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        if room < 1:
            assert done.returncode == 2, done.stderr
            assert done.stderr.splitlines()[-1].startswith("millrace: no space left on the disk: nothing was published"), done.stderr
            assert contents(settings.paths.lake) == night.old
        else:
            # There is room for the tables, and none for the pages, which do not count.
            assert done.returncode == 0, done.stderr
            assert "pages could not be written (OSError: [Errno 28] No space left on device)" in done.stderr
            assert contents(settings.paths.lake) == night.new
        subprocess.run(["mount", "-o", "remount,size=500m", str(disk)], check=True)
        run(settings, SECOND)
        assert contents(settings.paths.lake) == night.new
    finally:
        subprocess.run(["umount", str(disk)], check=False)


# --- two at once


@pytest.mark.slow
@pytest.mark.parametrize("other", [SECOND, FIRST], ids=["of the same night", "of different nights"])
def test_of_two_runs_at_once_one_stops_with_a_line_that_names_the_other(night: Night, tmp_path: Path, other: dt.date) -> None:
    settings = night.copy(tmp_path)
    calls = [call(settings), call(settings, "run", "--date", str(other))]
    runs = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for one in calls]
    said = [run.communicate(timeout=300)[1] for run in runs]
    if other == SECOND:
        assert sorted(run.returncode for run in runs) == [0, 75], said
    for process, text in zip(runs, said, strict=True):
        # A night that has not changed takes a second: it may be over before the other one begins.
        assert process.returncode in (0, 75)
        assert "Traceback" not in text
        assert ("millrace run (process" in text) == (process.returncode == 75)
    run(settings, SECOND)
    assert contents(settings.paths.lake) == night.new


@pytest.mark.slow
def test_maintenance_stops_with_a_line_while_a_run_is_writing_and_the_run_goes_on(night: Night, tmp_path: Path) -> None:
    settings = night.copy(tmp_path)
    process = subprocess.Popen(call(settings), stderr=subprocess.PIPE, text=True)
    list(lines_until(process, "survey"))
    refused = subprocess.run(call(settings, "maintain"), capture_output=True, text=True)
    process.communicate(timeout=300)
    assert refused.returncode == 75
    assert refused.stderr.startswith("millrace: millrace run (process")
    assert process.returncode == 0
    assert contents(settings.paths.lake) == night.new


def test_a_run_stops_with_a_line_while_maintenance_is_writing(night: Night, tmp_path: Path) -> None:
    settings = night.copy(tmp_path)
    with Lake.writing(settings.paths.lake, "millrace maintain"):
        refused = subprocess.run(call(settings), capture_output=True, text=True)
    assert refused.returncode == 75
    assert "millrace: millrace maintain (process" in refused.stderr
    assert contents(settings.paths.lake) == night.old

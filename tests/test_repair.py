"""A damaged lake is mended by a rebuild: what cannot be read goes, what has landed comes back, and nothing is half done."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from command_line import call_millrace
from conftest import Demo, without_pages
from damaged_lakes import (
    NIGHTS,
    change_bytes,
    damage_checkpoint,
    empty_last_entry,
    first_file,
    landed_file,
    remove_checkpoint,
    remove_file,
    remove_folder,
    remove_last_entry,
    remove_log,
    tear_last_entry,
    truncate_file,
)
from killed_mending import mend
from lakes import assert_same

from jobs import settings as configuration
from jobs.commands import run_nights, verify
from jobs.console import termination
from jobs.errors import LakeBusyError, LakeDamagedError, LandingError
from jobs.lake.tables import Lake
from jobs.rebuild import repair


@contextmanager
def mending(lake: Path, gone: str | None = None) -> Iterator[Lake]:
    with Lake.writing(lake, "a test", partial(repair.mend, landing_root=lake.parent / "landing", gone=gone)) as opened:
        yield opened


def dates(opened: Lake, table: str = "events") -> list[dt.date]:
    return sorted(opened.arrow(table, ["landing_date"])["landing_date"].to_pylist())


def mend_and_stop(lake: Path) -> None:
    """A mending whose rebuild fails."""
    with mending(lake) as opened:
        opened.check_whole()
        with pytest.raises(LakeBusyError, match="a rebuild is mending the lake"):
            Lake.open(lake)
        raise KeyError


DAMAGES = [
    (remove_folder, "events"),
    (remove_log, "files"),
    (remove_last_entry, "sessions"),
    (tear_last_entry, "quality_results"),
    (empty_last_entry, "events"),
    (remove_file, "events"),
    (truncate_file, "files"),
    (change_bytes, "sessions"),
    (change_bytes, "runs"),
    (remove_folder, "runs"),
    (remove_last_entry, "runs"),
    (tear_last_entry, "runs"),
]


@pytest.mark.parametrize(("destroy", "table"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_mending_makes_every_table_readable_and_the_lake_is_damaged_until_it_is_done(
    lake_copy: Path, destroy: Callable[[Path], None], table: str
) -> None:
    destroy(lake_copy / table)
    with pytest.raises(KeyError):
        mend_and_stop(lake_copy)
    message = "a rebuild that mends it was not finished: call `millrace rebuild --lake .*` again"
    with pytest.raises(LakeDamagedError, match=message):
        Lake.open(lake_copy)
    with mending(lake_copy):
        pass
    Lake.open(lake_copy).check_whole()
    assert not verify.examine(lake_copy, lake_copy.parent / "landing", deep=False).damages


def test_a_lake_without_any_of_its_tables_is_no_new_lake(lake_copy: Path) -> None:
    for folder in [path for path in lake_copy.iterdir() if path.is_dir()]:
        shutil.rmtree(folder)
    (lake_copy / "_quality").mkdir()
    (lake_copy / "_mending.partial").touch()
    with (
        pytest.raises(LakeDamagedError, match=r"runs: its folder is missing, though _state\.json names state 3"),
        Lake.writing(lake_copy, "a test"),
    ):
        pass
    with mending(lake_copy) as opened:
        opened.check_whole()
        assert opened.state == len(NIGHTS) + 1


def test_a_damaged_checkpoint_costs_no_row_where_the_log_needs_none(lake_copy: Path) -> None:
    damage_checkpoint(lake_copy / "events")
    remove_checkpoint(lake_copy / "files")
    damage_checkpoint(lake_copy / "runs")
    with mending(lake_copy) as opened:
        assert dates(opened) == NIGHTS
        assert opened.state == len(NIGHTS)


def test_rows_that_cannot_be_mended_are_moved_and_not_deleted(lake_copy: Path) -> None:
    path = first_file(lake_copy / "events").relative_to(lake_copy)
    remove_log(lake_copy / "events")
    with mending(lake_copy):
        pass
    (moved,) = (lake_copy / "_damaged").iterdir()
    assert (moved / path).is_file()


@pytest.mark.usefixtures("without_arguments")
def test_a_rebuild_that_fails_does_not_say_that_the_tables_are_as_before(
    lake_copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(run_nights.changed_partitions, "of_everything", fail)
    remove_log(lake_copy / "events")
    result = call_millrace(capfd, "rebuild", "--lake", lake_copy, "--landing", lake_copy.parent / "landing", "--env", "spark")
    assert result.exit_code == 70
    assert "the lake is damaged until a rebuild is done" in result.stderr.splitlines()[-1]
    assert "damaged until the rebuild is done" in termination._outcome()
    with mending(lake_copy):
        pass
    assert not termination.is_mending()


# Sources and dates that have rows and no landed file


def lose_landed(lake: Path, night: dt.date) -> None:
    (lake.parent / "landing" / landed_file(night)).unlink()


@pytest.mark.parametrize(
    ("destroy", "table"), [(remove_folder, "runs"), (remove_folder, "files"), (remove_log, "events"), (remove_file, "sessions")]
)
def test_a_rebuild_of_a_damaged_lake_asks_whether_to_keep_rows_without_landed_files_before_it_changes_anything(
    lake_copy: Path, destroy: Callable[[Path], None], table: str
) -> None:
    lose_landed(lake_copy, NIGHTS[0])
    destroy(lake_copy / table)
    before = sorted(lake_copy.rglob("*"))
    with pytest.raises(LandingError, match=rf"no landed file left: sunbird of {NIGHTS[0]}: call with --gone keep"), mending(lake_copy):
        pass
    assert [path for path in sorted(lake_copy.rglob("*")) if path.name != "_lock"] == [path for path in before if path.name != "_lock"]


def test_rows_without_landed_files_are_kept_where_nothing_of_them_is_damaged(lake_copy: Path) -> None:
    lose_landed(lake_copy, NIGHTS[0])
    remove_folder(lake_copy / "runs")
    min(lake_copy.glob(f"events/landing_date={NIGHTS[1]}/*/*.parquet")).unlink()
    remove_file(lake_copy / "quality_results")
    with mending(lake_copy, "keep") as opened:
        assert dates(opened) == [NIGHTS[0], NIGHTS[2]]
        assert dates(opened, "files") == NIGHTS
        assert opened.arrow("sessions").num_rows == len(NIGHTS)


@pytest.mark.parametrize(
    ("destroy", "table"), [(remove_folder, "files"), (remove_file, "events"), (remove_file, "sessions"), (remove_log, "session_chains")]
)
def test_rows_without_landed_files_that_are_damaged_too_cannot_be_kept_and_it_is_said(
    lake_copy: Path, destroy: Callable[[Path], None], table: str
) -> None:
    lose_landed(lake_copy, NIGHTS[0])
    destroy(lake_copy / table)
    message = rf"cannot be kept \({table}: .*\): land their files again, or call with --gone drop"
    with pytest.raises(LandingError, match=message), mending(lake_copy, "keep"):
        pass
    with mending(lake_copy, "drop") as opened:
        opened.check_whole()
        assert dates(opened) == []


def test_rows_that_an_unfinished_rebuild_has_dropped_cannot_be_kept_by_the_next_one(lake_copy: Path) -> None:
    lose_landed(lake_copy, NIGHTS[0])
    remove_folder(lake_copy / "sessions")
    with pytest.raises(KeyError), mending(lake_copy, "drop"):
        raise KeyError
    with pytest.raises(LandingError, match="a rebuild that was not finished has dropped them"), mending(lake_copy, "keep"):
        pass


# Killed


POINTS = [
    *(("mark", 1, moment) for moment in ("before", "after")),
    *(("move", number, moment) for number in (1, 2) for moment in ("before", "after")),
    *(("create", number, moment) for number in (1, 2, 3) for moment in ("before", "after")),
    *(("commit", number, moment) for number in (1, 2, 3) for moment in ("before", "after")),
    ("unmark", 1, "before"),
]
QUICK = [("move", 2, "after"), ("commit", 3, "before"), ("unmark", 1, "before")]


def destroy_four_tables(lake: Path) -> None:
    remove_folder(lake / "sessions")
    tear_last_entry(lake / "events")
    remove_file(lake / "files")
    remove_log(lake / "runs")


def assert_damaged_until_mended(lake: Path, point: tuple[str, int, str]) -> None:
    destroy_four_tables(lake)
    landing = lake.parent / "landing"
    script = Path(__file__).with_name("killed_mending.py")
    died = subprocess.run([sys.executable, str(script), str(lake), str(landing), *map(str, point)], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    with pytest.raises(LakeDamagedError):
        Lake.open(lake).check_whole()
    with pytest.raises(LakeDamagedError), Lake.writing(lake, "a test"):
        pass
    mend(lake, landing)
    opened = Lake.open(lake)
    opened.check_whole()
    assert [opened.arrow(name).num_rows for name in ("events", "sessions", "files")] == [0, 0, 0]


@pytest.mark.parametrize("point", QUICK, ids=str)
def test_a_lake_is_damaged_until_a_mending_that_was_killed_is_done_again(lake_copy: Path, point: tuple[str, int, str]) -> None:
    assert_damaged_until_mended(lake_copy, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_lake_is_damaged_until_a_mending_that_was_killed_anywhere_is_done_again(lake_copy: Path, point: tuple[str, int, str]) -> None:
    assert_damaged_until_mended(lake_copy, point)


# On an engine


def test_a_rebuild_makes_a_damaged_lake_whole_from_what_has_landed(demo: Demo, environment: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(demo.lake, lake)
    destroy_four_tables(lake)
    change_bytes(lake / "quality_results")
    settings = without_pages(configuration.load(environment)).at(demo.landing, lake)
    assert run_nights.rebuild(settings, None) == 0
    assert_same(lake, demo.lake)
    assert verify.show(settings, deep=True) == 0
    # Late files of every night that was rebuilt are still read by the next night.
    with Lake.writing(lake, "a test") as opened:
        assert set(demo.nights) <= run_nights.changed_partitions.nights_run(opened)


@pytest.mark.slow
def test_a_rebuild_keeps_rows_without_landed_files_and_makes_the_damaged_ones_again(demo: Demo, environment: str, tmp_path: Path) -> None:
    first, last = demo.nights
    shutil.copytree(demo.lake, tmp_path / "lake")
    shutil.copytree(demo.landing, tmp_path / "landing")
    shutil.rmtree(tmp_path / "landing" / "sunbird" / f"date={first}")
    remove_folder(tmp_path / "lake" / "runs")
    min((tmp_path / "lake" / "events" / f"landing_date={last}").rglob("*.parquet")).unlink()
    settings = without_pages(configuration.load(environment)).at(tmp_path / "landing", tmp_path / "lake")
    assert run_nights.rebuild(settings, "keep") == 0
    assert_same(tmp_path / "lake", demo.lake)
    assert verify.show(settings, deep=True) == 0

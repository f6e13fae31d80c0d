"""What stands below the landing zone in no partition is named with its remedy, and counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.landing.strays import below, strays

SOURCES = ("activity_stream", "homepagevisit", "sunbird")
PLACES = [
    ("sunbird/date=2026-11-31", "no such date", "rename it to the date=YYYY-MM-DD"),
    ("sunbird/date=20261120", "not named", "rename it to date=2026-11-20"),
    ("sunbird/DATE=2026-11-20", "not named", "rename it to date=2026-11-20"),
    ("sunbird/dt=2026-11-20", "not named", "rename it to date=2026-11-20"),
    ("sunbird/2026-11-20", "not named", "rename it to date=2026-11-20"),
    ("sunbird/date=2026-11-2", "not named", "rename it to date=2026-11-02"),
    ("sunbird/2026", "not named", "rename it to the date"),
    ("sunbird/new\nline", "not named", "rename it to the date"),
    ("sunbird/\udcff", "not named", "rename it to the date"),
    ("Sunbird", "no source", "rename it to sunbird"),
    ("home_page-visit", "no source", "rename it to homepagevisit"),
    ("date=2026-11-20", "no source", "move its files to SOURCE/date=YYYY-MM-DD"),
]


def write_file(root: Path, folder: str, name: str = "a.json") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / name).write_text("{}\n")


@pytest.mark.parametrize(("folder", "reason", "remedy"), PLACES)
def test_a_folder_that_is_in_no_partition_is_named_with_its_remedy(tmp_path: Path, folder: str, reason: str, remedy: str) -> None:
    write_file(tmp_path, folder + "/hour=07")
    write_file(tmp_path, folder + "/hour=08/deeper")
    (one,) = strays(tmp_path, SOURCES)
    assert one.path == tmp_path / folder
    assert reason in one.reason
    assert one.remedy.startswith(remedy)
    assert one.line.isprintable()
    assert below(one) == (2, 6)


def test_a_folder_whose_right_name_is_in_use_is_to_be_emptied_into_it(tmp_path: Path) -> None:
    write_file(tmp_path, "sunbird/date=2026-11-20/hour=07")
    write_file(tmp_path, "sunbird/date=20261120/hour=07")
    assert [one.remedy for one in strays(tmp_path, SOURCES)] == ["move its files to date=2026-11-20"]


@pytest.mark.parametrize("folder", [".", "sunbird"])
def test_files_above_the_dates_are_counted_without_those_of_the_partitions(tmp_path: Path, folder: str) -> None:
    write_file(tmp_path, "sunbird/date=2026-11-20/hour=07")
    write_file(tmp_path, folder)
    write_file(tmp_path, folder, "date=2026-11-21")
    (one,) = strays(tmp_path, SOURCES)
    assert one.shown == folder
    assert below(one) == (2, 6)


def test_partitions_and_names_that_are_to_be_ignored_are_no_strays(tmp_path: Path) -> None:
    write_file(tmp_path, "sunbird/date=2026-11-20/hour=07")
    for ignored in ("_truth", ".git", "sunbird/_temporary", "sunbird/.staging"):
        write_file(tmp_path, ignored)
    write_file(tmp_path, ".", "_SUCCESS")
    assert strays(tmp_path, SOURCES) == []
    assert strays(tmp_path / "nowhere", SOURCES) == []


def test_links_that_lead_nowhere_or_in_a_circle_and_folders_that_may_not_be_listed_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, "sunbird/dt=2026-11-20")
    (tmp_path / "sunbird/dt=2026-11-20/circle").symlink_to(tmp_path / "sunbird")
    (tmp_path / "sunbird/dt=2026-11-20/itself").symlink_to("itself")
    (tmp_path / "sunbird/itself").symlink_to("itself")
    (tmp_path / "homepagevisit").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "homepagevisit":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = {one.shown: (one.reason, below(one)[0]) for one in strays(tmp_path, SOURCES)}
    assert found == {
        "homepagevisit": ("it cannot be listed", 0),
        "sunbird": ("files outside of a date's folder", 1),
        "sunbird/dt=2026-11-20": ("not named date=YYYY-MM-DD", 3),
    }

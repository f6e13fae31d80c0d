"""Nothing of what people have sent is kept: markers in every field, sought in every byte of the lake and of what a night prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import planted_markers
import pytest
import stored_bytes
from conftest import plain_environment
from planted_markers import Planting

from jobs.lake.tables import Lake

MILLRACE = [sys.executable, "-c", "from jobs.commands.program import program; program()"]


class PlantedNight(NamedTuple):
    """A night with markers, and what it has printed."""

    planting: Planting
    lake: Path
    printed: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, environment: str) -> PlantedNight:
    root = tmp_path_factory.mktemp("planted")
    planting = planted_markers.land(root / "landing")
    where = ["--landing", str(root / "landing"), "--lake", str(root / "lake")]
    date = ["--date", str(planted_markers.NIGHT)]
    calls = [["run", *date, *where, "--env", environment], ["status", *where], ["quality", *date, "--lake", str(root / "lake")]]
    calls += [
        ["report", *date, "--lake", str(root / "lake")],
        ["site", "--lake", str(root / "lake"), "--out", str(root / "lake" / "_site")],
    ]
    printed = []
    for call in calls:
        done = subprocess.run([*MILLRACE, *call], capture_output=True, text=True, env=plain_environment(), cwd=Path(__file__).parents[1])
        assert done.returncode in (0, 3), done.stderr
        printed += [done.stdout, done.stderr]
    return PlantedNight(planting, root / "lake", "\n".join(printed))


def test_of_several_hundred_markers_none_is_in_any_byte(night: PlantedNight) -> None:
    markers = night.planting.markers
    assert len(markers) > 1_500
    found = stored_bytes.found(night.lake, markers)
    assert not found, sorted({(markers[marker], file) for marker, file in found.items()})
    assert not [what for marker, what in markers.items() if marker in night.printed]


def test_every_planted_record_is_in_the_account(night: PlantedNight) -> None:
    lake = Lake.open(night.lake)
    files = {row["file"]: row for row in lake.arrow("files").to_pylist()}
    done = [row for row in files.values() if row["status"] == "done"]
    assert len(done) == 8
    assert sum(row["rejected"] for row in done) > 200
    assert sum(row["accepted"] for row in done) > 300
    assert all(row["records"] == row["accepted"] + row["duplicates"] + row["rejected"] for row in done)


def test_a_refused_record_keeps_its_length_and_the_hash_of_what_landed(night: PlantedNight) -> None:
    for row in Lake.open(night.lake).arrow("rejected_events").to_pylist():
        assert row["raw_form"] == "masked"
        assert len(row["raw"]) == row["raw_length"]

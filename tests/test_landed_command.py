"""`millrace landed`: what has not landed of a night, of what usually lands."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import tiny_lake
from command_line import CommandResult, call_millrace

pytestmark = pytest.mark.usefixtures("without_arguments")

NIGHT = dt.date(2026, 11, 20)
USUAL_HOURS = (3, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lake of eight nights, on which sunbird landed 300 records in each of two hours, and contentsquare on the last one only."""
    for back in range(8, 0, -1):
        date = NIGHT - dt.timedelta(days=back)
        files = [row("sunbird", date, hour) for hour in USUAL_HOURS]
        if back == 1:
            files.append(row("contentsquare", date, 3))
        tiny_lake.publish(tmp_path / "lake", {"files": files}, run_id=f"run-{back}", night=date)
    (tmp_path / "landing").mkdir()
    return tmp_path


def row(source: str, date: dt.date, hour: int) -> dict[str, object]:
    file = f"{source}/date={date}/hour={hour:02}/a.json"
    return {"source": source, "landing_date": date, "landing_hour": hour, "file": file, "status": "done", "records": 300, "accepted": 300}


def land(folder: Path, source: str, hour: int) -> None:
    path = folder / "landing" / source / f"date={NIGHT}" / f"hour={hour:02}" / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")


def look(capfd: pytest.CaptureFixture[str], folder: Path) -> CommandResult:
    return call_millrace(capfd, "landed", "--date", NIGHT, "--landing", folder / "landing", "--lake", folder / "lake")


def test_a_source_and_an_hour_that_usually_land_are_awaited(capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    land(folder, "sunbird", 4)
    result = look(capfd, folder)
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        f"contentsquare: nothing has landed of {NIGHT}",
        f"sunbird: hour 03 has not landed of {NIGHT}",
    ]


def test_nothing_is_awaited_when_all_that_usually_lands_has(capfd: pytest.CaptureFixture[str], folder: Path) -> None:
    for hour in USUAL_HOURS:
        land(folder, "sunbird", hour)
    land(folder, "contentsquare", 23)
    result = look(capfd, folder)
    assert (result.exit_code, result.stdout) == (0, f"all that usually lands has landed of {NIGHT}\n")


def test_of_a_new_lake_nothing_is_expected(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    assert look(capfd, tmp_path).exit_code == 0


def test_a_landing_zone_that_is_missing_is_one_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = look(capfd, tmp_path)
    assert result.exit_code == 2
    assert "no landing folder at" in result.fault

"""What has landed and was read by no run is found and named, and `backfill --missing` runs exactly these nights."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_lake
from lakes import contents
from landing_files import land_file

from jobs import unread_partitions
from jobs.commands import run_nights, status
from jobs.commands.status import NightFilter
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.errors import LandingError, UsageError
from jobs.lake.tables import Lake
from jobs.landing import unlisted
from jobs.landing.zone import landed
from jobs.night import Outcome, run_night
from jobs.settings import Settings

LAST = dt.date(2026, 11, 20)
ALL = ("activity_stream", "contentsquare", "homepagevisit", "sunbird")


def day(days_before: int) -> dt.date:
    return LAST - dt.timedelta(days=days_before)


def land_empty_document(settings: Settings, date: dt.date, name: str = "a.jsonl", source: str = "sunbird") -> str:
    return str(land_file(settings.paths.landing, source, date, name, "{}\n", hour=7).relative_to(settings.paths.landing))


def read(settings: Settings, *dates: dt.date, source: str = "sunbird", **run: Any) -> None:
    """Note these nights as run, with one file of each that is read."""
    for date in dates:
        row = {
            "source": source,
            "landing_date": date,
            "landing_hour": 7,
            "file": land_empty_document(settings, date, source=source),
            "records": 1,
        }
        tiny_lake.publish(settings.paths.lake, {"files": [row | {"status": "done"}]}, run_id=f"{date}-{source}", night=date, **run)


def unread_dates(settings: Settings, sources: Sequence[str] = ALL) -> list[dt.date]:
    return [one.landing_date for one in unread_partitions.partitions(Lake.open(settings.paths.lake), settings, sources)]


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """The last night, one within the nights that the next run looks at, and an old one were run; nothing is unread."""
    read(settings, day(20), day(3), LAST)
    return settings


def test_nights_that_were_never_run_are_found_up_to_the_last_one_that_was(lake: Settings) -> None:
    assert unread_dates(lake) == []
    for date in (day(30), day(5), day(-1)):
        land_empty_document(lake, date)
    # The night after the last one has its turn yet.
    assert unread_dates(lake) == [day(30), day(5)]
    assert unread_dates(lake, ["homepagevisit"]) == []


def test_a_late_file_is_found_once_no_later_night_looks_at_its_date(lake: Settings) -> None:
    land_empty_document(lake, day(3), "late.jsonl")
    assert unread_dates(lake) == []
    land_empty_document(lake, day(20), "late.jsonl")
    assert unread_dates(lake) == [day(20)]
    # Another source may have landed on a date that was run, too.
    land_empty_document(lake, day(20), source="homepagevisit")
    assert unread_dates(lake) == [day(20), day(20)]


def test_a_lake_that_has_run_no_night_lacks_none(settings: Settings) -> None:
    tiny_lake.publish(settings.paths.lake, {}, night=None)
    land_empty_document(settings, LAST)
    assert unread_dates(settings) == []


def test_a_run_warns_once_with_the_remedy_and_only_warns(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for date in (day(30), day(5)):
        land_empty_document(lake, date)
    monkeypatch.setattr(run_nights, "run_night", lambda *_, **__: Outcome("r", LAST))
    assert run_nights.run(lake, [day(1), LAST], [], "backfill") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "warning: 2 sources and dates of 2026-10-21 to 2026-11-15 landed with files that no run has read:"
        " `millrace backfill --missing` reads them"
    ]
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "sunbird":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert run_nights.run(lake, [LAST], [], "run") == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("warning: the folder ")


def test_backfill_missing_runs_these_nights_in_order_and_no_other(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_night(_engine: object, settings: Settings, night: dt.date, **_: Any) -> Outcome:
        called.append(night)
        if len(called) == 2:
            raise LandingError("stopped here")
        read(settings, night)
        return Outcome("r", night)

    called: list[dt.date] = []
    monkeypatch.setattr(run_nights, "run_night", run_night)
    for date in (day(5), day(30), day(40)):
        land_empty_document(lake, date)
    with pytest.raises(LandingError):
        run_nights.run_missing(lake, [])
    # Called again, it goes on where it was stopped.
    assert run_nights.run_missing(lake, []) == 0
    assert called == [day(40), day(30), day(30), day(5)]
    assert run_nights.run_missing(lake, []) == 0
    assert len(called) == 4
    assert "has been read" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--missing", "--from", "2026-11-01"], ["--from", "2026-11-01"]])
def test_backfill_takes_a_range_or_finds_the_nights_itself(options: list[str]) -> None:
    from jobs.commands.cli import cli

    with pytest.raises(UsageError, match="--missing"):
        cli.main(["backfill", *options], standalone_mode=False)


def test_status_tells_files_that_no_run_has_read_from_those_whose_turn_comes(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for date in (day(30), day(20), day(3), day(-1)):
        land_empty_document(lake, date, "b.jsonl")
    status.show(lake, shape="json")
    unread_files = {
        night["date"]: night["not_read"] for night in json.loads(capsys.readouterr().out)["nights"] if night["source"] == "sunbird"
    }
    assert {date: count for date, count in unread_files.items() if count} == {str(day(30)): 1, str(day(20)): 1}
    assert len(unread_files) == 5
    status.show(lake, NightFilter(problems=True))
    assert "not read: 2 sources and dates of 2026-10-21 to 2026-10-31 landed" in capsys.readouterr().out


def test_a_source_that_a_limited_run_did_not_look_at_is_not_said_to_be_missing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("sunbird", "homepagevisit"):
        read(settings, day(2), source=source)
    read(settings, day(1), sources="sunbird")
    status.show(settings)
    assert "did not land" not in capsys.readouterr().out
    read(settings, LAST)
    status.show(settings)
    assert "did not land: homepagevisit of 2026-11-20" in capsys.readouterr().out


def test_to_look_for_ten_thousand_files_takes_no_look_at_a_file(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        folder = lake.paths.landing / "sunbird" / f"date={day(100 + number)}" / "hour=07"
        folder.mkdir(parents=True)
        for name in range(100):
            (folder / f"{name}.jsonl").touch()
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **_: pytest.fail(f"looked at {path}") if path.suffix == ".jsonl" else stat(path))
    opened = Lake.open(lake.paths.lake)
    started = time.process_time()
    assert len(unread_partitions.partitions(opened, lake, ALL)) == 100
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize("folder", ["sunbird", "sunbird/date=2026-11-17", "sunbird/date=2026-11-17/hour=07"])
def test_rows_of_a_folder_that_cannot_be_listed_are_not_dropped(lake: Settings, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).is_relative_to(lake.paths.landing / folder):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    before = contents(lake.paths.lake)
    names_it = r"sunbird/date=2026-11-\d\d.* cannot be listed \(permission denied\).* which would be dropped: let this user read it"
    with pytest.raises(LandingError, match=names_it):
        run_night(Engine(lake, Progress(quiet=True)), lake, LAST, progress=Progress(quiet=True))
    with pytest.raises(LandingError, match=names_it if folder != "sunbird" else "sunbird cannot be listed"):
        run_nights.rebuild(lake, "drop")
    assert contents(lake.paths.lake) == before
    # Of a folder whose files were never read nothing can be dropped: it is reported as unreadable.
    unlisted.check(Lake.open(lake.paths.lake), landed(lake.paths.landing, "sunbird", day(4)))

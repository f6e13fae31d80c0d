"""Sources and dates that have rows in the lake and no landed file left: nothing of them goes in silence."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from landing_files import land_file
from quiet_runs import run_quietly
from tiny_lake import NIGHT, publish

from jobs import changed_partitions, settings
from jobs.commands import run_nights
from jobs.errors import LandingError, SettingsError
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.night import Outcome
from jobs.settings import Settings

OTHER = NIGHT - dt.timedelta(days=1)
LONG_AGO = NIGHT - dt.timedelta(days=40)


def configured(tmp_path: Path, ingest: str = "{}") -> Settings:
    conf = tmp_path / "conf.yaml"
    conf.write_text(f"{{quality: {{pages: false}}, ingest: {ingest}}}")
    (tmp_path / "landing").mkdir(exist_ok=True)
    return settings.load(file=conf).at(tmp_path / "landing", tmp_path / "lake")


def file_of(source: str, date: dt.date, **columns: object) -> dict[str, object]:
    return {"source": source, "landing_date": date, "file": f"{source}/date={date}/a.json", "records": 3, "status": "done"} | columns


def in_lake(given: Settings, *rows: dict[str, object]) -> None:
    publish(given.paths.lake, {"files": rows})


def run_sources(given: Settings, *sources: str, accept_empty: bool = False) -> Outcome:
    return run_quietly(given, NIGHT, sources=sources or ("sunbird",), accept_empty=accept_empty)


def test_a_run_names_every_source_and_date_that_has_lost_its_files_and_the_remedy(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("sunbird", OTHER), file_of("contentsquare", OTHER), file_of("sunbird", LONG_AGO))
    land_file(given.paths.landing, "contentsquare", OTHER)
    with pytest.raises(LandingError) as raised:
        run_sources(given, "sunbird", "contentsquare")
    line = str(raised.value)
    assert f"no landed file left: sunbird of {LONG_AGO}, sunbird of {OTHER}: " in line
    assert "--accept-empty" in line
    assert "\n" not in line
    assert raised.value.exit_code == 2


def test_a_folder_without_a_file_is_as_good_as_none(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("sunbird", OTHER))
    (given.paths.landing / "sunbird" / f"date={OTHER}" / "hour=03").mkdir(parents=True)
    (given.paths.landing / "sunbird" / f"date={OTHER}" / "hour=03" / "_SUCCESS").touch()
    with pytest.raises(LandingError, match=f"sunbird of {OTHER}"):
        run_sources(given)


def test_a_limited_run_looks_at_its_own_sources_and_drops_nothing_of_others(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("contentsquare", OTHER))
    run_sources(given, "sunbird")
    assert Lake.open(given.paths.lake).arrow("files").num_rows == 1


def test_files_without_records_or_that_could_not_be_read_may_be_missing(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("sunbird", LONG_AGO, records=None, status="unreadable"), file_of("contentsquare", LONG_AGO, records=0))
    run_sources(given, "sunbird", "contentsquare")


def test_rows_older_than_the_landed_files_that_are_kept_stay(tmp_path: Path) -> None:
    given = configured(tmp_path, "{landing_days: 30}")
    in_lake(given, file_of("sunbird", LONG_AGO))
    run_sources(given, accept_empty=True)
    assert Lake.open(given.paths.lake).arrow("files").num_rows == 1
    in_lake(given, file_of("sunbird", NIGHT - dt.timedelta(days=30)))
    with pytest.raises(LandingError, match="no landed file left: sunbird of 2026-10-21:"):
        run_sources(given)


def test_landed_files_must_be_kept_for_as_long_as_nights_look_back(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="landing_days must be larger than nights_back"):
        configured(tmp_path, "{landing_days: 7}")


def test_a_rebuild_names_every_source_and_date_without_files_and_asks_whether_to_keep_them(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("sunbird", OTHER), file_of("contentsquare", OTHER), file_of("sunbird", LONG_AGO))
    land_file(given.paths.landing, "contentsquare", OTHER)
    with pytest.raises(LandingError, match=f"sunbird of {LONG_AGO}, sunbird of {OTHER}: call with --gone keep"):
        run_nights.rebuild(given, None)


def test_a_rebuild_that_keeps_a_source_without_files_makes_the_others_of_its_date_again(tmp_path: Path) -> None:
    given = configured(tmp_path)
    in_lake(given, file_of("sunbird", OTHER), file_of("contentsquare", OTHER))
    land_file(given.paths.landing, "contentsquare", OTHER)
    lake = Lake.open(given.paths.lake)
    kept = changed_partitions.without_files(lake, given.paths.landing, ["sunbird", "contentsquare"])
    assert kept == [Partition(OTHER, "sunbird")]
    again = changed_partitions.of_everything(lake, given.paths.landing, [OTHER], ["sunbird", "contentsquare"], kept)
    assert again.replaced == {Partition(OTHER, "contentsquare")}

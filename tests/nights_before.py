"""A lake of the nights before a night, and the findings of the checks that compare the night with them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tiny_lake import NIGHT, Rows, publish

from jobs import settings as configuration
from jobs.lake.new_state import NewState
from jobs.lake.tables import Lake
from jobs.quality import baseline
from jobs.quality.gate import Finding
from jobs.settings import Settings

Hours = Mapping[int | None, int | None]  # records per landing hour

USUAL_FILES = "landed files of a source that usually sends some"
EXPECTED_FILES = "landed files of an expected source"
IRREGULAR_SOURCE = "irregular: true"
NIGHT_VOLUME = "records of the night as a share of the usual number"
MISSING_HOURS = "landing hours without a file that the source usually has"
UNUSUAL_HOURS = "hours with far fewer or far more records than usual"
SILENT_HOURS = "hours without a record at the end of the night"
EVENTS_WITHOUT_USER = "share of events without user_id"
FULL_DAY = dict.fromkeys(range(24), 200)  # 200 records in every hour


def nights_before(*days: int) -> list[dt.date]:
    return [NIGHT - dt.timedelta(days=day) for day in days]


TWO_WEEKS = nights_before(*range(1, 15))


def same_hours(nights: Iterable[dt.date], hours: Hours) -> dict[dt.date, Hours]:
    return dict.fromkeys(nights, hours)


def file_rows(date: dt.date, hours: Hours, source: str = "sunbird") -> Rows:
    """Rows of `files`: one file per landing hour, with so many records; None for an unreadable file."""
    return [
        {"source": source, "landing_date": date, "landing_hour": hour, "file": f"{source}/{date}/{hour}", "records": records}
        | {"status": "unreadable" if records is None else "done"}
        for hour, records in hours.items()
    ]


def event_rows(date: dt.date, count: int, *, without_user: int = 0, source: str = "sunbird") -> Rows:
    """Rows of `events`, the first of them without a user."""
    return [
        {"source": source, "landing_date": date, "event_id": f"{date} {number}", "user_id": None if number < without_user else "u"}
        for number in range(count)
    ]


def publish_files(settings: Settings, nights: Mapping[dt.date, Hours], source: str = "sunbird", **run: Any) -> None:
    """Add a run that read these files to the lake."""
    publish(settings.paths.lake, {"files": [row for date, hours in nights.items() for row in file_rows(date, hours, source)]}, **run)


def configure(tmp_path: Path, quality: str = "") -> Settings:
    """Settings with these keys under `quality`, a landing zone and a lake in this folder."""
    conf = tmp_path / "conf.yaml"
    conf.write_text("{quality: {pages: false, " + quality + "}, ingest: {nights_back: 0}}")
    (tmp_path / "landing").mkdir(exist_ok=True)
    return configuration.load(file=conf).at(tmp_path / "landing", tmp_path / "lake")


def check_night(settings: Settings, night: dt.date = NIGHT, sources: Iterable[str] = ("sunbird",)) -> list[Finding]:
    """The findings of the checks that compare this night with the nights before it."""
    state = NewState(Lake.open(settings.paths.lake), {})
    return list(baseline.findings(state, list(sources), settings.quality, night))


def out_of_bounds(findings: Iterable[Finding]) -> dict[str, float | None]:
    """Per check that failed, the observed value."""
    return {finding.expectation: finding.observed for finding in findings if not is_within_bounds(finding)}


def is_within_bounds(finding: Finding) -> bool:
    assert finding.observed is not None
    return (finding.minimum is None or finding.observed >= finding.minimum) and (
        finding.maximum is None or finding.observed <= finding.maximum
    )


QUIET_DAY = dict.fromkeys(range(10), 20)


def with_weekends(nights: Iterable[dt.date], weekend: Hours) -> dict[dt.date, Hours]:
    """Full workdays, and weekends of these hours."""
    return {date: weekend if date.weekday() >= 5 else FULL_DAY for date in nights}

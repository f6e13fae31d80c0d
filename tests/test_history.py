"""Checks that hold a night against the nights before it: what they notice, and what they let pass."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tiny_lake import NIGHT, Rows, publish

from jobs import history, nights, settings, status
from jobs.errors import CheckFailedError, SettingsError
from jobs.lake import Change, Lake
from jobs.metrics import NewState
from jobs.night import run_night
from jobs.progress import Progress
from jobs.quality_gate import Finding
from jobs.session import Engine
from jobs.settings import Settings
from jobs.table_files import write_partitioned
from schemas import account
from transforms.history import PastRules, compared, silent_hours, unusual_hours, usual_hours

Hours = Mapping[int | None, int | None]

FILES = "landed files of a source that usually sends some"
VOLUME = "records of the night as a share of the usual number"
MISSING = "landing hours without a file that the source usually has"
HOURS = "hours with far fewer or far more records than usual"
SILENCE = "hours without a record at the end of the night"
USERS = "share of events without user_id"
RULES = PastRules(weeks=4, weekdays_minimum=2, nights=3, nights_minimum=5, records_minimum=10)
DAY = dict.fromkeys(range(24), 200)


def before(*days: int) -> list[dt.date]:
    return [NIGHT - dt.timedelta(days=day) for day in days]


TWO_WEEKS = before(*range(1, 15))


def each(nights: Iterable[dt.date], hours: Hours) -> dict[dt.date, Hours]:
    return dict.fromkeys(nights, hours)


def landed(date: dt.date, hours: Hours, source: str = "sunbird") -> Rows:
    """One file per landing hour, with so many records; None for one that could not be read."""
    return [
        {"source": source, "landing_date": date, "landing_hour": hour, "file": f"{source}/{date}/{hour}", "records": records}
        | {"status": "unreadable" if records is None else "done"}
        for hour, records in hours.items()
    ]


def events(date: dt.date, count: int, *, without_user: int = 0, source: str = "sunbird") -> Rows:
    return [
        {"source": source, "landing_date": date, "event_id": f"{date} {number}", "user_id": None if number < without_user else "u"}
        for number in range(count)
    ]


def files(root: Path, nights: Mapping[dt.date, Hours], source: str = "sunbird", **run: Any) -> None:
    publish(root, {"files": [row for date, hours in nights.items() for row in landed(date, hours, source)]}, **run)


def asked(tmp_path: Path, text: str = "") -> Settings:
    """The settings with this under `quality`, and a landing zone and a lake of their own."""
    conf = tmp_path / "conf.yaml"
    conf.write_text("{quality: {pages: false, " + text + "}, ingest: {nights_back: 0}}")
    (tmp_path / "landing").mkdir(exist_ok=True)
    return settings.load(file=conf).at(tmp_path / "landing", tmp_path / "lake")


def found(given: Settings, night: dt.date = NIGHT, sources: Iterable[str] = ("sunbird",)) -> list[Finding]:
    state = NewState(Lake.open(given.paths.lake), given.paths.lake, {})
    return list(history.findings(state, list(sources), given.quality, night))


def noticed(findings: Iterable[Finding]) -> dict[str, float | None]:
    """What was observed where it is out of bounds."""
    return {one.expectation: one.observed for one in findings if not _holds(one)}


def _holds(one: Finding) -> bool:
    assert one.observed is not None
    return (one.minimum is None or one.observed >= one.minimum) and (one.maximum is None or one.observed <= one.maximum)


# Which nights a night is compared with


def test_a_night_is_compared_with_the_same_weekday_of_the_weeks_before() -> None:
    every_night = before(*range(-20, 60))
    assert compared(NIGHT, every_night, every_night, RULES) == before(28, 21, 14, 7)


def test_with_too_few_of_the_same_weekday_it_is_compared_with_the_last_nights_that_the_lake_holds() -> None:
    held = before(1, 3, 4, 5, 7, 9)
    assert compared(NIGHT, held, held, RULES) == before(4, 3, 1)
    assert compared(NIGHT, [*held, *before(14)], held, RULES) == before(14, 7)


def test_with_too_few_nights_it_is_compared_with_none() -> None:
    assert compared(NIGHT, before(1, 2, 3, 4), before(1, 2, 3, 4), RULES) == []
    assert compared(NIGHT, before(1, 2, 3, 4, 5), [], RULES) == before(3, 2, 1)
    assert compared(NIGHT, [], before(*range(1, 40)), RULES) == []


def test_nights_before_a_source_began_do_not_count_and_nights_without_it_since_do() -> None:
    held = before(*range(1, 40))
    assert compared(NIGHT, before(4), held, RULES) == []
    assert compared(NIGHT, before(8), held, RULES) == before(3, 2, 1)
    assert compared(NIGHT, before(15), held, RULES) == before(14, 7)


def test_what_is_usual_of_an_hour_is_its_discrete_median_a_missing_one_being_nothing() -> None:
    past = [{0: 10, 1: 90, 2: 50}, {0: 30, 1: 9}, {0: 20, 2: 70}, {0: 40, 1: 9}]
    assert usual_hours(past, records_minimum=10) == {0: 20}
    assert usual_hours(past, records_minimum=0) == {0: 20, 1: 9}


def test_an_hour_is_unusual_only_beyond_its_bounds() -> None:
    hours = {0: 50, 1: 49, 2: 300, 3: 301}
    assert unusual_hours(hours, dict.fromkeys(range(5), 100), 0.5, 3) == [1, 3, 4]
    assert unusual_hours(hours, dict.fromkeys(range(5), 100), None, None) == []


def test_silence_runs_from_the_last_hour_with_records() -> None:
    assert silent_hours(NIGHT, {0: 5, 23: 1}, NIGHT) == 0
    assert silent_hours(NIGHT, {4: 5, 23: 0}, NIGHT) == 19
    assert silent_hours(NIGHT - dt.timedelta(days=1), {23: 1}, NIGHT) == 24
    assert silent_hours(NIGHT, {}, NIGHT) == 23


# Volume


def test_a_night_like_those_before_it_is_no_alarm(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    findings = found(given)
    assert {one.expectation: one.observed for one in findings} == {FILES: 24, VOLUME: 1, MISSING: 0, HOURS: 0, SILENCE: 0}
    assert noticed(findings) == {}


def test_an_hour_that_is_missing_is_noticed(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY) | {NIGHT: {hour: 200 for hour in range(24) if hour != 9}})
    assert noticed(found(given)) == {MISSING: 1}


def test_an_hour_with_too_little_or_too_much_and_one_that_could_not_be_read_are_noticed(tmp_path: Path) -> None:
    given = asked(tmp_path, "hour_volume: {hours: 0}")
    files(given.paths.lake, each(TWO_WEEKS, DAY) | {NIGHT: DAY | {3: 99, 4: 601, 5: None, 6: 100, 7: 600}})
    assert noticed(found(given)) == {HOURS: 3}


def test_a_few_hours_may_be_unusual(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY) | {NIGHT: DAY | {3: 99, 4: 601, 5: None}})
    assert noticed(found(given)) == {}


def test_an_hour_that_usually_has_few_records_may_be_missing(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY | {9: 199}) | {NIGHT: {hour: 200 for hour in range(24) if hour != 9}})
    assert noticed(found(given)) == {}


@pytest.mark.parametrize(("records", "share"), [(99, 0.495), (601, 3.005)])
def test_a_night_with_far_fewer_or_far_more_records_is_noticed(tmp_path: Path, records: int, share: float) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, {None: 200}) | {NIGHT: {None: records}})
    assert noticed(found(given)) == {VOLUME: share}


WEEKEND = dict.fromkeys(range(10), 20)


def a_quiet_weekend_in(days: Iterable[dt.date], weekend: Hours) -> dict[dt.date, Hours]:
    return {date: weekend if date.weekday() >= 5 else DAY for date in days}


@pytest.mark.parametrize("weekend", [WEEKEND, {}])
def test_a_quiet_weekend_is_no_alarm(tmp_path: Path, weekend: Hours) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, a_quiet_weekend_in(before(*range(-2, 9)), weekend))
    files(given.paths.lake, each(before(*range(-2, 9)), DAY), "contentsquare")  # the lake holds the weekends
    for days in (-1, -2):
        assert noticed(found(given, *before(days))) == {}


def test_a_friday_like_a_weekend_is_an_alarm(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, a_quiet_weekend_in(before(*range(1, 9)), WEEKEND) | {NIGHT: WEEKEND})
    assert noticed(found(given)) == {MISSING: 14, VOLUME: 200 / 4800, HOURS: 24}


def test_a_source_that_stops_is_noticed(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY))
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY), "contentsquare")
    assert noticed(found(given)) == {FILES: 0, VOLUME: 0, MISSING: 24, HOURS: 24, SILENCE: 24}
    assert noticed(found(given, sources=["contentsquare"])) == {}


def test_a_source_that_was_not_read_by_the_run_is_not_judged(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY))
    assert found(given, sources=["contentsquare"]) == []


def test_too_short_a_past_is_no_alarm(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(before(*range(1, 7)), DAY))
    assert found(given) == []
    files(given.paths.lake, {before(7)[0]: DAY})
    assert noticed(found(given)) == {FILES: 0, VOLUME: 0, MISSING: 24, HOURS: 24, SILENCE: 24}


def test_a_new_source_has_no_past_in_an_old_lake(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(before(*range(1, 30)), DAY))
    files(given.paths.lake, {before(2)[0]: DAY, NIGHT: {4: 5}}, "contentsquare")
    assert found(given, sources=["contentsquare"]) == []


def test_later_nights_have_no_say(tmp_path: Path) -> None:
    given = asked(tmp_path, "hour_volume: {hours: 0}")
    files(given.paths.lake, each(TWO_WEEKS, DAY) | {NIGHT: DAY | {3: 10}})
    findings = found(given)
    files(given.paths.lake, {date: {3: 1} for date in before(*range(-30, 0))}, night=NIGHT + dt.timedelta(days=30))
    assert found(given) == findings
    assert noticed(findings) == {HOURS: 1}


def test_what_the_run_has_staged_counts_and_what_it_replaces_does_not(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    lake = Lake.open(given.paths.lake)
    whole = [row | {"ruleset": "r", "run_id": "another"} for row in landed(NIGHT, {2: 10})]
    rows = pa.Table.from_pylist(whole, schema=account.FILES.arrow.remove_metadata())
    staged = write_partitioned(account.FILES, rows, tmp_path / "staged" / "files")
    removed = [file for file in lake.files("files") if file.partition["landing_date"] == NIGHT.isoformat()]
    state = NewState(lake, tmp_path / "staged", {"files": Change(staged, removed)})
    observed = noticed(history.findings(state, ["sunbird"], given.quality, NIGHT))
    assert observed == {MISSING: 23, VOLUME: 10 / 4800, HOURS: 24}


# Freshness


def test_a_source_that_fell_silent_in_the_night_is_noticed_by_a_tighter_bound(tmp_path: Path) -> None:
    given = asked(tmp_path, "missing_hours: {maximum: null}, hour_volume: {minimum: null}, silent_hours: {maximum: 6}")
    files(given.paths.lake, each(TWO_WEEKS, DAY) | {NIGHT: dict.fromkeys(range(17), 200)})
    assert noticed(found(given)) == {SILENCE: 7}
    files(given.paths.lake, {NIGHT: {17: 1}})
    assert noticed(found(given)) == {}


def test_files_without_records_do_not_break_the_silence(tmp_path: Path) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(before(*range(2, 15)), {12: 5}) | {before(1)[0]: {12: None}, NIGHT: {12: 0}})
    assert noticed(found(given)) == {SILENCE: 2 * 24 + 11}


# Nulls


def test_a_column_that_loses_its_values_is_noticed(tmp_path: Path) -> None:
    given = asked(tmp_path)
    past = [row for date in TWO_WEEKS for row in events(date, 200, without_user=40)]
    publish(given.paths.lake, {"events": [*past, *events(NIGHT, 200, without_user=61)]})
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    (finding,) = [one for one in found(given) if not _holds(one)]
    assert (finding.table, finding.column, finding.source, finding.observed) == ("events", "user_id", "sunbird", 0.305)
    assert (finding.expectation, finding.threshold) == (USERS, "at most 0.3")


def test_a_column_with_as_many_nulls_as_ever_is_no_alarm(tmp_path: Path) -> None:
    given = asked(tmp_path)
    past = [row for date in TWO_WEEKS for row in events(date, 200, without_user=40)]
    publish(given.paths.lake, {"events": [*past, *events(NIGHT, 200, without_user=60)]})
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    shares = {one.expectation: one.observed for one in found(given) if one.table == "events"}
    assert shares == {USERS: 0.3} | {f"share of events without {column}": 1 for column in ("device_id", "session_key", "page")}
    assert noticed(found(given)) == {}


def test_a_night_of_few_events_tells_nothing_of_what_is_usual(tmp_path: Path) -> None:
    given = asked(tmp_path)
    few, many = before(7)[0], before(14)[0]
    past = [*events(few, 199), *events(many, 200, without_user=200)]
    publish(given.paths.lake, {"events": [*past, *events(NIGHT, 200, without_user=200)]})
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    assert noticed(found(given)) == {}


def test_the_nulls_of_a_few_events_tell_nothing(tmp_path: Path) -> None:
    given = asked(tmp_path)
    past = [row for date in TWO_WEEKS for row in events(date, 200)]
    publish(given.paths.lake, {"events": [*past, *events(NIGHT, 199, without_user=199)]})
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    assert [one for one in found(given) if one.table == "events"] == []


# Settings


def test_a_source_can_be_asked_for_something_else(tmp_path: Path) -> None:
    text = "night_volume: {minimum: 0.6}, sources: {sunbird: {night_volume: {minimum: 0.1, severity: critical}, past: {weeks: 2}}}"
    given = asked(tmp_path, text)
    night = each(TWO_WEEKS, {None: 1000}) | {NIGHT: {None: 400}}
    for source in ("sunbird", "contentsquare"):
        files(given.paths.lake, night, source)
    findings = found(given, sources=["sunbird", "contentsquare"])
    volumes = {one.source: (one.minimum, one.maximum, one.severity, _holds(one)) for one in findings if one.expectation == VOLUME}
    assert volumes == {"sunbird": (0.1, 3, "critical", True), "contentsquare": (0.6, 3, "warning", False)}
    assert (given.quality.of("sunbird").past.weeks, given.quality.of("sunbird").past.nights) == (2, 7)
    assert given.quality.of("homepagevisit") is given.quality


def test_a_bound_without_ends_is_not_asked_for(tmp_path: Path) -> None:
    given = asked(tmp_path, "sources: {sunbird: {landed_files: {minimum: null}}}, hour_volume: {minimum: null, maximum: null}")
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY))
    assert {one.expectation for one in found(given)} == {VOLUME, MISSING, SILENCE}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources: {facebook: {past: {weeks: 1}}}", "quality.sources is wrong (no source is called facebook, there are activity_stream"),
        ("sources: {sunbird: {late: {maximum: 1}}}", "unknown key quality.sources.sunbird.late:"),
        ("sources: {sunbird: {past: {weeks: many}}}", "quality.sources.sunbird.past.weeks is wrong"),
        ("sources: {sunbird: 3}", "quality.sources.sunbird is wrong"),
        ("sources: [sunbird]", "quality.sources is wrong"),
        ("null_rates: {columns: [flags]}", "quality.null_rates.columns is wrong (flags is no column of events whose nulls are counted)"),
        ("null_rates: {columns: [usr_id]}", "quality.null_rates.columns is wrong (usr_id is no column"),
        ("past: {days: 3}", "unknown key quality.past.days:"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        asked(tmp_path, text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


# A night on which nothing landed at all


def run_silent_night(given: Settings) -> Any:
    with Engine(given, Progress(quiet=True)) as engine:
        return run_night(engine, given, NIGHT, sources=["sunbird"], progress=Progress(quiet=True))


def test_a_night_without_a_file_of_any_source_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(TWO_WEEKS, DAY), night=None)
    outcome = run_silent_night(given)
    assert (outcome.published, outcome.exit_code, outcome.checks) == (False, 0, 5)
    assert noticed(outcome.failed) == {FILES: 0, VOLUME: 0, MISSING: 24, HOURS: 24, SILENCE: 24}
    nights.show(outcome)
    assert "2026-11-20: nothing has landed\nwarning: files: landed files of" in capfd.readouterr().out
    results = Lake.open(given.paths.lake).arrow("quality_results").to_pylist()
    assert {row["expectation"]: (row["source"], row["passed"], row["threshold"]) for row in results}[FILES] == (
        "sunbird",
        False,
        "at least 1",
    )
    assert len(results) == 5


def test_a_night_without_a_file_stops_where_the_settings_say_so(tmp_path: Path) -> None:
    given = asked(tmp_path, "landed_files: {severity: critical}")
    files(given.paths.lake, each(TWO_WEEKS, DAY), night=None)
    with pytest.raises(CheckFailedError, match="landed files of a source that usually sends some"):
        run_silent_night(given)


def test_a_night_that_usually_lands_nothing_is_no_alarm(tmp_path: Path) -> None:
    given = asked(tmp_path)
    workdays = [date for date in before(*range(-1, 15)) if date.weekday() < 4]
    files(given.paths.lake, each(workdays, DAY), night=None)
    for friday in before(14, 7):
        publish(given.paths.lake, {}, night=friday)  # run, and nothing had landed
    assert run_silent_night(given).failed == []


# What status says


def missing_hours(capfd: pytest.CaptureFixture[str], given: Settings) -> dict[str, str]:
    """Per night what the page says of sunbird."""
    capfd.readouterr()
    assert status.show(given) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines() if " sunbird " in line]
    return {row[0]: " ".join(row[11:]) for row in rows}


def test_status_names_the_hours_that_are_missing_and_the_nights_that_a_source_did_not_send(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = asked(tmp_path)
    files(given.paths.lake, each(before(*range(2, 15)), {4: 200, 8: 200, 9: 200, 20: 199}) | {before(1)[0]: {8: 10}})
    files(given.paths.lake, each([*TWO_WEEKS, NIGHT], DAY), "contentsquare")
    shown = missing_hours(capfd, given)
    assert (shown.pop("2026-11-19"), shown.pop("2026-11-20")) == ("04 09", "04 08 09")
    assert list(shown.values()) == [""] * 13

"""The files and records of a night, compared with the nights before it: which differences are reported, and which are allowed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest
from nights_before import (
    EXPECTED_FILES,
    FULL_DAY,
    IRREGULAR_SOURCE,
    MISSING_HOURS,
    NIGHT_VOLUME,
    QUIET_DAY,
    SILENT_HOURS,
    TWO_WEEKS,
    UNUSUAL_HOURS,
    USUAL_FILES,
    Hours,
    check_night,
    configure,
    file_rows,
    nights_before,
    out_of_bounds,
    publish_files,
    same_hours,
    with_weekends,
)
from quiet_runs import run_quietly
from tiny_lake import NIGHT, publish

from jobs import changed_partitions
from jobs.commands import run_nights
from jobs.errors import CheckFailedError
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.night import Outcome
from jobs.quality import baseline
from jobs.settings import Settings
from schemas import bookkeeping

# --- volume


def test_a_night_like_the_nights_before_it_is_within_all_bounds(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    findings = check_night(settings)

    assert {finding.expectation: finding.observed for finding in findings} == {
        EXPECTED_FILES: 24,
        NIGHT_VOLUME: 1,
        MISSING_HOURS: 0,
        UNUSUAL_HOURS: 0,
        SILENT_HOURS: 0,
    }
    assert out_of_bounds(findings) == {}


def test_a_missing_hour_is_reported(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY) | {NIGHT: {hour: 200 for hour in range(24) if hour != 9}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {MISSING_HOURS: 1}


def test_hours_with_too_few_or_too_many_records_and_an_unreadable_hour_are_reported(tmp_path: Path) -> None:
    settings = configure(tmp_path, "hour_volume: {hours: 0}")
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY) | {NIGHT: FULL_DAY | {3: 99, 4: 601, 5: None, 6: 100, 7: 600}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {UNUSUAL_HOURS: 3}


def test_a_few_unusual_hours_are_allowed(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY) | {NIGHT: FULL_DAY | {3: 99, 4: 601, 5: None}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {}


def test_a_missing_hour_that_usually_has_few_records_is_allowed(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY | {9: 199}) | {NIGHT: {hour: 200 for hour in range(24) if hour != 9}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {}


@pytest.mark.parametrize(("records", "share"), [(99, 0.495), (601, 3.005)])
def test_a_night_with_far_fewer_or_far_more_records_is_reported(tmp_path: Path, records: int, share: float) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, {None: 200}) | {NIGHT: {None: records}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {NIGHT_VOLUME: share}


@pytest.mark.parametrize("weekend", [QUIET_DAY, {}])
def test_a_quiet_weekend_like_the_last_one_is_within_all_bounds(tmp_path: Path, weekend: Hours) -> None:
    settings = configure(tmp_path, "" if weekend else IRREGULAR_SOURCE)
    publish_files(settings, with_weekends(nights_before(*range(-2, 9)), weekend))
    publish_files(settings, same_hours(nights_before(*range(-2, 9)), FULL_DAY), "contentsquare")  # the lake holds the weekends
    for days in (-1, -2):
        findings = check_night(settings, *nights_before(days))

        assert out_of_bounds(findings) == {}


def test_a_friday_as_quiet_as_a_weekend_is_reported(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, with_weekends(nights_before(*range(1, 9)), QUIET_DAY) | {NIGHT: QUIET_DAY})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {MISSING_HOURS: 14, NIGHT_VOLUME: 200 / 4800, UNUSUAL_HOURS: 24}


def test_a_source_that_stops_is_one_finding(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY))
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY), "contentsquare")

    findings = check_night(settings)

    assert out_of_bounds(findings) == {EXPECTED_FILES: 0}

    findings = check_night(settings, sources=["contentsquare"])

    assert out_of_bounds(findings) == {}


def test_a_source_that_stops_is_still_reported_by_a_critical_check(tmp_path: Path) -> None:
    settings = configure(tmp_path, "silent_hours: {severity: critical}")
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY))

    findings = check_night(settings)

    assert out_of_bounds(findings) == {EXPECTED_FILES: 0, SILENT_HOURS: 24}


def test_an_irregular_source_that_stops_is_compared_with_its_own_past(tmp_path: Path) -> None:
    settings = configure(tmp_path, IRREGULAR_SOURCE)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY))
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY), "contentsquare")

    findings = check_night(settings)

    assert out_of_bounds(findings) == {USUAL_FILES: 0, NIGHT_VOLUME: 0, MISSING_HOURS: 24, UNUSUAL_HOURS: 24, SILENT_HOURS: 24}

    findings = check_night(settings, sources=["contentsquare"])

    assert out_of_bounds(findings) == {}


def test_a_source_that_the_run_did_not_read_is_not_checked(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY))
    assert check_night(settings, sources=["contentsquare"]) == []


def test_a_source_with_too_few_nights_is_not_compared(tmp_path: Path) -> None:
    settings = configure(tmp_path, IRREGULAR_SOURCE)
    publish_files(settings, same_hours(nights_before(*range(1, 7)), FULL_DAY))
    assert check_night(settings) == []
    publish_files(settings, {nights_before(7)[0]: FULL_DAY})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {USUAL_FILES: 0, NIGHT_VOLUME: 0, MISSING_HOURS: 24, UNUSUAL_HOURS: 24, SILENT_HOURS: 24}


def test_a_new_source_in_an_old_lake_is_not_compared(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(nights_before(*range(1, 30)), FULL_DAY))
    publish_files(settings, {nights_before(2)[0]: FULL_DAY, NIGHT: {4: 5}}, "contentsquare")
    assert {finding.expectation for finding in check_night(settings, sources=["contentsquare"])} == {EXPECTED_FILES}

    findings = check_night(settings, sources=["contentsquare"])

    assert out_of_bounds(findings) == {}


def test_only_a_source_that_landed_on_an_earlier_night_is_expected(tmp_path: Path) -> None:
    settings = configure(tmp_path, "sources: {homepagevisit: {irregular: true}, activity_stream: {landed_files: {minimum: null}}}")
    for source in ("sunbird", "homepagevisit", "activity_stream"):
        publish_files(settings, {nights_before(1)[0]: {4: 5}}, source)
    publish_files(settings, {nights_before(-1)[0]: {4: 5}}, "contentsquare")  # a later night has no say
    sources = ["sunbird", "homepagevisit", "activity_stream", "contentsquare"]
    assert [(finding.source, finding.observed, finding.severity) for finding in check_night(settings, sources=sources)] == [
        ("sunbird", 0, "warning")
    ]


def test_later_nights_do_not_change_the_findings(tmp_path: Path) -> None:
    settings = configure(tmp_path, "hour_volume: {hours: 0}")
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY) | {NIGHT: FULL_DAY | {3: 10}})

    findings = check_night(settings)

    publish_files(settings, {date: {3: 1} for date in nights_before(*range(-30, 0))}, night=NIGHT + dt.timedelta(days=30))
    assert check_night(settings) == findings
    assert out_of_bounds(findings) == {UNUSUAL_HOURS: 1}


def test_staged_files_count_and_the_files_that_they_replace_do_not(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))
    lake = Lake.open(settings.paths.lake)
    whole = [row | {"ruleset": "r", "run_id": "another"} for row in file_rows(NIGHT, {2: 10})]
    rows = pa.Table.from_pylist(whole, schema=bookkeeping.FILES.arrow.remove_metadata())
    staged = write_partitioned(bookkeeping.FILES, rows, lake.begin("another"))
    removed = [file for file in lake.files("files") if file.partition["landing_date"] == NIGHT.isoformat()]
    state = NewState(lake, {"files": Change(staged, removed)})
    observed = out_of_bounds(baseline.findings(state, ["sunbird"], settings.quality, NIGHT))
    assert observed == {MISSING_HOURS: 23, NIGHT_VOLUME: 10 / 4800, UNUSUAL_HOURS: 24}


# --- freshness


def test_a_source_that_falls_silent_during_the_night_is_reported_by_a_tighter_bound(tmp_path: Path) -> None:
    settings = configure(tmp_path, "missing_hours: {maximum: null}, hour_volume: {minimum: null}, silent_hours: {maximum: 6}")
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY) | {NIGHT: dict.fromkeys(range(17), 200)})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {SILENT_HOURS: 7}

    publish_files(settings, {NIGHT: {17: 1}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {}


def test_files_without_records_do_not_end_the_silence(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(nights_before(*range(2, 15)), {12: 5}) | {nights_before(1)[0]: {12: None}, NIGHT: {12: 0}})

    findings = check_night(settings)

    assert out_of_bounds(findings) == {SILENT_HOURS: 2 * 24 + 11}


# --- nights on which nothing landed at all


def run_silent_night(settings: Settings) -> Outcome:
    """Run the night, on which no file landed, for sunbird, whose earlier files are still there."""
    for partition in changed_partitions.partitions(Lake.open(settings.paths.lake), ["sunbird"]):
        folder = settings.paths.landing / "sunbird" / f"date={partition.landing_date}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.json").touch()
    return run_quietly(settings, NIGHT, sources=["sunbird"])


def test_a_night_without_a_file_of_any_source_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = configure(tmp_path)
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY), night=None)

    outcome = run_silent_night(settings)

    assert (outcome.published, outcome.exit_code, outcome.checks, outcome.missing) == (False, 3, 1, ["sunbird"])
    assert out_of_bounds(outcome.failed) == {EXPECTED_FILES: 0}

    run_nights.show(outcome)

    output = capfd.readouterr().out
    assert output.startswith("2026-11-20: nothing has landed\ndid not land: sunbird of 2026-11-20: land its files")
    assert "warning" not in output
    results = Lake.open(settings.paths.lake).arrow("quality_results").to_pylist()
    assert {row["expectation"]: (row["source"], row["passed"], row["threshold"]) for row in results}[EXPECTED_FILES] == (
        "sunbird",
        False,
        "at least 1",
    )
    assert len(results) == 1


def test_a_night_of_which_nothing_is_expected_is_reported_as_such(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = configure(tmp_path)
    publish_files(settings, {NIGHT + dt.timedelta(days=1): FULL_DAY}, night=None)

    outcome = run_silent_night(settings)

    assert (outcome.published, outcome.exit_code, outcome.checks) == (False, 0, 0)

    run_nights.show(outcome)

    assert capfd.readouterr().out == "2026-11-20: nothing has landed, and nothing is expected\n"


def test_a_night_without_a_file_stops_the_run_if_the_check_is_critical(tmp_path: Path) -> None:
    settings = configure(tmp_path, "landed_files: {severity: critical}")
    publish_files(settings, same_hours(TWO_WEEKS, FULL_DAY), night=None)

    with pytest.raises(CheckFailedError, match="landed files of an expected source"):
        run_silent_night(settings)


def test_a_weekday_on_which_an_irregular_source_usually_lands_nothing_is_within_all_bounds(tmp_path: Path) -> None:
    settings = configure(tmp_path, IRREGULAR_SOURCE)
    workdays = [date for date in nights_before(*range(-1, 15)) if date.weekday() < 4]
    publish_files(settings, same_hours(workdays, FULL_DAY), night=None)
    for friday in nights_before(14, 7):
        publish(settings.paths.lake, {}, night=friday)  # run, and nothing had landed

    outcome = run_silent_night(settings)

    assert outcome.failed == []

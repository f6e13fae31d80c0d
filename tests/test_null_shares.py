"""The share of nulls in the columns of a night's events, compared with the nights before it."""

from __future__ import annotations

from pathlib import Path

from nights_before import (
    EVENTS_WITHOUT_USER,
    FULL_DAY,
    TWO_WEEKS,
    check_night,
    configure,
    event_rows,
    is_within_bounds,
    nights_before,
    out_of_bounds,
    publish_files,
    same_hours,
)
from tiny_lake import NIGHT, publish


def test_a_column_with_more_nulls_than_usual_is_reported(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    past = [row for date in TWO_WEEKS for row in event_rows(date, 200, without_user=40)]
    publish(settings.paths.lake, {"events": [*past, *event_rows(NIGHT, 200, without_user=61)]})
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    (finding,) = [finding for finding in check_night(settings) if not is_within_bounds(finding)]

    assert (finding.table, finding.column, finding.source, finding.observed) == ("events", "user_id", "sunbird", 0.305)
    assert (finding.expectation, finding.threshold) == (EVENTS_WITHOUT_USER, "at most 0.3")


def test_a_column_with_as_many_nulls_as_usual_is_within_bounds(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    past = [row for date in TWO_WEEKS for row in event_rows(date, 200, without_user=40)]
    publish(settings.paths.lake, {"events": [*past, *event_rows(NIGHT, 200, without_user=60)]})
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    findings = check_night(settings)

    shares = {finding.expectation: finding.observed for finding in findings if finding.table == "events"}
    assert shares == {EVENTS_WITHOUT_USER: 0.3} | {
        f"share of events without {column}": 1 for column in ("device_id", "session_key", "page")
    }

    assert out_of_bounds(findings) == {}


def test_a_night_of_few_events_does_not_count_for_the_usual_share_of_nulls(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    few, many = nights_before(7)[0], nights_before(14)[0]
    past = [*event_rows(few, 199), *event_rows(many, 200, without_user=200)]
    publish(settings.paths.lake, {"events": [*past, *event_rows(NIGHT, 200, without_user=200)]})
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    findings = check_night(settings)

    assert out_of_bounds(findings) == {}


def test_the_nulls_of_a_night_of_few_events_are_not_checked(tmp_path: Path) -> None:
    settings = configure(tmp_path)
    past = [row for date in TWO_WEEKS for row in event_rows(date, 200)]
    publish(settings.paths.lake, {"events": [*past, *event_rows(NIGHT, 199, without_user=199)]})
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    findings = check_night(settings)

    assert [finding for finding in findings if finding.table == "events"] == []

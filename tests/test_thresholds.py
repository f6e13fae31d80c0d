"""Thresholds of the comparison with earlier nights: for all sources, for one source, and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights_before import (
    FULL_DAY,
    MISSING_HOURS,
    NIGHT_VOLUME,
    SILENT_HOURS,
    TWO_WEEKS,
    check_night,
    configure,
    is_within_bounds,
    publish_files,
    same_hours,
)
from tiny_lake import NIGHT

from jobs.errors import SettingsError


def test_a_source_can_have_thresholds_of_its_own(tmp_path: Path) -> None:
    quality = "night_volume: {minimum: 0.6}, sources: {sunbird: {night_volume: {minimum: 0.1, severity: critical}, past: {weeks: 2}}}"
    settings = configure(tmp_path, quality)
    nights = same_hours(TWO_WEEKS, {None: 1000}) | {NIGHT: {None: 400}}
    for source in ("sunbird", "contentsquare"):
        publish_files(settings, nights, source)

    findings = check_night(settings, sources=["sunbird", "contentsquare"])

    volumes = {
        finding.source: (finding.minimum, finding.maximum, finding.severity, is_within_bounds(finding))
        for finding in findings
        if finding.expectation == NIGHT_VOLUME
    }
    assert volumes == {"sunbird": (0.1, 3, "critical", True), "contentsquare": (0.6, 3, "warning", False)}
    assert (settings.quality.of("sunbird").past.weeks, settings.quality.of("sunbird").past.nights) == (2, 7)
    assert settings.quality.of("homepagevisit") is settings.quality


def test_a_check_without_bounds_is_off(tmp_path: Path) -> None:
    settings = configure(tmp_path, "sources: {sunbird: {landed_files: {minimum: null}}}, hour_volume: {minimum: null, maximum: null}")
    publish_files(settings, same_hours([*TWO_WEEKS, NIGHT], FULL_DAY))

    findings = check_night(settings)

    assert {finding.expectation for finding in findings} == {NIGHT_VOLUME, MISSING_HOURS, SILENT_HOURS}


@pytest.mark.parametrize(
    ("quality", "message"),
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
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, quality: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        configure(tmp_path, quality)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)

"""Bounds of times that differ per source."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import settings as configuration
from jobs.errors import SettingsError
from jobs.rules import rulesets_of, time_rules
from jobs.settings import Settings

HOUR_MS = 3_600_000


def load(folder: Path, text: str) -> Settings:
    file = folder / "conf.yaml"
    file.write_text(text)
    return configuration.load(file=file)


def test_a_source_can_be_late_after_other_hours_than_the_rest(tmp_path: Path) -> None:
    settings = load(tmp_path, "time: {late_after_hours: 12, sources: {sunbird: {late_after_hours: 48}}}")
    assert time_rules(settings, "sunbird").late_ms == 48 * HOUR_MS
    assert time_rules(settings, "contentsquare").late_ms == 12 * HOUR_MS
    assert time_rules(settings, "sunbird").past_ms == time_rules(settings, "contentsquare").past_ms


def test_only_the_files_of_a_source_whose_times_differ_are_read_again(tmp_path: Path) -> None:
    settings = load(tmp_path, "time: {sources: {sunbird: {late_after_hours: 48}}}")
    sources = ["contentsquare", "sunbird"]
    before, after = rulesets_of(configuration.load(), sources), rulesets_of(settings, sources)
    assert [source for source in sources if before[source] != after[source]] == ["sunbird"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time: {sources: {moonbird: {late_after_hours: 48}}}", "no source is called moonbird"),
        ("time: {sources: {sunbird: {late_after_hours: -1}}}", "time.sources.sunbird.late_after_hours is wrong"),
        ("time: {sources: {sunbird: {late: 1}}}", "unknown key time.sources.sunbird.late"),
    ],
)
def test_a_wrong_setting_of_a_source_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, text)

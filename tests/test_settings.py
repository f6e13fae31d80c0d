"""Settings that are wrong are refused when they are loaded, in one line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import settings as configuration
from jobs.errors import SettingsError
from jobs.settings import Settings


def load(folder: Path, text: str) -> Settings:
    file = folder / "conf.yaml"
    file.write_text(text)
    return configuration.load(file=file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # numbers that cannot be a time
        ("sessions: {idle_seconds: .inf}", ": sessions.idle_seconds is wrong (input should be"),
        ("sessions: {idle_seconds: .nan}", ": sessions.idle_seconds is wrong (input should be"),
        ("sessions: {idle_seconds: 1.0e+308}", ": sessions.idle_seconds is wrong (input should be less than or equal to"),
        ("sessions: {idle_seconds: 1.0e-9}", ": sessions.idle_seconds is wrong (input should be greater than or equal to 0.001)"),
        ("sessions: {idle_seconds: true}", ": sessions.idle_seconds is wrong (true and false are no numbers)"),
        ("sessions: {tab_tolerance_seconds: .inf}", ": sessions.tab_tolerance_seconds is wrong (input should be"),
        ("workflows: {cut_hours: 1.0e+18}", ": workflows.cut_hours is wrong (input should be"),
        ("time: {client_past_days: 99999999999}", ": time.client_past_days is wrong (input should be"),
        (
            "time: {sources: {sunbird: {late_after_hours: 99999999999}}}",
            ": time.sources.sunbird.late_after_hours is wrong (input should be",
        ),
        ("deduplication: {window_days: 999999999999999999999}", ": deduplication.window_days is wrong (input should be"),
        ("ingest: {nights_back: 99999999999}", ": ingest.nights_back is wrong (input should be"),
        ("retention: {raw: 99999999999}", ": retention.raw is wrong (input should be"),
        ("retention: {raw: true}", ": retention.raw is wrong (true and false are no numbers)"),
        ("maintain: {history_days: 99999999999}", ": maintain.history_days is wrong (input should be"),
        ("storage: {lease_seconds: .inf}", ": storage.lease_seconds is wrong (input should be"),
        # bounds that cannot hold
        ("quality: {acceptance_rate: {minimum: .nan}}", ": quality.acceptance_rate.minimum is wrong (input should be"),
        ("quality: {acceptance_rate: {minimum: 2, maximum: 1}}", ": quality.acceptance_rate is wrong (the minimum is larger than"),
        (
            "quality: {sources: {sunbird: {hour_volume: {minimum: 9}}}}",
            "quality.sources.sunbird.hour_volume is wrong (the minimum is larger",
        ),
        # keys that are there twice
        ("engine: sail\nengine: spark", "has a key twice, engine at line 2: keep one of the two"),
        ("sessions: {idle_seconds: 1, 'idle_seconds': 2}", "has a key twice, idle_seconds at line 1: keep one of the two"),
        # what it should be, in the words of YAML
        ("paths: {lake: null}", ": paths.lake is wrong (a path is a text, such as lake or s3://bucket/lake)"),
        ("time: {sources: {sunbird: 5}}", ": time.sources.sunbird is wrong (it should be a mapping of keys)"),
        ("time: {sources: []}", ": time.sources is wrong (it should be a mapping of keys)"),
        ("funnels: {a: {source: sunbird, steps: 3}}", ": funnels.a.steps is wrong (it should be a list)"),
        ("notify: {url: 'file:///x'}", ": notify.url is wrong (a webhook begins with https:// or http://)"),
        ("spark: {options: {x: [1]}}", ": spark.options.x is wrong (it should be a text, a number, true or false)"),
        ("catalog: {schema: 5}", ": catalog.schema is wrong (it should be a text)"),
        ("privacy: {sources: {sunbird: {rules: {'/edata~2': drop}}}}", "(/edata~2 is no JSON Pointer, such as /edata/query)"),
        ("privacy: {sources: {sunbird: {rules: {'/edata~': drop}}}}", "(/edata~ is no JSON Pointer, such as /edata/query)"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_configuration_that_is_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"conf\.yaml is nested too deeply: "):
        load(tmp_path, "metrics: " + "[" * 20_000)


def test_a_key_may_override_one_that_is_merged_in(tmp_path: Path) -> None:
    settings = load(tmp_path, "sessions: &all {idle_seconds: 4}\nworkflows: {<<: *all, idle_seconds: 3}")
    assert (settings.sessions.idle_seconds, settings.workflows.idle_seconds) == (4, 3)


def test_a_pointer_may_have_the_signs_that_stand_for_others(tmp_path: Path) -> None:
    settings = load(tmp_path, "privacy: {sources: {sunbird: {rules: {'/edata/a~0b~1c~1': drop}}}}")
    assert settings.privacy.sources["sunbird"].rules["/edata/a~0b~1c~1"] == "drop"

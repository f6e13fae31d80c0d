"""The registry of the sources, and the ruleset by which a landed file was read."""

from __future__ import annotations

import dataclasses

import pytest

from transforms.documents.validation import compiled
from transforms.ingest.records import TimeRules
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.privacy.secret_names import SecretNames
from transforms.sources.registry import SOURCES, ruleset


def test_a_source_is_registered_under_its_own_name() -> None:
    assert sorted(SOURCES) == ["activity_stream", "contentsquare", "homepagevisit", "sunbird"]
    assert all(source.name == name for name, source in SOURCES.items())


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_schema_of_a_source_compiles(name: str) -> None:
    assert SOURCES[name].schema_files
    for schema_file in SOURCES[name].schema_files:
        assert compiled(schema_file).is_valid(7) is False


def test_a_ruleset_changes_with_all_that_decides_what_becomes_of_a_file() -> None:
    source, rules = SOURCES["sunbird"], TimeRules()
    rulesets = [
        ruleset(source, rules),
        ruleset(SOURCES["homepagevisit"], rules),
        ruleset(dataclasses.replace(source, version=source.version + 1), rules),
        ruleset(dataclasses.replace(source, schema_files=source.schema_files[1:]), rules),
        ruleset(source, dataclasses.replace(rules, past_ms=1)),
        ruleset(source, rules, line_limit=1),
        ruleset(source, rules, privacy=PrivacyRules(SecretNames(["msisdn"]))),
    ]
    assert len(set(rulesets)) == len(rulesets)
    assert ruleset(source, TimeRules()) == rulesets[0]

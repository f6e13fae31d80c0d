"""An allowlist and hashed ids change what is stored of a record, and no number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import without_pages
from generated_nights import FIRST
from lakes import LANDED, contents
from quiet_runs import run_quietly

from jobs import settings as configuration
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from jobs.settings import Settings, SourcePrivacy
from transforms.sources.registry import SOURCES

IDS = {source: [pointer for pointers in SOURCES[source].ids.values() for pointer in pointers] for source in SOURCES}
# Tables whose rows name no id; in the others ids are texts.
NUMBERS = ("daily_metrics", "files")


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("landing")
    generate(root, FIRST, events=1_200, seed=4, faults=0.1, workers=1)
    return root


def with_rules(landing: Path, lake: Path, **rules: Any) -> Settings:
    settings = without_pages(configuration.load()).at(landing, lake)
    own = {source: settings.privacy.sources[source].model_copy(update=changed) for source, changed in rules.items()}
    return settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"sources": own})})


@pytest.fixture(scope="module")
def plain(landing: Path, spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("plain") / "lake"
    run_quietly(with_rules(landing, lake, **{source: {} for source in SOURCES}), FIRST)
    return lake


def test_an_allowlist_of_all_sources_gives_the_same_sessions_workflows_and_metrics(landing: Path, plain: Path, tmp_path: Path) -> None:
    allowlist = {source: {"default": "drop", "rules": {"/ver": "keep"}} for source in SOURCES}
    run_quietly(with_rules(landing, tmp_path / "lake", **allowlist), FIRST)
    expected, found = contents(plain), contents(tmp_path / "lake")
    # The homepage's modules and edits stand in `properties` alone: their counts are 0.
    for name in set(LANDED) - {"events", "duplicate_events", "rejected_events", "files", "homepage"}:
        assert found[name] == expected[name], name
    assert visits(found["homepage"]) == visits(expected["homepage"])
    documents = Lake.open(tmp_path / "lake").arrow("events", ["properties", "context"]).to_pylist()
    assert {name for row in documents for text in row.values() for name in json.loads(text)} <= {"ver"}


def visits(rows: Iterable[str]) -> Counter[tuple[str, ...]]:
    """The visits of the mart `homepage` by what is a column of events."""
    counted: Counter[tuple[str, ...]] = Counter()
    for row in map(json.loads, rows):
        counted[row["metric_date"], row["wiki"], row["route"]] += row["visits"]
    return counted


def test_hashed_ids_give_as_many_sessions_and_the_same_metrics(
    landing: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_SALT", "some salt")
    rules = {source: {"rules": dict.fromkeys(IDS[source], "hash")} for source in SOURCES}
    assert all(SourcePrivacy.model_validate(own) for own in rules.values())
    run_quietly(with_rules(landing, tmp_path / "lake", **rules), FIRST)
    expected, found = contents(plain), contents(tmp_path / "lake")
    assert found["daily_metrics"] == expected["daily_metrics"]
    for name in ("sessions", "session_events", "workflow_summaries"):
        assert len(found[name]) == len(expected[name]), name
    ids = {row[name] for row in Lake.open(plain).arrow("events", ["user_id", "device_id"]).to_pylist() for name in row} - {None}
    long_ids = {text for text in ids if len(text) > 20}
    assert len(long_ids) > 20
    rows = "\n".join(line for name in found if name != "rejected_events" for line in found[name])
    assert not [text for text in long_ids if text in rows]

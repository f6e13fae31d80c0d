"""A changed rule never mixes with rows that the old rule built: a run stops, and a rebuild builds what depends on the rule again."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, without_pages
from deltalake import DeltaTable, write_deltalake
from lakes import assert_same, contents
from quiet_runs import run_quietly
from tiny_lake import NIGHT, publish

from jobs import settings as configuration
from jobs.commands import run_nights, status
from jobs.errors import LandingError, RulesChangedError
from jobs.lake import table_rows
from jobs.lake.damage import rebuild_command
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.rebuild import rebuild_scope, recorded_rules
from jobs.rules import rulesets_of
from jobs.settings import Settings
from schemas.bookkeeping import RUNS
from transforms.sources.registry import SOURCES

OTHER = NIGHT - dt.timedelta(days=1)
LATER = NIGHT + dt.timedelta(days=30)


def changed(settings: Settings, section: str, **values: Any) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def of_source(settings: Settings, source: str, **bounds: int) -> Settings:
    return changed(settings, "time", sources={source: settings.time.of(source).model_copy(update=bounds)})


def with_files(root: Path, ruleset: str | None = None) -> Settings:
    """A lake that has read a file of Sunbird and one of HomepageVisit, which has been deleted."""
    given = changed(without_pages(configuration.load()).at(root / "landing", root / "lake"), "quality", irregular=True)
    rulesets = rulesets_of(given, SOURCES)
    (given.paths.landing / "sunbird" / f"date={NIGHT}").mkdir(parents=True)
    (given.paths.landing / "sunbird" / f"date={NIGHT}" / "a.json").touch()
    rows = [
        {"source": source, "file": f"{source}/date={NIGHT}/a.json", "records": 3, "ruleset": ruleset or rulesets[source]}
        for source in ("sunbird", "homepagevisit")
    ]
    publish(given.paths.lake, {"files": rows})
    return given


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return with_files(tmp_path_factory.mktemp("lake"))


# A run stops


@pytest.mark.parametrize(
    ("section", "values", "changes"),
    [
        ("sessions", {"derived_silence_minutes": 45}, "sessions.derived_silence_minutes is 45 (was 30)"),
        ("sessions", {"idle_seconds": 0.5}, "sessions.idle_seconds is 0.5 (was 600)"),
        ("workflows", {"break_minutes": 20}, "workflows.break_minutes is 20 (was 30)"),
        ("deduplication", {"window_days": 7}, "deduplication.window_days is 7 (was 30)"),
        ("ingest", {"max_document_bytes": 400}, "ingest.max_document_bytes is 400 (was 10485760)"),
        ("time", {"late_after_hours": 48}, "time.late_after_hours is 48 (was 24)"),
        ("privacy", {"additional_names": ("Device-Serial",)}, "privacy.names: deviceserial added"),
        ("privacy", {"raw": "drop"}, "privacy.raw is drop (was redact)"),
    ],
)
def test_a_run_with_a_changed_rule_names_it_and_the_remedy_and_reads_nothing(
    read_only: Settings, section: str, values: Mapping[str, Any], changes: str
) -> None:
    given = changed(read_only, section, **values)
    before = contents(given.paths.lake)
    with pytest.raises(RulesChangedError) as raised:
        run_quietly(given, NIGHT)
    assert f"built by other rules: {changes}: call `millrace rebuild --lake " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert contents(given.paths.lake) == before
    assert recorded_rules.notes(Lake.open(given.paths.lake), given) == [
        f"the lake was built by other rules: {changes}: call `{rebuild_command(given.paths.lake)}`"
    ]


def test_a_backfill_stops_at_its_first_night(read_only: Settings) -> None:
    given = changed(read_only, "sessions", overlong_hours=12)
    with pytest.raises(RulesChangedError, match=r"sessions\.overlong_hours is 12 \(was 24\)"):
        run_nights.run(given, [OTHER, NIGHT], [], "backfill")


def test_a_bound_of_one_source_is_named_with_it_and_matters_where_the_source_has_landed(read_only: Settings) -> None:
    given = read_only
    with pytest.raises(RulesChangedError, match=r"time\.sources\.sunbird\.late_after_hours is 48 \(was 24\)"):
        run_quietly(of_source(given, "sunbird", late_after_hours=48), NIGHT)
    lake = Lake.open(given.paths.lake)
    assert recorded_rules.for_run(lake, of_source(given, "contentsquare", late_after_hours=48))


def test_a_new_version_of_the_code_that_decides_rows_is_a_changed_rule(read_only: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = read_only
    monkeypatch.setattr(recorded_rules, "METRICS_VERSION", 99)
    with pytest.raises(RulesChangedError, match="the version of Millrace's own rules of metrics is 99"):
        run_quietly(given, NIGHT)


def test_a_changed_funnel_is_named_and_only_the_marts_are_built_again(read_only: Settings) -> None:
    purchase = read_only.funnels["shop_purchase"]
    assert purchase is not None
    shorter = purchase.model_copy(update={"steps": purchase.steps[:2]})
    given = read_only.model_copy(update={"funnels": {**read_only.funnels, "shop_purchase": shorter, "homepage_return": None}})
    with pytest.raises(RulesChangedError, match="the funnel homepage_return was removed; the funnel shop_purchase was changed: call"):
        run_quietly(given, NIGHT)
    scope = rebuild_scope.scope_of(Lake.open(given.paths.lake), given)
    assert (scope.sources, scope.derived, scope.everything) == (frozenset(), frozenset({"marts"}), False)


def test_a_setting_that_decides_no_row_changes_no_rule(settings: Settings) -> None:
    other = changed(settings, "quality", irregular=True)
    other = changed(other, "ingest", nights_back=3, landing_days=30, chunk_lines=7, tasks=2)
    other = changed(changed(other, "maintain", history_days=30), "retention", raw=1)
    other = changed(changed(other, "spark", key_tasks=9, options={}), "sail", processes=1)
    assert recorded_rules.current(other) == recorded_rules.current(settings)


@pytest.mark.parametrize(
    ("section", "values"),
    [("time", {"client_past_days": 1}), ("privacy", {"patterns": ("ip",)}), ("ingest", {"max_document_bytes": 400})],
)
def test_what_makes_files_be_read_again_is_a_recorded_rule(settings: Settings, section: str, values: Mapping[str, Any]) -> None:
    other = changed(settings, section, **values)
    assert rulesets_of(other, SOURCES) != rulesets_of(settings, SOURCES)
    assert recorded_rules.current(other) != recorded_rules.current(settings)


def test_a_lake_without_rows_takes_the_rules_that_come(settings: Settings) -> None:
    run_quietly(settings, NIGHT)
    other = changed(settings, "sessions", idle_seconds=1)
    run_quietly(other, NIGHT)
    assert (recorded_rules.recorded(Lake.open(other.paths.lake)) or {})["sessions.idle_seconds"] == "1"


# Lakes of earlier versions


def forget_rules(lake: Path) -> None:
    """Make `runs` what it was before it recorded rules."""
    rows = Lake.open(lake).arrow(RUNS.name).drop_columns(["rules"])
    shutil.rmtree(lake / RUNS.name)
    write_deltalake(str(lake / RUNS.name), rows)


def test_a_lake_that_does_not_say_its_rules_continues_with_a_warning_and_records_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = changed(with_files(tmp_path), "ingest", landing_days=8)
    forget_rules(settings.paths.lake)
    assert recorded_rules.recorded(Lake.open(settings.paths.lake)) is None
    assert connect(Lake.open(settings.paths.lake)).sql("SELECT DISTINCT rules FROM runs").fetchall() == [(None,)]
    run_quietly(settings, LATER)
    assert "does not say by which rules its rows were built" in capsys.readouterr().err
    status.show(settings)
    assert "does not say by which rules its first rows were built" in capsys.readouterr().out
    with pytest.raises(RulesChangedError, match=r"idle_seconds is 1 \(was 600\)"):
        run_quietly(changed(settings, "sessions", idle_seconds=1), LATER)
    lake = Lake.open(settings.paths.lake)
    rows = [table_rows.read_whole(RUNS, lake.root / RUNS.name / file.path, file.partition) for file in lake.files(RUNS.name)]
    assert sum(part.num_rows for part in rows) == lake.arrow(RUNS.name).num_rows
    comment = next(field for field in DeltaTable(str(lake.root / RUNS.name)).schema().fields if field.name == "rules").metadata
    assert comment == {"comment": RUNS["rules"].description}


def test_a_lake_that_does_not_say_its_rules_but_has_read_files_by_others_is_to_be_rebuilt(tmp_path: Path) -> None:
    given = with_files(tmp_path, ruleset="0" * 64)
    forget_rules(given.paths.lake)
    with pytest.raises(RulesChangedError, match="landed files of homepagevisit, sunbird were read: call `millrace rebuild --lake "):
        run_quietly(given, NIGHT)
    assert rebuild_scope.scope_of(Lake.open(given.paths.lake), given).everything


# A rebuild


@pytest.mark.parametrize(
    ("section", "values"),
    [("deduplication", {"window_days": 7}), ("ingest", {"max_document_bytes": 400}), ("time", {"late_after_hours": 48})],
)
def test_a_rule_of_all_files_or_of_copies_lets_everything_be_built_again(
    read_only: Settings, section: str, values: Mapping[str, Any]
) -> None:
    assert rebuild_scope.scope_of(Lake.open(read_only.paths.lake), changed(read_only, section, **values)).everything


def test_a_rebuild_of_sources_that_have_lost_their_files_asks_only_where_they_are_to_be_read_again(read_only: Settings) -> None:
    with pytest.raises(LandingError, match=f"no landed file left: homepagevisit of {NIGHT}: call with --gone keep"):
        run_nights.rebuild(of_source(read_only, "homepagevisit", late_after_hours=48), None)
    assert rebuild_scope.scope_of(Lake.open(read_only.paths.lake), changed(read_only, "sessions", idle_seconds=1)).sources == frozenset()


def test_rows_that_the_former_rules_built_and_no_landed_file_can_build_anew_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    scope = rebuild_scope.Scope(frozenset(["sunbird"]), frozenset(), "time.sources.sunbird.late_after_hours is 48 (was 24)")
    rebuild_scope.show(scope, [Partition(NIGHT, "sunbird")])
    assert f"rows without landed files stay as the former rules built them: sunbird of {NIGHT}\n" in capsys.readouterr().err


def paths(lake: Path, table: str, **partition: str) -> set[str]:
    return {file.path for file in Lake.open(lake).files(table) if partition.items() <= file.partition.items()}


def test_a_rebuild_builds_what_depends_on_changed_rules_again_and_nothing_else(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = without_pages(configuration.load()).at(tmp_path / "landing", tmp_path / "lake")
    lake = given.paths.lake
    shutil.copytree(demo.landing, given.paths.landing)
    shutil.copytree(demo.lake, lake)
    old = contents(lake)

    # Sessions and workflows are built from the events as they stand, also of landed files that are gone.
    away = given.paths.landing / "contentsquare"
    away.rename(tmp_path / "away")
    events, files = paths(lake, "events"), paths(lake, "files")
    given = changed(changed(given, "sessions", derived_silence_minutes=1), "workflows", break_minutes=1)
    assert run_nights.rebuild(given, None) == 0
    output = capsys.readouterr().err
    assert "changed rules: sessions.derived_silence_minutes is 1 (was 30); workflows.break_minutes is 1 (was 30)" in output
    assert "built again: sessions, workflows, and what depends on them" in output
    assert (paths(lake, "events"), paths(lake, "files")) == (events, files)
    (tmp_path / "away").rename(away)
    new = contents(lake)
    assert {name for name in old if old[name] != new[name]} >= {"sessions", "session_events", "workflow_summaries", "daily_metrics"}

    # Of one source the files are read again; metrics are computed again for every date.
    given = of_source(given, "sunbird", late_after_hours=0)
    monkeypatch.setattr(recorded_rules, "METRICS_VERSION", 99)
    others = {source: paths(lake, "events", source=source) for source in SOURCES}
    assert run_nights.rebuild(given, None) == 0
    assert [source for source in SOURCES if paths(lake, "events", source=source) != others[source]] == ["sunbird"]
    assert contents(lake)["events"] != new["events"]
    metrics = Lake.open(lake).arrow("daily_metrics", ["run_id"])["run_id"].unique()
    assert len(metrics) == 1

    assert not run_quietly(given, demo.nights[-1]).published  # the new rules are the recorded ones
    again = given.at(lake=tmp_path / "again")
    assert run_nights.rebuild(again, None) == 0
    assert_same(lake, again.paths.lake)

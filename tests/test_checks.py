"""The checks of a night: each fires where it must, and not where it must not, from the staged rows to the verdict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_lake
from pyspark.sql import SparkSession
from tiny_lake import NIGHT, RUN

from jobs import checks
from jobs import settings as configuration
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.lake.new_state import NewState
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.landing.zone import Partition
from jobs.quality import gate
from jobs.quality.gate import Finding
from jobs.settings import Settings
from schemas.catalog import TABLES
from schemas.suite import Rule, suite
from schemas.table import Table

SUNBIRD = frozenset({Partition(NIGHT, "sunbird")})


def staged(root: Path, **tables: list[Mapping[str, Any]]) -> NewState:
    """An empty lake, and a run that has staged these rows, whose other columns hold what the contract allows."""
    with Lake.writing(root / "lake", "a test") as lake:
        output = lake.begin(RUN)
        changes = {
            name: Change(added=write_partitioned(TABLES[name], tiny_lake.frame(TABLES[name], rows), output))
            for name, rows in tables.items()
        }
        return NewState(lake, changes)


def failures(spark: SparkSession, state: NewState, settings: Settings) -> list[Finding]:
    """What does not hold, as the gate finds it."""
    assert spark is not None
    observed = checks.observe(Engine(settings, Progress(quiet=True)), state, SUNBIRD, settings.quality, NIGHT, ["sunbird"])
    return [finding for finding in gate.validate(observed, RUN, None) if not finding.passed]


# --- rates against the bounds of the configuration


def rate(metric: str, value: float, source: str = "sunbird") -> Mapping[str, Any]:
    whole = {"dimension": "all", "dimension_value": "all", "value": value, "numerator": value * 1e6, "denominator": 1e6}
    return {"metric_date": NIGHT, "source": source, "metric": metric} | whole


@pytest.mark.parametrize(
    ("metric", "at_the_bound", "beyond"),
    [("accepted_rate", 0.9, 0.89), ("duplicate_rate", 0.2, 0.21), ("late_rate", 0.2, 0.21), ("reported_mismatch_rate", 0.2, 0.21)],
)
def test_a_rate_is_a_warning_beyond_its_bound_and_none_at_it(
    spark: SparkSession, settings: Settings, tmp_path: Path, metric: str, at_the_bound: float, beyond: float
) -> None:
    assert failures(spark, staged(tmp_path / "at", daily_metrics=[rate(metric, at_the_bound)]), settings) == []
    (finding,) = failures(spark, staged(tmp_path / "beyond", daily_metrics=[rate(metric, beyond)]), settings)
    assert (finding.expectation, finding.severity, finding.observed, finding.source) == (metric, "warning", beyond, "sunbird")


def test_a_source_with_a_bound_of_its_own_is_checked_by_it_and_the_others_are_not(spark: SparkSession, tmp_path: Path) -> None:
    conf = tmp_path / "conf.yaml"
    conf.write_text("quality: {pages: false, sources: {sunbird: {acceptance_rate: {minimum: 0.99, severity: critical}}}}")
    state = staged(tmp_path, daily_metrics=[rate("accepted_rate", 0.95), rate("accepted_rate", 0.95, "homepagevisit")])
    (finding,) = failures(spark, state, configuration.load(file=conf))
    assert (finding.source, finding.severity) == ("sunbird", "critical")


def test_a_file_that_could_not_be_read_is_a_warning(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    (finding,) = failures(spark, staged(tmp_path, daily_metrics=[rate("unreadable_files", 1)]), settings)
    assert finding.label == "every landed file can be read (sunbird)"


# --- what every row of a table must meet

RULED = [table for table in checks.CHECKED if table.name != "daily_metrics"]


def good(table: Table) -> Mapping[str, Any]:
    """What a row needs beside the defaults so that every check of its table holds."""
    return {
        "files": {"status": "unreadable", "error": "truncated"},
        "sessions": {"events": 1, "eventssummary": [{"id": "START", "count": 1}]},
        "rejected_events": {"source": "sunbird", "raw": b"{", "raw_length": 1},
        "performance": {"count": 1},
        "transactions": {"transactions": 1},
        "workflow_summaries": {"start_time": 0, "summary_date": dt.date(1970, 1, 1)},
    }.get(table.name, {})


def breaking(rule: Rule, table: Table) -> Mapping[str, Any] | None:
    """A value of the rule's column that breaks it; None where another test breaks the rule."""
    if rule.column is None or rule.kind == "filled":
        return None
    column = table[rule.column]
    if rule.name.endswith("values"):
        return {column.name: "no such value"}
    if "at least" in rule.name:
        return {column.name: (column.minimum or 0) - 1}
    if "at most" in rule.name:
        return {column.name: (column.maximum or 0) + 1}
    return None


@pytest.mark.parametrize("table", RULED, ids=lambda table: table.name)
def test_the_rules_of_a_table_stop_each_row_that_breaks_them_and_no_other(
    spark: SparkSession, settings: Settings, tmp_path: Path, table: Table
) -> None:
    rules = {rule.name: rule for rule in suite(table)}

    def broken(name: str, *rows: Mapping[str, Any]) -> dict[str, str]:
        found = failures(spark, staged(tmp_path / name, **{table.name: list(rows)}), settings)
        return {one.expectation: one.severity for one in found if one.table == table.name and one.expectation in rules}

    assert broken("good", good(table)) == {}
    assert broken("twice", good(table), good(table)) == {f"{', '.join(table.key)} is unique": "critical"}
    bad = {name: values for name, rule in rules.items() if (values := breaking(rule, table)) is not None}
    found = broken("bad", *(good(table) | values for values in bad.values()))
    assert {name: found.get(name) for name in bad} == {name: rules[name].severity for name in bad}


def test_a_required_column_without_a_value_stops_the_night(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    for column in ("event_type", "event_time"):
        state = staged(tmp_path / column, events=[{"source": "sunbird", column: None}])
        found = {finding.expectation: finding for finding in failures(spark, state, settings)}
        filled = found[f"{column} is filled"]
        assert (filled.severity, filled.observed, filled.rows, filled.nulls) == ("critical", 1, 1, 1)


def test_a_refused_record_without_its_bytes_stops_the_night(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    state = staged(tmp_path, rejected_events=[{"source": "sunbird", "raw": None}])
    assert {one.severity for one in failures(spark, state, settings) if one.expectation == "a refused record is kept"} == {"critical"}


# --- the account


def file(accepted: int) -> Mapping[str, Any]:
    counts = {"records": accepted, "accepted": accepted, "duplicates": 0, "rejected": 0, "erased": 0, "blank": 0, "empty": 0}
    return {"source": "sunbird", "status": "done", **counts}


@pytest.mark.parametrize(("accepted", "stops"), [(2, False), (1, True), (3, True)])
def test_files_that_do_not_account_for_the_rows_stop_the_night(
    spark: SparkSession, settings: Settings, tmp_path: Path, accepted: int, stops: bool
) -> None:
    events = [{"source": "sunbird", "event_id": name} for name in "ab"]
    found = {one.label: one for one in failures(spark, staged(tmp_path, events=events, files=[file(accepted)]), settings)}
    account = found.get("the files account for every row (accepted) (sunbird)")
    assert (account is not None) == stops
    assert account is None or (account.severity, account.observed) == ("critical", 1)


def test_sessions_that_count_other_events_than_they_have_stop_the_night(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    members = [{"source": "sunbird", "event_id": name, "session_id": "s"} for name in "ab"]
    for events, off in ((2, None), (3, 1)):
        session = good(TABLES["sessions"]) | {"session_id": "s", "events": events}
        found = failures(spark, staged(tmp_path / str(events), sessions=[session], session_events=members), settings)
        observed = next((one.observed for one in found if one.expectation == "sessions have as many events as they count"), None)
        assert observed == off

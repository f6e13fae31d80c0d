"""Nights over generated data, against the generator's truth and against each other."""

from __future__ import annotations

import datetime as dt
import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyspark
import pytest
from conftest import Demo, plain_environment
from lakes import assert_same, contents
from landing_files import land_file
from pyspark.sql import SparkSession
from quiet_runs import run_quietly

from jobs import checks
from jobs.commands import run_nights
from jobs.errors import CheckFailedError, LandingError
from jobs.generator.generate import generate, truth
from jobs.lake.duckdb_views import connect_to_failed_run
from jobs.lake.tables import Lake
from jobs.quality.gate import Finding
from jobs.settings import Settings

FIRST = dt.date(2026, 11, 18)
CONTRACT = Path(__file__).parents[2] / "shared" / "contract" / "check_contract.py"


def event(mid: str, minute: int, eid: str = "INTERACT", sid: str = "s1", **edata: Any) -> dict[str, Any]:
    at = dt.datetime(2026, 11, 18, 10, minute, tzinfo=dt.UTC)
    return {
        "eid": eid,
        "ets": int(at.timestamp() * 1000),
        "ver": "3.0",
        "mid": mid,
        "actor": {"id": "u1", "type": "User"},
        "context": {"channel": "c1", "env": "home", "sid": sid, "did": "d1"},
        "edata": {"type": "TOUCH", "id": "button", **edata},
    }


def land_documents(settings: Settings, name: str, *documents: Any, night: dt.date = FIRST, hour: int = 10) -> Path:
    lines = "".join((document if isinstance(document, str) else json.dumps(document)) + "\n" for document in documents).encode()
    content = gzip.compress(lines) if name.endswith(".gz") else lines
    return land_file(settings.paths.landing, "sunbird", night, name, content, hour)


def ids(settings: Settings, table: str, column: str = "event_id") -> list[str]:
    return sorted(Lake.open(settings.paths.lake).arrow(table, [column])[column].to_pylist())


# Against the truth


def test_two_generated_nights_hold_what_the_generator_says(demo: Demo) -> None:
    lake = Lake.open(demo.lake)
    files, sessions, metrics = lake.arrow("files"), lake.arrow("sessions"), lake.arrow("daily_metrics")
    for name, part in truth(demo.landing, *demo.nights).sources.items():
        of_source = files.filter(pc.equal(files["source"], name))
        of_sessions = sessions.filter(pc.equal(sessions["source"], name))
        loose = {
            metric: sum(row["value"] for row in metrics.to_pylist() if (row["source"], row["metric"]) == (name, metric))
            for metric in ("orphan_events", "sessionless_events", "keyless_events")
        }
        found = {
            column: pc.sum(of_source[column]).as_py() for column in ("records", "accepted", "duplicates", "rejected", "blank", "empty")
        }
        assert found == {column: getattr(part, column) for column in found}, name
        sums = {column: pc.sum(of_sessions[column]).as_py() for column in ("session_duration", "pageviews", "interactions", "events")}
        assert sums == {column: getattr(part.sessions, column) for column in sums}, name
        assert of_sessions.num_rows == part.sessions.sessions, name
        assert sum(round(spent * 1000) for spent in of_sessions["timespent"].to_pylist() if spent is not None) == part.sessions.timespent, (
            name
        )
        assert loose == {metric: getattr(part.sessions, metric) for metric in loose}, name
        in_sessions = lake.arrow("session_events", ["source"], pc.field("source") == name).num_rows
        assert part.accepted == in_sessions + sum(loose.values()), name
        types = lake.arrow("events", ["event_type"], pc.field("source") == name)["event_type"]
        assert {row["values"]: row["counts"] for row in pc.value_counts(types).to_pylist()} == part.event_types, name
        refused = lake.arrow("rejected_events", ["reason"], pc.field("source") == name)["reason"]
        reasons = {row["values"]: row["counts"] for row in pc.value_counts(refused).to_pylist()}
        assert reasons == {reason: count for reason, count in part.reasons.items() if count}, name


def test_the_lake_keeps_the_contract(demo: Demo) -> None:
    if not CONTRACT.exists():
        pytest.skip("the contract's checker is not here")
    spec = importlib.util.spec_from_file_location("check_contract", CONTRACT)
    assert spec is not None
    assert spec.loader is not None
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    assert checker.differences(demo.lake) == []


def test_no_secret_reaches_a_table(demo: Demo) -> None:
    events = Lake.open(demo.lake).arrow("events", ["properties", "context"])
    for column in ("properties", "context"):
        lowered = pc.utf8_lower(events[column])
        for secret in ("ip", "client_ip", "x-client-ip", "cookie", "authorization"):
            assert not pc.any(pc.match_substring(lowered, f'"{secret}":')).as_py()
    landed = b"".join(path.read_bytes() for path in demo.landing.rglob("*.jsonl"))
    assert b'"ip":' in landed  # or the test would show nothing


# Independence of how it was run


def test_nights_in_order_with_late_files_and_replaced_partitions_are_one_rebuild(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    landing = settings.paths.landing
    dates = [FIRST + dt.timedelta(days=days) for days in range(3)]
    held_back = tmp_path / "held back"
    for date in dates:
        generate(landing, date, events=500, seed=11, faults=0.2, workers=1)
    # A part of each night arrives only after the night was run.
    for path in sorted(landing.glob("*/date=*/hour=1*")):
        target = held_back / path.relative_to(landing)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    for date in dates:
        run_quietly(settings, date)
    shutil.copytree(held_back, landing, dirs_exist_ok=True)
    # And a partition is replaced by other data: what it was the first copy of has other first copies now.
    replaced = landing / "sunbird" / f"date={dates[0]}"
    shutil.rmtree(replaced)
    generate(landing, dates[0], events=120, seed=11, faults=0.2, workers=1, sources=["sunbird"])
    run_quietly(settings, dates[2], accept_shrunk=True)
    assert not run_quietly(settings, dates[2]).published
    again = settings.at(lake=tmp_path / "rebuilt")
    assert run_nights.rebuild(again, None) == 0
    assert_same(settings.paths.lake, again.paths.lake)
    assert run_nights.rebuild(settings, None) == 0
    assert_same(settings.paths.lake, again.paths.lake)


def test_a_repeat_becomes_the_event_when_the_earlier_copy_is_removed(spark: SparkSession, settings: Settings) -> None:
    second = FIRST + dt.timedelta(days=1)
    first_copy = land_documents(settings, "a.jsonl", event("m1", 0), event("m2", 1))
    land_documents(settings, "b.jsonl", event("m1", 0), night=second)
    land_documents(settings, "c.jsonl", event("m1", 0), night=second + dt.timedelta(days=1))
    for days in range(3):
        run_quietly(settings, FIRST + dt.timedelta(days=days))
    assert (ids(settings, "events"), ids(settings, "duplicate_events")) == (["m1", "m2"], ["m1", "m1"])
    first_copy.write_text(json.dumps(event("m2", 1)) + "\n")
    run_quietly(settings, second + dt.timedelta(days=1))
    events = Lake.open(settings.paths.lake).arrow("events", ["event_id", "landing_date"]).to_pylist()
    assert sorted((row["event_id"], row["landing_date"]) for row in events) == [("m1", second), ("m2", FIRST)]
    repeats = Lake.open(settings.paths.lake).arrow("duplicate_events", ["landing_date", "earlier_landing_date"]).to_pylist()
    assert repeats == [{"landing_date": second + dt.timedelta(days=1), "earlier_landing_date": second}]
    files = {
        row["file"].rsplit("/", 1)[1]: (row["accepted"], row["duplicates"])
        for row in Lake.open(settings.paths.lake).arrow("files").to_pylist()
    }
    assert files == {"a.jsonl": (1, 0), "b.jsonl": (1, 0), "c.jsonl": (0, 1)}


def test_a_late_event_joins_two_sessions_and_its_removal_splits_them_again(spark: SparkSession, settings: Settings) -> None:
    def derived(mid: str, minutes: int) -> dict[str, Any]:
        made = event(mid, 0)
        made["ets"] += minutes * 60_000
        del made["context"]["sid"]
        return made

    land_documents(settings, "a.jsonl", derived("m1", 0), derived("m2", 50))
    run_quietly(settings, FIRST)
    before = contents(settings.paths.lake)
    assert [len(before[table]) for table in ("sessions", "session_events", "session_chains")] == [2, 2, 2]
    late = land_documents(settings, "late.jsonl", derived("m3", 25), night=FIRST + dt.timedelta(days=1))
    run_quietly(settings, FIRST + dt.timedelta(days=1))
    joined = Lake.open(settings.paths.lake).arrow("sessions").to_pylist()
    assert [(row["events"], row["session_duration"]) for row in joined] == [(3, 50 * 60_000)]
    assert len(ids(settings, "session_events")) == 3
    late.write_text("")
    with pytest.raises(CheckFailedError, match="call with --accept-shrunk"):
        run_quietly(settings, FIRST + dt.timedelta(days=1))
    assert len(ids(settings, "session_events")) == 3
    assert run_quietly(settings, FIRST + dt.timedelta(days=1), accept_shrunk=True).published
    after = contents(settings.paths.lake)
    for table in ("events", "sessions", "session_events", "session_chains"):
        assert after[table] == before[table], table


# One bad thing harms nothing else


def test_a_file_that_cannot_be_read_takes_nothing_with_it_and_comes_back_once_repaired(spark: SparkSession, settings: Settings) -> None:
    land_documents(settings, "good.jsonl", event("m1", 0))
    whole = land_documents(settings, "broken.jsonl.gz", *(event(f"b{number}", 1) for number in range(500)))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    land_documents(settings, "lies.jsonl").write_bytes(content)
    land_documents(settings, "notes.txt", "hello")
    (settings.paths.landing / "sunbird" / f"date={FIRST}" / "hour=10" / "folder.json").mkdir()
    outcome = run_quietly(settings, FIRST)
    assert outcome.exit_code == 3
    assert [(Path(file).name, why) for file, why in outcome.unreadable] == [
        ("broken.jsonl.gz", "truncated"),
        ("folder.json", "a folder, not a file"),
        ("lies.jsonl", "compressed, which its name does not say"),
        ("notes.txt", "unknown extension"),
    ]
    assert ids(settings, "events") == ["m1"]
    whole.write_bytes(content)
    outcome = run_quietly(settings, FIRST + dt.timedelta(days=1))
    assert len(ids(settings, "events")) == 501
    assert [Path(file).name for file, _ in outcome.unreadable] == ["folder.json", "lies.jsonl", "notes.txt"]
    # Broken again, it holds most of what was read of its partition, and still stops nothing.
    whole.write_bytes(content[: len(content) // 2])
    outcome = run_quietly(settings, FIRST + dt.timedelta(days=1))
    assert (outcome.published, outcome.exit_code) == (True, 3)
    assert ids(settings, "events") == ["m1"]


def test_refused_records_keep_their_bytes(spark: SparkSession, settings: Settings) -> None:
    bad = '{"eid": "INTERACT",  "ets": NaN}'
    land_documents(settings, "a.jsonl", event("m1", 0), bad, "", event("m2", 1, eid="IMPRESSION"))
    run_quietly(settings, FIRST)
    rows = Lake.open(settings.paths.lake).arrow("rejected_events").to_pylist()
    assert sorted((row["record"], row["reason"]) for row in rows) == [(2, "invalid_json"), (4, "schema_violation")]
    assert next(row["raw"] for row in rows if row["record"] == 2) == bad.encode()
    file = Lake.open(settings.paths.lake).arrow("files").to_pylist()[0]
    assert (file["records"], file["accepted"], file["rejected"], file["blank"]) == (3, 1, 2, 1)


def test_what_was_refused_comes_back_once_the_rules_allow_it(spark: SparkSession, settings: Settings) -> None:
    strict = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"max_document_bytes": 400})})
    land_documents(settings, "a.jsonl", event("m1", 0), event("m2", 1, text="x" * 400))
    run_quietly(strict, FIRST)
    lake = Lake.open(settings.paths.lake)
    assert lake.arrow("rejected_events", ["record", "reason"]).to_pylist() == [{"record": 2, "reason": "too_large"}]
    assert ids(settings, "events") == ["m1"]
    assert run_nights.rebuild(settings, None) == 0
    assert ids(settings, "events") == ["m1", "m2"]
    assert Lake.open(settings.paths.lake).arrow("rejected_events").num_rows == 0
    assert [row["events"] for row in Lake.open(settings.paths.lake).arrow("sessions").to_pylist()] == [2]


# A night is audited, then published


def test_a_critical_failure_publishes_nothing_and_leaves_the_staged_tables(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_documents(settings, "a.jsonl", event("m1", 0))
    run_quietly(settings, FIRST)
    before = contents(settings.paths.lake)
    land_documents(settings, "b.jsonl", event("m2", 1))
    observe = checks.observe

    def with_a_failure(*arguments: Any) -> list[Finding]:
        return [*observe(*arguments), Finding("events", "the moon is full", "critical", 1, 0, 0)]

    monkeypatch.setattr(checks, "observe", with_a_failure)
    with pytest.raises(CheckFailedError, match="nothing was published: events: the moon is full does not hold"):
        run_quietly(settings, FIRST)
    assert contents(settings.paths.lake) == before
    lake = Lake.open(settings.paths.lake)
    failed = lake.arrow("runs", ["run_id", "status"]).filter(pc.field("status") == "failed")["run_id"].to_pylist()
    assert len(failed) == 1
    tables = connect_to_failed_run(lake, failed[0])
    assert tables.sql("SELECT event_id FROM events ORDER BY 1").fetchall() == [("m1",), ("m2",)]
    verdicts = lake.arrow("quality_results").filter(pc.field("run_id") == failed[0])
    assert verdicts.filter(~pc.field("passed"))["expectation"].to_pylist() == ["the moon is full"]
    monkeypatch.undo()
    assert run_quietly(settings, FIRST).published
    assert ids(settings, "events") == ["m1", "m2"]


def test_a_record_that_the_account_lost_stops_the_night(spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.engine import task_reports

    land_documents(settings, "a.jsonl", event("m1", 0), event("m2", 1))
    counted = task_reports.counted

    def lossy(reports: Any) -> Any:
        found = counted(reports)
        for name in found["accepted"]:
            found["accepted"][name] -= 1
        return found

    monkeypatch.setattr(task_reports, "counted", lossy)
    with pytest.raises(CheckFailedError, match="nothing was published"):
        run_quietly(settings, FIRST)


def test_every_step_of_a_run_says_what_it_read_and_wrote(demo: Demo) -> None:
    lake = Lake.open(demo.lake)
    night = demo.nights[0]
    files = [row for row in lake.arrow("files").to_pylist() if row["landing_date"] == night]
    steps = {row["step"]: row for row in lake.arrow("runs").to_pylist() if row["night"] == night}
    ingest = steps["ingest"]
    assert (ingest["files"], ingest["bytes"]) == (len(files), sum(row["size"] for row in files))
    assert ingest["records"] == ingest["rows_out"] == sum(row["records"] for row in files)
    # What was read is what was written as events, repeats and refusals; all later steps work on the events.
    assert steps["write"]["rows_in"] == steps["write"]["rows_out"] == ingest["records"]
    assert steps["account"]["rows_out"] == len(files)
    assert steps["sessions"]["rows_in"] == sum(row["accepted"] for row in files)
    assert steps["workflows"]["rows_in"] == sum(row["accepted"] for row in files if row["source"] == "sunbird")
    assert all(steps[name]["rows_out"] > 0 and steps[name]["bytes"] > 0 for name in ("sessions", "workflows", "metrics", "checks"))
    assert (steps["publish"]["files"], steps["publish"]["rows_in"], steps["publish"]["rows_out"]) == (None, None, None)


# Nights without files


def test_a_night_that_never_landed_anything_is_no_fault(spark: SparkSession, settings: Settings) -> None:
    outcome = run_quietly(settings, FIRST)
    assert (outcome.published, outcome.landed, outcome.exit_code) == (False, 0, 0)


def test_a_night_that_lost_its_files_stops_until_that_is_accepted(spark: SparkSession, settings: Settings) -> None:
    path = land_documents(settings, "a.jsonl", event("m1", 0))
    run_quietly(settings, FIRST)
    path.unlink()
    later = FIRST + dt.timedelta(days=40)
    with pytest.raises(LandingError, match="--accept-empty"):
        run_quietly(settings, later)
    assert ids(settings, "events") == ["m1"]
    assert run_quietly(settings, later, accept_empty=True).published
    for table, rows in contents(settings.paths.lake).items():
        assert rows == [], table


def test_a_file_that_is_gone_takes_its_rows_with_it_and_is_counted_under_its_own_date(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    land_documents(settings, "a.jsonl", event("m1", 0))
    land_documents(settings, "b.jsonl", event("m2", 1)).unlink()
    gone = land_documents(settings, "c.jsonl", event("m3", 2))
    run_quietly(settings, FIRST)
    land_documents(settings, "d.jsonl", event("m4", 3), night=FIRST + dt.timedelta(days=1))
    gone.unlink()
    outcome = run_quietly(settings, FIRST + dt.timedelta(days=1))
    read = {partition.landing_date: (counts.files, counts.accepted) for partition, counts in outcome.partitions.items()}
    assert read == {FIRST: (1, 1), FIRST + dt.timedelta(days=1): (1, 1)}
    run_nights.show(outcome)
    assert re.search(r"2026-11-18 +sunbird +1 +1 +1 .*\n2026-11-19 +sunbird +1 +1 +1 ", capsys.readouterr().out)
    assert ids(settings, "events") == ["m1", "m4"]
    assert [Path(file).name for file in ids(settings, "files", "file")] == ["a.jsonl", "d.jsonl"]


def test_a_rebuild_keeps_or_drops_nights_without_files_only_on_request(spark: SparkSession, settings: Settings) -> None:
    second = FIRST + dt.timedelta(days=1)
    gone = land_documents(settings, "a.jsonl", event("m1", 0))
    land_documents(settings, "b.jsonl", event("m1", 0), event("m2", 1), night=second)
    run_quietly(settings, FIRST)
    run_quietly(settings, second)
    before = contents(settings.paths.lake)
    gone.unlink()
    with pytest.raises(LandingError, match="--gone keep"):
        run_nights.rebuild(settings, None)
    assert run_nights.rebuild(settings, "keep") == 0
    assert contents(settings.paths.lake) == before
    assert run_nights.rebuild(settings, "drop") == 0
    assert (ids(settings, "events"), ids(settings, "duplicate_events")) == (["m1", "m2"], [])
    assert [row["events"] for row in Lake.open(settings.paths.lake).arrow("sessions").to_pylist()] == [2]


# As a job of its own


def test_a_night_can_be_given_to_spark_submit(settings: Settings) -> None:
    land_documents(settings, "a.jsonl", event("m1", 0))
    spark_home = Path(pyspark.__file__).parent
    job = Path(__file__).parents[1] / "jobs" / "night.py"
    call = ["--date", str(FIRST), "--landing", str(settings.paths.landing), "--lake", str(settings.paths.lake)]
    done = subprocess.run(
        [str(spark_home / "bin" / "spark-submit"), "--master", "local[2]", str(job), *call],
        env=plain_environment() | {"SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert ids(settings, "events") == ["m1"]

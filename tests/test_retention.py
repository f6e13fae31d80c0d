"""Retention: expired rows are deleted, what is kept for ever does not change, and nothing brings half of anything back."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.compute as pc
import pytest
import random_nights
from conftest import without_pages
from lakes import contents, copied
from pyspark.sql import SparkSession
from quiet_runs import run_quietly
from random_nights import NIGHTS

from jobs import maintain, retention
from jobs import settings as configuration
from jobs.commands import explain_session, run_nights, status, verify
from jobs.errors import SettingsError, UsageError
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.metrics import METRICS, SESSION_DATE

FIRST, SECOND = NIGHTS[:2]
# On this day the events of the first night are older than their retention, those of the second are not.
TODAY = SECOND + dt.timedelta(days=400)
FOR_EVER = ("sessions", "session_events", "session_chains", "workflow_summaries", "workflow_chains", "daily_metrics")


# --- given: a lake of four nights, and the same after the events of the first one have expired


@pytest.fixture(scope="module")
def four_nights(spark: SparkSession, environment: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("four-nights")
    settings = without_pages(configuration.load(environment)).at(root / "landing", root / "lake")
    for path, documents in random_nights.landed_files(Random(7), people=5).items():
        random_nights.write(settings.paths.landing, path, documents)
    for night in NIGHTS:
        run_quietly(settings, night)
    return settings


@pytest.fixture(scope="module")
def expired(four_nights: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = copied(four_nights, tmp_path_factory.mktemp("expired"))
    assert maintain.run(settings, TODAY) == 0
    return settings


@pytest.fixture
def expired_copy(expired: Settings, tmp_path: Path) -> Settings:
    return copied(expired, tmp_path)


def dates(settings: Settings, table: str) -> set[dt.date]:
    return set(Lake.open(settings.paths.lake).arrow(table, ["landing_date"])["landing_date"].to_pylist())


def land_again(settings: Settings, *documents: dict[str, Any], date: dt.date = NIGHTS[-1]) -> None:
    """Land more documents of Sunbird on a night."""
    random_nights.write(settings.paths.landing, Path("sunbird", f"date={date}", "hour=23", "more.jsonl"), list(documents))


def closed_session(settings: Settings) -> dict[str, Any]:
    """A session of Sunbird with a client's key, whose events have expired in part or as a whole."""
    lake = Lake.open(settings.paths.lake)
    chains = lake.arrow("session_chains").to_pylist()
    ids = {one["session_id"] for chain in chains if FIRST in chain["landing_dates"] for one in chain["sessions"]}
    sessions = lake.arrow("sessions", None, (pc.field("source") == "sunbird") & (pc.field("session_kind") == "keyed")).to_pylist()
    return next(row for row in sorted(sessions, key=lambda row: row["session_id"]) if row["session_id"] in ids and row["session_duration"])


def sunbird_event(settings: Settings, session: dict[str, Any], time: dt.datetime, mid: str) -> dict[str, Any]:
    """A landed event of a session with another time."""
    for path in sorted(settings.paths.landing.rglob("sunbird/**/*.jsonl")):
        for document in map(json.loads, path.read_text().splitlines()):
            is_of_session = document["context"].get("sid") == session["session_key"] and document["actor"]["type"] == "User"
            if is_of_session and document["eid"] in ("START", "IMPRESSION", "INTERACT"):
                return document | {"mid": mid, "ets": round(time.timestamp() * 1000)}
    raise AssertionError("no event of the session has landed")


# --- deleted, and kept


def test_events_and_repeats_go_by_their_landing_date_and_what_was_made_of_them_stays(four_nights: Settings, expired: Settings) -> None:
    before, after = contents(four_nights.paths.lake), contents(expired.paths.lake)
    assert dates(expired, "events") == set(NIGHTS[1:])
    assert [row for row in before["events"] if f'"landing_date": "{FIRST}"' not in row] == after["events"]
    assert before["duplicate_events"]
    assert after["duplicate_events"] == []
    for table in FOR_EVER:
        assert before[table] == after[table], table


def test_the_account_of_landed_files_says_what_has_expired_and_stays_balanced(four_nights: Settings, expired: Settings) -> None:
    before, after = (
        {row["file"]: row for row in Lake.open(settings.paths.lake).arrow("files").drop_columns(["run_id"]).to_pylist()}
        for settings in (four_nights, expired)
    )
    for file, row in after.items():
        kinds = "accepted,duplicates" if row["landing_date"] == FIRST else "duplicates"
        assert row == before[file] | {"expired": kinds}
    assert verify.examine(expired.paths.lake, expired.paths.landing, deep=True).is_clean


def test_maintenance_says_how_many_rows_it_deletes(four_nights: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = copied(four_nights, tmp_path)
    of_first = sum("2026-11-17" in row for row in contents(settings.paths.lake)["events"])
    maintain.run(settings, TODAY)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["events"])
    deleted = int(line.split()[2].replace(",", ""))
    assert 0 < deleted <= of_first
    capsys.readouterr()
    maintain.run(settings, TODAY)
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["events"]] == ["0"]


def test_steps_are_delete_compact_and_then_vacuum(expired: Settings) -> None:
    runs = Lake.open(expired.paths.lake).arrow("runs", ["command", "step", "started"]).sort_by("started").to_pylist()
    assert [row["step"] for row in runs if row["command"] == "maintain"] == ["delete", "compact", "publish"]


def test_repeats_are_kept_as_long_as_a_night_may_compare_with_them(four_nights: Settings, tmp_path: Path) -> None:
    settings = copied(four_nights, tmp_path)
    needed = settings.deduplication.window_days + settings.ingest.nights_back
    maintain.run(settings, FIRST + dt.timedelta(days=needed))
    assert contents(settings.paths.lake)["duplicate_events"] == contents(four_nights.paths.lake)["duplicate_events"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{events: 36}", "retention.events is less than deduplication.window_days + ingest.nights_back, which is 37"),
        ("{landing: 7}", "retention.landing must be larger than ingest.nights_back"),
        ("{raw: -1}", "retention.raw is wrong (input should be greater than or equal to 0)"),
        ("{event: 30}", "has the unknown key retention.event"),
    ],
)
def test_a_wrong_retention_is_one_line(tmp_path: Path, given: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"retention: {given}\n")
    with pytest.raises(SettingsError) as raised:
        configuration.load(file=file)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_status_and_session_say_what_has_expired(without_landed: Settings, expired: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    status.show(without_landed, shape="json")
    nights = json.loads(capsys.readouterr().out)
    of_first = [night for night in nights["nights"] if night["date"] == str(FIRST)]
    assert of_first
    assert {(night["landed"], night["changed"], night["not_read"]) for night in of_first} == {(0, 0, 0)}
    assert nights["no_file_left"] == []
    with pytest.raises(UsageError, match=r"have expired \(retention.events\): its row stays"):
        explain_session.show(expired, closed_session(expired)["session_id"])


# --- nothing comes back, and nothing is made of half of its events


def test_a_night_whose_events_have_expired_is_not_read_again(expired_copy: Settings) -> None:
    before = contents(expired_copy.paths.lake)
    for path in (expired_copy.paths.landing / "sunbird" / f"date={FIRST}").rglob("*.jsonl"):
        path.write_text("changed\n")
    shutil.rmtree(expired_copy.paths.landing / "homepagevisit" / f"date={FIRST}")
    assert not run_quietly(expired_copy, FIRST).partitions
    assert contents(expired_copy.paths.lake) == before


def test_a_rebuild_keeps_sessions_summaries_and_metrics_whose_events_have_expired(four_nights: Settings, expired_copy: Settings) -> None:
    before = contents(expired_copy.paths.lake)
    assert run_nights.rebuild(expired_copy, None, everything=True) == 0
    after = contents(expired_copy.paths.lake)
    assert dates(expired_copy, "events") == set(NIGHTS[1:])
    for table in ("sessions", "session_events", "workflow_summaries"):
        assert before[table] == after[table], table
    assert of_sessions(before["daily_metrics"]) == of_sessions(after["daily_metrics"])
    assert verify.examine(expired_copy.paths.lake, expired_copy.paths.landing, deep=True).is_clean


def of_sessions(rows: list[str]) -> list[dict[str, Any]]:
    """The metrics of sessions, and all metrics of the first night."""
    metrics = map(json.loads, rows)
    return [row for row in metrics if METRICS[row["metric"]].family == SESSION_DATE or row["metric_date"] == str(FIRST)]


def test_a_damaged_lake_is_mended_without_what_cannot_be_built_again(expired_copy: Settings) -> None:
    before = contents(expired_copy.paths.lake)
    lake = Lake.open(expired_copy.paths.lake)
    file = next(file for file in lake.files("events") if file.partition["landing_date"] == str(SECOND))
    (expired_copy.paths.lake / "events" / file.path).unlink()
    assert run_nights.rebuild(expired_copy, None) == 0
    assert dates(expired_copy, "events") == set(NIGHTS[1:])
    for table in ("sessions", "workflow_summaries"):
        assert before[table] == contents(expired_copy.paths.lake)[table], table


def test_an_event_within_a_session_that_has_expired_belongs_to_no_session(expired_copy: Settings) -> None:
    session = closed_session(expired_copy)
    before = contents(expired_copy.paths.lake)
    middle = session["start_time"] + (session["end_time"] - session["start_time"]) / 2
    land_again(expired_copy, sunbird_event(expired_copy, session, middle, "late-within"))
    run_quietly(expired_copy, NIGHTS[-1])
    lake = Lake.open(expired_copy.paths.lake)
    assert lake.arrow("events", ["event_id"], pc.field("event_id") == "late-within").num_rows == 1
    assert lake.arrow("session_events", ["event_id"], pc.field("event_id") == "late-within").num_rows == 0
    assert before["sessions"] == contents(expired_copy.paths.lake)["sessions"]


def test_an_event_after_a_session_that_has_expired_begins_another_one(expired_copy: Settings) -> None:
    session = closed_session(expired_copy)
    before = set(contents(expired_copy.paths.lake)["sessions"])
    # Within the silence that would have continued the session.
    chains = Lake.open(expired_copy.paths.lake).arrow("session_chains").to_pylist()
    last = max(
        chain["last_time"]
        for chain in chains
        if {"session_id": session["session_id"], "session_date": session["session_date"]} in chain["sessions"]
    )
    land_again(expired_copy, sunbird_event(expired_copy, session, last + dt.timedelta(minutes=5), "late-after"))
    run_quietly(expired_copy, NIGHTS[-1])
    sessions = set(contents(expired_copy.paths.lake)["sessions"])
    assert before <= sessions
    (added,) = map(json.loads, sessions - before)
    assert (added["session_key"], added["events"]) == (session["session_key"], 1)
    assert "key_reused" in added["flags"]


# --- landed files


@pytest.fixture
def without_landed(four_nights: Settings, tmp_path: Path) -> Settings:
    """The landed files of the first night are older than their retention, and no row is."""
    settings = copied(four_nights, tmp_path)
    settings = settings.model_copy(update={"retention": settings.retention.model_copy(update={"landing": 8})})
    maintain.run(settings, SECOND + dt.timedelta(days=8))
    return settings


def landed(settings: Settings) -> set[str]:
    return {path.parts[-3] for path in settings.paths.landing.rglob("*.jsonl")}


def test_landed_files_go_if_told_and_their_rows_stay(four_nights: Settings, without_landed: Settings) -> None:
    before, after = contents(four_nights.paths.lake), contents(without_landed.paths.lake)
    assert landed(four_nights) - landed(without_landed) == {f"date={FIRST}"}
    assert {name: rows for name, rows in before.items() if name != "files"} == {
        name: rows for name, rows in after.items() if name != "files"
    }


def test_landed_files_that_were_deleted_are_no_removed_files(without_landed: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(without_landed.paths.lake)
    for night in NIGHTS[:2]:
        run_quietly(without_landed, night)
    assert contents(without_landed.paths.lake) == before
    assert run_nights.rebuild(without_landed, None, everything=True) == 0
    assert contents(without_landed.paths.lake) == before


def test_landed_files_that_were_not_read_are_not_deleted(four_nights: Settings, tmp_path: Path) -> None:
    settings = copied(four_nights, tmp_path)
    settings = settings.model_copy(update={"retention": settings.retention.model_copy(update={"landing": 8})})
    land_again(settings, {"eid": "START"}, date=FIRST)
    maintain.run(settings, SECOND + dt.timedelta(days=8))
    kept = {path.relative_to(settings.paths.landing).parts[0] for path in settings.paths.landing.rglob(f"date={FIRST}/**/*.jsonl")}
    assert kept == {"sunbird"}


# --- vacuum


def test_vacuum_at_once_leaves_the_files_of_one_state(expired_copy: Settings) -> None:
    before = contents(expired_copy.paths.lake)
    assert maintain.run(expired_copy, TODAY, maintain.Scope(compacts=False, keeps_history=False)) == 0
    lake = Lake.open(expired_copy.paths.lake)
    for table in FOR_EVER:
        on_disk = {str(path.relative_to(lake.root / table)) for path in (lake.root / table).rglob("part-*.parquet")}
        assert on_disk == {file.path for file in lake.files(table)}, table
        assert len(list((lake.root / table / "_delta_log").glob("*.json"))) == 1
    assert contents(expired_copy.paths.lake) == before
    assert verify.examine(expired_copy.paths.lake, expired_copy.paths.landing, deep=True).is_clean
    run_quietly(expired_copy, NIGHTS[-1])


def test_nothing_expires_by_a_clock_that_is_far_ahead_of_a_lake_in_use(expired_copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.open(expired_copy.paths.lake)
    last = max(dates(expired_copy, "files"))
    started = lake.arrow("runs", ["started"])["started"].to_pylist()[0].date()
    # Nothing depends on the date on which the test runs.
    gap = abs((started - last).days) + 60
    monkeypatch.setattr(retention, "_LARGEST_GAP", gap)
    years_later = last + dt.timedelta(days=gap + 1_000)
    with pytest.raises(UsageError, match=rf"^today is {years_later}, .* if it is right, call `millrace maintain --as-of {years_later}`$"):
        retention.refuse_wrong_clock(lake, retention.first_dates(expired_copy, years_later), years_later)


def test_old_files_that_landed_yesterday_expire(expired_copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.open(expired_copy.paths.lake)
    last = max(dates(expired_copy, "files"))
    monkeypatch.setattr(retention, "_LARGEST_GAP", -1)  # no run is recorded from around the last landing date
    today = last + dt.timedelta(days=5_000)
    retention.refuse_wrong_clock(lake, retention.first_dates(expired_copy, today), today)

"""Reading the lake in SQL: every table by its name, at one state, and nothing but reading."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tiny_lake import NIGHT, publish

from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from schemas.catalog import TABLES

EVENT = {"source": "sunbird", "event_id": "one", "landing_date": NIGHT, "event_date": NIGHT}


def reading(root: Path) -> duckdb.DuckDBPyConnection:
    return connect(Lake.open(root))


def one(tables: duckdb.DuckDBPyConnection, query: str) -> object:
    row = tables.execute(query).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_the_columns_and_types_of_its_contract_with_and_without_rows(name: str, tmp_path: Path) -> None:
    publish(tmp_path / "empty", {})
    publish(tmp_path / "filled", {} if name == "runs" else {name: [{}]})
    contract = duckdb.connect()
    contract.register("contract", TABLES[name].arrow.empty_table())
    expected = contract.execute("DESCRIBE contract").fetchall()
    assert reading(tmp_path / "empty").execute(f"DESCRIBE {name}").fetchall() == expected
    assert reading(tmp_path / "filled").execute(f"DESCRIBE {name}").fetchall() == expected


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    session = {
        "session_id": "s",
        "source": "sunbird",
        "start_time": dt.datetime(2026, 11, 20, 23, 59, 59, 123456, dt.UTC),
        "session_date": NIGHT,
        "envsummary": [{"env": "home", "timespent": 1.5, "visits": 2}],
        "flags": ["late"],
    }
    publish(tmp_path, {"sessions": [session]})
    found = reading(tmp_path).execute("SELECT session_id, source, start_time, session_date, envsummary, flags, reported FROM sessions")
    assert found.fetchall() == [(*session.values(), None)]


def test_times_are_shown_in_utc_whatever_the_time_zone_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    publish(tmp_path, {"events": [EVENT | {"event_time": dt.datetime(2026, 11, 20, 23, 30, tzinfo=dt.UTC)}]})
    assert one(reading(tmp_path), "SELECT strftime(event_time, '%H:%M') || ' ' || event_time::DATE FROM events") == "23:30 2026-11-20"


def test_a_state_stays_as_it_was_when_another_is_published(tmp_path: Path) -> None:
    publish(tmp_path, {"events": [EVENT]})
    before = reading(tmp_path)
    publish(tmp_path, {"events": [EVENT | {"event_id": "two"}]}, run_id="another")
    assert one(before, "SELECT count(*) FROM events") == 1
    assert one(reading(tmp_path), "SELECT count(*) FROM events") == 2


def test_a_query_reads_only_the_files_of_its_partitions(tmp_path: Path) -> None:
    publish(tmp_path, {"events": [EVENT, EVENT | {"source": "contentsquare"}]})
    tables = reading(tmp_path)
    # Not the first file: that one tells the columns of all.
    (unasked,) = (tmp_path / "events").glob("*/source=sunbird/*.parquet")
    unasked.write_bytes(b"no Parquet")
    assert one(tables, "SELECT count(*) FROM events WHERE source = 'contentsquare'") == 1
    with pytest.raises(duckdb.Error):
        tables.execute("SELECT count(event_id) FROM events").fetchall()


def test_the_path_of_a_lake_may_hold_any_character(tmp_path: Path) -> None:
    root = tmp_path / "it's a [lake]* of=2026 ?"
    publish(root, {"events": [EVENT]})
    assert one(reading(root), "SELECT count(*) FROM events") == 1


def test_a_lake_may_be_named_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "lake", {"events": [EVENT]})
    monkeypatch.chdir(tmp_path)
    tables = reading(Path("lake"))
    monkeypatch.chdir("/")
    assert one(tables, "SELECT count(*) FROM events") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "COPY events TO '{0}/out.csv'",
        "COPY events TO '{0}/events/out.parquet'",
        "ATTACH '{0}/out.db'",
        "EXPORT DATABASE '{0}/out'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_nothing_but_the_tables_is_read_and_nothing_is_written(statement: str, tmp_path: Path) -> None:
    publish(tmp_path, {"events": [EVENT]})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(duckdb.Error):
        reading(tmp_path).execute(statement.format(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("statement", ["INSERT INTO events SELECT * FROM events", "DELETE FROM events", "UPDATE events SET source = 'x'"])
def test_a_table_is_not_changed_through_its_view(statement: str, tmp_path: Path) -> None:
    publish(tmp_path, {"events": [EVENT]})
    with pytest.raises(duckdb.Error):
        reading(tmp_path).execute(statement)


def test_a_frame_of_ones_own_joins_the_tables(tmp_path: Path) -> None:
    publish(tmp_path, {"events": [EVENT]})
    tables = reading(tmp_path)
    tables.register("mine", pa.table({"event_id": ["one"], "note": ["found"]}))
    assert one(tables, "SELECT note FROM events JOIN mine USING (event_id)") == "found"

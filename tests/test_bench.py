"""The benchmark's peer makes what the night makes, and what it does not make is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Demo

from bench.bench import add_growth
from bench.compare import differences
from bench.duckdb_peer import Peer
from bench.measured import measure
from jobs.lake.tables import Lake

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def peer(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("peer") / "out"
    Peer(demo.landing, out).run()
    return out


def changed(peer: Path, copy: Path, table: str, query: str) -> Path:
    """A copy of what the peer made, in which the largest file of a table holds what the query gives of its `rows`."""
    shutil.copytree(peer, copy)
    file = max((copy / table).rglob("*.parquet"), key=lambda path: path.stat().st_size)
    with duckdb.connect() as database:
        database.register("rows", pq.read_table(file, partitioning=None))
        pq.write_table(database.sql(query).to_arrow_table(), file)
    return copy


def test_the_peer_makes_the_rows_of_the_lake_from_two_nights(demo: Demo, peer: Path) -> None:
    assert list(map(str, differences(demo.lake, peer))) == []


def test_a_missing_event_is_found(demo: Demo, peer: Path, tmp_path: Path) -> None:
    found = differences(demo.lake, changed(peer, tmp_path / "peer", "events", "SELECT * FROM rows OFFSET 1"))
    assert [(difference.table, difference.what, difference.rows) for difference in found] == [("events", "only in the lake", 1)]


def test_an_event_too_many_is_found(demo: Demo, peer: Path, tmp_path: Path) -> None:
    query = "FROM rows UNION ALL (SELECT * REPLACE (position + 1000 AS position) FROM rows LIMIT 1)"
    found = differences(demo.lake, changed(peer, tmp_path / "peer", "events", query))
    assert [(difference.table, difference.what, difference.rows) for difference in found] == [("events", "only at the peer's", 1)]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("events", "event_time", "event_time + INTERVAL 1 MILLISECOND"),
        ("events", "properties", "'{}'"),
        ("duplicate_events", "earlier_record", "earlier_record + 1"),
        ("rejected_events", "reason", "'too_large'"),
        ("sessions", "timespent", "coalesce(timespent, 0) + 0.001"),
        ("sessions", "envsummary", "[]"),
        ("session_events", "sequence", "sequence + 1"),
        ("workflow_summaries", "time_spent", "time_spent + 0.01"),
        ("daily_metrics", "value", "value + 1"),
    ],
)
def test_a_value_that_differs_is_found(demo: Demo, peer: Path, tmp_path: Path, table: str, column: str, value: str) -> None:
    first = f"CASE WHEN row_number() OVER () = 1 THEN {value} ELSE {column} END"
    query = f"SELECT * REPLACE ({first} AS {column}) FROM rows"
    found = differences(demo.lake, changed(peer, tmp_path / "peer", table, query))
    assert [(difference.table, difference.what, difference.rows) for difference in found] == [(table, column, 1)]


def test_polars_parses_the_records_that_are_objects(demo: Demo) -> None:
    from bench.polars_parse import parse

    lake = Lake.open(demo.lake)
    files, refused = lake.arrow("files", ["source", "records"]), lake.arrow("rejected_events", ["source", "reason", "raw"])
    for source in ("activity_stream", "contentsquare", "homepagevisit", "sunbird"):
        records = pc.sum(files.filter(pc.equal(files["source"], source))["records"]).as_py()
        of_source = refused.filter(pc.equal(refused["source"], source)).to_pylist()
        # It sees a replacement character in the place of bytes that are no UTF-8.
        no_object = [row for row in of_source if row["reason"] != "schema_violation" and b"\xff" not in row["raw"]]
        assert parse(demo.landing, source).height == records - len(no_object), source


def test_memory_time_and_bytes_are_those_of_all_processes_of_a_command(tmp_path: Path) -> None:
    child = f"import time; held = bytearray(50 << 20); open({str(tmp_path / 'file')!r}, 'wb').write(held); time.sleep(3)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    cost = measure([sys.executable, "-c", parent])
    assert cost.peak_mib > 50
    assert 50 <= cost.written_mib < 60


def test_workers_whose_end_their_daemon_ignores_are_counted_too(tmp_path: Path) -> None:
    work = f"open({str(tmp_path / 'file')!r}, 'wb').write(bytes(20 << 20)); time.sleep(3)"
    daemon = (
        f"import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n    {work}\nelse:\n    time.sleep(4)"
    )
    cost = measure([sys.executable, "-c", daemon, "pyspark.daemon"])
    assert 20 <= cost.written_mib < 22


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        measure([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_growth_is_worked_out_without_the_start() -> None:
    entries = [
        {"engine": "spark", "events": 1_000, "seconds": 20.0, "steps": {"start": 10.0}},
        {"engine": "spark", "events": 5_000, "seconds": 60.0, "steps": {"start": 10.0}},
    ]
    add_growth(entries)
    assert [entry["growth_exponent"] for entry in entries] == [None, 1.0]


def test_make_bench_names_its_sizes_and_runs() -> None:
    make = ["make", "--dry-run", "bench", "EVENTS=7", "RUNS=2"]
    printed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--runs 2" in printed
    assert "--events 7" in printed

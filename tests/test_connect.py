"""A night on a Spark Connect server."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import spark_cluster
from bucket_server import run_as_a_program
from lakes import assert_same

from jobs.generator.generate import generate

NIGHTS = [dt.date(2026, 11, 20), dt.date(2026, 11, 21)]


@pytest.mark.slow
def test_nights_on_a_spark_connect_server_give_the_tables_of_sail(tmp_path: Path) -> None:
    """Given two nights, the second with late events."""
    landing, conf = tmp_path / "landing", tmp_path / "connect.yaml"
    with spark_cluster.connect_server(tmp_path / "server") as address:
        conf.write_text(f"{{engine: spark, spark: {{remote: '{address}'}}}}")
        for night in NIGHTS:
            generate(landing, night, events=1000, faults=0.05)
            for lake, file in ((tmp_path / "connect", conf), (tmp_path / "sail", tmp_path / "sail.yaml")):
                done = run_as_a_program(landing, lake, file, "run", "--date", night)
                assert done.exit_code in (0, 3), done.stderr
    assert_same(tmp_path / "connect", tmp_path / "sail")


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    generate(tmp_path / "landing", NIGHTS[0], events=50)
    (tmp_path / "conf.yaml").write_text("{engine: spark, spark: {remote: 'sc://127.0.0.1:9/;token=s3cret'}}")
    done = run_as_a_program(tmp_path / "landing", tmp_path / "lake", tmp_path / "conf.yaml", "run", "--date", NIGHTS[0])
    assert done.exit_code == 2
    assert "the Spark Connect server 127.0.0.1:9 does not answer (" in done.fault
    assert "s3cret" not in done.stderr

"""A real Airflow, with its scheduler, runs nights on schedule and by a backfill: the tables are those of the command line."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import airflow_standalone
import pytest
from airflow_standalone import Run
from lakes import assert_same

from jobs.generator.generate import generate

MILLRACE = Path(sys.executable).with_name("millrace")
DAG = "millrace_nightly"
TASKS = ("await_files", "run_night", "write_report", "night_is_complete")


@pytest.mark.slow
def test_a_schedule_and_a_backfill_give_the_tables_of_the_command_line(tmp_path: Path) -> None:
    """Given three nights that are due, the second with an unreadable file, and two nights before them that were missed."""
    # The night before may still wait for late files.
    newest = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=4, minutes=35)).date() - dt.timedelta(days=1)
    *missed, first, second, third = [newest - dt.timedelta(days=days) for days in (4, 3, 2, 1, 0)]
    landing, lake = tmp_path / "landing", tmp_path / "lake"
    for night in (*missed, first, second, third):
        generate(landing, night, events=300)
    (landing / "sunbird" / f"date={second}" / "hour=07" / "cut-short.json.gz").write_bytes(b"\x1f\x8b\x08\x00")
    airflow_standalone.install()
    lineage = tmp_path / "lineage.jsonl"
    variables = {
        "MILLRACE_BIN": str(MILLRACE),
        "MILLRACE_LANDING": str(landing),
        "MILLRACE_LAKE": str(lake),
        "MILLRACE_CATCHUP_FROM": first.isoformat(),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": f'{{"type": "file", "log_file_path": "{lineage}", "append": true}}',
    }

    with airflow_standalone.running(tmp_path / "airflow", variables) as airflow:
        airflow.unpause(DAG)
        scheduled = airflow.wait_for(DAG, [night.isoformat() for night in (first, second, third)], seconds=300)
        span = ("--from-date", missed[0].isoformat(), "--to-date", f"{missed[-1]}T23:59")
        airflow.command("backfill", "create", "--dag-id", DAG, *span, "--max-active-runs", "1")
        backfilled = airflow.wait_for(DAG, [night.isoformat() for night in missed], seconds=300)

    done = Run("success", dict.fromkeys(TASKS, "success"))
    with_unreadable_file = Run("success", dict.fromkeys(TASKS, "success") | {"night_is_complete": "skipped"})
    # The third night tries the unreadable file again.
    assert scheduled == {str(first): done, str(second): with_unreadable_file, str(third): with_unreadable_file}
    assert backfilled == {str(night): done for night in missed}
    for night in (first, second, third, *missed):
        subprocess.run([MILLRACE, "run", "--date", night.isoformat(), "--landing", landing, "--lake", tmp_path / "other"], check=False)
    assert_same(lake, tmp_path / "other")
    assert '"millrace_nightly.run_night"' in lineage.read_text()
    assert f'"name": "{lake}/sessions"' in lineage.read_text()
    assert airflow_standalone.processes_of(tmp_path / "airflow") == [], "Airflow and its tasks are stopped"

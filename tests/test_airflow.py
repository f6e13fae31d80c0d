"""The DAGs in a real Airflow: in its own environment, with its own database, without the network."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import airflow_standalone
import pytest
import tiny_lake
from deltalake import DeltaTable

from jobs.lake.tables import Lake

ROOT = Path(__file__).parents[1]
MILLRACE = Path(sys.executable).with_name("millrace")

# Run by Airflow's Python: the DAG for each date, retries at once; prints the state and the tries of every task.
RUNS = """
import json, sys
from datetime import UTC, datetime, timedelta
from airflow.dag_processing.dagbag import DagBag

sys.path.append(sys.argv[1])  # as the DAG processor does
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
nightly = bag.dags["millrace_nightly"]
for task in nightly.tasks:
    task.retry_delay = timedelta(0)
for date in sys.argv[2:]:
    # What Airflow's UI sends for a run that is triggered by hand is the present moment.
    logical_date = datetime.now(UTC) if date == "now" else datetime.fromisoformat(date).replace(tzinfo=UTC)
    # It waits for files of the sixth, and looks every second; of other nights the deadline has passed, although a test is due now.
    awaits = {"wait_minutes": 60 if date.endswith("06") else 0, "look_seconds": 1}
    run = nightly.test(logical_date=logical_date, run_conf=awaits)
    tasks = {task.task_id: [str(task.state), task.try_number] for task in run.get_task_instances()}
    if date == "now":
        tasks["due"] = str(run.run_after.date())
    print("RESULT", json.dumps({"date": date, "run": str(run.state), "tasks": tasks}))

from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session

with create_session() as session:
    for event in session.query(AssetEvent):
        print("ASSET", event.asset.name, event.source_run_id)
"""

# Run by Airflow's Python: the night that the DAG takes for each logical date, which may be missing, and the time at which it is due.
TAKES = """
import json, sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from airflow.dag_processing.dagbag import DagBag

sys.path.append(sys.argv[1])
nightly = DagBag(sys.argv[1]).dags["millrace_nightly"]
template = nightly.get_template_env().from_string(nightly.get_task("run_night").night)
for pair in sys.argv[2:]:
    logical_date, run_after = (datetime.fromisoformat(date) if date else None for date in pair.split("/"))
    dag_run = SimpleNamespace(logical_date=logical_date, run_after=run_after)
    print("NIGHT", template.render(dag_run=dag_run, params={"night": None}, macros=SimpleNamespace(timedelta=timedelta)))
"""

# Stands in for `millrace`: notes the call and ends `run` as the night of that day of the month is meant to end.
ENDS = """#!/bin/sh
echo "$@" >> calls
case "$*" in
    "landed --date=2026-11-06"*) [ "$(grep -c 'landed --date=2026-11-06' calls)" -lt 3 ] && exit 3 ;;
    "landed --date=2026-11-05"*) exit 3 ;;
    "run --date=2026-11-01"*) exit 1 ;;
    "run --date=2026-11-02"*) exit 2 ;;
    "run --date=2026-11-03"*) exit 3 ;;
    "run --date=2026-11-04"*)
        case "$(grep -c 'run --date=2026-11-04' calls)" in
            1) kill -KILL $$ ;;
            2) exit 143 ;;
        esac ;;
esac
exit 0
"""


# Stands in for `spark-submit`, whose exit code is that of the night.
SUBMITTED = """#!/bin/sh
cd "$(dirname "$0")" && echo "$@" >> submitted
case "$*" in
    *--date=2026-11-01*) exit 1 ;;
    *--date=2026-11-03*) exit 3 ;;
    *--date=2026-11-04*) [ "$(grep -c 'date=2026-11-04' submitted)" -lt 2 ] && exit 143 ;;
esac
exit 0
"""

# A notifier, as an operator of Airflow would configure one: it writes down which task it is called for.
NOTES = """
from airflow.sdk import BaseNotifier

class Note(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, path, text):
        super().__init__()
        self.path, self.text = path, text

    def notify(self, context):
        with open(self.path, "a") as file:
            file.write(f"{self.text} {context['ti'].state.value}\\n")
"""


class Airflow:
    """An Airflow with a database of its own, which sees no network and calls `millrace` where it is told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MILLRACE"))} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        }

    def run(self, program: str, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a program of Airflow's environment; gives its output, and fails if it fails."""
        command = [str(ROOT / ".venv-airflow" / "bin" / program), *arguments]
        environment = self.variables | dict(variables or {})
        done = subprocess.run(command, env=environment, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    airflow_standalone.install()
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    airflow.run("airflow", "db", "migrate")
    return airflow


class Checkout:
    """A checkout with the DAGs, and programs that stand in for `millrace` and `spark-submit`."""

    def __init__(self, folder: Path, airflow: Airflow) -> None:
        self.folder = folder
        self._airflow = airflow
        shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "dags" / "notes.py").write_text(NOTES, encoding="utf-8")
        for name, program in (("millrace", ENDS), ("spark-submit", SUBMITTED)):
            (folder / name).write_text(program, encoding="utf-8")
            (folder / name).chmod(0o755)

    def run(self, *dates: str, **variables: str) -> tuple[list[dict[str, Any]], str]:
        """Run the nightly DAG for these dates; gives how each run ended, and the output."""
        arguments = {"path": str(self.folder / "notes"), "text": "{{ ti.task_id }} of {{ ds }}:"}
        given = {
            "MILLRACE_BIN": str(self.folder / "millrace"),
            "MILLRACE_NOTIFIER": json.dumps({"class": "notes.Note", "arguments": arguments}),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
        }
        output = self._airflow.run("python", "-c", RUNS, str(self.folder / "dags"), *dates, variables=given | variables)
        return [json.loads(line.removeprefix("RESULT")) for line in output.splitlines() if line.startswith("RESULT")], output

    def lines(self, name: str) -> list[str]:
        """The lines of a file that the programs write."""
        return (self.folder / name).read_text(encoding="utf-8").splitlines()


@pytest.fixture
def checkout(airflow: Airflow, tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, airflow)


@pytest.fixture(scope="module")
def endings(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """How the runs of 1 to 6 November ended: state of the run and its tasks, and the calls that were made."""
    checkout = Checkout(tmp_path_factory.mktemp("endings"), airflow)
    results, output = checkout.run(*(f"2026-11-{day:02}" for day in range(1, 7)), "now")
    calls = checkout.lines("calls")
    now = results.pop()
    ended = {
        int(result["date"][-2:]): {**result["tasks"], "run": result["run"], "calls": [call for call in calls if result["date"] in call]}
        for result in results
    }
    updated = sorted({line.split()[1] for line in output.splitlines() if line.startswith("ASSET ")})
    return ended | {0: {"due": now["tasks"]["due"], "calls": calls[-2:], "assets": updated, "notes": checkout.lines("notes")}}


def test_a_night_is_run_and_then_reported(endings: dict[int, dict[str, object]]) -> None:
    """Given that not all has landed when the deadline has passed."""
    assert endings[5] == {
        "run": "success",
        "run_night": ["success", 1],
        "write_report": ["success", 1],
        "night_is_complete": ["success", 1],
        "await_files": ["success", 1],
        "calls": ["landed --date=2026-11-05", "run --date=2026-11-05", "report --date=2026-11-05"],
    }


def test_a_night_waits_for_its_files(endings: dict[int, dict[str, object]]) -> None:
    assert endings[6]["run"] == "success"
    assert endings[6]["calls"] == [*["landed --date=2026-11-06"] * 3, "run --date=2026-11-06", "report --date=2026-11-06"]


def test_a_night_updates_the_assets_of_its_tables(endings: dict[int, dict[str, object]]) -> None:
    tables = ("daily_metrics", "duplicate_events", "events", "files", "rejected_events", "session_events", "sessions", "workflow_summaries")
    assert endings[0]["assets"] == [f"millrace_{table}" for table in tables]


def test_a_night_that_lacks_files_is_done_and_shows_it(endings: dict[int, dict[str, object]]) -> None:
    assert endings[3] == {
        "run": "success",
        "run_night": ["success", 1],
        "write_report": ["success", 1],
        "night_is_complete": ["skipped", 1],
        "await_files": ["success", 1],
        "calls": ["landed --date=2026-11-03", "run --date=2026-11-03", "report --date=2026-11-03"],
    }


def test_failures_and_nights_that_need_a_look_are_notified(endings: dict[int, dict[str, Any]]) -> None:
    """Given a failed check on the first, a wrong call on the second, an unreadable file on the third, and a retry on the fourth."""
    assert endings[4]["run"] == "success"
    notes = ["run_night of 2026-11-01: failed", "run_night of 2026-11-02: failed", "night_is_complete of 2026-11-03: skipped"]
    assert endings[0]["notes"] == notes


def test_nights_are_submitted_to_a_cluster(checkout: Checkout) -> None:
    """Given nights that fail a check, have an unreadable file, and are stopped once."""
    extra = {"py-files": "millrace.zip", "conf": {"spark.executor.memory": "2g"}}
    results, _ = checkout.run(
        *(f"2026-11-0{day}" for day in (1, 3, 4)),
        MILLRACE_SPARK_CONNECTION="spark_millrace",
        MILLRACE_LAKE="s3://bucket/lake",
        AIRFLOW_CONN_SPARK_MILLRACE=json.dumps({"conn_type": "spark", "host": "spark://master", "port": 7077, "extra": extra}),
    )
    assert [(result["run"], *result["tasks"]["run_night"]) for result in results] == [
        ("failed", "failed", 1),
        ("success", "success", 1),
        ("success", "success", 2),
    ]
    assert results[1]["tasks"]["night_is_complete"] == ["skipped", 1]
    submitted = checkout.lines("submitted")
    assert len(submitted) == 4
    assert submitted[0].startswith("--master spark://master:7077 --conf spark.executor.memory=2g --py-files millrace.zip --name millrace ")
    assert submitted[0].endswith(f"{checkout.folder}/jobs/night.py --date=2026-11-01 --lake=s3://bucket/lake --env=cluster")


def test_a_night_for_a_cluster_without_the_provider_fails_and_names_it(checkout: Checkout) -> None:
    """Given the Spark provider cannot be imported."""
    missing = checkout.folder / "without"
    missing.mkdir()
    (missing / "sitecustomize.py").write_text("import sys; sys.modules['airflow.providers.apache.spark.operators.spark_submit'] = None\n")
    results, output = checkout.run("2026-11-05", MILLRACE_SPARK_CONNECTION="spark_millrace", PYTHONPATH=str(missing))
    assert results[0]["tasks"]["run_night"] == ["failed", 1]
    assert "install apache-airflow-providers-apache-spark" in output


def test_a_run_that_is_triggered_by_hand_takes_the_last_finished_day(endings: dict[int, dict[str, object]]) -> None:
    last = dt.date.fromisoformat(str(endings[0]["due"])) - dt.timedelta(days=1)
    assert endings[0]["calls"] == [f"run --date={last}", f"report --date={last}"]


def test_the_night_is_that_of_the_logical_date_and_at_the_latest_the_last_day_that_is_over(airflow: Airflow) -> None:
    nights = {
        "2026-11-20T02:30:00+00:00/2026-11-21T02:30:00+00:00": "2026-11-20",  # scheduled, or of a backfill
        "2026-11-26T00:10:00+00:00/2026-11-26T00:10:00+00:00": "2026-11-25",  # by hand, before the schedule's hour
        "2026-11-26T23:50:00+00:00/2026-11-26T23:50:00+00:00": "2026-11-25",  # and after it
        "2026-11-20T12:00:00+00:00/2026-11-26T09:00:00+00:00": "2026-11-20",  # by hand, with a date
        "/2026-11-26T00:10:00+00:00": "2026-11-25",  # by the API or an asset
    }
    output = airflow.run("python", "-c", TAKES, str(ROOT / "dags"), *nights)
    assert [line.removeprefix("NIGHT ") for line in output.splitlines() if line.startswith("NIGHT")] == list(nights.values())


@pytest.mark.parametrize("exit_code", [1, 2])
def test_what_would_fail_again_is_not_tried_again(endings: dict[int, dict[str, object]], exit_code: int) -> None:
    ended = endings[exit_code]
    assert ended["run"] == "failed"
    assert ended["run_night"] == ["failed", 1]
    assert ended["calls"] == [f"landed --date=2026-11-0{exit_code}", f"run --date=2026-11-0{exit_code}"]


def test_a_night_that_was_killed_or_stopped_is_tried_again(endings: dict[int, dict[str, object]]) -> None:
    assert endings[4]["run"] == "success"
    assert endings[4]["run_night"] == ["success", 3]
    assert endings[4]["calls"] == ["landed --date=2026-11-04", *["run --date=2026-11-04"] * 3, "report --date=2026-11-04"]


def test_airflow_runs_a_landed_night_into_the_lake(airflow: Airflow, tmp_path: Path) -> None:
    landing, lake = tmp_path / "landing", tmp_path / "lake"
    subprocess.run([MILLRACE, "generate", "--landing", landing, "--date", "2026-11-20", "--events", "500"], check=True)
    parameters = json.dumps({"landing": str(landing), "lake": str(lake)})
    # Here by Airflow's own Variable, which it reads from its environment.
    found = {"AIRFLOW_VAR_MILLRACE_BIN": str(MILLRACE)}
    airflow.run("airflow", "dags", "test", "millrace_nightly", "2026-11-20", "--conf", parameters, variables=found)
    files = DeltaTable(lake / "files").to_pyarrow_table()
    assert files.num_rows > 0
    assert set(files["landing_date"].to_pylist()) == {dt.date(2026, 11, 20)}
    assert sum(files["accepted"].to_pylist()) == DeltaTable(lake / "events").to_pyarrow_table(columns=["event_id"]).num_rows > 0


def test_airflow_maintains_the_lake(airflow: Airflow, tmp_path: Path) -> None:
    for number in range(3):
        tiny_lake.publish(tmp_path, {"quality_results": [{"table": "events"}]}, run_id=f"run-{number}")
    parameters = json.dumps({"lake": str(tmp_path)})
    airflow.run(
        "airflow", "dags", "test", "millrace_maintenance", "--conf", parameters, variables={"AIRFLOW_VAR_MILLRACE_BIN": str(MILLRACE)}
    )
    assert len(Lake.open(tmp_path).files("quality_results")) == 1

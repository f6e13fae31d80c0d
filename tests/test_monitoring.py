"""What a monitoring system gets: the JSON log, the metrics of the last runs, and a notification when a run ends badly."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import CommandResult, call_millrace
from conftest import Demo
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.commands.run_metrics import Metric, exposition
from jobs.console import printing, process_memory
from jobs.lake.tables import Lake

pytestmark = pytest.mark.usefixtures("without_arguments")

NIGHT = "2026-11-20"
VISIT = {"event": {"wiki": "enwiki"}}  # lacks most required fields: it is refused
STEPS = ("ingest", "deduplicate", "write", "account", "sessions", "workflows", "metrics", "marts", "checks", "publish")


@pytest.fixture(autouse=True)
def text_log() -> Iterator[None]:
    yield
    printing.log_as_json(as_json=False)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """One landed file of homepagevisit, whose only record is refused."""
    folder = tmp_path / "landing" / "homepagevisit" / f"date={NIGHT}"
    folder.mkdir(parents=True)
    (folder / "part-00000.json").write_text(json.dumps(VISIT) + "\n")
    return tmp_path / "landing"


def run(capfd: pytest.CaptureFixture[str], landing: Path, *options: object, **settings: object) -> CommandResult:
    """Run the night, with some settings of the section `notify`."""
    conf = landing.parent / "conf.yaml"
    quality = {"pages": False, "acceptance_rate": {"minimum": 0, "severity": "warning"}}
    conf.write_text(yaml.safe_dump({"engine": "sail", "quality": quality, "notify": settings}))
    lake = landing.parent / "lake"
    return call_millrace(capfd, "run", "--date", NIGHT, "--conf", conf, "--landing", landing, "--lake", lake, *options)


def entries(result: CommandResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stderr.splitlines()]


def steps_of_run(landing: Path) -> dict[str, dict[str, Any]]:
    """The rows of `runs` of the only night."""
    rows = Lake.open(landing.parent / "lake").arrow("runs").to_pylist()
    return {row["step"]: row for row in rows if row["step"] in STEPS}


# The JSON log


def test_each_step_is_an_object_with_what_runs_has_of_it(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    logged = [entry for entry in entries(run(capfd, landing, "--log", "json")) if entry.get("step") in STEPS]
    rows = steps_of_run(landing)
    assert tuple(entry["step"] for entry in logged) == STEPS == tuple(rows)
    for entry in logged:
        assert {"time", "level", "message", "run_id", "command", "night", "seconds"} <= set(entry)
        assert (entry["level"], entry["night"], entry["run_id"]) == ("info", NIGHT, rows[entry["step"]]["run_id"])
        for name in ("files", "records", "rows_in", "rows_out", "bytes", "peak_memory"):
            assert entry.get(name) == rows[entry["step"]][name], (entry["step"], name)


def test_runs_has_the_seconds_and_the_memory_of_each_step(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    assert run(capfd, landing).exit_code == 0
    for step, row in steps_of_run(landing).items():
        if step == "publish":
            assert (row["seconds"], row["peak_memory"]) == (None, None)
            continue
        assert 0 <= row["seconds"] <= (row["ended"] - row["started"]).total_seconds() + 1
        assert sys.platform != "linux" or 50 << 20 < row["peak_memory"] < 64 << 30


def test_a_fault_is_one_object_with_its_level(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = call_millrace(capfd, "run", "--log", "json", "--date", NIGHT, "--landing", tmp_path / "none", "--lake", tmp_path / "lake")
    assert missing.exit_code == 2
    (fault,) = [entry for entry in entries(missing) if entry["level"] == "error"]
    assert str(tmp_path / "none") in fault["message"]
    assert not fault["message"].startswith("millrace")


def test_the_environment_chooses_the_log_too(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LOG", "json")
    missing = call_millrace(capfd, "run", "--date", NIGHT, "--landing", tmp_path / "none", "--lake", tmp_path / "lake")
    assert [entry["level"] for entry in entries(missing)] == ["error"]


def test_a_message_stays_one_line_whatever_it_holds(capfd: pytest.CaptureFixture[str]) -> None:
    printing.log_as_json(as_json=True)
    printing.print_message("warning: a\nb\x1b[2J \N{GRINNING FACE}", rows_in=None, rows_out=3)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.isascii()
    assert {name: value for name, value in json.loads(line).items() if name != "time"} == {
        "level": "warning",
        "message": "a\nb\x1b[2J \N{GRINNING FACE}",
        "rows_out": 3,
    }


# Metrics

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


def samples(text: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """The samples by metric and labels. Fails on a line that is not in Prometheus's text format."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        labels = frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        found.setdefault(match[1], {})[labels] = float(match[3])
    return found


def test_metrics_are_those_of_the_last_run(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    """Given two runs, of which the second reads one more file."""
    run(capfd, landing)
    (landing / "homepagevisit" / f"date={NIGHT}" / "part-00001.json").write_text(f"{json.dumps(VISIT)}\n" * 2)
    (landing / "homepagevisit" / f"date={NIGHT}" / "part-00002.json.gz").write_bytes(b"no gzip")
    run(capfd, landing)
    lake = Lake.open(landing.parent / "lake")
    found = samples(call_millrace(capfd, "metrics", "--lake", lake.root).stdout)
    rows = lake.arrow("runs").to_pylist()
    last = [row for row in rows if row["run_id"] == max(rows, key=lambda row: row["started"])["run_id"]]
    for name, metric in (("rows_in", "rows_in"), ("rows_out", "rows_out"), ("bytes", "bytes"), ("peak_memory", "peak_memory_bytes")):
        expected = {frozenset({("command", "run"), ("step", row["step"])}): row[name] for row in last if row[name] is not None}
        assert {labels: value for labels, value in found[f"millrace_step_{metric}"].items() if ("command", "run") in labels} == expected
    of_source = ("source", "homepagevisit")
    assert found["millrace_lake_state"] == {frozenset(): lake.state}
    assert found["millrace_landed_records"][frozenset({of_source, ("outcome", "rejected")})] == 3
    assert found["millrace_unreadable_files"] == {frozenset({of_source}): 1}
    assert found["millrace_failed_checks"][frozenset({("severity", "critical")})] == 0
    assert found["millrace_last_run_failed"][frozenset({("command", "run")})] == 0


def test_metrics_are_written_as_a_whole_file(capfd: pytest.CaptureFixture[str], demo: Demo, tmp_path: Path) -> None:
    printed = call_millrace(capfd, "metrics", "--lake", demo.lake).stdout
    assert call_millrace(capfd, "metrics", "--lake", demo.lake, "--out", tmp_path / "millrace.prom").exit_code == 0
    assert (tmp_path / "millrace.prom").read_text() == printed
    assert [path.name for path in tmp_path.iterdir()] == ["millrace.prom"]
    failed = call_millrace(capfd, "metrics", "--lake", demo.lake, "--out", tmp_path / "no" / "millrace.prom")
    assert failed.exit_code == 2
    assert "--out" in failed.fault


def test_metrics_of_no_lake_are_a_fault(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = call_millrace(capfd, "metrics", "--lake", tmp_path / "none")
    assert (result.exit_code, result.stdout, len(result.faults)) == (2, "", 1)


def test_labels_are_escaped_and_metrics_without_samples_left_out() -> None:
    odd = Metric("odd", "Odd", [({"source": 'a"b\\c\nd'}, 1.0)])
    assert exposition([odd, Metric("none", "None", [])]) == '# HELP odd Odd\n# TYPE odd gauge\nodd{source="a\\"b\\\\c\\nd"} 1.0\n'


# Notification


def to_file(path: Path) -> list[str]:
    """A command that writes its stdin into a file."""
    return [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())", str(path)]


def test_a_command_gets_the_summary_of_a_run_that_ends_badly(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    """Given an unreadable file, the run ends with 3, and the command gets what the run did."""
    (landing / "homepagevisit" / f"date={NIGHT}" / "part-00001.json.gz").write_bytes(b"no gzip")
    received = landing.parent / "summary.json"
    result = run(capfd, landing, command=to_file(received))
    document = json.loads(received.read_text())
    assert (result.exit_code, document["exit_code"], document["command"]) == (3, 3, "run")
    assert document["lake"] == str(landing.parent / "lake")
    (night,) = document["runs"]
    assert (night["night"], night["published"], night["records"], night["rejected"]) == (NIGHT, True, 1, 1)
    assert [one["file"] for one in night["unreadable"]] == [f"homepagevisit/date={NIGHT}/part-00001.json.gz"]


def test_no_command_is_called_after_a_good_run(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    received = landing.parent / "summary.json"
    assert run(capfd, landing, command=to_file(received)).exit_code == 0
    assert not received.exists()


def test_exit_codes_can_be_configured_and_the_message_of_a_fault_is_sent(capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    received = landing.parent / "summary.json"
    result = run(capfd, landing, "--source", "nobody", command=to_file(received), exit_codes=[2])
    document = json.loads(received.read_text())
    assert (result.exit_code, document["exit_code"], document["runs"]) == (2, 2, [])
    assert result.fault == f"millrace: {document['message']}"


@pytest.mark.parametrize(
    ("command", "why"),
    [(["/no/such/program"], "No such file"), ([sys.executable, "-c", "raise SystemExit('down')"], "exit code 1: down")],
)
def test_a_command_that_fails_is_a_warning(capfd: pytest.CaptureFixture[str], landing: Path, command: list[str], why: str) -> None:
    result = run(capfd, landing, "--source", "nobody", command=command, exit_codes=[2])
    assert result.exit_code == 2
    (warning,) = [line for line in result.stderr.splitlines() if "notification" in line]
    assert why in warning
    assert "notify.command" in warning


@contextmanager
def webhook(status: int) -> Iterator[tuple[str, list[Any]]]:
    """A server on the loopback interface that answers with this status; gives its address and what it was sent."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook/s3cret", received
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_the_document(capfd: pytest.CaptureFixture[str], landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with webhook(204) as (url, received):
        result = run(capfd, landing, "--source", "nobody", url=url, exit_codes=[2])
    assert [document["exit_code"] for document in received] == [2]
    assert "notification" not in result.stderr


def test_a_webhook_that_fails_is_a_warning_without_its_address(
    capfd: pytest.CaptureFixture[str], landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with webhook(500) as (url, _):
        refused = run(capfd, landing, "--source", "nobody", url=url, exit_codes=[2])
    gone = run(capfd, landing, "--source", "nobody", url=url, exit_codes=[2])
    for result, why in ((refused, "status 500"), (gone, "Connection refused")):
        (warning,) = [line for line in result.stderr.splitlines() if "notification" in line]
        assert why in warning
        assert "s3cret" not in result.stderr
        assert result.exit_code == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/with space/s3cret", "http://[::1/s3cret", "http:///s3cret"])
def test_an_address_that_no_request_can_have_is_a_warning_without_it(capfd: pytest.CaptureFixture[str], landing: Path, url: str) -> None:
    result = run(capfd, landing, "--source", "nobody", url=url, exit_codes=[2])
    assert result.exit_code == 2
    assert len([line for line in result.stderr.splitlines() if "notification" in line]) == 1
    assert "s3cret" not in result.stderr


def test_a_redirect_is_a_failure_because_it_would_lose_the_document(
    capfd: pytest.CaptureFixture[str], landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with webhook(302) as (url, received):
        result = run(capfd, landing, "--source", "nobody", url=url, exit_codes=[2])
    assert len(received) == 1
    assert "status 302" in result.stderr


def test_a_night_that_fails_a_check_is_in_the_summary(spark: SparkSession, capfd: pytest.CaptureFixture[str], landing: Path) -> None:
    """Given a night whose only record is refused, and a critical bound on the rate of accepted records."""
    summary = landing.parent / "summary.json"
    conf = landing.parent / "critical.yaml"
    quality = {"pages": False, "acceptance_rate": {"minimum": 0.9, "severity": "critical"}}
    conf.write_text(yaml.safe_dump({"engine": "sail", "quality": quality, "notify": {"command": to_file(summary)}}))
    result = call_millrace(capfd, "run", "--date", NIGHT, "--conf", conf, "--landing", landing, "--lake", landing.parent / "lake")
    document = json.loads(summary.read_text())
    assert (result.exit_code, document["exit_code"]) == (1, 1)
    assert document["runs"] == [{"night": NIGHT, "published": False}]
    assert "accepted_rate" in document["message"]


def test_a_webhook_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(ValueError, match="https"):
        configuration.Notify(command=(), url="file:///etc/passwd", exit_codes=(1,))


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="memory is known on Linux alone")
def test_memory_is_that_of_the_process_and_its_children() -> None:
    """Given a child with 200 MiB, the memory of the tree is that much larger."""
    before = process_memory.memory_of_tree(os.getpid())
    assert before is not None
    read, write = os.pipe()
    child = os.fork()
    if not child:
        held = b"x" * (200 << 20)
        os.write(write, held[:1])
        threading.Event().wait(60)
        os._exit(0)
    os.read(read, 1)
    during = process_memory.memory_of_tree(os.getpid())
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert during is not None
    assert during - before > 190 << 20


def test_peak_memory_is_the_largest_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given memory that grows, is not known for a moment, and shrinks."""
    samples = iter([5, 9, None, 7])
    monkeypatch.setattr(process_memory, "memory_of_tree", lambda _process: next(samples))
    peak = process_memory.PeakMemory()
    for _ in range(4):
        peak.sample()
    assert peak.bytes == 9

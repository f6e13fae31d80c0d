"""The command line: exit codes, and one clear line for every fault that a user can cause."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import call_millrace
from conftest import Demo

from jobs.commands.cli import cli

pytestmark = pytest.mark.usefixtures("without_arguments")


@pytest.mark.parametrize(
    ("arguments", "names", "remedy"),
    [
        (["run"], "--date", "millrace run --help"),
        (["run", "--date", "2026-02-30"], "2026-02-30", "YYYY-MM-DD"),
        (["run", "--date", "2026-W10-1"], "2026-W10-1", "YYYY-MM-DD"),
        (["run", "--date", "2026-11-18", "--landing", "{tmp}/nowhere"], "nowhere", "--landing"),
        (["run", "--date", "2026-11-18", "--landing", "{tmp}", "--source", "facebook"], "facebook", "activity_stream, contentsquare"),
        (["run", "--date", "2026-11-18", "--conf", "{tmp}/nowhere.yaml"], "nowhere.yaml", "give --conf a YAML file"),
        (["run", "--date", "2026-11-18", "--conf", "{tmp}/key.yaml"], "sessions.idle", "conf/base.yaml"),
        (["run", "--date", "2026-11-18", "--conf", "{tmp}/value.yaml"], "deduplication.window_days", "conf/base.yaml"),
        (["run", "--date", "2026-11-18", "--conf", "{tmp}/broken.yaml"], "broken.yaml", "at line 2: mend it"),
        (["run", "--date", "2026-11-18", "--env", "moon"], "moon", "local, spark, cluster"),
        (["run", "--date", "2026-11-18", "--landing", "{tmp}", "--lake", "{tmp}"], "holds something else", "--lake"),
        (["backfill", "--from", "2026-11-19", "--to", "2026-11-18"], "2026-11-18", "--from"),
        (["status", "--lake", "{tmp}/none"], "no lake at", "millrace run"),
        (["quality", "--lake", "{tmp}/none"], "no lake at", "millrace run"),
        (["maintain", "--lake", "{tmp}/none"], "no lake at", "millrace run"),
        (["maintain", "--conf", "{tmp}/short.yaml"], "maintain.history_days", "conf/base.yaml"),
        (["sql", "--lake", "{tmp}/none", "SELECT 1"], "no lake at", "millrace run"),
        (["report", "--lake", "{tmp}/none", "--date", "2026-11-18"], "no lake at", "millrace run"),
        (["describe", "evnets"], "evnets", "did you mean events?"),
        (["generate", "--landing", "{tmp}"], "--date", "2026-11-20"),
        (["generate", "--landing", "{tmp}", "--from", "2026-11-18"], "--from", "--to"),
        (["generate", "--landing", "{tmp}", "--date", "2026-11-18", "--to", "2026-11-19"], "--date", "--from"),
        (["generate", "--landing", "{tmp}", "--from", "2026-11-19", "--to", "2026-11-18"], "2026-11-18", "--from"),
        (["generate", "--landing", "{tmp}/landing", "--from", "2026-11-17", "--to", "2026-11-18"], "landed on 2026-11-18", "--landing"),
        (["generate", "--landing", "{tmp}", "--date", "2026-11-18", "--source", "facebook"], "facebook", "sunbird"),
        (["generate", "--landing", "{tmp}/key.yaml", "--date", "2026-11-18"], "key.yaml", "--landing"),
        (["generate", "--landing", "{tmp}", "--truth", "--from", "2026-11-18", "--to", "2026-11-19"], "no night", "millrace generate"),
        (["demo", "--landing", "{tmp}/landing"], "sunbird that landed on 2026-11-18", "--landing"),
        (["generate", "--landing", "{tmp}/landing", "--date", "2026-11-18"], "sunbird that landed on 2026-11-18", "--landing"),
        (["rnu"], "rnu", "millrace --help"),
    ],
)
def test_a_wrong_call_is_one_line_that_names_it_and_the_remedy(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], names: str, remedy: str
) -> None:
    landed = tmp_path / "landing" / "sunbird" / "date=2026-11-18" / "mine.json"
    landed.parent.mkdir(parents=True)
    landed.touch()
    (tmp_path / "key.yaml").write_text("sessions: {idle: 10}\n")
    (tmp_path / "value.yaml").write_text("deduplication: {window_days: a month}\n")
    (tmp_path / "short.yaml").write_text("maintain: {history_days: 3}\n")
    (tmp_path / "broken.yaml").write_text("sessions: [\n")
    code, out, err = call_millrace(capfd, *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    faults = [line for line in err.splitlines() if line.startswith("millrace: ")]
    assert (code, out, len(faults)) == (2, "", 1), err
    assert names in faults[0]
    assert remedy in faults[0]
    assert "Traceback" not in err


def test_every_command_has_help_with_an_example(capfd: pytest.CaptureFixture[str]) -> None:
    for name in cli.commands:
        code, out, _ = call_millrace(capfd, name, "--help")
        assert code == 0
        assert f"Example: millrace {name}" in out


def test_help_imports_nothing_heavy() -> None:
    heavy = ["pyspark", "pyarrow", "duckdb", "pandas", "yaml", "rich"]
    code = f"import sys; from jobs.commands import program; print([name for name in {heavy} if name in sys.modules])"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert time.monotonic() - started < 5


def test_a_fault_of_our_own_has_another_exit_code_than_a_failed_check(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.commands import describe

    monkeypatch.setattr(describe, "show", lambda *_: 1 / 0)
    code, _, err = call_millrace(capfd, "describe")
    assert code == 70
    assert "ZeroDivisionError" in err


def test_describe_shows_every_column_with_its_unit(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call_millrace(capfd, "describe", "sessions")
    assert code == 0
    assert "session_duration" in out
    assert "ms" in out
    assert call_millrace(capfd, "describe")[1].count("one row per") >= 11


def test_several_dates_are_generated_as_each_of_them_is(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call_millrace(
        capfd, "generate", "--landing", tmp_path / "both", "--from", "2026-11-18", "--to", "2026-11-19", "--events", 40
    )
    assert code == 0
    assert "from 2026-11-18 to 2026-11-19" in out
    for date in ("2026-11-18", "2026-11-19"):
        assert call_millrace(capfd, "generate", "--landing", tmp_path / "each", "--date", date, "--events", 40)[0] == 0
    both, each = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
        for root in (tmp_path / "both", tmp_path / "each")
    )
    assert both == each
    assert len(both) > 2


def test_the_truth_of_two_nights_is_printed_as_json(capfd: pytest.CaptureFixture[str], demo: Demo) -> None:
    capfd.readouterr()
    code, out, _ = call_millrace(capfd, "generate", "--landing", demo.landing, "--truth", "--from", demo.nights[0], "--to", demo.nights[1])
    assert code == 0
    assert json.loads(out)["total"]["records"] > 0


def test_status_and_quality_show_the_lake(capfd: pytest.CaptureFixture[str], demo: Demo) -> None:
    code, out, _ = call_millrace(capfd, "status", "--landing", demo.landing, "--lake", demo.lake)
    assert code == 0
    for source in ("activity_stream", "contentsquare", "homepagevisit", "sunbird"):
        assert out.count(source) == 2
    lines = [line.replace(",", "").split() for line in out.splitlines() if line.startswith("2026-")]
    for records, accepted, duplicates, rejected, erased in ([int(count) for count in line[7:12]] for line in lines):
        assert records == accepted + duplicates + rejected + erased > 0
    code, out, _ = call_millrace(capfd, "quality", "--lake", demo.lake)
    assert code == 0
    assert "Refused" in out
    pages = Path(out.split("pages: ")[1].strip())
    assert pages.is_file()


def test_quality_of_a_night_that_was_never_run_says_so(capfd: pytest.CaptureFixture[str], demo: Demo) -> None:
    code, _, err = call_millrace(capfd, "quality", "--lake", demo.lake, "--date", "1999-01-01")
    assert (code, err.count("\n")) == (2, 1)


def test_running_a_night_again_changes_nothing_and_says_so(capfd: pytest.CaptureFixture[str], demo: Demo) -> None:
    capfd.readouterr()
    code, out, err = call_millrace(capfd, "run", "--landing", demo.landing, "--lake", demo.lake, "--date", demo.nights[1])
    assert (code, out) == (0, f"{demo.nights[1]}: nothing has changed since it was run\n")
    # Results on stdout, progress on stderr: one line per step where there is no terminal.
    assert [line.split()[1] for line in err.splitlines()] == ["survey", "publish"]


def test_a_night_that_never_landed_anything_says_so(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    code, out, _ = call_millrace(capfd, "run", "--landing", tmp_path / "landing", "--lake", tmp_path / "lake", "--date", "2026-11-18")
    assert (code, out) == (0, "2026-11-18: nothing has landed, and nothing is expected\n")


@pytest.mark.parametrize(
    "output",
    [
        "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)",
        "java.net.SocketException: Connection reset",
        "java.io.IOException: Stream closed",
        "A process in the process pool was terminated abruptly while the future was running or pending.",
    ],
)
def test_a_worker_that_has_died_is_one_line_whatever_the_engine_says(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(output)

    monkeypatch.setattr("jobs.commands.describe.show", fail)
    code, _, err = call_millrace(capfd, "describe")
    assert (code, err.count("\n")) == (75, 1)
    assert err.startswith("millrace: a worker process was lost")


def test_a_library_that_ends_the_process_does_not_pass_for_success(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> None:
        sys.exit(0)

    monkeypatch.setattr("jobs.commands.describe.show", leave)
    code, _, err = call_millrace(capfd, "describe")
    assert code == 70
    assert err.startswith("millrace: a library ended the run")

"""Great Expectations in its own process: what becomes of it, of its pages and of who asks when one of them is lost."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import quality_gate
from jobs.errors import WorkerLostError
from jobs.generator.generate import generate
from jobs.lake import Lake
from jobs.night import run_night
from jobs.progress import Progress
from jobs.quality_gate import Finding
from jobs.session import Engine
from jobs.settings import Settings

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))
ASKED = [
    Finding("events", "an id is one event's", "critical", 0, 0, 0),
    Finding("files", "every landed file can be read", "warning", 2, 0, 0, source="sunbird"),
    Finding("files", "every landed file can be read", "warning", 0, 0, 0, source="homepagevisit"),
    Finding("sessions", "no night before", "warning", None, 0.5, 3),
]
VERDICTS = [True, False, True, True]
# Starts the process of the checks, says which it is, and then waits for longer than any test.
WAITING = "from jobs.quality_gate import _judge; import time; print(_judge()._process.pid, flush=True); time.sleep(600)"


def verdicts(pages: Path | None = None) -> list[bool]:
    return [finding.passed for finding in quality_gate.judge(ASKED, "a run", pages)]


def test_every_finding_gets_its_own_verdict_and_each_table_its_page(tmp_path: Path) -> None:
    assert verdicts(tmp_path / "pages") == VERDICTS
    assert quality_gate.pages_written() is None
    index = (tmp_path / "pages" / "index.html").read_text()
    for table in ("events", "files", "sessions"):
        (page,) = (tmp_path / "pages" / "validations" / table).rglob("*.html")
        assert page.relative_to(tmp_path / "pages").as_posix() in index


def test_a_process_that_was_lost_is_a_line_and_who_asks_again_gets_a_new_one() -> None:
    quality_gate._judge()._process.kill()
    with pytest.raises(WorkerLostError, match=r"process of the checks was lost.*nothing was published; call again"):
        verdicts()
    assert verdicts() == VERDICTS


def test_a_process_that_is_lost_while_it_writes_pages_says_why_there_are_none(tmp_path: Path) -> None:
    assert verdicts(tmp_path / "pages") == VERDICTS
    quality_gate._judge()._process.kill()
    assert "was lost" in (quality_gate.pages_written() or "was lost")
    assert quality_gate.pages_written() is None


def test_pages_that_cannot_be_written_are_a_line_and_the_night_is_published(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spark is not None
    for night in NIGHTS:
        generate(settings.paths.landing, night, events=100, workers=1)
    with_pages = settings.model_copy(update={"quality": settings.quality.model_copy(update={"pages": True})})
    for night, asked in zip(NIGHTS, (settings, with_pages), strict=True):
        with Engine(asked, Progress()) as engine:
            assert run_night(engine, asked, night, progress=Progress()).published
        (settings.paths.lake / "_quality").touch()
    said = capsys.readouterr().err
    assert said.count("pages could not be written") == 1
    assert "NotADirectoryError" in said or "FileExistsError" in said
    nights = Lake.open(settings.paths.lake).arrow("quality_results", ["date"])["date"]
    assert set(nights.to_pylist()) == set(NIGHTS)


def test_it_ends_with_the_process_that_asks_even_where_that_was_killed() -> None:
    asking = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    process = int(asking.stdout.readline())
    os.kill(process, 0)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    until = time.monotonic() + 60
    while is_running(process) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_running(process)


def is_running(process: int) -> bool:
    """Whether the process is there and is not one that has ended and waits for its parent to take note."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Great Expectations in its own process: its verdicts, its pages, and what happens when the process or the pages are lost."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.errors import WorkerLostError
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from jobs.night import run_night
from jobs.quality import gate
from jobs.quality.gate import Finding, of_rows
from jobs.settings import Settings
from schemas.catalog import TABLES
from schemas.suite import suite

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19))
RULES = [(table.name, rule) for table in TABLES.values() for rule in suite(table)]
FINDINGS = [
    Finding("events", "an id is one event's", "critical", 0, 0, 0),
    Finding("files", "every landed file can be read", "warning", 2, 0, 0, source="sunbird"),
    Finding("files", "every landed file can be read", "warning", 0, 0, 0, source="homepagevisit"),
    Finding("sessions", "no night before", "warning", None, 0.5, 3),
]
PASSED = [True, False, True, True]
# Starts the process of the checks, prints its id, and then waits for longer than any test.
WAITING = "from jobs.quality.gate import _process; import time; print(_process()._process.pid, flush=True); time.sleep(600)"


def passed(findings: list[Finding] = FINDINGS, pages: Path | None = None) -> list[bool]:
    return [finding.passed for finding in gate.validate(findings, "a run", pages)]


def test_every_finding_gets_its_own_verdict() -> None:
    assert passed() == PASSED


@pytest.mark.parametrize("parity", [0, 1])
def test_a_rule_of_rows_fails_where_a_row_breaks_it_and_passes_where_none_does(parity: int) -> None:
    required = {"expect_column_values_to_not_be_null"}
    observed = [1 if number % 2 == parity else 0 for number in range(len(RULES))]
    nulls = {table.name: dict.fromkeys(table.names, 0) for table in TABLES.values()}
    for (table, rule), count in zip(RULES, observed, strict=True):
        if rule.expectation.type in required:
            nulls[table][rule.expectation.arguments["column"]] = count
    findings = [of_rows(table, rule, count, 1_000_000, nulls[table]) for (table, rule), count in zip(RULES, observed, strict=True)]
    assert passed(findings) == [count == 0 for count in observed]


def test_a_rule_of_rows_passes_where_the_night_wrote_no_row_or_none_with_a_value() -> None:
    (rule,) = (rule for table, rule in RULES if table == "files" and rule.name == "landing_hour is at most 23")
    assert passed([of_rows("files", rule, 0, 0, {}), of_rows("sessions", rule, 0, 7, {"landing_hour": 7})]) == [True, True]


def test_a_count_that_contradicts_the_rows_is_an_error_and_no_verdict() -> None:
    table, rule = RULES[0]
    with pytest.raises(RuntimeError, match="is unique: 1 rows break it, of none"):
        passed([of_rows(table, rule, 1, 0, {})])
    with pytest.raises(RuntimeError, match="was observed as 1 and as 0"):
        passed([of_rows(table, rule, 1, 5, {}), of_rows(table, rule, 0, 5, {})])
    unknown = dataclasses.replace(rule.expectation, type="expect_column_values_to_be_null", arguments={"column": "page"})
    with pytest.raises(RuntimeError, match=r"events, .* is unique: "):
        passed([dataclasses.replace(of_rows(table, rule, 0, 5, {}), rule=unknown)])
    assert passed() == PASSED


@pytest.mark.parametrize(
    ("minimum", "maximum", "within", "beyond"),
    [
        (0.9, None, (0.9, 1.0), (0.8999999, -1)),
        (None, 0.2, (0.2, 0), (0.2000001, 5)),
        (0.5, 3, (0.5, 1, 3), (0.49, 3.01)),
        (0, 0, (0,), (1, -1)),
    ],
)
def test_a_measure_fails_beyond_its_bounds_and_passes_at_them(
    minimum: float | None, maximum: float | None, within: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    findings = [
        Finding("files", "a rate", "warning", observed, minimum, maximum, source=str(number))
        for number, observed in enumerate((*within, *beyond))
    ]
    assert passed(findings) == [*(True for _ in within), *(False for _ in beyond)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a night whose table `events` has failed rules and `files` has a warning, in place of those of a run before."""
    folder = tmp_path_factory.mktemp("pages") / "2026-11-20"
    findings = [of_rows("events", rule, 12 if number == 1 else 0, 1360, {}) for number, rule in enumerate(suite(TABLES["events"]))]
    findings += [Finding("events", '<script>"a" & b</script>', "critical", 1, 0, 0), *FINDINGS[1:]]
    passed([dataclasses.replace(one, table="gone") for one in findings], folder)
    passed(findings, folder)
    assert gate.pages_written() is None
    return folder


def rows_of(page: Path) -> list[str]:
    """The text of each row of a page's tables."""
    return [
        " ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr.*?</tr>", page.read_text().partition("<body>")[2], re.S)
    ]


def test_a_page_says_of_each_rule_its_status_what_was_observed_what_is_allowed_and_of_which_source(pages: Path) -> None:
    events = rows_of(pages / "events.html")
    assert "failed source is filled values must never be null. 12 of 1,360 rows (0.88 %) no row all critical" in events
    duration = "duration_ms is at least 0 values must be greater than or equal to 0.0."
    assert f"passed {duration} 0 of 1,360 rows no row all critical" in events
    condition = "no row of SELECT * FROM events WHERE NOT (event_date = CAST(event_time AS DATE))"
    assert f"passed event_date is the date of event_time {condition} 0 of 1,360 rows no row all critical" in events
    readable = "every landed file can be read must be exactly 0.0."
    assert rows_of(pages / "files.html")[1:] == [
        f"warning {readable} 2 0 sunbird warning",
        f"passed {readable} 0 0 homepagevisit warning",
    ]
    assert rows_of(pages / "sessions.html")[1:] == [
        "passed no night before must be greater than or equal to 0.5 and less than or equal to 3.0. nothing to observe 0.5 … 3 all warning"
    ]


def test_the_index_lists_each_table_with_its_status_and_what_does_not_hold(pages: Path) -> None:
    rows = rows_of(pages / "index.html")
    count = len(suite(TABLES["events"])) + 1
    assert rows[1:4] == [f"events failed {count} {count - 2} 2 0", "files warning 2 1 0 1", "sessions passed 1 1 0 0"]
    assert "warning files sunbird every landed file can be read 2 0" in rows
    assert sorted(page.name for page in pages.iterdir()) == ["events.html", "files.html", "index.html", "sessions.html"]


def test_the_pages_load_nothing_and_a_rule_is_text(pages: Path) -> None:
    for page in pages.glob("*.html"):
        text = page.read_text()
        assert not re.search(r"https?:|src=|<link|<script|@import|url\(|//", text)
        assert all((pages / target).is_file() for target in re.findall(r'href="([^"]*)"', text))
    assert "&lt;script&gt;&#34;a&#34; &amp; b&lt;/script&gt;" in (pages / "events.html").read_text()


def test_a_process_that_was_lost_is_a_line_and_the_next_call_starts_a_new_one() -> None:
    gate._process()._process.kill()
    with pytest.raises(WorkerLostError, match=r"process of the checks was lost.*nothing was published; call again"):
        passed()
    assert passed() == PASSED


def test_a_process_that_is_lost_while_it_writes_pages_says_why_there_are_none(tmp_path: Path) -> None:
    assert passed(pages=tmp_path / "pages") == PASSED
    gate._process()._process.kill()
    assert "was lost" in (gate.pages_written() or "was lost")
    assert gate.pages_written() is None


def test_pages_that_cannot_be_written_are_a_line_and_the_night_is_published(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spark is not None
    for night in NIGHTS:
        generate(settings.paths.landing, night, events=100, workers=1)
    with_pages = settings.model_copy(update={"quality": settings.quality.model_copy(update={"pages": True})})
    for night, given in zip(NIGHTS, (settings, with_pages), strict=True):
        with Engine(given, Progress()) as engine:
            assert run_night(engine, given, night, progress=Progress()).published
        (settings.paths.lake / "_quality").touch()
    output = capsys.readouterr().err
    assert output.count("the pages of the checks could not be written") == 1
    assert "NotADirectoryError" in output or "FileExistsError" in output
    nights = Lake.open(settings.paths.lake).arrow("quality_results", ["date"])["date"]
    assert set(nights.to_pylist()) == set(NIGHTS)


def test_it_ends_with_the_process_that_started_it_even_if_that_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process = int(parent.stdout.readline())
    os.kill(process, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
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

"""SIGTERM, as a scheduler sends it, at any moment of a run: one line, exit code 143, no process left, no table half-changed."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import plain_environment
from deltalake import DeltaTable
from lakes import contents
from process_groups import assert_all_end

from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from schemas.catalog import TABLES

MILLRACE = str(Path(sys.executable).with_name("millrace"))
FIRST, SECOND = dt.date(2026, 11, 18), dt.date(2026, 11, 19)
AS_BEFORE = "millrace: stopped by SIGTERM: nothing was published, the tables are as before; call the same command again to go on"
PUBLISHED = (
    "millrace: stopped by SIGTERM after a publication: the tables are whole and hold what was published;"
    " call the same command again to go on"
)
# `millrace`, whose commits take a while, and are told.
SLOW_COMMITS = """
import sys, time
from jobs.commands import program
from jobs.lake import table_changes

def slow_commit(*arguments, commit=table_changes.commit):
    print("a commit", file=sys.stderr, flush=True)
    time.sleep(0.1)
    return commit(*arguments)

table_changes.commit = slow_commit
program.program()
"""
# A process that is in a publication when it says so; what it does then is given.
PUBLISHING = """
import time
from jobs.console import termination

termination.install()
termination._PUBLICATION_SECONDS = 0.3
with termination.delay_exit(publishes=True):
    print("publishing", flush=True)
    {work}
print("went on", flush=True)
"""


@dataclass(frozen=True)
class Night:
    """A lake of one night; the next one has landed."""

    landing: Path
    lake: Path

    def command(self, environment: str = "local") -> list[str]:
        return ["run", "--date", str(SECOND), "--env", environment, "--landing", str(self.landing), "--lake", str(self.lake)]

    def tables(self) -> tuple[dict[str, list[str]], dict[str, int]]:
        """All rows of the recorded state, and the version that readers find who know nothing of it."""
        return contents(self.lake), {name: DeltaTable(str(self.lake / name)).version() for name in TABLES}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = tmp_path_factory.mktemp("termination")
    made = Night(root / "landing", root / "lake")
    for date in (FIRST, SECOND):
        generate(made.landing, date, events=400, seed=3, workers=1)
    subprocess.run([MILLRACE, *made.command(), "--date", str(FIRST)], check=True, capture_output=True, env=plain_environment())
    return made


def stop(command: list[str], line: str, seconds: float, *, group: bool) -> tuple[int, list[str], str]:
    """Send SIGTERM twice, so long after a line of this text: to the process, or to its group. Its exit code, last lines and stdout."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=plain_environment()
    )
    assert process.stderr is not None
    while line and line not in (output := process.stderr.readline()):
        assert output, f"no line told of {line}"
    time.sleep(seconds)
    for _ in range(2):
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
        time.sleep(0.01)
    out, output = process.communicate(timeout=60)
    assert_all_end(process.pid, 10)
    return process.returncode, output.splitlines(), out


def assert_stopped_as_before(night: Night, line: str, seconds: float, *, group: bool) -> None:
    before = night.tables()
    code, output, out = stop([MILLRACE, *night.command()], line, seconds, group=group)
    assert (code, out) == (143, "")
    assert [one for one in output if not one.startswith(f"{SECOND} ")] == [AS_BEFORE]
    assert night.tables() == before


@pytest.mark.parametrize(
    ("line", "seconds", "group"),
    [
        ("", 0.5, False),  # imports
        (" survey ", 0.3, True),  # the engine and ingest, whose processes get the signal, too
        (" workflows ", 0.0, False),  # metrics; the process of the checks is there
    ],
)
def test_a_run_that_is_stopped_says_one_line_and_leaves_the_tables_as_before(night: Night, line: str, seconds: float, group: bool) -> None:
    assert_stopped_as_before(night, line, seconds, group=group)


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("seconds", [0.0, 0.2])
@pytest.mark.parametrize("line", ["survey", "start Sail", "ingest", "deduplicate", "write", "account", "sessions", "workflows"])
def test_a_run_that_is_stopped_anywhere_leaves_the_tables_as_before(night: Night, line: str, seconds: float, group: bool) -> None:
    assert_stopped_as_before(night, f" {line} ", seconds, group=group)


def test_a_run_on_spark_that_is_stopped_leaves_no_jvm_and_no_word_of_it(night: Night) -> None:
    before = night.tables()
    code, output, out = stop([MILLRACE, *night.command("spark")], " start Spark ", 0.5, group=True)
    assert (code, output, out) == (143, [AS_BEFORE], "")
    assert night.tables() == before


def test_a_publication_is_completed_and_the_same_call_goes_on_from_there(night: Night) -> None:
    before = contents(night.lake)
    code, output, _ = stop([sys.executable, "-c", SLOW_COMMITS, *night.command()], "a commit", 0.05, group=False)
    assert (code, output) == (143, [PUBLISHED])
    now, versions = night.tables()
    assert {name for name in before if now[name] != before[name]} >= {"events", "sessions", "session_events", "daily_metrics", "files"}
    # Readers who open the tables as they stand see the recorded state.
    recorded = Lake.open(night.lake)
    assert {name: recorded.version(name) for name in TABLES} == versions
    again = subprocess.run([MILLRACE, *night.command()], capture_output=True, text=True, env=plain_environment())
    assert again.returncode == 0
    assert again.stdout.startswith(f"{SECOND}: nothing has changed since it was run")
    assert contents(night.lake) == now


@pytest.mark.parametrize(
    ("work", "line"),
    [
        ("time.sleep(0.1)", "stopped by SIGTERM after a publication"),
        ("time.sleep(60)", "stopped by SIGTERM in the middle of a publication that did not end"),
        # What a process that the same signal reached makes fail is not told beside it.
        ("raise SystemExit('lost')", "stopped by SIGTERM: nothing was published"),
    ],
)
def test_the_line_tells_what_became_of_the_publication(work: str, line: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHING.format(work=work if "sleep" in work else f"time.sleep(0.1); {work}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "publishing\n"
    process.terminate()
    out, output = process.communicate(timeout=30)
    assert (process.returncode, out, output.count("\n")) == (143, "", 1)
    assert output.startswith(f"millrace: {line}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_called_with_a_signal_ignored_goes_on_ignoring_it(number: signal.Signals) -> None:
    code = f"import signal; signal.signal({number:d}, signal.SIG_IGN); from jobs.console import termination; termination.install();"
    code += f"signal.raise_signal({number:d}); print('went on')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "went on\n"


# Where Python prints an exception and goes on: a callback of the garbage collector, as libraries have it.
COLLECTING = """
import signal, weakref
from jobs.console import termination

class Reference:
    pass

termination.install()
reference = Reference()
weakref.finalize(reference, signal.raise_signal, {number:d})
del reference
print("went on", flush=True)
"""


@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)])
def test_a_signal_that_arrives_in_a_callback_of_the_garbage_collector_is_not_lost(number: signal.Signals, name: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTING.format(number=number)], capture_output=True, text=True, timeout=30)

    line = f"millrace: stopped by {name}: nothing was published, the tables are as before; call the same command again to go on\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", line)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_ctrl_c_does_not_change_the_exit_code_of_a_command_that_is_done(number: signal.Signals, code: int) -> None:
    done = "from jobs.console import termination; import signal; termination.install(); termination.ignore_interrupts();"
    assert subprocess.run([sys.executable, "-c", f"{done} signal.raise_signal({number:d})"], capture_output=True).returncode == code

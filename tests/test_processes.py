"""The processes that do the work of tasks on Sail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import plain_environment

from jobs.engine import processes
from jobs.errors import WorkerLostError, fault_of_the_machine

# A driver whose two tasks write the ids of their processes and then wait for longer than any test.
DRIVER = """
import os, sys, time
from pathlib import Path
from jobs.engine import processes

def work(number):
    Path(sys.argv[1], str(number)).write_text(str(os.getpid()))
    time.sleep(600)
    yield from ()

if __name__ == "__main__":
    list(processes.run(work, 2, 2))
"""


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def told(number: int) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pylist([{"number": number, "process": os.getpid()}])


def test_tasks_are_done_by_other_processes_and_told_in_their_order() -> None:
    rows = pa.Table.from_batches(processes.run(told, 20, 2)).to_pylist()
    assert [row["number"] for row in rows] == list(range(20))
    assert os.getpid() not in {row["process"] for row in rows}


def test_what_a_task_holds_travels_with_it() -> None:
    held = {"text": "a", "path": Path("b")}

    def work(number: int) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"held": f"{held['text']}{held['path']}{number}"}])

    assert pa.Table.from_batches(processes.run(work, 2, 2)).to_pylist() == [{"held": "ab0"}, {"held": "ab1"}]


def test_what_a_task_raises_is_raised() -> None:
    def work(number: int) -> Iterator[pa.RecordBatch]:
        raise OSError(28, f"No space left on device for {number}")

    with pytest.raises(OSError, match="for 0"):
        list(processes.run(work, 3, 2))


def test_a_lost_process_is_told_as_such_and_the_next_tasks_get_new_ones() -> None:
    def work(number: int) -> Iterator[pa.RecordBatch]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield from ()

    with pytest.raises(BrokenProcessPool) as raised:
        list(processes.run(work, 2, 2))
    assert isinstance(fault_of_the_machine(raised.value), WorkerLostError)
    assert len(list(processes.run(told, 3, 2))) == 3


def test_the_processes_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    own = [tmp_path / "0", tmp_path / "1"]
    wait_until(lambda: all(path.exists() and path.read_text() for path in own))
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(is_alive(int(path.read_text())) for path in own))


# `millrace describe`, but with more tasks than processes, each of which takes a minute.
LONG_TASKS = """
import sys, time
from jobs import settings
from jobs.commands import describe, program
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine

def sleep(batches):
    for batch in batches:
        time.sleep(60)
        yield batch

def work(*_, **__):
    with Engine(settings.load("local"), Progress(quiet=True)) as engine:
        engine.warm_up()
        tasks = engine.spark.range(0, 64, 1, 8).repartition(8).mapInArrow(engine.in_processes(sleep), "id long")
        print("working", flush=True)
        tasks.toArrow()

if __name__ == "__main__":
    describe.show = work
    sys.argv[1:] = ["describe"]
    program.program()
"""


def test_an_interrupt_waits_for_no_task(tmp_path: Path) -> None:
    script = tmp_path / "long_tasks.py"
    script.write_text(LONG_TASKS)
    command = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment(),
        start_new_session=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "working\n"
    time.sleep(3)

    os.killpg(command.pid, signal.SIGINT)

    _, errors = command.communicate(timeout=20)
    assert (command.returncode, "Traceback" in errors) == (130, False), errors
    assert (
        errors.strip()
        == "millrace: stopped by Ctrl-C: nothing was published, the tables are as before; call the same command again to go on"
    )

"""The processes that do the work of tasks on Sail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import plain_environment

from jobs.engine import processes
from jobs.engine.processes import ArrowFunction
from jobs.errors import WorkerLostError, fault_of_the_machine

# A driver whose two tasks write the ids of their processes and then wait for longer than any test.
DRIVER = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow as pa
from jobs.engine import processes

def work(batches):
    (batch,) = batches
    Path(sys.argv[1], str(batch["number"][0])).write_text(str(os.getpid()))
    time.sleep(600)
    yield from ()

if __name__ == "__main__":
    call = processes.in_processes(work, 2)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: list(call([pa.RecordBatch.from_pydict({"number": [number]})])), range(2)))
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


def numbers_and_processes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.append_column("process", pa.array([os.getpid()]))


def run_tasks(function: ArrowFunction, tasks: int) -> list[pa.RecordBatch]:
    """What a function gives in so many tasks, each with a batch of its number. As Sail does, a thread calls it for each task."""
    call = processes.in_processes(function, 2)
    inputs = [[pa.RecordBatch.from_pydict({"number": [number]})] for number in range(tasks)]
    with ThreadPoolExecutor(tasks) as threads:
        return [batch for batches in threads.map(lambda task: list(call(task)), inputs) for batch in batches]


def test_tasks_run_in_other_processes_and_each_gives_its_own_rows() -> None:
    rows = pa.Table.from_batches(run_tasks(numbers_and_processes, 20)).to_pylist()
    assert [row["number"] for row in rows] == list(range(20))
    assert os.getpid() not in {row["process"] for row in rows}


def test_the_variables_of_a_function_travel_with_it() -> None:
    variables = {"text": "a", "path": Path("b")}

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pylist([{"text": f"{variables['text']}{variables['path']}{batch['number'][0]}"}])

    assert pa.Table.from_batches(run_tasks(work, 2)).to_pylist() == [{"text": "ab0"}, {"text": "ab1"}]


def test_an_error_of_a_task_is_raised_in_the_driver() -> None:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        (batch,) = batches
        raise OSError(28, f"No space left on device for {batch['number'][0]}")

    with pytest.raises(OSError, match="for 0"):
        run_tasks(work, 3)


def test_a_lost_process_is_reported_and_the_next_tasks_get_new_ones() -> None:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield from batches

    with pytest.raises(BrokenProcessPool) as raised:
        run_tasks(work, 2)
    assert isinstance(fault_of_the_machine(raised.value), WorkerLostError)
    assert len(run_tasks(numbers_and_processes, 3)) == 3


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

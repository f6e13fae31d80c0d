"""What a command costs as a whole: seconds, the memory of all its processes, and the bytes that they read and wrote.

Memory is sampled, up to five times a second, as the sum of PSS: a page that several processes share counts once. Bytes are not
sampled: the command runs below a process of its own, which takes in whatever the command leaves behind, and to which the kernel adds
the account of each process that has ended. They are what system calls ask for (rchar and wchar of /proc/self/io): pipes and sockets
between the processes too, and whether it comes from the disk or from memory. Spark's Python workers are the exception: their daemon
ignores their end, and so the kernel forgets their account. What they had when they were last measured is added.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.2  # s
_REST = 50  # pause between samples, as a multiple of the time of a sample
_MIB = 2**20
_DAEMON = b"pyspark.daemon"
# From <linux/prctl.h>: orphans of the command become children of this process.
_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """The cost of a command, and its output."""

    started: float  # seconds since 1970
    seconds: float  # until the command itself ended
    cpu_seconds: float  # of all its processes
    peak_mib: float
    read_mib: float
    written_mib: float
    output: str
    errors: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command. Raises RuntimeError with the end of its output if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        cost_path, output_path, errors_path = (Path(folder) / name for name in ("cost", "output", "errors"))
        with output_path.open("w") as out, errors_path.open("w") as err:
            root = subprocess.Popen(
                [sys.executable, __file__, str(cost_path), *command],
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
            peak = 0.0
            worker_accounts: dict[int, _Account] = {}
            while root.poll() is None:
                started = time.monotonic()
                peak = max(peak, _sample(root.pid, worker_accounts))
                # The more memory there is, the longer a sample takes. Samples must not slow down the command.
                time.sleep(max(_EVERY, _REST * (time.monotonic() - started)))
        output, errors = output_path.read_text(), errors_path.read_text()
        if root.returncode:
            raise RuntimeError(f"{' '.join(command)} gave {root.returncode}: {errors[-2_000:]}")
        cost = json.loads(cost_path.read_text())
        for account in worker_accounts.values():
            for name, more in vars(account).items():
                cost[name] += more
        return Measured(peak_mib=round(peak), output=output, errors=errors, **cost)


@dataclass(frozen=True)
class _Account:
    """What a process has cost so far."""

    cpu_seconds: float
    read_mib: float
    written_mib: float


def _sample(session: int, worker_accounts: dict[int, _Account]) -> float:
    """The memory of all processes of a session but its leader, which is ours. Adds the accounts of Spark's workers."""
    total = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(session):
            continue
        try:
            # After the name, which may hold spaces: state, parent, group, session.
            after_name = (process / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[3]) != session:
                continue
            lines = (process / "smaps_rollup").read_text().splitlines()
            if _is_spark_worker(process, after_name[1]):
                ticks = int(after_name[11]) + int(after_name[12])
                read, written = (count / _MIB for count in _bytes(process))
                worker_accounts[int(process.name)] = _Account(ticks / os.sysconf("SC_CLK_TCK"), read, written)
        except (OSError, IndexError):  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _is_spark_worker(process: Path, parent: str) -> bool:
    """Whether the process was forked from Spark's daemon of Python workers: it has the daemon's command line."""
    return all(_DAEMON in (folder / "cmdline").read_bytes() for folder in (process, process.with_name(parent)))


def _bytes(process: Path = Path("/proc/self")) -> tuple[int, int]:
    """Bytes that a process and its children that have ended read and wrote."""
    lines = dict(line.split(": ") for line in (process / "io").read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def _run_and_measure(cost_path: Path, command: list[str]) -> int:
    """Run a command, wait for all that it leaves behind, and write down what it cost; gives its exit code."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    before, started, clock = _bytes(), time.time(), time.monotonic()
    code = subprocess.Popen(command).wait()
    seconds = time.monotonic() - clock
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    read, written = (after - earlier for after, earlier in zip(_bytes(), before, strict=True))
    times = os.times()
    cost = {"started": started, "seconds": seconds, "cpu_seconds": times.children_user + times.children_system}
    cost_path.write_text(json.dumps(cost | {"read_mib": read / _MIB, "written_mib": written / _MIB}))
    return code


if __name__ == "__main__":
    sys.exit(_run_and_measure(Path(sys.argv[1]), sys.argv[2:]))

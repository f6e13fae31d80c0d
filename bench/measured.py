"""What a command costs as a whole: seconds, the memory of all its processes, and the bytes that they read and wrote.

Memory is sampled, up to five times a second, as the sum of PSS: a page that several processes share counts once. Bytes are not
sampled: the command runs below a process of its own, which takes in whatever the command leaves behind, and to which the kernel adds
the account of each process that has ended. They are what system calls ask for (rchar and wchar of /proc/self/io): pipes and sockets
between the processes too, and whether it comes from the disk or from memory.
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
_REST = 50  # times as long as a look
_MIB = 2**20
# From <linux/prctl.h>: orphans of the command become children of this process.
_SUBREAPER = 36


@dataclass(frozen=True)
class Measured:
    """What a command cost, and what it said."""

    started: float  # seconds since 1970
    seconds: float  # until the command itself ended
    cpu_seconds: float  # of all its processes
    peak_mib: float
    read_mib: float
    written_mib: float
    output: str
    errors: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command. Raises RuntimeError with the end of what it said when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        told, output, errors = (Path(folder) / name for name in ("told", "output", "errors"))
        with output.open("w") as out, errors.open("w") as err:
            root = subprocess.Popen(
                [sys.executable, __file__, str(told), *command],
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
            peak = 0.0
            while root.poll() is None:
                looked = time.monotonic()
                peak = max(peak, _session_mib(root.pid))
                # A look takes the longer, the more memory there is, and is not to slow down what it looks at.
                time.sleep(max(_EVERY, _REST * (time.monotonic() - looked)))
        said = output.read_text(), errors.read_text()
        if root.returncode:
            raise RuntimeError(f"{' '.join(command)} gave {root.returncode}: {said[1][-2_000:]}")
        return Measured(peak_mib=round(peak), output=said[0], errors=said[1], **json.loads(told.read_text()))


def _session_mib(session: int) -> float:
    """The memory of all processes of a session but its leader, which is ours."""
    total = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(session):
            continue
        try:
            # After the name, which may hold spaces: state, parent, group, session.
            if int((process / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                continue
            lines = (process / "smaps_rollup").read_text().splitlines()
        except (OSError, IndexError):  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _bytes() -> tuple[int, int]:
    """Bytes that this process and its children that have ended read and wrote."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def _run_below(told: Path, command: list[str]) -> int:
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
    told.write_text(json.dumps(cost | {"read_mib": read / _MIB, "written_mib": written / _MIB}))
    return code


if __name__ == "__main__":
    sys.exit(_run_below(Path(sys.argv[1]), sys.argv[2:]))

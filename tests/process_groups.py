"""The processes that a command has started, each of which belongs to the session of the command's process."""

from __future__ import annotations

import subprocess
import time


def running_processes(session: int) -> list[str]:
    """The processes of a session that have not ended, as lines of `ps`."""
    lines = subprocess.run(["ps", "-A", "-o", "sess=,stat=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.split()[0] == str(session) and not line.split()[1].startswith("Z")]


def assert_all_end(session: int, seconds: float) -> None:
    """All processes of a session end within these seconds."""
    deadline = time.monotonic() + seconds
    while (running := running_processes(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running

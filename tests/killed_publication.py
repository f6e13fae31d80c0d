"""Publish a staged change in a process that is killed on the way: call with the lake, the publication's file and the point of death."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jobs.lake import state_file, table_changes
from jobs.lake.table_changes import Change
from jobs.lake.tables import Lake
from jobs.storage import storage_paths
from jobs.storage.storage_paths import StoragePath, storage_path

# The functions that write in a publication, by the name that a point has for them.
WRITES: dict[str, tuple[Any, str]] = {
    "commit": (table_changes, "commit"),
    "create": (table_changes, "create"),
    "state": (state_file, "write"),
    "sweep": (storage_paths, "remove_tree"),
}


class KillPoint(NamedTuple):
    """Where a process is killed: "before" or "after" which call of which function, counted from 1."""

    function: str
    number: int
    moment: str


def kill_at(owner: Any, name: str, number: int, *, after: bool) -> None:
    """Replace a function by one that kills this process at the call of this number, before or after its work."""
    setattr(owner, name, _killing(getattr(owner, name), number, after=after))


def _killing(function: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls == number and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted


def publish(root: StoragePath, publication: Path) -> None:
    """Publish the pickled changes, as the run that staged them would have."""
    with publication.open("rb") as file:
        changes, journal, run_id = pickle.load(file)
    Lake.open(root).publish(changes, journal, run_id)


def publish_in_a_process(root: StoragePath, publication: Path, point: KillPoint) -> bool:
    """Publish in a process of its own that is killed at this point; whether it was: a point may lie beyond the last call."""
    process = subprocess.run([sys.executable, __file__, str(root), str(publication), *map(str, point)], capture_output=True, text=True)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode != 0


def kill_publication(root: Path, changes: Mapping[str, Change], run_id: str, point: tuple[str, int, str]) -> None:
    """Publish these staged changes in a process of its own that is killed at this point."""
    now = dt.datetime.now(dt.UTC)
    row = {"run_id": run_id, "command": "run", "step": "publish", "started": now, "ended": now, "status": "done"}
    publication = root.with_name(f"{root.name}.pickle")
    publication.write_bytes(pickle.dumps((dict(changes), [row], run_id)))
    assert publish_in_a_process(root, publication, KillPoint(*point))


if __name__ == "__main__":
    root, publication, function, number, moment = sys.argv[1:]
    kill_at(*WRITES[function], int(number), after=moment == "after")
    if function == "create":
        with Lake.writing(storage_path(root), "a test"):
            pass
    else:
        publish(storage_path(root), Path(publication))

"""Publish what a run has staged, in a process that is killed on the way: call with the lake, the run, and the point of death."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import lake as lakes


def dying(call: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    """The same function, which kills its process at the call of this number, from 1, before or after its work."""
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments, **options)
        if calls == number and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return counted


def arm(where: str, number: int, *, after: bool) -> None:
    """Make the process die at this call of what publishes."""
    owner, name = {"rename": (Path, "rename"), "commit": (lakes, "_commit"), "create": (lakes, "_create"), "sweep": (shutil, "rmtree")}[
        where
    ]
    setattr(owner, name, dying(getattr(owner, name), number, after=after))


def publish(root: Path, staged: Path) -> None:
    """Publish the changes that were pickled, as the run that staged them would have."""
    with staged.open("rb") as file:
        changes, journal, run_id = pickle.load(file)
    state, versions = lakes._recorded(root) or (-1, {})
    lakes.Lake(root, versions, state).publish(changes, journal, run_id)


if __name__ == "__main__":
    root, staged, where, number, moment = sys.argv[1:]
    arm(where, int(number), after=moment == "after")
    if where == "create":
        with lakes.Lake.writing(Path(root), "a test"):
            pass
    else:
        publish(Path(root), Path(staged))

"""Mend a damaged lake in a process that is killed on the way: call with the lake, the landing zone, and the point of death."""

from __future__ import annotations

import datetime as dt
import sys
from functools import partial
from pathlib import Path

from killed_publication import kill_at

from jobs.lake import table_changes
from jobs.lake.tables import Lake
from jobs.rebuild import repair

POINTS = {
    "mark": (Path, "replace"),
    "move": (Path, "rename"),
    "create": (table_changes, "create"),
    "commit": (table_changes, "commit"),
    "unmark": (Path, "unlink"),
}


def mend(root: Path, landing: Path) -> None:
    """Mend the lake and publish a state, as a rebuild does."""
    with Lake.writing(root, "a test", partial(repair.mend, landing_root=landing, gone="drop")) as lake:
        now = dt.datetime.now(dt.UTC)
        lake.publish({}, [{"run_id": "r", "command": "rebuild", "step": "publish", "started": now, "status": "done"}], "r")


if __name__ == "__main__":
    root, landing, where, number, moment = sys.argv[1:]
    kill_at(*POINTS[where], int(number), after=moment == "after")
    mend(Path(root), Path(landing))

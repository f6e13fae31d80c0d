"""A few sessions of each source, on stdout: what a run made, in a form that a person can check."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from jobs.console.printing import print_table
from jobs.lake.tables import Lake
from schemas.sessions import SESSIONS

SHOWN = 3
# Column of the table, and its title.
_TITLES = {
    "source": "source",
    "session_kind": "kind",
    "start_time": "start",
    "session_duration": "duration ms",
    "timespent": "timespent s",
    "max_scroll_depth": "scroll px",
    "pageviews": "pageviews",
    "interactions": "interactions",
    "events": "events",
    "entry_page": "entry page",
    "exit_page": "exit page",
}


def show(lake: Lake, where: pc.Expression) -> None:
    """Print the first sessions of each source, among those that meet the condition."""
    # Two narrow columns of all sessions tell which rows to read: a night may have millions.
    starts = lake.arrow(SESSIONS.name, ["source", "start_time"], where)
    rows: list[list[Any]] = []
    for source in sorted(pc.unique(starts["source"]).to_pylist()):
        of_source = starts.filter(pc.equal(starts["source"], source))
        earliest = of_source.take(pc.select_k_unstable(of_source, k=SHOWN, sort_keys=[("start_time", "ascending")]))
        are_first = (pc.field("source") == source) & (pc.field("start_time") <= pc.max(earliest["start_time"]))
        sessions = lake.arrow(SESSIONS.name, [*_TITLES, "session_id"], where & are_first)
        for row in sessions.sort_by([("start_time", "ascending"), ("session_id", "ascending")]).slice(0, SHOWN).to_pylist():
            row["start_time"] = f"{row['start_time']:%Y-%m-%d %H:%M:%S}"
            rows.append([row[name] for name in _TITLES])
    if rows:
        print_table("The first sessions of each source", list(_TITLES.values()), rows)

"""A few sessions of each source, on stdout: what a run made, in a form that a person can check."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from jobs.console.printing import table
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
    sessions = lake.arrow(SESSIONS.name, [*_TITLES, "session_id"], where)
    sessions = sessions.sort_by([(name, "ascending") for name in ("source", "start_time", "session_id")])
    rows: list[list[Any]] = []
    for source in pc.unique(sessions["source"]).to_pylist():
        for row in sessions.filter(pc.equal(sessions["source"], source)).slice(0, SHOWN).to_pylist():
            row["start_time"] = f"{row['start_time']:%Y-%m-%d %H:%M:%S}"
            rows.append([row[name] for name in _TITLES])
    if rows:
        table("The first sessions of each source", list(_TITLES.values()), rows)

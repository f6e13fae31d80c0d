"""A few days of generated data for all sources, run as nights: what Millrace does, in one command.

millrace demo
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow.compute as pc

from jobs import generating, nights, quality, report
from jobs.errors import LandingError
from jobs.generator.generate import TRUTH_FOLDER, generate, truth
from jobs.lake import Lake
from jobs.printing import table, tell
from jobs.progress import Progress
from jobs.settings import Settings

NIGHTS = (dt.date(2026, 11, 18), dt.date(2026, 11, 19), dt.date(2026, 11, 20))
SEED = 1
SESSIONS_SHOWN = 3


def run(settings: Settings, events: int) -> int:
    """Generate, run the nights, and print what came out; gives the exit code.

    Raises LandingError when the landing zone holds data of someone else.
    """
    landing = settings.paths.landing
    if landing.is_dir() and any(landing.iterdir()) and not (landing / TRUTH_FOLDER).is_dir():
        raise LandingError(f"{landing} holds landed data that is not the demo's: name another folder with --landing")
    progress = Progress()
    for night in NIGHTS:
        progress.begin(night.isoformat())
        with progress.step("generate"):
            generate(landing, night, events=events, seed=SEED)
    generating.show(f"Landed in {landing}", truth(landing, NIGHTS[0], NIGHTS[-1]))
    code = nights.run(settings, NIGHTS, [], "demo")
    lake = Lake.open(settings.paths.lake)
    _sessions(lake)
    quality.show(settings, NIGHTS[-1])
    report.write(settings, NIGHTS[-1], None)
    lake_path = settings.paths.lake
    tell(f'lake: {lake_path}; ask it: millrace sql --lake {lake_path} "SELECT source, count(*) FROM sessions GROUP BY source"')
    return code


def _sessions(lake: Lake) -> None:
    """Print the first sessions of the first night, for each source."""
    names = [
        "source",
        "session_kind",
        "start_time",
        "session_duration",
        "timespent",
        "max_scroll_depth",
        "pageviews",
        "interactions",
        "events",
        "entry_page",
        "exit_page",
    ]
    rows: list[list[Any]] = []
    sessions = lake.arrow("sessions", [*names, "session_id"], pc.field("session_date") == NIGHTS[0]).sort_by(
        [("source", "ascending"), ("start_time", "ascending"), ("session_id", "ascending")]
    )
    for source in pc.unique(sessions["source"]).to_pylist():
        for row in sessions.filter(pc.equal(sessions["source"], source)).slice(0, SESSIONS_SHOWN).to_pylist():
            row["start_time"] = f"{row['start_time']:%Y-%m-%d %H:%M:%S}"
            rows.append([row[name] for name in names])
    titles = {
        "session_duration": "duration ms",
        "timespent": "timespent s",
        "max_scroll_depth": "scroll px",
        "session_kind": "kind",
        "start_time": "start",
    }
    table("The first sessions of each source", [titles.get(name, name) for name in names], rows)

"""Show what has not landed of a night, of what usually lands.

    millrace landed --date 2026-11-20

A scheduler that calls this before the night can wait for late files.
"""

from __future__ import annotations

import datetime as dt

from jobs.console.printing import print_line
from jobs.lake import table_log
from jobs.lake.half_published import open_to_read
from jobs.landing import zone
from jobs.quality import baseline
from jobs.quality.baseline import Awaited
from jobs.settings import Settings
from schemas.bookkeeping import RUNS
from transforms.sources.registry import SOURCES

# The same as that of a night with an expected source that did not land.
SOMETHING_AWAITED = 3


def show(settings: Settings, night: dt.date) -> int:
    """Print a line per source of which something is awaited. Gives exit code 3 if there is one, else 0.

    Raises LandingError when the landing zone cannot be listed, LakeError when the lake cannot be read. Of a new lake nothing is expected.
    """
    zone.check_root(settings.paths.landing)
    found = _awaited(settings, night)
    for one in found:
        print_line(f"{one.source}: {_what(one)} of {night}")
    if not found:
        print_line(f"all that usually lands has landed of {night}")
    return SOMETHING_AWAITED if found else 0


def _what(one: Awaited) -> str:
    if not one.hours:
        return "nothing has landed"
    hours = ", ".join(f"{hour:02}" for hour in one.hours)
    return f"hour {hours} has not landed" if len(one.hours) == 1 else f"hours {hours} have not landed"


def _awaited(settings: Settings, night: dt.date) -> list[Awaited]:
    if not table_log.exists(settings.paths.lake / RUNS.name):
        return []
    return baseline.awaited(open_to_read(settings.paths.lake), settings.paths.landing, SOURCES, settings.quality, night)

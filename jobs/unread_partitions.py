"""Landed partitions with files that no run has read, and that no later night will read.

These are partitions of nights that were never run, and files that landed too late for the nights that each run reads again
(`ingest.nights_back`). Nights after the last one that was run are not included, because they are still to be run.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from jobs import changed_partitions
from jobs.lake.tables import Lake
from jobs.landing import expired, zone
from jobs.landing.zone import Partition
from jobs.settings import Settings
from schemas.bookkeeping import FILES
from transforms.times import shifted


def partitions(lake: Lake, settings: Settings, sources: Collection[str]) -> list[Partition]:
    """The unread partitions of these sources, sorted: those with more landed files than rows in the table `files`.

    This lists folders and opens no file, so it is quick. It does not see a file that replaces another one, because the number of
    files is the same. `millrace status` shows such a file as changed.

    Raises LandingError when the folder of a source cannot be listed.
    """
    files_read: Counter[Partition] = Counter()
    for file in lake.files(FILES.name):
        files_read[Partition(dt.date.fromisoformat(file.partition["landing_date"]), file.partition["source"])] += file.rows
    root = settings.paths.landing
    landed = (Partition(date, source) for source in sources for date in zone.dates(root, [source]))
    candidates = without_later_night(landed, changed_partitions.nights_run(lake), settings.ingest.nights_back)
    closed = expired.closed_partitions(lake)
    return sorted(one for one in candidates if one not in closed and zone.names(root, one) > files_read[one])


def without_later_night(landed: Iterable[Partition], nights_run: Collection[dt.date], nights_back: int) -> list[Partition]:
    """The landed partitions that no later night will read."""
    if not nights_run:
        return []
    last = max(nights_run)
    # The next night reads the `nights_back` nights before it again, if they have been run.
    first = shifted(last, 1 - nights_back)
    return [one for one in landed if one.landing_date <= last and (one.landing_date < first or one.landing_date not in nights_run)]


def line(unread: Sequence[Partition]) -> str:
    """The warning for these partitions: how many there are, of which nights, and the remedy."""
    dates = sorted({one.landing_date for one in unread})
    span = f"{dates[0]}" if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    count = f"{len(unread):,} sources and dates" if len(unread) > 1 else "1 source and date"
    return f"{count} of {span} landed with files that no run has read: `millrace backfill --missing` reads them"

"""Delete old entries of a Delta log, and keep every version that was current within the retention.

delta-rs deletes every commit that is older than the table's retention, once there is a later checkpoint. A table that rarely
changes then loses the version that was current until its last change, although recent states of the lake name it.
"""

from __future__ import annotations

import datetime as dt
import re

from jobs.storage import storage_paths
from jobs.storage.storage_paths import Entry, StoragePath

LOG_DAYS = 30
# For this many days the log lists a data file that was removed.
REMOVED_FILE_DAYS = 7
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_ANY = re.compile(r"(\d{20})\..+")


def trim(log: StoragePath, days: int) -> None:
    """Delete the files of a log that no version of the last `days` days needs. `log` is the folder `_delta_log` of a table."""
    # A version is read from its own checkpoint or from an earlier one.
    needed = max((version for version in _versions(_CHECKPOINT, log) if version <= _current_at(log, days)), default=0)
    for entry in sorted(storage_paths.entries(log), key=lambda entry: entry.name):
        matched = _ANY.fullmatch(entry.name)
        if matched and int(matched[1]) < needed:
            entry.path.unlink(missing_ok=True)


def current_within(log: StoragePath, days: int) -> list[int]:
    """The versions that were current within the last `days` days and can still be read."""
    commits = _versions(_COMMIT, log)
    readable = 0 if 0 in commits else min(_versions(_CHECKPOINT, log), default=0)
    first = max(_current_at(log, days), readable)
    return sorted(version for version in commits if version >= first)


def _current_at(log: StoragePath, days: int) -> int:
    """The version that was current `days` days ago; 0 for a younger table."""
    cutoff = dt.datetime.now(dt.UTC).timestamp() - days * 86_400
    return max((version for version, entry in _versions(_COMMIT, log).items() if entry.status().st_mtime_ns / 1e9 <= cutoff), default=0)


def _versions(pattern: re.Pattern[str], log: StoragePath) -> dict[int, Entry]:
    """The files of this kind in a log, by version."""
    return {int(matched[1]): entry for entry in storage_paths.entries(log) if (matched := pattern.fullmatch(entry.name))}

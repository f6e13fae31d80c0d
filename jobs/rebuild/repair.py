"""Mend a damaged lake, as the first step of a rebuild: drop the unreadable files. The rebuild then makes their rows again.

A mark (`jobs/lake/mending_mark.py`) is written first, and removed when the rebuild is published. As long as it is there, every
command reports that the lake is damaged, so no command reads a lake whose mending was killed. The next rebuild starts anew.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from jobs import changed_partitions
from jobs.changed_partitions import without_files_line
from jobs.console import termination
from jobs.console.printing import print_message
from jobs.errors import LakeDamagedError, LandingError
from jobs.lake import damage, mending_mark, state_file, table_changes, table_log
from jobs.lake.damage import Damage
from jobs.lake.lock import HeldLock
from jobs.lake.mending_mark import Mark
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.tables import Lake, recorded
from jobs.landing import expired, landed_rows, zone
from jobs.landing.zone import Partition
from jobs.storage import storage_paths
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import ERASURES, FILES, QUALITY_RESULTS, RUNS
from schemas.catalog import TABLES
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS
from transforms.sources.registry import SOURCES

# The folders of tables without a readable log are moved here. Maintenance deletes them some days later.
MOVED = "_damaged"
_LANDED = (EVENTS.name, DUPLICATE_EVENTS.name, REJECTED_EVENTS.name)
# Tables whose rows no rebuild can make again, because they do not follow from landed files.
_HISTORY = (RUNS.name, QUALITY_RESULTS.name, ERASURES.name)
_PARTITION = re.compile(r"landing_date=(\d{4}-\d{2}-\d{2})/source=([^/]+)")
_LINES_SHOWN = 20


@dataclass(frozen=True)
class DamagedState:
    """The last known state of a lake, and its damage."""

    number: int  # the highest known number of a state; -1 if none is known
    versions: Mapping[str, int | None]  # None: the latest one, because the recorded one is lost
    damages: Sequence[Damage]

    def of(self, name: str) -> list[Damage]:
        """The damage of one table."""
        return [one for one in self.damages if one.table == name]

    def has_lost_its_log(self, name: str) -> bool:
        """Whether a table as a whole cannot be read."""
        return any(one.file is None for one in self.of(name))


def mend(root: StoragePath, lock: HeldLock, landing_root: StoragePath, gone: str | None) -> None:
    """Make every table of a damaged lake readable, by taking out its damaged files. An undamaged lake is not changed.

    The caller holds this lock of the lake, and then builds the tables again from the landed files. `gone` decides about rows of
    sources and dates without landed files: `keep` keeps the readable ones, `drop` drops them. Raises LandingError, before
    anything changes, when there are such rows and `gone` is None, or when they cannot be kept.
    """
    unfinished = mending_mark.read(root)
    in_file = state_file.state_in(root)
    has_held_rows = any(table_log.has_held_rows(root / name) for name in TABLES) or (in_file is not None and any(in_file.versions.values()))
    if not has_held_rows and unfinished is None:
        return
    state = _without_broken_checkpoints(root, _state(root))
    if not state.damages and unfinished is None:
        return
    for line in [one.line for one in state.damages][:_LINES_SHOWN]:
        print_message(f"damaged: {line}")
    kept = _partitions_to_keep(root, state, landing_root, gone, unfinished)
    if state.of(ERASURES.name):
        print_message(
            "warning: the record of erasures is damaged: erase again whom you have erased, or they come back with their landed files"
        )
    lock.check()
    mending_mark.write(root, Mark(is_emptied=not kept or (unfinished is not None and unfinished.is_emptied)))
    termination.note_mending(root / mending_mark.NAME)
    versions = _make_readable(root, lock, state, is_emptied=not kept)
    runs_version = versions.pop(RUNS.name)
    now = dt.datetime.now(dt.UTC)
    row = {"run_id": "-", "command": "millrace rebuild", "step": "mend", "started": now, "ended": now, "status": "done"}
    Lake(root, versions, state.number, runs_version, lock).record_state([row], versions, "-")


# Finding the damage


def _state(root: StoragePath) -> DamagedState:
    try:
        last = recorded(root)
    except LakeDamagedError:
        last = None
    if last is None:
        return DamagedState(*damage.find_without_state(root, contents=True))
    versions = {**last.versions, RUNS.name: None}
    damages = damage.find(root, versions, contents=True)
    # A writer reads a log to its end, including the entries that a killed run wrote after the recorded version.
    damages += [
        Damage(name, why) for name in versions if name not in {one.table for one in damages} and (why := table_log.fault(root / name))
    ]
    return DamagedState(last.state, versions, damages)


def _without_broken_checkpoints(root: StoragePath, state: DamagedState) -> DamagedState:
    """Delete unreadable checkpoints of logs that have all their entries and so need none; gives the state without this damage."""
    repaired = [name for name in state.versions if state.has_lost_its_log(name) and table_log.drop_checkpoints(root / name)]
    return _state(root) if repaired else state


# Choosing the rows that are kept


def _partitions_to_keep(
    root: StoragePath, state: DamagedState, landing_root: StoragePath, gone: str | None, unfinished: Mark | None
) -> list[Partition]:
    """The sources and dates whose rows are kept: those without landed files, and those whose events have expired, which are not read again.

    Raises LandingError as `mend` does.
    """
    closed = _closed(root, state)
    empty = [one for one in sorted(_partitions(root, state) - set(closed)) if not zone.has_files(landing_root, one)]
    if closed and any(one.table not in (*_LANDED, *_HISTORY, FILES.name) for one in state.damages):
        print_message(
            "warning: sessions, summaries and metrics whose events have expired cannot be built again: those that were damaged are lost"
        )
    if all(state.has_lost_its_log(name) for name in (FILES.name, EVENTS.name)):
        print_message(
            "warning: the lists of files and events are lost: rows of sources and dates without a landed file may have been among them"
        )
    if empty and gone is None:
        raise LandingError(f"{without_files_line(empty)}: call with --gone keep to leave the rows, or with --gone drop")
    if not empty or gone == "drop":
        return closed
    why = next((one.line for one in state.damages if not _can_be_kept_without(one, empty)), None)
    if unfinished is not None and unfinished.is_emptied:
        why = "a rebuild that was not finished has dropped them"
    elif why is None and state.versions[EVENTS.name] is None:
        # The recorded versions are lost, so the latest ones may not belong together.
        why = next((one.line for one in landed_rows.differences(root, _files_of(root, empty))), None)
    if why is not None:
        raise LandingError(
            f"{without_files_line(empty)}, and they cannot be kept ({why}): land their files again, or call with --gone drop"
        )
    return [*empty, *closed]


def _closed(root: StoragePath, state: DamagedState) -> list[Partition]:
    """The sources and dates whose events have expired; none if the list of files cannot be read."""
    version = state.versions.get(FILES.name)
    if version is None or state.of(FILES.name):
        return []
    return sorted(expired.without_events(Lake(root, {FILES.name: version}, state.number)))


def _partitions(root: StoragePath, state: DamagedState) -> set[Partition]:
    """The sources and dates with rows in the lake: from the logs of its tables, or from the folders of a table without a log."""
    partitions = set()
    for name in (*_LANDED, FILES.name):
        if state.has_lost_its_log(name):
            paths = (path for path in storage_paths.paths_below(root / name) if path.endswith(".parquet"))
        else:
            files = table_changes.files_of(table_log.open_table(root / name, state.versions.get(name)))
            paths = (file.path for file in files if name != FILES.name or changed_partitions.has_records(file))
        partitions |= {_partition(path) for path in paths}
    return {partition for partition in partitions if partition is not None and partition.source in SOURCES}


def _partition(path: str) -> Partition | None:
    matched = _PARTITION.match(path)
    return Partition(dt.date.fromisoformat(matched[1]), matched[2]) if matched else None


def _can_be_kept_without(one: Damage, empty: Collection[Partition]) -> bool:
    """Whether rows of these sources and dates are whole: the damage is in a table of history, or in a file of another source and date."""
    if one.table in _HISTORY:
        return True
    return one.file is not None and one.table in (*_LANDED, FILES.name) and _partition(one.file.path) not in {None, *empty}


def _files_of(root: StoragePath, partitions: Collection[Partition]) -> dict[str, list[TableFile]]:
    return {
        name: [file for file in table_changes.files_of(table_log.open_table(root / name)) if _partition(file.path) in partitions]
        for name in (*_LANDED, FILES.name)
    }


# Removing what is damaged


def _make_readable(root: StoragePath, lock: HeldLock, state: DamagedState, *, is_emptied: bool) -> dict[str, int]:
    """Take the damaged files (if `is_emptied`, all files) out of the tables; gives the versions of all tables."""
    folder = root / MOVED / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    versions: dict[str, int] = {}
    for name, table in TABLES.items():
        lock.check()
        damages = state.of(name)
        if state.has_lost_its_log(name) or not table_log.exists(root / name):
            _move(root / name, folder / name)
            table_changes.create(root, table)
            versions[name] = 0
        elif is_emptied and name not in _HISTORY and (name != FILES.name or damages):
            versions[name] = _take_out(root, name, table_changes.files_of(table_log.open_table(root / name)))
        elif damages:
            wrong = {one.file.path for one in damages if one.file is not None}
            version = state.versions[name]
            if version is not None and table_log.open_table(root / name).version() != version:
                table_log.open_table(root / name).restore(version, ignore_missing_files=True)
            files = table_changes.files_of(table_log.open_table(root / name))
            versions[name] = _take_out(root, name, [file for file in files if file.path in wrong])
        else:
            version = state.versions.get(name)
            versions[name] = version if version is not None else table_log.open_table(root / name).version()
    return versions


def _move(table: StoragePath, target: StoragePath) -> None:
    if table.exists():
        storage_paths.move_tree(table, target)
        print_message(f"moved: {table} to {target}")


def _take_out(root: StoragePath, name: str, files: Sequence[TableFile]) -> int:
    """Remove these files from a table in one commit; gives its version."""
    table = table_log.open_table(root / name)
    if not files:
        return int(table.version())
    return table_changes.commit(table, TABLES[name], Change(removed=list(files)), table.version(), "-")

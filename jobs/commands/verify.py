"""Check that every file of the lake's recorded state is there and whole.

millrace verify --deep --lake lake
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.console import paths
from jobs.console.paths import shown
from jobs.console.printing import print_line, print_table
from jobs.console.remedies import command_line
from jobs.errors import LakeDamagedError
from jobs.lake import damage, lock, log_statistics, mending_mark, state_file, table_log
from jobs.lake.damage import Damage
from jobs.lake.half_published import half_published_tables, latest_version
from jobs.lake.tables import Lake, recorded
from jobs.landing import landed_rows
from jobs.settings import Settings
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import FILES, RUNS
from schemas.catalog import TABLES

# A publication during an examination makes it start again, up to so many times.
_ATTEMPTS = 3
_LINES_SHOWN = 100


@dataclass
class Examination:
    """The findings about a lake."""

    state: int | None  # None if the lake does not name its last state
    versions: Mapping[str, int | None]
    damages: list[Damage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # findings that are no damage, each with its remedy

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.damages and not self.remarks


def show(settings: Settings, *, deep: bool) -> int:
    """Print one line per finding; gives the exit code.

    With `deep`, every data file is read, its rows are compared with the log and with `files`, and landed files with their hash.
    Raises LakeError when there is no lake, LakeDamagedError when it is damaged.
    """
    root = settings.paths.lake
    paths.check_lake(root)
    examination = examine(root, settings.paths.landing, deep=deep)
    for _ in range(_ATTEMPTS - 1):
        if examination.is_clean or _state_of(root) == examination.state:
            break
        examination = examine(root, settings.paths.landing, deep=deep)
    _show_tables(root, examination)
    lines = [f"damaged: {one.line}: millrace rebuild" for one in examination.damages] + [f"look: {line}" for line in examination.remarks]
    for line in lines[:_LINES_SHOWN]:
        print_line(line)
    if len(lines) > _LINES_SHOWN:
        print_line(f"and {len(lines) - _LINES_SHOWN:,} more")
    if examination.damages:
        number = len(examination.damages)
        raise LakeDamagedError(
            f"the lake {shown(root)} is damaged ({number:,} {'finding' if number == 1 else 'findings'}):"
            f" call `{damage.rebuild_command(root)}` to make the tables again from what has landed"
        )
    if examination.remarks:
        return 3
    print_line(
        "every file of the recorded state is there" + (", and its rows are as they should be" if deep else "; --deep reads them, too")
    )
    return 0


def examine(root: StoragePath, landing: StoragePath, *, deep: bool) -> Examination:
    """Examine the recorded state of a lake. Raises LakeError when there is no lake."""
    try:
        lake = Lake.open(root)
    except LakeDamagedError:
        _, versions, damages = damage.find_without_state(root, contents=deep)
        if mending_mark.read(root) is not None:
            damages = [Damage(mending_mark.NAME, "a rebuild that mends the lake was not finished")]
        return Examination(None, versions, damages)
    versions = {**lake.versions, RUNS.name: lake.version(RUNS.name)}
    examination = Examination(lake.state, versions, damage.find(root, versions, contents=deep))
    examination.damages += _unreadable_later_entries(root, examination)
    if not examination.damages:
        examination.remarks += _outdated_state_file(root)
        examination.remarks += _half_published(lake)
        examination.remarks += _wrong_bounds(lake)
    if deep and not examination.damages:
        compared = (FILES.name, *landed_rows.TABLE_OF_COUNT.values())
        examination.damages += landed_rows.differences(root, {name: lake.files(name) for name in compared})
        for file in landed_rows.silently_changed(lake, landing):
            examination.remarks.append(
                f"the landed file {file} has changed since it was read, and its size and time have not: touch it, then run its night"
            )
    return examination


def _state_of(root: StoragePath) -> int | None:
    try:
        return Lake.open(root).state
    except LakeDamagedError:
        return None


def _unreadable_later_entries(root: StoragePath, examination: Examination) -> list[Damage]:
    """Unreadable log entries after the recorded version: readers do not need them, but no run can write the table."""
    damaged = {one.table for one in examination.damages}
    others = (name for name in examination.versions if name not in damaged)
    return [Damage(name, why) for name in others if (why := table_log.fault(root / name))]


def _outdated_state_file(root: StoragePath) -> list[str]:
    """A line if `_state.json` does not hold the recorded state while no run is writing."""
    last = recorded(root)
    if last is None or state_file.read(root) == last.document() or lock.is_locked(root) or recorded(root) != last:
        return []
    if why := state_file.refusal(root):
        return [f"{state_file.NAME} cannot be read ({why}), and readers without Millrace use it: give this user the right to read it"]
    remedy = command_line("restore", root)
    return [f"{state_file.NAME} is missing, damaged or of another state, and readers without Millrace use it: {remedy}"]


def _half_published(lake: Lake) -> list[str]:
    """A line per table that a killed run has left half-published."""
    remedy = command_line("restore", lake.root)
    return [
        f"{name} stands at version {latest_version(lake.root, name)}, recorded is {lake.versions[name]}: {remedy}"
        for name in half_published_tables(lake)
    ]


def _wrong_bounds(lake: Lake) -> list[str]:
    """A line per table with wrong bounds in its log."""
    remedy = command_line("maintain", lake.root)
    counts = ((name, len(log_statistics.misdescribed(lake, name))) for name in TABLES)
    return [
        f"{name}: bounds in the log of {files:,} {'file' if files == 1 else 'files'} hide rows or have values of personal columns: {remedy}"
        for name, files in counts
        if files
    ]


def _show_tables(root: StoragePath, examination: Examination) -> None:
    lost = {one.table for one in examination.damages if one.file is None}
    rows = []
    for name in TABLES:
        version = examination.versions.get(name)
        if name in lost or not (root / name).is_dir():
            rows.append([name, version, None, None, None])
            continue
        delta = table_log.open_table(root / name, version)
        files = table_log.data_files(delta)
        rows.append([name, delta.version(), len(files), sum(file.rows or 0 for file in files), sum(file.size for file in files)])
    title = f"Lake {shown(root)}" + ("" if examination.state is None else f", state {examination.state}")
    print_table(title, ["table", "version", "files", "rows", "bytes"], rows)

"""Tables whose latest version is newer than the recorded one, because a publication was killed.

Commands that read use the recorded versions, so their results are right. A reader that opens the latest version of each table
sees a mixture, until the next writer or `millrace restore` brings the tables back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from jobs.console.printing import print_message
from jobs.console.remedies import command_line
from jobs.errors import LakeDamagedError, LakeError
from jobs.lake import lock
from jobs.lake.table_log import FOLDER
from jobs.lake.tables import Lake, recorded
from jobs.storage import storage_paths
from jobs.storage.object_store import StoreError
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS

_VERSION = re.compile(r"(\d{20})\.(?:json|checkpoint\..*parquet)")


def open_to_read(root: StoragePath) -> Lake:
    """Open the recorded state of the lake, and warn of tables that a killed publication has left half-published.

    Raises LakeError when there is no lake at this path, LakeDamagedError when a part of it is missing or unreadable.
    """
    lake = Lake.open(root)
    lake.check_whole()
    if tables := half_published_tables(lake):
        remedy = command_line("restore", root)
        print_message(
            f"warning: a killed run has left tables half-published: {', '.join(tables)}. This command reads the recorded state;"
            f" other readers see a mixture until the next run or `{remedy}`"
        )
    return lake


def versions_to_diagnose(root: StoragePath) -> Mapping[str, int]:
    """The recorded versions of the tables; none if there is no lake, or none that was ever finished.

    Raises LakeDamagedError when the recorded state is lost.
    """
    try:
        return Lake.open(root).versions
    except LakeDamagedError:
        raise
    except LakeError:
        return {}


def half_published_tables(lake: Lake) -> list[str]:
    """The tables whose latest version is newer than the recorded one, while no run is writing."""
    if not _tables_ahead(lake.root, lake.versions):
        return []
    # A run may have published since the lake was opened: compare again with the state that is recorded now.
    state = recorded(lake.root)
    if state is None:
        return []
    tables = _tables_ahead(lake.root, state.versions)
    if not tables or lock.is_locked(lake.root) or recorded(lake.root) != state:
        return []
    return tables


def _tables_ahead(root: StoragePath, versions: Mapping[str, int]) -> list[str]:
    """The tables with a later version than these. This lists the folders of the logs and reads no file."""
    names = [name for name in versions if name != RUNS.name]
    latest = storage_paths.each(root, lambda name: latest_version(root, name) or 0, names)
    return [name for name, version in zip(names, latest, strict=True) if version > versions[name]]


def latest_version(root: StoragePath, name: str) -> int | None:
    """The newest version of a table; None if it has no log."""
    try:
        names = [entry.name for entry in storage_paths.entries(root / name / FOLDER)]
    except StoreError:
        raise
    except OSError:
        return None
    return max((int(matched[1]) for name in names if (matched := _VERSION.fullmatch(name))), default=None)

"""Show the recorded state of the lake, and restore the tables to it.

millrace state --format json
millrace restore
"""

from __future__ import annotations

from typing import Any

from jobs.console.printing import print_json, print_line, print_table
from jobs.lake import lock, state_file
from jobs.lake.half_published import latest_version, open_to_read
from jobs.lake.state_file import RecordedState
from jobs.lake.tables import Lake, recorded
from jobs.settings import Settings


def show(settings: Settings, shape: str) -> int:
    """Print the recorded and the current version of each table, as a table or as a JSON document.

    Raises LakeError when there is no lake.
    """
    root = open_to_read(settings.paths.lake).root
    is_written = lock.is_locked(root)
    state = recorded(root)
    assert state is not None  # otherwise opening the lake would have failed
    in_file = state_file.read(root)
    refused = state_file.refusal(root)
    file = _standing(in_file, state, refused)
    current = {name: latest_version(root, name) for name in state.all_versions}
    if shape == "json":
        tables = {
            name: {"version": version, "stands_at": current[name], "status": _status(version, current[name])}
            for name, version in state.all_versions.items()
        }
        print_json({"lake": str(root), **state.document(), "tables": tables, "is_being_written": is_written, "state_file": file})
        return 0
    print_line(
        f"{root}: state {state.state}, recorded by run {state.run_id}{f' at {state.ended:%Y-%m-%d %H:%M:%S} UTC' if state.ended else ''}"
    )
    rows = [[name, version, current[name], _status(version, current[name])] for name, version in state.all_versions.items()]
    print_table("", ["table", "recorded version", "stands at", "status"], rows)
    if is_written:
        print_line("a run is writing this lake: its tables move to their new versions when it publishes")
    remedy = "give this user the right to read it" if refused else "the next run or `millrace restore` writes it again"
    print_line(f"{root / state_file.NAME}: {file}" + ("" if file == "current" else f"; {remedy}"))
    return 0


def restore(settings: Settings) -> int:
    """Restore every table to the recorded state, as every run does first, and print what that changed.

    Raises LakeError when there is no lake, LakeBusyError when a run is writing it.
    """
    root = Lake.open(settings.paths.lake).root
    in_file = state_file.read(root)
    with Lake.writing(root, "millrace restore", lease_seconds=settings.storage.lease_seconds) as lake:
        for name, (version_before, version) in lake.restored.items():
            print_line(f"{name}: stood at version {version_before}, brought back to version {version} as version {lake.versions[name]}")
        if lake.restored:
            count = len(lake.restored)
            print_line(f"{count} {'table is' if count == 1 else 'tables are'} as recorded again: this is state {lake.state} of the lake")
        elif in_file != state_file.read(root):
            print_line(f"every table stands as recorded; {root / state_file.NAME} was missing or of another state, and is written again")
        else:
            print_line(f"nothing to restore: every table stands as recorded, in state {lake.state} of the lake")
    return 0


def _standing(in_file: Any, state: RecordedState, refused: str | None) -> str:
    """How the file stands to the recorded state."""
    if refused is not None:
        return f"unreadable ({refused})"
    if in_file is None:
        return "missing or damaged"
    return "current" if in_file == state.document() else "of another state"


def _status(version: int, current: int | None) -> str:
    if current is None:
        return "missing"
    if current == version:
        return "as recorded"
    return "ahead" if current > version else "behind"

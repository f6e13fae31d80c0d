"""The rows of a lake, in a form in which two lakes can be compared."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.lake.tables import Lake
from jobs.settings import Settings
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES

DAY_MS = 86_400_000
# The tables that depend on what has landed alone, not on how it was run.
LANDED = [name for name in TABLES if name not in ("runs", "quality_results", "erasures")]


def copied(settings: Settings, root: Path) -> Settings:
    """Settings of copies of the landing zone and of the lake, in this folder."""
    shutil.copytree(settings.paths.landing, root / "landing")
    shutil.copytree(settings.paths.lake, root / "lake")
    return settings.at(root / "landing", root / "lake")


def contents(root: StoragePath) -> dict[str, list[str]]:
    """Per table all rows but for `run_id`, as sorted lines."""
    lake = Lake.open(root)
    rows_by_table = {}
    for name in LANDED:
        rows = lake.arrow(name).drop_columns(["run_id"]).to_pylist()
        rows_by_table[name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return rows_by_table


def assert_same(one: StoragePath, other: StoragePath) -> None:
    """Two lakes hold the same rows in every table; a failure names the first row that differs."""
    _assert_same(contents(one), contents(other))


def assert_same_but_for_uploads(lake: StoragePath, folder: StoragePath) -> None:
    """Two lakes hold the same rows, but for the time at which a landed file was uploaded."""
    tables = [contents(one) for one in (lake, folder)]
    for rows in tables:
        rows["files"] = sorted(json.dumps(json.loads(row) | {"modified": None}) for row in rows["files"])
    _assert_same(*tables)


def _assert_same(left: Mapping[str, Sequence[str]], right: Mapping[str, Sequence[str]]) -> None:
    for name in LANDED:
        only_left, only_right = set(left[name]) - set(right[name]), set(right[name]) - set(left[name])
        assert not only_left, f"{name}: only in the first: {min(only_left)}"
        assert not only_right, f"{name}: only in the second: {min(only_right)}"
        assert len(left[name]) == len(right[name]), name


def age(root: Path, days: int) -> None:
    """Let all that is in a lake have happened so many days earlier, for whoever looks at the clock."""
    for checkpoint in (*root.glob("*/_delta_log/*.checkpoint.parquet"), *root.glob("*/_delta_log/_last_checkpoint")):
        checkpoint.unlink()  # the whole log is still there
    for log in root.glob("*/_delta_log/*.json"):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            for action_kind, time in (("remove", "deletionTimestamp"), ("add", "modificationTime"), ("commitInfo", "timestamp")):
                if time in action.get(action_kind, {}):
                    action[action_kind][time] -= days * DAY_MS
        log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    for path in root.rglob("*"):
        moved = path.stat().st_mtime - days * DAY_MS / 1000
        os.utime(path, (moved, moved))

"""Repair statistics in the Delta log: bounds with escaped characters, which hide rows from readers, and bounds of personal columns.

JSON may write a character beyond U+FFFF as an escaped pair of surrogates. delta-rs, and so DuckDB and Polars, decodes such a pair
wrongly if the character is of an even plane (U+20BB7 becomes U+10BB7), and then skips files with that value. Earlier versions
of Millrace wrote such statistics. The rows of their files are right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.lake.table_changes import TableFile
from jobs.lake.table_files import WrittenFile, as_json, without_personal_bounds
from jobs.lake.tables import Lake
from jobs.storage import storage_paths
from jobs.storage.parquet_files import open_parquet
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES
from schemas.table import Table

_ESCAPED_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(\.[\d.]+)?\.parquet")


def misdescribed(lake: Lake, name: str) -> list[TableFile]:
    """The files of a table whose recorded bounds readers decode wrongly, in the state of the lake."""
    files = {file.path: file for file in lake.files(name)}
    recorded = sorted(_recorded(lake, name, files).items())
    return [files[path] for path, stats in recorded if _ESCAPED_PAIR.search(stats) or _has_personal_bounds(TABLES[name], json.loads(stats))]


def described_again(lake: Lake, name: str, files: Collection[TableFile]) -> list[WrittenFile]:
    """These files as the Delta log should describe them: the same statistics, without escapes."""
    recorded = _recorded(lake, name, {file.path: file for file in files})
    return [
        WrittenFile(name, file.path, as_json(dict(file.partition)), file.size, file.rows, _described(name, recorded[file.path]))
        for file in files
    ]


def _described(name: str, stats: str) -> str:
    return as_json(without_personal_bounds(TABLES[name], json.loads(stats)))


def _has_personal_bounds(table: Table, stats: Mapping[str, Any]) -> bool:
    return bool(without_personal_bounds(table, stats) != stats)


def _recorded(lake: Lake, name: str, files: Mapping[str, TableFile]) -> dict[str, str]:
    """Per file its statistics, JSON, from the last entry of the log about it."""
    log = lake.root / name / "_delta_log"
    version = lake.version(name)
    entries = storage_paths.entries(log)
    checkpoints = [(int(matched[1]), entry.path) for entry in entries if (matched := _CHECKPOINT.fullmatch(entry.name))]
    start = max((number for number, _ in checkpoints if number <= version), default=-1)
    recorded: dict[str, str] = {}
    for number, path in checkpoints:
        if number == start:
            recorded |= _of_checkpoint(path)
    for number in range(start + 1, version + 1):
        recorded |= _of_commit(log / f"{number:020}.json")
    return {path: stats for path, stats in recorded.items() if path in files}


def _of_checkpoint(path: StoragePath) -> dict[str, str]:
    adds = open_parquet(path).read(columns=["add.path", "add.stats"])["add"].combine_chunks()
    described = pa.table({"path": pc.struct_field(adds, "path"), "stats": pc.struct_field(adds, "stats")})
    described = described.filter(pc.is_valid(described["stats"]))
    return dict(zip(described["path"].to_pylist(), described["stats"].to_pylist(), strict=True))


def _of_commit(path: StoragePath) -> dict[str, str]:
    adds = (action["add"] for action in map(json.loads, path.read_bytes().splitlines()) if "add" in action)
    return {add["path"]: add["stats"] for add in adds if add.get("stats")}

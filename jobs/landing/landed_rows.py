"""Compare the lake with the landed files: the rows of each file with the counts in `files`, and its content with the recorded hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.console.paths import shown
from jobs.lake.damage import Damage
from jobs.lake.table_changes import TableFile
from jobs.lake.tables import Lake
from jobs.landing.expired import kinds_in as expired_kinds
from jobs.landing.zone import CHUNK_BYTES
from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import StoreError
from jobs.storage.parquet_files import open_parquet_files
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import FILES
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS

# Per column of `files` that counts records, the table with one row per such record.
TABLE_OF_COUNT = {"accepted": EVENTS.name, "duplicates": DUPLICATE_EVENTS.name, "rejected": REJECTED_EVENTS.name}

_LandedFile = tuple[str, str, str]  # landing date, source, path from the landing root


def differences(root: StoragePath, files: Mapping[str, Sequence[TableFile]]) -> list[Damage]:
    """The tables that do not have as many rows of a landed file as `files` counts, and the files whose counts do not add up.

    `files` maps `files`, `events`, `duplicate_events` and `rejected_events` to the data files that are compared.
    """
    rows = _counts(root, files[FILES.name])
    expired = {landed: expired_kinds(row["expired"]) for landed, row in rows.items() if row["expired"]}
    damages = [
        Damage(FILES.name, f"the counts of {file} do not add up to its {row['records'] or 0:,} records")
        for (_, _, file), row in sorted(rows.items())
        if (row["records"] or 0) != sum(row[kind] or 0 for kind in (*TABLE_OF_COUNT, "erased"))
    ]
    for kind, name in TABLE_OF_COUNT.items():
        expected = Counter({landed: row[kind] or 0 for landed, row in rows.items()})
        counted = _rows_per_file(root / name, files[name])
        for landed in sorted(expected.keys() | counted.keys()):
            if kind in expired.get(landed, ()):
                continue
            if counted[landed] != expected[landed]:
                what = f"{counted[landed]:,} rows of the landed file {landed[2]} where `files` counts {expected[landed]:,}"
                damages.append(Damage(name, what))
    return damages


def silently_changed(lake: Lake, landing: StoragePath) -> list[str]:
    """Landed files whose content has changed since they were read, while size and time have not: no run reads them again."""
    columns = ["file", "size", "modified", "sha256"]
    rows = lake.arrow(FILES.name, columns, pc.is_valid(pc.field("sha256")))
    rows = rows.set_column(rows.schema.get_field_index("modified"), "modified", rows["modified"].cast(pa.int64()))
    changed = []
    for row in rows.sort_by("file").to_pylist():
        path = landing / row["file"]
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns // 1000) == (row["size"], row["modified"]):
                with path.open_object() if isinstance(path, BucketPath) else path.open("rb") as file:
                    digest = hashlib.sha256()
                    while piece := file.read(CHUNK_BYTES):
                        digest.update(piece)
                if digest.hexdigest() != row["sha256"]:
                    changed.append(shown(row["file"]))
        except StoreError:
            raise
        except OSError:
            continue  # `millrace status` reports landed files that are missing or unreadable
    return changed


def _counts(root: StoragePath, files: Sequence[TableFile]) -> dict[_LandedFile, dict[str, Any]]:
    """The rows of `files` with the counts of each landed file that was read to its end."""
    columns = ["file", "status", "records", "erased", "expired", *TABLE_OF_COUNT]
    counts = {}
    for file, parquet in zip(files, open_parquet_files(root / FILES.name / file.path for file in files), strict=True):
        for row in parquet.read(columns=columns).to_pylist():
            if row["status"] == "done":
                counts[_landed_file(file, row["file"])] = row
    return counts


def _rows_per_file(table: StoragePath, files: Sequence[TableFile]) -> Counter[_LandedFile]:
    counts: Counter[_LandedFile] = Counter()
    for file, parquet in zip(files, open_parquet_files(table / file.path for file in files), strict=True):
        rows = parquet.read(columns=["file"])
        for landed in pc.value_counts(rows["file"]).to_pylist():
            counts[_landed_file(file, landed["values"])] += landed["counts"]
    return counts


def _landed_file(file: TableFile, landed: str) -> _LandedFile:
    return file.partition["landing_date"], file.partition["source"], landed

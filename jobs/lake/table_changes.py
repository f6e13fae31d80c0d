"""Change one Delta table in one commit: the files that it adds and removes."""

from __future__ import annotations

import datetime as dt
import errno
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from jobs.errors import STORE_FAILED, LakeError
from jobs.lake import log_retention, table_files
from jobs.lake.delta_tables import create_delta
from jobs.lake.table_files import WrittenFile
from jobs.lake.table_log import ACTIONS
from jobs.storage.object_store import StoreError, raise_store_failure
from jobs.storage.storage_paths import StoragePath
from schemas.table import Table

# Of two attempts at the same version, also of one run, this field of the entry tells which was made.
_COMMIT_ID = "commit_id"
# Before each further attempt of a commit that the store refuses without a reason.
_PAUSES_SECONDS = (0.1, 0.3, 1.0, 3.0)
# A recorded state may name a version that is older than what delta-rs keeps in the log by default.
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)


@dataclass(frozen=True)
class TableFile:
    """One Parquet file of a table, as the Delta log describes it."""

    path: str  # from the table's folder
    partition: Mapping[str, str]
    size: int  # bytes
    rows: int
    lower_bounds: Mapping[str, Any] = field(default_factory=dict)  # per column
    upper_bounds: Mapping[str, Any] = field(default_factory=dict)  # per column
    nulls: Mapping[str, int] = field(default_factory=dict)  # per column that is not nested


@dataclass
class Change:
    """The files that a run adds to one table and removes from it.

    `is_rearrangement`: the rows are the same as before, so the Delta log marks the commit as one that changes no data.
    """

    added: list[WrittenFile] = field(default_factory=list)
    removed: list[TableFile] = field(default_factory=list)
    is_rearrangement: bool = False
    redescribed: list[WrittenFile] = field(default_factory=list)  # files of the table that keep their rows and get other statistics

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.redescribed)


def files_of(table: DeltaTable) -> list[TableFile]:
    """The files of a table at the version at which it was opened, sorted by path."""
    rows = pa.table(table.get_add_actions(flatten=False)).to_pylist()
    files = [
        TableFile(
            path=row["path"],
            partition={
                key: table_files.NO_VALUE if value is None else str(value)
                for key, value in (row.get("partition") or row.get("partition_values") or {}).items()
            },
            size=row["size_bytes"],
            rows=row["num_records"] or 0,
            lower_bounds=row.get("min") or {},
            upper_bounds=row.get("max") or {},
            nulls={column: nulls for column, nulls in (row.get("null_count") or {}).items() if nulls is not None},
        )
        for row in rows
    ]
    return sorted(files, key=lambda file: file.path)


def create(root: StoragePath, table: Table) -> None:
    """Create a table of the lake, without rows. An existing table is not changed."""
    configuration = {
        "delta.logRetentionDuration": f"interval {log_retention.LOG_DAYS} days",
        "delta.deletedFileRetentionDuration": f"interval {log_retention.REMOVED_FILE_DAYS} days",
    }
    create_delta(
        root / table.name,
        table.arrow,
        partition_by=list(table.partitioned_by),
        description=f"One row per {table.one_row_per}",
        configuration=configuration,
    )


def commit(delta: DeltaTable, table: Table, change: Change, expected: int, run_id: str) -> int:
    """Add and remove the files of a change in one commit; gives the new version.

    Raises LakeError when the table is not at the `expected` version: another program has changed it. Raises StoreError when the store
    refuses the commit again and again.
    """
    if delta.version() != expected:
        raise _changed(table)
    actions = _actions(change)
    commit_id = uuid.uuid4().hex
    metadata = {"run_id": run_id, _COMMIT_ID: commit_id, ACTIONS: str(len(actions))}
    # Until the new versions are recorded, a restore needs the old ones, however old they are.
    how: dict[str, Any] = {
        "commit_properties": CommitProperties(custom_metadata=metadata, max_commit_retries=0),
        "post_commithook_properties": KEEP_LOG,
    }
    for pause in (*_PAUSES_SECONDS, None):
        try:
            delta.create_write_transaction(actions, "append", delta.schema(), list(table.partitioned_by), **how)
        except Exception as error:
            # The answer to a commit may be lost, and delta-rs then finds its own commit in the way.
            if _has_committed(delta, commit_id, expected + 1):
                return expected + 1
            raise_store_failure(error, table.name)
            if not isinstance(error, CommitFailedError):
                raise
            # A store may answer that a request conflicts with another one although nobody has made this version.
            if delta.version() != expected:
                raise _changed(table) from error
            if pause is None:
                raise StoreError(errno.EIO, f"{STORE_FAILED}: it refuses a commit that conflicts with none", table.name) from error
            time.sleep(pause)
        else:
            break
    return expected + 1


def _changed(table: Table) -> LakeError:
    return LakeError(f"the table {table.name} was changed by someone else while this run worked: call the run again")


def _actions(change: Change) -> list[AddAction | RemoveAction]:
    """What the entry of the log says of the files of a change."""
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(
            path=file.path,
            data_change=not change.is_rearrangement,
            deletion_timestamp=now,
            size=file.size,
            partition_values=logged_values(file.partition),
        )
        for file in change.removed
    ]
    actions += [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values=logged_values(file.partition_values),
            modification_time=now,
            data_change=data_change,
            stats=file.stats,
        )
        for files, data_change in ((change.added, not change.is_rearrangement), (change.redescribed, False))
        for file in files
    ]
    return actions


def _has_committed(delta: DeltaTable, commit_id: str, version: int) -> bool:
    """Whether the latest version of a table is this one, and made by the commit with this id."""
    try:
        delta.update_incremental()
        return bool(delta.version() == version and delta.history(1)[0].get(_COMMIT_ID) == commit_id)
    except Exception:  # noqa: BLE001 - then the first error is raised
        return False


def logged_values(partition: Mapping[str, str]) -> dict[str, str | None]:
    """A partition's values as the Delta log has them."""
    return {name: None if value == table_files.NO_VALUE else value for name, value in partition.items()}

"""Open a Delta table on a file system or in a bucket."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import delta_options, raise_store_failure
from jobs.storage.storage_paths import StoragePath


def open_delta(folder: StoragePath, version: int | None = None) -> DeltaTable:
    """The table in this folder at a version; None: the latest one.

    Raises StoreError when the store does not answer, DeltaError or OSError when the log does not give this version.
    """
    try:
        return DeltaTable(str(folder), version=version, storage_options=_options(folder))
    except Exception as error:
        raise_store_failure(error, folder)
        raise


def create_delta(folder: StoragePath, schema: pa.Schema, **options: Any) -> None:
    """Create a table without rows in this folder; `options` are those of delta-rs. An existing table is not changed."""
    DeltaTable.create(str(folder), schema=schema, mode="ignore", storage_options=_options(folder), **options)


def _options(folder: StoragePath) -> dict[str, str] | None:
    return delta_options(folder.bucket) if isinstance(folder, BucketPath) else None

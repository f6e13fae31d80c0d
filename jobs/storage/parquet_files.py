"""Parquet files on a file system or in a bucket, and Arrow datasets of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import arrow_file_system
from jobs.storage.storage_paths import StoragePath


def open_parquet(path: StoragePath, **options: Any) -> pq.ParquetFile:
    """A Parquet file, to be read; `options` are those of pyarrow. Raises OSError if there is none, or it may not be read."""
    if isinstance(path, Path):
        return pq.ParquetFile(path, **options)
    file_system, inside = _in_bucket(path)
    # Nearby ranges are fetched in one request, several at once.
    return pq.ParquetFile(inside, filesystem=file_system, pre_buffer=True, **options)


def write_parquet(rows: pa.Table, path: StoragePath, **options: Any) -> int:
    """Write a Parquet file; gives its size in bytes. `options` are those of pyarrow. Raises OSError.

    In a bucket, readers see the whole file or none.
    """
    if isinstance(path, Path):
        pq.write_table(rows, path, **options)
        return path.stat().st_size
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, **options)
    return path.write_bytes(content.getvalue().to_pybytes())


def file_system_of(folder: StoragePath) -> FileSystem:
    """An Arrow file system whose paths begin in a folder."""
    if isinstance(folder, Path):
        return SubTreeFileSystem(str(folder.resolve()), LocalFileSystem())
    file_system, inside = _in_bucket(folder)
    return SubTreeFileSystem(inside, file_system)


def _in_bucket(path: BucketPath) -> tuple[FileSystem, str]:
    return arrow_file_system(path.bucket), f"{path.bucket.partition('://')[2].partition('@')[0]}/{path.key}"

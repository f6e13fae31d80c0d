"""Parquet files on a file system or in a bucket, and Arrow datasets of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import StoreError, arrow_file_system
from jobs.storage.storage_paths import StoragePath

# A file in a bucket that is not larger is fetched as a whole.
_SMALL_BYTES = 1 << 20
_OPENED_AHEAD = 8


def open_parquet(path: StoragePath, **options: Any) -> pq.ParquetFile:
    """A Parquet file, to be read; `options` are those of pyarrow. Raises OSError if there is none, or it may not be read."""
    if isinstance(path, Path):
        return pq.ParquetFile(path, **options)
    # A small file takes one request in place of three.
    # Some stores refuse the end of an empty object, or of any: then Arrow says what is wrong with it.
    with suppress(StoreError):
        content, is_whole = path.read_end(_SMALL_BYTES)
        if is_whole:
            return pq.ParquetFile(pa.BufferReader(content), **options)
    file_system, inside = _in_bucket(path)
    # Nearby ranges are fetched in one request, several at once.
    return pq.ParquetFile(inside, filesystem=file_system, pre_buffer=True, **options)


def open_parquet_files(paths: Iterable[StoragePath]) -> Iterator[pq.ParquetFile]:
    """Parquet files, in order. While one is read, the next ones are fetched from a bucket. Raises OSError as `open_parquet` does."""
    if not (files := list(paths)):
        return
    if isinstance(files[0], Path):
        yield from map(open_parquet, files)
        return
    threads = ThreadPoolExecutor(_OPENED_AHEAD)
    fetched: deque[Future[pq.ParquetFile]] = deque()
    try:
        for path in files:
            fetched.append(threads.submit(open_parquet, path))
            if len(fetched) > _OPENED_AHEAD:
                yield fetched.popleft().result()
        while fetched:
            yield fetched.popleft().result()
    finally:
        # Whoever has failed, or needs no more, does not wait for the rest.
        threads.shutdown(wait=False, cancel_futures=True)


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

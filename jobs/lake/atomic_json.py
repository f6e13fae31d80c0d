"""Write a JSON file such that readers, and a machine that loses power, find the old content or the new one, never a part; and parse one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath


def partial_path(path: Path) -> Path:
    """The file that is written first and then renamed to `path`, on a file system."""
    return path.with_name(f"{path.name}.partial")


def parse(content: bytes) -> Any:
    """The JSON value of a file. Raises ValueError if it is no JSON, or nested more deeply than Python reads."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write(path: StoragePath, content: Any) -> None:
    """Write a JSON value to a file, and return when it is on the disk or in the bucket. Raises OSError when that fails."""
    text = (json.dumps(content, indent=2) + "\n").encode()
    if isinstance(path, BucketPath):
        path.write_bytes(text)
        return
    partial = partial_path(path)
    with partial.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

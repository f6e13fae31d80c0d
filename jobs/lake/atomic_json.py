"""Write a JSON file such that readers, and a machine that loses power, find the old content or the new one, never a part."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def partial_path(path: Path) -> Path:
    """The file that is written first and then renamed to `path`."""
    return path.with_name(f"{path.name}.partial")


def write(path: Path, content: Any) -> None:
    """Write a JSON value to a file, and return when it is on the disk. Raises OSError when that fails."""
    partial = partial_path(path)
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

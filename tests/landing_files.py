"""Files in a landing zone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path


def land_file(landing: Path, source: str, date: dt.date, name: str = "a.json", content: str | bytes = b"", hour: int = 10) -> Path:
    """Write a file into the folder of its source, date and hour; gives its path."""
    path = landing / source / f"date={date}" / f"hour={hour:02}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

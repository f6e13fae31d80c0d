"""Paths below the home folder."""

from __future__ import annotations

from pathlib import Path


def at_home(path: Path) -> Path:
    """The path with a leading `~` as the home folder; the same path where it has none, or where there is no home."""
    if path.parts[:1] != ("~",):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        return path

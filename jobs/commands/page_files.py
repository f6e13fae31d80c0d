"""Write a page that a command makes into a file that the user names."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from jobs.console.paths import shown
from jobs.errors import UsageError


def write(target: Path, page: str, what: str) -> None:
    """Write the page as a whole: a reader never sees half of it. Raises UsageError, which calls it `what`, when that fails."""
    if not target.name:
        raise UsageError(f"{target} is a folder: name the file to write with --out")
    # Its name does not contain that of the target, which may have the largest possible length.
    partial = target.with_name(f".page.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UsageError(f"{what} cannot be written to {shown(target)} ({error.strerror}): name another file with --out") from None

"""Where a run writes: files of tables, which no reader sees before a commit names them, and a working folder.

A file of a table is written once, under its final name, into the folder of its table. Its name holds the id of the run, so the next
writer finds the files of a run that was killed.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.catalog import TABLES

STAGING = "_staging"


@dataclass(frozen=True)
class RunOutput:
    """The folders of one run in a lake."""

    lake: Path
    run_id: str

    @property
    def working_folder(self) -> Path:
        """The folder for intermediate files. It exists from the start of a run to its end, so it also shows that a run was killed."""
        return self.lake / STAGING / self.run_id

    def begin(self) -> None:
        """Make the working folder, before the first file of a table is written."""
        self.working_folder.mkdir(parents=True, exist_ok=True)

    def end(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.working_folder, ignore_errors=True)

    def new_file(self, table: str, folder: str) -> Path:
        """A path for a new file of a table, in this folder below the table's."""
        return self.lake / table / folder / f"{_prefix(self.run_id)}{uuid.uuid4()}.zstd.parquet"

    def files(self) -> Iterator[tuple[str, Path]]:
        """The files that the run has written for tables: the name of the table, and the path. This lists the folders of all tables."""
        for name in TABLES:
            for path in (self.lake / name).rglob(f"{_prefix(self.run_id)}*"):
                yield name, path

    def remove_unpublished(self, listed: Mapping[str, Collection[str]]) -> None:
        """Remove the files of a run that has published nothing, and its working folder. `listed` has the files of each table's log."""
        for name, path in self.files():
            if path.relative_to(self.lake / name).as_posix() not in listed[name]:
                path.unlink()
        self.end()


def unfinished(lake: Path) -> list[RunOutput]:
    """The runs that have a working folder: those that were killed, and those with a failed check."""
    folder = lake / STAGING
    return [RunOutput(lake, entry.name) for entry in sorted(folder.iterdir())] if folder.is_dir() else []


def _prefix(run_id: str) -> str:
    return f"part-{run_id}-"

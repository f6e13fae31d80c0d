"""Where a run writes: files of tables, which no reader sees before a commit names them, and a working folder.

A file of a table is written once, under its final name, into the folder of its table. Its name holds the id of the run, so the next
writer finds the files of a run that was killed.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.storage import storage_paths
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES

STAGING = "_staging"
# In a bucket a folder is there as long as an object is in it.
_BEGUN = "begun.json"


@dataclass(frozen=True)
class RunOutput:
    """The folders of one run in a lake."""

    lake: StoragePath
    run_id: str

    @property
    def working_folder(self) -> StoragePath:
        """The folder for files that tasks write for later tasks.

        It exists from the start of a run to its end, so it also shows that a run was killed.
        """
        return self.lake / STAGING / self.run_id

    @property
    def local_folder(self) -> Path:
        """A folder of this machine, for files of an engine that runs on one machine."""
        if isinstance(self.lake, Path):
            return self.lake / STAGING / self.run_id
        return Path(tempfile.gettempdir(), f"millrace-{self.run_id}")

    def begin(self) -> None:
        """Make the working folder, before the first file of a table is written."""
        if isinstance(self.working_folder, Path):
            self.working_folder.mkdir(parents=True, exist_ok=True)
        else:
            (self.working_folder / _BEGUN).write_bytes(b"{}\n")

    def end(self) -> None:
        """Remove the working folder."""
        with suppress(OSError):  # the next writer removes what is left
            storage_paths.remove_tree(self.working_folder)
        storage_paths.remove_tree(self.local_folder)

    def clear(self) -> None:
        """Remove what is in the working folder, and keep the folder."""
        for entry in storage_paths.entries(self.working_folder):
            if entry.name != _BEGUN:
                storage_paths.remove_tree(entry.path)
        if self.local_folder != self.working_folder:
            storage_paths.remove_tree(self.local_folder)

    def new_file(self, table: str, folder: str) -> StoragePath:
        """A path for a new file of a table, in this folder below the table's."""
        return self.lake / table / folder / f"{_prefix(self.run_id)}{uuid.uuid4()}.zstd.parquet"

    def files(self) -> Iterator[tuple[str, StoragePath]]:
        """The files that the run has written for tables: the name of the table, and the path. This lists the folders of all tables."""
        for name in TABLES:
            for path in storage_paths.paths_below(self.lake / name):
                if PurePosixPath(path).name.startswith(_prefix(self.run_id)):
                    yield name, self.lake / name / path

    def remove_unpublished(self, listed: Mapping[str, Collection[str]]) -> None:
        """Remove the files of a run that has published nothing, and its working folder. `listed` has the files of each table's log."""
        for name, path in self.files():
            if storage_paths.relative(path, self.lake / name) not in listed[name]:
                path.unlink()
        self.end()


def unfinished(lake: StoragePath) -> list[RunOutput]:
    """The runs that have a working folder: those that were killed, and those with a failed check."""
    return [RunOutput(lake, name) for name in sorted(entry.name for entry in storage_paths.entries(lake / STAGING))]


def _prefix(run_id: str) -> str:
    return f"part-{run_id}-"

"""What a run with a failed check wrote: the files that it would have published. `millrace sql --run` reads the tables as they would be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from jobs.console.paths import shown
from jobs.errors import LakeError
from jobs.lake import atomic_json
from jobs.lake.run_output import STAGING, RunOutput, unfinished
from jobs.lake.table_changes import Change
from jobs.lake.table_files import WrittenFile
from jobs.storage.object_store import StoreError
from jobs.storage.storage_paths import StoragePath

_NAME = "changes.json"


@dataclass(frozen=True)
class FailedRun:
    """The changes that a run did not publish, and the state of the lake that they change."""

    run_id: str
    versions: Mapping[str, int]  # of the tables before the run
    added: Mapping[str, list[WrittenFile]]  # per table
    removed: Mapping[str, list[str]]  # per table: paths from the table's folder


def record(output: RunOutput, versions: Mapping[str, int], changes: Mapping[str, Change]) -> None:
    """Write the changes into the working folder of the run, which stays, in place of its intermediate files."""
    output.clear()
    tables = {
        name: {"added": [asdict(file) for file in change.added], "removed": [file.path for file in change.removed]}
        for name, change in changes.items()
    }
    atomic_json.write(output.working_folder / _NAME, {"versions": dict(versions), "tables": tables})


def remove(root: StoragePath, run_id: str) -> None:
    """Remove the files that a run with a failed check wrote and did not publish, and its working folder."""
    with suppress(LakeError):
        for name, files in read(root, run_id).added.items():
            for file in files:
                (root / name / file.path).unlink(missing_ok=True)
    RunOutput(root, run_id).end()


def read(root: StoragePath, run_id: str) -> FailedRun:
    """The changes of a run with a failed check. Raises LakeError when the lake has none of this run."""
    try:
        document = _document(root, run_id)
    except PermissionError as error:
        raise LakeError(
            f"{shown(root / STAGING)} cannot be read ({error.strerror or 'permission denied'}): give this user the right to read it"
        ) from None
    tables = document["tables"]
    return FailedRun(
        run_id,
        document["versions"],
        {name: [WrittenFile(**file) for file in table["added"]] for name, table in tables.items()},
        {name: table["removed"] for name, table in tables.items()},
    )


def _document(root: StoragePath, run_id: str) -> Any:
    """What a run with a failed check recorded. Raises LakeError when the lake has none of this run, PermissionError."""
    try:
        return atomic_json.parse((root / STAGING / run_id / _NAME).read_bytes())
    except (StoreError, PermissionError):
        raise
    except (OSError, ValueError):
        failed = [run.run_id for run in unfinished(root) if (run.working_folder / _NAME).exists()]
        remedy = f"name one of {', '.join(failed)}" if failed else "the lake has none"
        raise LakeError(f"no run with a failed check is called {run_id!r}: {remedy}") from None

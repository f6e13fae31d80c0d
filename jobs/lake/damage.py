"""Find the parts of a lake that are missing or unreadable, before anything is read from it or written to it.

Opening a table checks its log, and existence and size of every data file: one call to the file system per file. The contents of
data files are read only by `millrace verify --deep`, before a damaged lake is mended, and after a command has failed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from jobs.console.paths import shown
from jobs.console.remedies import command_line
from jobs.errors import LakeDamagedError, LakeError, MillraceError, fault_of_the_machine
from jobs.lake import state_file, table_log
from jobs.lake.state_file import StateInFile
from jobs.lake.table_log import LoggedFile, UnreadableLogError
from jobs.storage import storage_paths
from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import raise_store_failure
from jobs.storage.parquet_files import open_parquet
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES

NO_STATE = "it names no state of the lake"
NO_LAST_STATE = "it does not name the last state of the lake"
_BATCH_ROWS = 16_384
# The errors of a path that leads to no file, and will not later. Others, such as EIO and ESTALE, come from the disk or its mount.
_NO_FILE = (errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class Damage:
    """One part of a lake that is missing or unreadable."""

    table: str
    what: str
    file: LoggedFile | None = None  # the data file; None where the table's log is damaged, or the table as a whole

    @property
    def line(self) -> str:
        """The table and what is wrong with it, for a message."""
        return f"{self.table}: {self.what}"


def error_of(root: StoragePath, damages: Sequence[Damage], *, contents: bool = False) -> LakeDamagedError:
    """The error that names the first of these damages and the remedy; with `contents`, the files were read to find them."""
    more = f" and {len(damages) - 1:,} more" if len(damages) > 1 else ""
    return LakeDamagedError(
        f"the lake {shown(root)} is damaged: {damages[0].line}{more}: call `{rebuild_command(root)}` to make the tables again from what has"
        f" landed (`millrace verify{' --deep' if contents else ''}` names all that is damaged)"
    )


def rebuild_command(root: StoragePath) -> str:
    """The command line that mends this lake."""
    return command_line("rebuild", root)


def open_table(root: StoragePath, name: str, version: int | None = None) -> DeltaTable:
    """A table of the lake at a version; None: the latest one.

    Raises LakeDamagedError when that version cannot be read, or when a data file of it is missing or has another size.
    """
    table = open_log(root, name, version)
    check_files(root, name, table)
    return table


def open_log(root: StoragePath, name: str, version: int | None = None) -> DeltaTable:
    """A table of the lake at a version (None: the latest one), of which only the log is checked."""
    try:
        return table_log.open_table(root / name, version)
    except UnreadableLogError as error:
        raise error_of(root, [Damage(name, str(error))]) from error


def check_files(root: StoragePath, name: str, table: DeltaTable) -> None:
    """Raises LakeDamagedError when a data file of the table is missing or has another size."""
    if damages := damaged_files(root, name, table_log.data_files(table)):
        raise error_of(root, damages)


def check_last_state(root: StoragePath, number: int | None, in_file: StateInFile | None) -> None:
    """Raises LakeDamagedError when `runs` no longer names the last state of the lake.

    `number` is the highest state in `runs`, None if there is none; `in_file` is the state in `_state.json`.
    """
    what = None
    if number is not None:
        if in_file is not None and in_file.state > number:
            what = f"{NO_LAST_STATE}: {state_file.NAME} names state {in_file.state}, and it ends with state {number}"
    elif name := next((name for name in TABLES if table_log.has_held_rows(root / name)), None):
        # A lake that has held rows has had a state.
        what = (table_log.fault(root / RUNS.name) or NO_STATE) + ("" if name == RUNS.name else f", though {name} has held rows")
    elif in_file is not None and any(in_file.versions.values()):
        what = (table_log.fault(root / RUNS.name) or NO_STATE) + f", though {state_file.NAME} names state {in_file.state}"
    if what is not None:
        raise error_of(root, [Damage(RUNS.name, what)])


def find(root: StoragePath, versions: Mapping[str, int | None], *, contents: bool = False) -> list[Damage]:
    """All damage of these tables at these versions (None: the latest one). With `contents`, every data file is read to its end."""
    of_tables = storage_paths.each(root, lambda name: _of_table(root, name, versions[name], contents=contents), versions)
    return [damage for of_table in of_tables for damage in of_table]


def _of_table(root: StoragePath, name: str, version: int | None, *, contents: bool) -> list[Damage]:
    try:
        table = table_log.open_table(root / name, version)
        # delta-rs does not read entries of the log that it does not need.
        if why := table_log.fault(root / name, table.version()):
            raise UnreadableLogError(why)
    except UnreadableLogError as error:
        return [Damage(name, str(error))]
    files = table_log.data_files(table)
    damages = damaged_files(root, name, files)
    if contents:
        wrong = {damage.file for damage in damages}
        damages += _unreadable_files(root, name, [file for file in files if file not in wrong])
    return sorted(damages, key=lambda damage: damage.file.path if damage.file else "")


def find_without_state(root: StoragePath, *, contents: bool = False) -> tuple[int, dict[str, int | None], list[Damage]]:
    """All damage of a lake whose `runs` does not name its last state, at the versions in `_state.json` or else at the latest ones.

    Gives the highest known number of a state (-1 if none is known), these versions, and the damage.
    """
    number = max((number for path in _logged_paths(root, RUNS.name) for number in _column_values(path, "state")), default=-1)
    in_file = state_file.state_in(root)
    is_last = in_file is not None and in_file.state >= number
    versions: dict[str, int | None] = {**dict.fromkeys(TABLES), **(in_file.versions if in_file and is_last else {}), RUNS.name: None}
    damages = find(root, versions, contents=contents)
    if not any(one.table == RUNS.name for one in damages):
        damages.append(Damage(RUNS.name, NO_LAST_STATE))
    return max(number, in_file.state if in_file else -1), versions, damages


@contextmanager
def diagnose_failures(root: StoragePath, versions: Callable[[], Mapping[str, int | None]]) -> Iterator[None]:
    """When the block fails and the lake is damaged, raise LakeDamagedError instead. `versions` gives the table versions that were read."""
    try:
        yield
    except (MillraceError, BrokenPipeError):  # BrokenPipeError: the reader of the output has closed it
        raise
    except Exception as error:
        if fault_of_the_machine(error) is None and (damages := find(root, versions(), contents=True)):
            raise error_of(root, damages, contents=True) from error
        raise


def damaged_files(root: StoragePath, name: str, files: Sequence[LoggedFile]) -> list[Damage]:
    """The data files of a table that are missing or have another size than in the log."""
    folder = root / name
    if isinstance(folder, BucketPath):
        try:
            sizes = storage_paths.sizes_of(folder, [file.path for file in files])
        except PermissionError as error:
            raise table_log.permission_error(folder, error) from None
        return [one for file in files if (one := _damage(name, file, sizes.get(file.path)))]
    damages = []
    for file in files:
        size: int | None = None
        try:
            size = os.stat(folder / file.path).st_size  # noqa: PTH116 - quicker than Path.stat; there is one call per file of the lake
        except PermissionError as error:
            raise table_log.permission_error(folder / file.path, error) from None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            why = os.strerror(error.errno or 0)
            if error.errno not in _NO_FILE:
                raise LakeError(
                    f"{shown(folder / file.path)} cannot be read ({why}): mend the disk or its mount, then call again"
                ) from None
            damages.append(Damage(name, f"the file {file.path} is unreadable ({why}){_row_count(file)}", file))
            continue
        if one := _damage(name, file, size):
            damages.append(one)
    return damages


def _damage(name: str, file: LoggedFile, size: int | None) -> Damage | None:
    """What is wrong with a data file of this size; None for the size: it is missing."""
    if size is None:
        return Damage(name, f"the file {file.path} is missing{_row_count(file)}", file)
    return None if size == file.size else Damage(name, f"the file {file.path} has {size:,} bytes in place of {file.size:,}", file)


def _logged_paths(root: StoragePath, name: str) -> list[StoragePath]:
    try:
        return [root / name / file.path for file in table_log.data_files(table_log.open_table(root / name))]
    except UnreadableLogError:
        return []


def _column_values(path: StoragePath, column: str) -> list[Any]:
    """The values of a column of a data file without nulls; empty if the file cannot be read."""
    try:
        return open_parquet(path).read(columns=[column])[column].drop_null().to_pylist()  # type: ignore[no-any-return]
    except PermissionError as error:
        raise table_log.permission_error(path, error) from None
    except (pa.ArrowException, OSError) as error:
        raise_store_failure(error, path)
        return []


def _unreadable_files(root: StoragePath, name: str, files: Sequence[LoggedFile]) -> list[Damage]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        reasons = threads.map(lambda file: _fault_of_file(root / name / file.path, file), files)
        return [Damage(name, why, file) for file, why in zip(files, reasons, strict=True) if why]


def _fault_of_file(path: StoragePath, file: LoggedFile) -> str | None:
    try:
        with open_parquet(path, page_checksum_verification=True) as parquet:
            # Every page is read. The footer, which has the number of rows, may be whole while a page is damaged.
            rows = sum(batch.num_rows for batch in parquet.iter_batches(_BATCH_ROWS, use_threads=False))
    except PermissionError as error:
        raise table_log.permission_error(path, error) from None
    except (pa.ArrowException, OSError) as error:
        raise_store_failure(error, path)
        return f"the file {file.path} is unreadable{_row_count(file)}"
    if file.rows is not None and rows != file.rows:
        return f"the file {file.path} holds {rows:,} rows in place of {file.rows:,}"
    return None


def _row_count(file: LoggedFile) -> str:
    if file.rows is None:
        return ""
    return f" ({file.rows:,} {'row' if file.rows == 1 else 'rows'})"

"""The lake: read its tables at the recorded state, and publish a new state.

The state of the lake is a set of table versions that belong together. `runs` records it: a writer adds this row last. A run writes
its files under their final names. No reader sees them before `publish` moves each table from its old version to its new one in one
commit, and records the new set. A writer first restores the recorded set, and removes the files of runs that were killed.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from jobs.console import paths, termination
from jobs.errors import LakeError
from jobs.lake import (
    added_columns,
    damage,
    lock,
    log_retention,
    mending_mark,
    run_output,
    state_file,
    table_changes,
    table_files,
    table_log,
)
from jobs.lake.delta_tables import open_delta
from jobs.lake.lease import LEASE_SECONDS
from jobs.lake.lock import HeldLock
from jobs.lake.run_output import STAGING, RunOutput
from jobs.lake.state_file import RecordedState
from jobs.lake.table_changes import KEEP_LOG, Change, TableFile, files_of
from jobs.storage import storage_paths
from jobs.storage.parquet_files import file_system_of
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES

REPORTS = "_reports"
# The table that records states. Each publication adds rows to it.
_JOURNAL = RUNS.name


class Lake:
    """A folder of Delta tables, at the state that was recorded last."""

    def __init__(
        self, root: StoragePath, versions: Mapping[str, int], state: int, runs_version: int | None = None, lock: HeldLock | None = None
    ) -> None:
        self.root = root
        self.versions = dict(versions)
        self.state = state
        self._runs_version = runs_version  # at which a writer expects `runs`; None: whatever it is
        self._lock = lock  # of a writer
        self.restored: dict[str, tuple[int, int]] = {}  # per restored table its version before and after
        self._opened: dict[str, DeltaTable] = {}  # so that each version's log is read once

    # Opening

    @classmethod
    def open(cls, root: StoragePath) -> Lake:
        """The lake at its recorded state, to be read.

        Raises LakeError when there is no lake at this path, LakeDamagedError when its recorded state is lost.
        """
        paths.check_lake(root)
        mending_mark.check_mended(root)
        last = recorded(root)
        if not table_log.exists(root / _JOURNAL):
            raise LakeError(f"no lake at {root}: name another with --lake, or make one with `millrace run`")
        if last is None:
            raise LakeError(f"the lake at {root} has never been finished: call `millrace run` to make it whole")
        return cls(root, last.versions, last.state)

    def at(self, versions: Mapping[str, int]) -> Lake:
        """The lake at other versions of its tables, to be read. `runs` is read at its latest version, unless one is given."""
        lake = Lake(self.root, versions, self.state)
        lake._opened.update(self._opened)
        return lake

    @classmethod
    @contextmanager
    def writing(
        cls,
        root: StoragePath,
        command: str,
        mend: Callable[[StoragePath, HeldLock], None] | None = None,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Iterator[Lake]:
        """The lake, to be written: created if there is none, locked for one writer, and restored to its recorded state.

        `command` names the writer in the lock and in `runs`. `mend` makes every table of a damaged lake readable; its caller then
        builds the tables again. In a bucket, the lock of a killed writer ends after `lease_seconds`.

        Raises LakeError when the path holds something else, LakeDamagedError when a part of the lake is lost, LakeBusyError when
        another run is writing.
        """
        paths.check_lake(root)
        _refuse_foreign(root)
        try:
            storage_paths.make_folder(root)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            why = os.strerror(error.errno or 0)
            raise LakeError(f"no lake can be made at {paths.shown(root)} ({why}): name another folder with --lake") from None
        with lock.acquire(root, command, lease_seconds) as held:
            if mend:
                mend(root, held)
            else:
                mending_mark.check_mended(root, is_writer=True)
            last = recorded(root)
            known = {_JOURNAL, *last.versions} if last else set()
            for table in TABLES.values():
                if table.name not in known and not table_log.exists(root / table.name):
                    table_changes.create(root, table)
            if last and added_columns.add(root):
                last = recorded(root)
            lake = cls(root, last.versions, last.state, last.runs_version, held) if last else cls(root, {}, -1, lock=held)
            lake._restore(command)
            if last and lake.state == last.state:
                state_file.renew(root, last)
            with damage.diagnose_failures(root, lambda: {_JOURNAL: None, **lake.versions}):
                try:
                    yield lake
                except OSError as error:
                    # Who has taken the lock over has removed the files of this run.
                    held.check()
                    if error.errno in (errno.EACCES, errno.EROFS) and str(error.filename).startswith(f"{root}/") and isinstance(root, Path):
                        why, path = os.strerror(error.errno), paths.shown(error.filename)
                        raise LakeError(f"{path} cannot be read or written ({why}): call as a user who may do both") from error
                    raise
            if mend:
                held.check()
                (root / mending_mark.NAME).unlink(missing_ok=True)

    # Reading

    def check_whole(self) -> None:
        """Raises LakeDamagedError when a log or a data file of any table is missing."""
        storage_paths.each(self.root, self._delta, TABLES)

    def files(self, name: str) -> list[TableFile]:
        """The files of a table in this state, sorted by path."""
        return files_of(self._delta(name))

    def version(self, name: str) -> int:
        """The version of a table in this state."""
        return int(self._delta(name).version())

    def arrow(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Rows of a table in this state: these columns (None: all) of the rows that match `where` (None: all)."""
        return self.dataset(name).to_table(columns=list(columns) if columns else None, filter=where)

    def dataset(self, name: str) -> ds.Dataset:
        """A table in this state as an Arrow dataset. A query reads only the files and columns that it needs."""
        return _dataset(self.root / name, self._delta(name))

    def _delta(self, name: str) -> DeltaTable:
        # `runs` records the state, so its latest version is read.
        version = self.versions.get(name, None if name == _JOURNAL else 0)
        if version is not None and name in self._opened and self._opened[name].version() == version:
            return self._opened[name]
        return self._keep(name, damage.open_table(self.root, name, version))

    def _keep(self, name: str, table: DeltaTable) -> DeltaTable:
        if table.protocol().min_reader_version > 1:
            raise LakeError(
                f"the table {self.root / name} uses Delta features that Millrace does not write: undo the change of its properties"
            )
        if not added_columns.are_known(TABLES[name], [field.name for field in table.schema().fields]):
            raise LakeError(
                f"the table {self.root / name} has the columns of another version of Millrace:"
                " call `millrace rebuild` with a new folder as --lake"
            )
        self._opened[name] = table
        return table

    # Writing

    def begin(self, run_id: str) -> RunOutput:
        """Begin a run: where it writes."""
        output = RunOutput(self.root, run_id)
        output.begin()
        return output

    @termination.delay_exit(publishes=True)
    def publish(self, changes: Mapping[str, Change], journal: Sequence[Mapping[str, Any]], run_id: str, *, failed: bool = False) -> None:
        """Move each table to its new version, one commit per table, and record the new state: the last commit is the commit point.

        `changes` has the change of each table. `journal` has the rows of `runs`; its last row gets the versions. The working
        folder of the run is removed, unless a check has `failed`: then its files stay for inspection. Raises LakeError when another
        program has changed a table since the lake was opened.
        """
        versions = dict(self.versions)
        for name, change in changes.items():
            if change and name != _JOURNAL:
                self._check_lock()
                versions[name] = table_changes.commit(self._latest(name), TABLES[name], change, self.versions.get(name, 0), run_id)
        self.record_state(journal, versions, run_id, changes.get(_JOURNAL, Change()))
        if not failed:
            RunOutput(self.root, run_id).end()

    def vacuum(self, days: int) -> dict[str, list[int]]:
        """Delete the files that no state of the last `days` days needs; gives their sizes in bytes, per table.

        A vacuum makes new versions with the same rows. The caller records them with the next state.
        """
        freed = {}
        for name in TABLES:
            self._check_lock()
            table = self._latest(name)
            # The log lists removed files for fewer days than a longer history needs them.
            is_longer = days > log_retention.REMOVED_FILE_DAYS
            kept = log_retention.current_within(self.root / name / "_delta_log", days) if is_longer else None
            if name != _JOURNAL and table.version() != self.versions[name]:
                raise LakeError(f"the table {name} was changed by someone else while this run worked: call the run again")
            is_shorter = days < log_retention.REMOVED_FILE_DAYS
            unneeded = table.vacuum(days * 24, full=True, keep_versions=kept, enforce_retention_duration=not is_shorter)
            sizes = storage_paths.sizes_of(self.root / name, unneeded)
            freed[name] = [sizes[file] for file in unneeded if file in sizes]
            if unneeded:
                table.vacuum(
                    days * 24,
                    dry_run=False,
                    full=True,
                    keep_versions=kept,
                    enforce_retention_duration=not is_shorter,
                    post_commithook_properties=KEEP_LOG,
                )
                if name == _JOURNAL:
                    self._runs_version = table.version()
                else:
                    self.versions[name] = table.version()
        return freed

    def trim_logs(self, days: int) -> None:
        """Write a checkpoint for every table, and delete the entries of its log that no version of the last `days` days needs."""
        for name in TABLES:
            table = self._latest(name)
            table.create_checkpoint()
            log_retention.trim(self.root / name / "_delta_log", days)

    def _latest(self, name: str) -> DeltaTable:
        """The latest version of a table, recorded or not."""
        table = self._opened.get(name)
        if table is None:
            return open_delta(self.root / name)
        table.update_incremental()
        return table

    def record_state(
        self, journal: Sequence[Mapping[str, Any]], versions: Mapping[str, int], run_id: str, journal_changes: Change | None = None
    ) -> None:
        """Add rows to `runs`, the versions in the last one, and so record the next state; `journal_changes` are other changes of `runs`."""
        journal_changes = journal_changes or Change()
        rows = [dict(row) for row in journal]
        rows[-1].update(versions=sorted(versions.items()), state=self.state + 1)
        # A restore is no run: its row has no id.
        output = RunOutput(self.root, run_id.strip("-") or rows[-1]["step"])
        written = table_files.write_partitioned(RUNS, pa.Table.from_pylist(rows, schema=RUNS.arrow.remove_metadata()), output)
        runs = open_delta(self.root / _JOURNAL)
        change = Change([*written, *journal_changes.added], journal_changes.removed, redescribed=journal_changes.redescribed)
        self._check_lock()
        # A writer that took over the lock of this one has recorded a state since.
        expected = runs.version() if self._runs_version is None else self._runs_version
        self._runs_version = version = table_changes.commit(runs, RUNS, change, expected, run_id)
        self.versions, self.state = dict(versions), self.state + 1
        last = rows[-1]
        state_file.write(self.root, RecordedState(self.state, last["run_id"], last.get("ended"), self.versions, version))

    def _check_lock(self) -> None:
        """Raises LakeBusyError when this process has lost the lock of the lake."""
        if self._lock is not None:
            self._lock.check()

    @termination.delay_exit(publishes=False)
    def _restore(self, command: str) -> None:
        """Restore every table to the recorded state. If a table was restored, or no state was recorded, record a new one.

        This also happens when the lock was taken over: the writer that held it, if it still runs, then cannot record its state.
        """
        restored = {name: self.versions.get(name, 0) for name in TABLES if name != _JOURNAL}
        is_recorded = storage_paths.each(self.root, self._is_at_recorded_version, restored)
        unrecorded = [name for name, holds in zip(restored, is_recorded, strict=True) if not holds]
        # Nothing changes before the whole recorded state has been checked.
        for name in unrecorded:
            self._check_lock()
            table = open_delta(self.root / name)
            self.restored[name] = (table.version(), restored[name])
            table.restore(restored[name], post_commithook_properties=KEEP_LOG)
            restored[name] = self._keep(name, open_delta(self.root / name)).version()
        if restored != self.versions or self.state < 0 or (self._lock is not None and self._lock.was_taken_over):
            now = dt.datetime.now(dt.UTC)
            step = "create" if self.state < 0 else "restore"
            self.record_state(
                [{"run_id": "-", "command": command, "step": step, "started": now, "ended": now, "status": "done"}], restored, "-"
            )
        self._sweep()

    def _is_at_recorded_version(self, name: str) -> bool:
        """Whether the latest version of a table is the recorded one, which this opens."""
        table = damage.open_log(self.root, name)
        if table.version() != self.versions.get(name, 0):
            self._delta(name)
            return False
        damage.check_files(self.root, name, table)
        self._keep(name, table)
        return True

    def _sweep(self) -> None:
        """Remove the files of killed runs. Those of runs with a failed check are kept for inspection."""
        outputs = run_output.unfinished(self.root)
        if not outputs:
            return
        # What was listed while this process held the lock is of runs that have ended.
        self._check_lock()
        runs = self.arrow(_JOURNAL, ["run_id", "status"])
        recorded = dict(zip(runs["run_id"].to_pylist(), runs["status"].to_pylist(), strict=True))
        failed = set(runs.filter(pc.equal(runs["status"], "failed"))["run_id"].to_pylist())
        for output in outputs:
            if output.run_id not in recorded:
                output.remove_unpublished({name: {file.path for file in self.files(name)} for name in TABLES})
            elif output.run_id not in failed:
                # The run was killed after its last commit.
                output.end()


def _dataset(path: StoragePath, table: DeltaTable) -> ds.Dataset:
    # Arrow's own file system. That of delta-rs calls Python from threads that may outlive the interpreter, which then aborts.
    return table.to_pyarrow_dataset(filesystem=file_system_of(path))


def recorded(root: StoragePath) -> RecordedState | None:
    """The state that was recorded last; None if none was. Raises LakeDamagedError when the lake has lost it."""
    in_file = state_file.state_in(root)  # before `runs` is read: another state may be published meanwhile
    last = _last_state(root) if table_log.exists(root / _JOURNAL) else None
    damage.check_last_state(root, last.state if last else None, in_file)
    return last


def _last_state(root: StoragePath) -> RecordedState | None:
    table = damage.open_table(root, _JOURNAL)
    with damage.diagnose_failures(root, lambda: {_JOURNAL: None}):
        runs = _dataset(root / _JOURNAL, table).to_table(columns=["state", "run_id", "ended", "versions"])
    runs = runs.filter(pc.is_valid(runs["state"]))
    if runs.num_rows == 0:
        return None
    last = runs.take([pc.index(runs["state"], pc.max(runs["state"])).as_py()]).to_pylist()[0]
    return RecordedState(last["state"], last["run_id"], last["ended"], dict(last["versions"]), table.version())


def _refuse_foreign(root: StoragePath) -> None:
    if root.is_file():
        raise LakeError(f"{root} is a file: name a folder for the lake with --lake")
    if root.is_dir():
        inside = {entry.name for entry in storage_paths.entries(root)}
        # Names of Millrace's own files and folders begin with an underscore. Nothing else is left of a lake without its tables.
        foreign = {name for name in inside if not name.startswith("_") or name == table_log.FOLDER}
        if foreign and not inside & {STAGING, *TABLES}:
            raise LakeError(f"{root} holds something else ({min(foreign)}): name an empty or a new folder with --lake")

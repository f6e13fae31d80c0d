"""The lake: its tables, the state that readers see, and the single way in which that state changes.

The state is a set of table versions that belong together, recorded in `runs`: the row written last by whoever changes
the lake. A run prepares everything in a staging folder; `publish` then moves each table from its old version to its new
one in one commit and records the new set. Whoever opens the lake to write first restores the recorded set, so a run
that was killed anywhere leaves nothing behind but files that nobody refers to.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from jobs import table_files
from jobs.errors import LakeBusyError, LakeError
from jobs.table_files import WrittenFile
from schemas.account import RUNS
from schemas.catalog import TABLES
from schemas.table import Table

if TYPE_CHECKING:
    pass

STAGING = "_staging"
LOCK = "_lock"
# The rows of a run's own account go with whatever it publishes.
_JOURNAL = RUNS.name


@dataclass(frozen=True)
class TableFile:
    """One Parquet file of a table as a state of the lake holds it."""

    path: str  # from the table's folder
    partition: Mapping[str, str]
    size: int  # bytes
    rows: int
    least: Mapping[str, Any] = field(default_factory=dict)
    most: Mapping[str, Any] = field(default_factory=dict)
    nulls: Mapping[str, int] = field(default_factory=dict)  # per column that is not nested


@dataclass
class Change:
    """What a run does to one table: files that come, and files that go.

    `is_rearrangement` says that the rows are the same as before, so that whoever follows the table's changes sees none.
    """

    added: list[WrittenFile] = field(default_factory=list)
    removed: list[TableFile] = field(default_factory=list)
    is_rearrangement: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Lake:
    """A folder of Delta tables, at the state that was recorded last."""

    def __init__(self, root: Path, versions: Mapping[str, int], state: int) -> None:
        self.root = root
        self.versions = dict(versions)
        self.state = state
        self._opened: dict[str, DeltaTable] = {}  # reading a log takes time: once is enough for a version

    # Opening

    @classmethod
    def open(cls, root: Path) -> Lake:
        """The lake as readers see it.

        Raises LakeError when there is no lake at this path.
        """
        if not (root / _JOURNAL / "_delta_log").is_dir():
            raise LakeError(f"no lake at {root}: name another with --lake, or make one with `millrace run`")
        recorded = _recorded(root)
        if recorded is None:
            raise LakeError(f"the lake at {root} has never been finished: call `millrace run` to make it whole")
        return cls(root, recorded[1], recorded[0])

    @classmethod
    @contextmanager
    def writing(cls, root: Path, command: str) -> Iterator[Lake]:
        """The lake, made where there is none, locked for one writer, and restored to its recorded state.

        Raises LakeError when the path holds something else, LakeBusyError when another run is writing.
        """
        _refuse_foreign(root)
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root, command):
            for table in TABLES.values():
                if not (root / table.name / "_delta_log" / f"{0:020}.json").exists():
                    _create(root, table)
            recorded = _recorded(root)
            lake = cls(root, *((recorded[1], recorded[0]) if recorded else ({}, -1)))
            lake._restore(command)
            yield lake

    # Reading

    def files(self, name: str) -> list[TableFile]:
        """The files of a table in this state, sorted by path."""
        table = self._delta(name)
        rows = pa.table(table.get_add_actions(flatten=False)).to_pylist()
        found = [
            TableFile(
                path=row["path"],
                partition={
                    key: table_files.NO_VALUE if value is None else str(value)
                    for key, value in (row.get("partition") or row.get("partition_values") or {}).items()
                },
                size=row["size_bytes"],
                rows=row["num_records"] or 0,
                least=row.get("min") or {},
                most=row.get("max") or {},
                nulls={column: nulls for column, nulls in (row.get("null_count") or {}).items() if nulls is not None},
            )
            for row in rows
        ]
        return sorted(found, key=lambda file: file.path)

    def arrow(self, name: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Rows of a table in this state, read without Spark."""
        return self.dataset(name).to_table(columns=list(columns) if columns else None, filter=where)

    def dataset(self, name: str) -> ds.Dataset:
        """A table in this state as an Arrow dataset, of which only what is asked for is read."""
        return _dataset(self.root / name, self._delta(name))

    def _delta(self, name: str) -> DeltaTable:
        # The journal tells which state counts: it is read as it stands.
        version = None if name == _JOURNAL else self.versions.get(name, 0)
        if version is not None and name in self._opened and self._opened[name].version() == version:
            return self._opened[name]
        return self._keep(name, DeltaTable(str(self.root / name), version=version))

    def _keep(self, name: str, table: DeltaTable) -> DeltaTable:
        if table.protocol().min_reader_version > 1:
            raise LakeError(
                f"the table {self.root / name} uses Delta features that Millrace does not write: undo the change of its properties"
            )
        if {field.name for field in table.schema().fields} != set(TABLES[name].names):
            raise LakeError(
                f"the table {self.root / name} has the columns of another version of Millrace:"
                " call `millrace rebuild` with a new folder as --lake"
            )
        self._opened[name] = table
        return table

    # Writing

    def staging(self, run_id: str) -> Path:
        """The folder in which a run prepares its tables."""
        return self.root / STAGING / run_id

    def publish(
        self, changes: Mapping[str, Change], journal: Sequence[Mapping[str, Any]], run_id: str, *, keep_staging: bool = False
    ) -> None:
        """Move each table to its new state, one commit per table, and record the set: the last commit is the commit point.

        `journal` holds the rows of `runs`; its last row gets the versions. Raises LakeError when someone else has
        changed a table since the lake was opened.
        """
        staging = self.staging(run_id)
        versions = dict(self.versions)
        for name, change in changes.items():
            for file in change.added:
                target = self.root / name / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (staging / name / file.path).rename(target)
        for name, change in changes.items():
            if change and name != _JOURNAL:
                versions[name] = _commit(self._latest(name), TABLES[name], change, self.versions.get(name, 0), run_id)
        self._record(journal, versions, run_id, changes.get(_JOURNAL, Change()))
        if not keep_staging:
            shutil.rmtree(staging, ignore_errors=True)

    def vacuum(self, days: int) -> dict[str, list[int]]:
        """Delete the files that no state of these last days refers to; gives their sizes in bytes, per table.

        The new versions, which hold the same rows, count once a set of them is recorded.
        """
        freed = {}
        for name in TABLES:
            table = self._latest(name)
            going = table.vacuum(days * 24, full=True)
            freed[name] = [path.stat().st_size for path in (self.root / name / file for file in going) if path.is_file()]
            if going:
                table.vacuum(days * 24, dry_run=False, full=True)
                if name != _JOURNAL:
                    self.versions[name] = table.version()
        return freed

    def trim_logs(self) -> None:
        """Put a checkpoint on every table's log, and delete what of the log is past its retention."""
        for name in TABLES:
            table = self._latest(name)
            table.create_checkpoint()
            table.cleanup_metadata()

    def _latest(self, name: str) -> DeltaTable:
        """A table as it stands, whoever has changed it."""
        table = self._opened.get(name)
        if table is None:
            return DeltaTable(str(self.root / name))
        table.update_incremental()
        return table

    def _record(
        self, journal: Sequence[Mapping[str, Any]], versions: Mapping[str, int], run_id: str, besides: Change | None = None
    ) -> None:
        """Add the run's rows to the journal, with the versions in the last one; `besides` is what else happens to the journal."""
        besides = besides or Change()
        rows = [dict(row) for row in journal]
        rows[-1].update(versions=sorted(versions.items()), state=self.state + 1)
        path = self.root / _JOURNAL
        written = table_files.write_partitioned(RUNS, pa.Table.from_pylist(rows, schema=RUNS.arrow.remove_metadata()), path)
        runs = DeltaTable(str(path))
        _commit(runs, RUNS, Change([*written, *besides.added], besides.removed), runs.version(), run_id)
        self.versions, self.state = dict(versions), self.state + 1

    def _restore(self, command: str) -> None:
        """Bring every table back to the recorded state, and record that state when there was none or it had to be restored."""
        restored = dict(self.versions)
        for name in TABLES:
            if name == _JOURNAL:
                continue
            wanted = self.versions.get(name, 0)
            table = DeltaTable(str(self.root / name))
            if table.version() != wanted:
                table.restore(wanted)
                table = DeltaTable(str(self.root / name))
            restored[name] = table.version()
            self._keep(name, table)
        if restored != self.versions or self.state < 0:
            now = dt.datetime.now(dt.UTC)
            step = "create" if self.state < 0 else "restore"
            self._record([{"run_id": "-", "command": command, "step": step, "started": now, "ended": now, "status": "done"}], restored, "-")
        self._sweep()

    def _sweep(self) -> None:
        """Remove what killed runs had staged; what a failed check left for inspection stays."""
        runs = self.arrow(_JOURNAL, ["run_id", "status"])
        kept = set(runs.filter(pc.equal(runs["status"], "failed"))["run_id"].to_pylist())
        if (self.root / STAGING).is_dir():
            for folder in (self.root / STAGING).iterdir():
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)


def _dataset(path: Path, table: DeltaTable) -> ds.Dataset:
    # A file system of Arrow's own: delta-rs's calls back into Python from threads that may outlive it, which aborts the process
    # at its end now and then.
    return table.to_pyarrow_dataset(filesystem=SubTreeFileSystem(str(path.resolve()), LocalFileSystem()))


def _create(root: Path, table: Table) -> None:
    configuration = {"delta.logRetentionDuration": "interval 30 days", "delta.deletedFileRetentionDuration": "interval 7 days"}
    DeltaTable.create(
        str(root / table.name),
        schema=table.arrow,
        mode="ignore",
        partition_by=list(table.partitioned_by),
        description=f"One row per {table.one_row_per}",
        configuration=configuration,
    )


def _commit(delta: DeltaTable, table: Table, change: Change, expected: int, run_id: str) -> int:
    """Add and remove these files in one commit; gives the new version."""
    if delta.version() != expected:
        raise LakeError(f"the table {table.name} was changed by someone else while this run worked: call the run again")
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(
            path=file.path,
            data_change=not change.is_rearrangement,
            deletion_timestamp=now,
            size=file.size,
            partition_values=_logged(file.partition),
        )
        for file in change.removed
    ]
    actions += [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values=_logged(file.partition_values),
            modification_time=now,
            data_change=not change.is_rearrangement,
            stats=file.stats,
        )
        for file in change.added
    ]
    properties = CommitProperties(custom_metadata={"run_id": run_id}, max_commit_retries=0)
    # Until the new versions are recorded, the old ones must be there to go back to, however old they are.
    hooks = PostCommitHookProperties(cleanup_expired_logs=False)
    delta.create_write_transaction(
        actions, "append", delta.schema(), list(table.partitioned_by), commit_properties=properties, post_commithook_properties=hooks
    )
    return expected + 1


def _logged(partition: Mapping[str, str]) -> dict[str, str | None]:
    """A partition's values as the Delta log has them."""
    return {name: None if value == table_files.NO_VALUE else value for name, value in partition.items()}


def _recorded(root: Path) -> tuple[int, dict[str, int]] | None:
    """The number and the table versions of the state that was recorded last."""
    path = root / _JOURNAL
    runs = _dataset(path, DeltaTable(str(path))).to_table(columns=["state", "versions"])
    runs = runs.filter(pc.is_valid(runs["state"]))
    if runs.num_rows == 0:
        return None
    last = runs.take([pc.index(runs["state"], pc.max(runs["state"])).as_py()]).to_pylist()[0]
    return last["state"], dict(last["versions"])


def _refuse_foreign(root: Path) -> None:
    if root.is_file():
        raise LakeError(f"{root} is a file: name a folder for the lake with --lake")
    if root.is_dir():
        inside = {entry.name for entry in os.scandir(root)}
        if inside - {LOCK} and not inside & {STAGING, *TABLES}:
            raise LakeError(f"{root} holds something else ({sorted(inside)[0]}): name an empty or a new folder with --lake")


@contextmanager
def _locked(root: Path, command: str) -> Iterator[None]:
    """Hold the lake for one writer. The lock is the kernel's, so it ends with its holder, however that one ends."""
    with (root / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another run"
            raise LakeBusyError(f"{holder} is writing the lake {root}: wait for it to end, then call again") from None
        lock.truncate(0)
        lock.write(f"{command} (process {os.getpid()}, since {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC)")
        lock.flush()
        yield

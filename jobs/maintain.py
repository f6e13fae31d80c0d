"""Keep the lake small and quick to read: retention, compaction with clustering, vacuum.

    millrace maintain --lake lake

What has outlived its retention is deleted first: rows, the bytes of refused records, landed files. Nights leave small files behind,
most of all where a late event opens sessions of an earlier date. The small files of a partition become one, its rows in the
table's order. Files whose bounds in the log hide rows are described again. This is one publication. Then the files go that only old
states of the lake refer to, the log of these states, pages, and the stage of failed runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from jobs import catalog, retention
from jobs.console.printing import print_line, print_table
from jobs.console.progress import Progress
from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.engine.spark_session import Engine
from jobs.journal import Journal
from jobs.lake import failed_run, log_retention, log_statistics, table_rows
from jobs.lake.run_output import STAGING, RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import from_descriptions, write_partitioned
from jobs.lake.tables import REPORTS, Lake
from jobs.quality.gate import PAGES
from jobs.rebuild import repair
from jobs.retention import DeletedFiles
from jobs.settings import Retention, Settings
from jobs.storage import storage_paths
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES
from schemas.events import REJECTED_EVENTS
from schemas.table import BOOLEAN, STRING, spark_schema
from transforms.times import shifted

# A row of the frame of rewrites: the files that become one, each a StoredFile as JSON.
_REWRITES = pa.schema([("stored_files", pa.list_(STRING)), ("without_raw", BOOLEAN)])


@dataclass(frozen=True)
class Rewrite:
    """Files of one partition that become one."""

    table: str
    files: Sequence[TableFile]
    without_raw: bool = False


@dataclass(frozen=True)
class Scope:
    """What a maintenance does."""

    compacts: bool = True
    keeps_history: bool = True  # files of younger states, and what failed runs have left; else all of that is deleted


@dataclass
class _Done:
    """What a maintenance has done."""

    before: Mapping[str, Sequence[TableFile]]
    expired: Mapping[str, Change] = field(default_factory=dict)
    described: int = 0
    freed: Mapping[str, Sequence[int]] = field(default_factory=dict)  # per table the sizes of deleted files, bytes
    landed: DeletedFiles = field(default_factory=DeletedFiles)
    swept: Mapping[str, int] = field(default_factory=dict)


def run(settings: Settings, today: dt.date | None = None, scope: Scope | None = None) -> int:
    """Maintain the lake and print what that changed; `today` is the date in UTC from which retention counts, by default the clock's.

    Raises LakeError when there is no lake, LakeBusyError when a run is writing it, UsageError when events would expire by a clock that
    is far ahead of the lake.
    """
    lake = Lake.open(settings.paths.lake)
    if today is None:
        today = dt.datetime.now(dt.UTC).date()
        retention.refuse_wrong_clock(lake, retention.first_dates(settings, today), today)
    scope = scope or Scope()
    progress = Progress()
    progress.begin("maintain")
    writing = Lake.writing(settings.paths.lake, "millrace maintain", lease_seconds=settings.storage.lease_seconds)
    with writing as lake, Engine(settings, progress) as engine:
        done = _Done({name: lake.files(name) for name in TABLES})
        _delete_and_compact(engine, lake, settings, today, scope, Journal("maintain", progress), done)
        _vacuum(lake, settings, scope, Journal("maintain", progress), done)
        catalog.update(engine, settings)
        after = {name: lake.files(name) for name in TABLES}
    _show(done, after)
    return 0


def _delete_and_compact(
    engine: Engine, lake: Lake, settings: Settings, today: dt.date, scope: Scope, journal: Journal, done: _Done
) -> None:
    """Delete expired rows, make small files large ones, and publish both."""
    output = lake.begin(journal.run_id)
    with journal.step("delete") as counts:
        first = retention.first_dates(settings, today)
        changes = dict(retention.expire(lake, settings.paths.landing, first, output))
        done.expired = dict(changes)
        counts.rows_in = sum(file.rows for change in changes.values() for file in change.removed)
        counts.wrote(changes.values())
    with journal.step("compact") as counts:
        removed = {name: {file.path for file in change.removed} for name, change in changes.items()}
        left = {name: [file for file in files if file.path not in removed.get(name, ())] for name, files in done.before.items()}
        rewrites = rewrites_due(left, settings, today, compacts=scope.compacts)
        compacted = compact(engine, lake, rewrites, journal.run_id)
        for name, change in compacted.items():
            known = changes.setdefault(name, Change(is_rearrangement=change.is_rearrangement))
            known.added += change.added
            known.removed += change.removed
        done.described = redescribe(lake, changes)
        counts.rows_in = sum(file.rows for change in compacted.values() for file in change.removed)
        counts.wrote(compacted.values())
    if changes:
        with journal.last_step("publish") as rows:
            lake.publish(changes, rows, journal.run_id)
    else:
        output.end()


def _vacuum(lake: Lake, settings: Settings, scope: Scope, journal: Journal, done: _Done) -> None:
    """Delete the files that no state needs any more, and record the state after that."""
    days = settings.maintain.history_days if scope.keeps_history else 0
    with journal.step("landing"):
        done.landed = retention.delete_landed(lake, settings.paths.landing)
    with journal.step("vacuum"):
        done.freed = lake.vacuum(days)
    with journal.step("sweep"):
        done.swept = _sweep(lake.root, settings.retention, keeps_failed_runs=scope.keeps_history)
    if any(done.freed.values()) or done.landed.files:
        with journal.last_step("publish") as rows:
            lake.record_state(rows, lake.versions, journal.run_id)
    lake.trim_logs(max(days, log_retention.LOG_DAYS) if scope.keeps_history else 0)


def redescribe(lake: Lake, changes: dict[str, Change]) -> int:
    """Add to the changes the files whose recorded bounds readers decode wrongly; gives how many these are."""
    described = 0
    for name in TABLES:
        removed = {file.path for file in changes.get(name, Change()).removed}
        wrong = [file for file in log_statistics.misdescribed(lake, name) if file.path not in removed]
        if wrong:
            changes.setdefault(name, Change(is_rearrangement=True)).redescribed += log_statistics.described_again(lake, name, wrong)
        described += len(wrong)
    return described


def rewrites_due(files: Mapping[str, Sequence[TableFile]], settings: Settings, today: dt.date, *, compacts: bool = True) -> list[Rewrite]:
    """What is to be rewritten: several small files of one partition, and refused records that still have bytes past their time."""
    rewrites = []
    raw_days = settings.retention.raw
    expired = "" if raw_days is None else shifted(today, -raw_days).isoformat()
    for name, all_files in files.items():
        partitions: dict[tuple[tuple[str, str], ...], list[TableFile]] = {}
        for file in all_files:
            partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
        for partition, inside in sorted(partitions.items()):
            past_retention = name == REJECTED_EVENTS.name and dict(partition)["landing_date"] < expired
            for group in _bins(inside, settings.maintain.target_bytes):
                # The journal has one file more after every publication, and so after this one.
                several = 1 + (name == RUNS.name)
                has_raw = past_retention and any(file.nulls.get("raw") != file.rows for file in group)
                if (compacts and len(group) > several) or has_raw:
                    rewrites.append(Rewrite(name, group, without_raw=past_retention))
    return rewrites


def compact(engine: Engine, lake: Lake, rewrites: Sequence[Rewrite], run_id: str) -> dict[str, Change]:
    """Stage the new files; gives the changes per table."""
    if not rewrites:
        return {}
    written = from_descriptions(_rewrite(engine, lake, rewrites, lake.begin(run_id)))
    changes: dict[str, Change] = {}
    for rewrite in rewrites:
        change = changes.setdefault(rewrite.table, Change(is_rearrangement=True))
        change.removed += rewrite.files
        change.is_rearrangement &= not rewrite.without_raw
    for file in written:
        changes[file.table].added.append(file)
    return changes


def _rewrite(engine: Engine, lake: Lake, rewrites: Sequence[Rewrite], output: RunOutput) -> pa.Table:
    stored = [[StoredFile.of_lake(lake.root, rewrite.table, file) for file in rewrite.files] for rewrite in rewrites]
    groups = [([file.as_json() for file in files], rewrite.without_raw) for files, rewrite in zip(stored, rewrites, strict=True)]
    tasks = min(len(groups), file_tasks.tasks_for([file for files in stored for file in files], to_write=True))
    write_files = engine.in_processes(_writer(output))
    spread = file_tasks.spread_groups(engine, groups, _REWRITES, tasks)
    return spread.mapInArrow(write_files, spark_schema(task_reports.REPORT)).toArrow()


def _writer(output: RunOutput) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that writes the files of each rewrite as one file, its rows in the table's order."""

    def write_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                files = [StoredFile.of_json(text) for text in row["stored_files"]]
                contract = TABLES[files[0].table]
                rows = pa.concat_tables([table_rows.read_whole(contract, file.location, file.partition) for file in files])
                if row["without_raw"]:
                    rows = rows.set_column(rows.schema.get_field_index("raw"), "raw", pa.nulls(rows.num_rows, pa.binary()))
                yield from task_reports.report(write_partitioned(contract, rows, output))

    return write_files


def _bins(files: Sequence[TableFile], target: int) -> list[list[TableFile]]:
    """The files that become one: small ones up to the target's size, large ones alone.

    First fit, the largest first: no two of the results would fit into one, so nothing is left for another call to do.
    """
    bins: list[list[TableFile]] = []
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        is_small = file.size < target / 2
        fitting = (one for one in bins if is_small and one[0].size < target / 2 and sum(other.size for other in one) + file.size <= target)
        bin_with_room = next(fitting, None)
        if bin_with_room is None:
            bins.append([file])
        else:
            bin_with_room.append(file)
    return bins


def _sweep(root: StoragePath, rules: Retention, *, keeps_failed_runs: bool) -> dict[str, int]:
    """Delete files outside the tables that are older than their retention; gives the number of deleted entries per folder."""
    failed_runs = rules.failed_runs if keeps_failed_runs else 0
    now = dt.datetime.now(dt.UTC).timestamp()
    swept = {}
    for folder, days in (
        (STAGING, failed_runs),
        (repair.MOVED, failed_runs),
        (PAGES, rules.pages),
        (REPORTS, rules.pages),
    ):
        if days is None:
            continue
        old = [entry for entry in storage_paths.entries(root / folder) if storage_paths.modified_at(entry) < now - days * 86_400]
        for entry in old:
            if folder == STAGING:
                failed_run.remove(root, entry.name)
            else:
                storage_paths.remove_tree(entry.path)
        swept[folder] = len(old)
    return swept


def _show(done: _Done, after: Mapping[str, Sequence[TableFile]]) -> None:
    rows = []
    for name, before in done.before.items():
        expired, freed = done.expired.get(name, Change()), done.freed[name]
        deleted = sum(file.rows for file in expired.removed) - sum(file.rows for file in expired.added)
        sizes = [len(before), len(after[name]), sum(file.size for file in before), sum(file.size for file in after[name])]
        rows.append([name, sum(file.rows for file in after[name]), deleted, *sizes, len(freed), sum(freed)])
    names = ["table", "rows", "rows deleted", "files before", "files", "bytes before", "bytes", "files removed", "bytes freed"]
    print_table("The lake", names, rows, total=True)
    if done.landed.files:
        print_line(f"landing zone: {done.landed.files:,} files of {done.landed.bytes:,} bytes deleted")
    for folder, entries in done.swept.items():
        if entries:
            print_line(f"{folder}: {entries} old {'entry' if entries == 1 else 'entries'} deleted")
    if done.described:
        files = "file has" if done.described == 1 else "files have"
        print_line(f"{done.described} {files} new bounds in the log: the old ones hid rows, or had values of personal columns")

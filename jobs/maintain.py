"""Keep the lake small and quick to read: compaction with clustering, retention, vacuum.

    millrace maintain --lake lake

Nights leave small files behind, most of all where a late event opens sessions of an earlier date. The small files of a
partition become one, its rows in the table's order. Files whose bounds in the log hide rows are described again. What has
outlived its retention is deleted: the bytes of refused records, the files that only old states of the lake refer to, the log of
these states, pages, and the stage of failed runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from jobs import catalog
from jobs.console.printing import print_line, print_table
from jobs.console.progress import Progress
from jobs.engine import file_tasks, task_reports
from jobs.engine.file_tasks import StoredFile
from jobs.engine.processes import Batches
from jobs.engine.spark_session import Engine
from jobs.journal import Journal
from jobs.lake import failed_run, log_statistics, table_rows
from jobs.lake.run_output import STAGING, RunOutput
from jobs.lake.table_changes import Change, TableFile
from jobs.lake.table_files import from_descriptions, write_partitioned
from jobs.lake.tables import REPORTS, Lake
from jobs.quality.gate import PAGES
from jobs.rebuild import repair
from jobs.settings import Maintain, Settings
from jobs.storage import storage_paths
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES
from schemas.events import REJECTED_EVENTS
from schemas.table import BOOLEAN, STRING, spark_schema

# A row of the frame of rewrites: the files that become one, each a StoredFile as JSON.
_REWRITES = pa.schema([("stored_files", pa.list_(STRING)), ("without_raw", BOOLEAN)])


@dataclass(frozen=True)
class Rewrite:
    """Files of one partition that become one."""

    table: str
    files: Sequence[TableFile]
    without_raw: bool = False


def run(settings: Settings, today: dt.date | None = None) -> int:
    """Maintain the lake and print what that changed; `today` is the date in UTC from which retention counts.

    Raises LakeError when there is no lake, LakeBusyError when a run is writing it.
    """
    Lake.open(settings.paths.lake)
    progress = Progress()
    progress.begin("maintain")
    rules = settings.maintain
    journal = Journal("maintain", progress)
    writing = Lake.writing(settings.paths.lake, "millrace maintain", lease_seconds=settings.storage.lease_seconds)
    with writing as lake, Engine(settings, progress) as engine:
        before = {name: lake.files(name) for name in TABLES}
        with journal.step("vacuum"):
            freed = lake.vacuum(rules.history_days)
        with journal.step("compact") as counts:
            changes = compact(engine, lake, rewrites_due(before, rules, today or dt.datetime.now(dt.UTC).date()), journal.run_id)
            described = redescribe(lake, changes)
            counts.rows_in = sum(file.rows for change in changes.values() for file in change.removed)
            counts.wrote(changes.values())
        with journal.step("sweep"):
            swept = _sweep(lake.root, rules)
        if changes or any(freed.values()):
            with journal.last_step("publish") as rows:
                lake.publish(changes, rows, journal.run_id)
        lake.trim_logs(rules.history_days)
        catalog.update(engine, settings)
        after = {name: lake.files(name) for name in TABLES}
    _show(before, after, freed, swept)
    if described:
        files = "file has" if described == 1 else "files have"
        print_line(f"{described} {files} new bounds in the log: the old ones hid rows, or had values of personal columns")
    return 0


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


def rewrites_due(files: Mapping[str, Sequence[TableFile]], rules: Maintain, today: dt.date) -> list[Rewrite]:
    """What is to be rewritten: several small files of one partition, and refused records that still have bytes past their time."""
    rewrites = []
    expired = (today - dt.timedelta(days=rules.raw_days)).isoformat()
    for name, all_files in files.items():
        partitions: dict[tuple[tuple[str, str], ...], list[TableFile]] = {}
        for file in all_files:
            partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
        for partition, inside in sorted(partitions.items()):
            past_retention = name == REJECTED_EVENTS.name and dict(partition)["landing_date"] < expired
            for group in _bins(inside, rules.target_bytes):
                # The journal has one file more after every publication, and so after this one.
                several = 1 + (name == RUNS.name)
                has_raw = past_retention and any(file.nulls.get("raw") != file.rows for file in group)
                if len(group) > several or has_raw:
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


def _sweep(root: StoragePath, rules: Maintain) -> dict[str, int]:
    """Delete files outside the tables that are older than their retention; gives the number of deleted entries per folder."""
    now = dt.datetime.now(dt.UTC).timestamp()
    swept = {}
    for folder, days in (
        (STAGING, rules.failed_runs_days),
        (repair.MOVED, rules.failed_runs_days),
        (PAGES, rules.pages_days),
        (REPORTS, rules.pages_days),
    ):
        old = [entry for entry in storage_paths.entries(root / folder) if storage_paths.modified_at(entry) < now - days * 86_400]
        for entry in old:
            if folder == STAGING:
                failed_run.remove(root, entry.name)
            else:
                storage_paths.remove_tree(entry.path)
        swept[folder] = len(old)
    return swept


def _show(
    before: Mapping[str, Sequence[TableFile]],
    after: Mapping[str, Sequence[TableFile]],
    freed: Mapping[str, Sequence[int]],
    swept: Mapping[str, int],
) -> None:
    rows = [
        [
            name,
            sum(file.rows for file in after[name]),
            len(before[name]),
            len(after[name]),
            sum(file.size for file in before[name]),
            sum(file.size for file in after[name]),
            len(freed[name]),
            sum(freed[name]),
        ]
        for name in TABLES
    ]
    names = ["table", "rows", "files before", "files", "bytes before", "bytes", "files deleted", "bytes deleted"]
    print_table("The lake", names, rows, total=True)
    for folder, entries in swept.items():
        if entries:
            print_line(f"{folder}: {entries} old {'entry' if entries == 1 else 'entries'} deleted")

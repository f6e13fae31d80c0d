"""Keep the lake small and quick to read: compaction with clustering, retention, vacuum.

    millrace maintain --lake lake

Nights leave small files behind, most of all where a late event opens sessions of an earlier date. The small files of a
partition become one, its rows in the table's order. What has outlived its retention goes: the bytes of refused records,
the files that only old states of the lake refer to, the log of these states, pages, and the stage of failed runs.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs import report, workers
from jobs.journal import Journal
from jobs.lake import STAGING, Change, Lake, TableFile
from jobs.printing import table, tell
from jobs.progress import Progress
from jobs.quality_gate import PAGES
from jobs.session import Engine
from jobs.settings import Maintain, Settings
from jobs.table_files import from_descriptions, write_partitioned
from schemas.account import RUNS
from schemas.catalog import TABLES
from schemas.events import REJECTED_EVENTS

if TYPE_CHECKING:
    from jobs.session import Engine


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
    with Lake.writing(settings.paths.lake, "millrace maintain") as lake, Engine(settings, progress) as engine:
        before = {name: lake.files(name) for name in TABLES}
        with journal.step("vacuum"):
            freed = lake.vacuum(rules.history_days)
        with journal.step("compact"):
            changes = compact(engine, lake, due(before, rules, today or dt.datetime.now(dt.UTC).date()), journal.run_id)
        with journal.step("sweep"):
            swept = _sweep(lake.root, rules)
        if changes or any(freed.values()):
            with journal.last_step("publish") as rows:
                lake.publish(changes, rows, journal.run_id)
        lake.trim_logs()
        after = {name: lake.files(name) for name in TABLES}
    _show(before, after, freed, swept)
    return 0


def due(files: Mapping[str, Sequence[TableFile]], rules: Maintain, today: dt.date) -> list[Rewrite]:
    """What is to be rewritten: several small files of one partition, and refused records that still have bytes past their time."""
    found = []
    expired = (today - dt.timedelta(days=rules.raw_days)).isoformat()
    for name, all_files in files.items():
        partitions: dict[tuple[tuple[str, str], ...], list[TableFile]] = {}
        for file in all_files:
            partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
        for partition, inside in sorted(partitions.items()):
            bare = name == REJECTED_EVENTS.name and dict(partition)["landing_date"] < expired
            for together in _bins(inside, rules.target_bytes):
                # The journal has one file more after every publication, and so after this one.
                several = 1 + (name == RUNS.name)
                still_raw = bare and any(file.nulls.get("raw") != file.rows for file in together)
                if len(together) > several or still_raw:
                    found.append(Rewrite(name, together, without_raw=bare))
    return found


def compact(engine: Engine, lake: Lake, rewrites: Sequence[Rewrite], run_id: str) -> dict[str, Change]:
    """Stage the new files; gives the changes per table."""
    if not rewrites:
        return {}
    written = from_descriptions(_rewrite(engine, lake, rewrites, lake.staging(run_id)))
    changes: dict[str, Change] = {}
    for rewrite in rewrites:
        change = changes.setdefault(rewrite.table, Change(is_rearrangement=True))
        change.removed += rewrite.files
        change.is_rearrangement &= not rewrite.without_raw
    for file in written:
        changes[file.table].added.append(file)
    return changes


def _rewrite(engine: Engine, lake: Lake, rewrites: Sequence[Rewrite], folder: Path) -> pa.Table:
    root = lake.root

    def write(number: int) -> Iterator[pa.RecordBatch]:
        rewrite = rewrites[number]
        contract = TABLES[rewrite.table]
        rows = pa.concat_tables([workers.read_whole(contract, root / rewrite.table, file) for file in rewrite.files])
        if rewrite.without_raw:
            rows = rows.set_column(rows.schema.get_field_index("raw"), "raw", pa.nulls(rows.num_rows, pa.binary()))
        yield from workers.report(write_partitioned(contract, rows, folder / rewrite.table))

    return workers.run(engine, len(rewrites), write)


def _bins(files: Sequence[TableFile], target: int) -> list[list[TableFile]]:
    """The files that belong together: small ones up to the target's size, large ones alone.

    First fit, the largest first: no two of the results would fit together, so nothing is left for another call to do.
    """
    bins: list[list[TableFile]] = []
    for file in sorted(files, key=lambda file: (-file.size, file.path)):
        is_small = file.size < target / 2
        fitting = (one for one in bins if is_small and one[0].size < target / 2 and sum(other.size for other in one) + file.size <= target)
        home = next(fitting, None)
        if home is None:
            bins.append([file])
        else:
            home.append(file)
    return bins


def _sweep(root: Path, rules: Maintain) -> dict[str, int]:
    """Delete what has outlived its retention beside the tables; gives how many entries of each folder went."""
    now = dt.datetime.now(dt.UTC).timestamp()
    swept = {}
    for folder, days in ((STAGING, rules.failed_runs_days), (PAGES, rules.pages_days), (report.FOLDER, rules.pages_days)):
        old = [entry for entry in (root / folder).glob("*") if entry.stat().st_mtime < now - days * 86_400]
        for entry in old:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
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
    table("The lake", names, rows, total=True)
    for folder, entries in swept.items():
        if entries:
            tell(f"{folder}: {entries} old {'entry' if entries == 1 else 'entries'} deleted")

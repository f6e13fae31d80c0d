"""The lake's states: published as a whole, restored after a death, written by one at a time."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from jobs.errors import LakeBusyError, LakeError
from jobs.lake import table_changes, table_rows
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from schemas.bookkeeping import FILES, RUNS
from schemas.catalog import TABLES

NIGHT = dt.date(2026, 11, 20)
NOW = dt.datetime(2026, 11, 21, 2, 30, tzinfo=dt.UTC)


def file_row(name: str, records: int = 1) -> dict[str, Any]:
    counts = {"records": records, "accepted": records, "duplicates": 0, "rejected": 0, "erased": 0, "blank": 0, "empty": 0}
    return {"source": "sunbird", "landing_date": NIGHT, "file": name, "ruleset": "r", "status": "done", "run_id": "run", **counts}


def staged(lake: Lake, run_id: str, *names: str) -> Change:
    rows = pa.Table.from_pylist([file_row(name) for name in names], schema=FILES.arrow.remove_metadata())
    return Change(added=write_partitioned(FILES, rows, lake.begin(run_id)))


def journal(run_id: str) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "command": "run", "step": "publish", "night": NIGHT, "started": NOW, "ended": NOW, "status": "done"}]


def publish(root: Path, run_id: str, *names: str) -> None:
    with Lake.writing(root, "test") as lake:
        lake.publish({FILES.name: staged(lake, run_id, *names)}, journal(run_id), run_id)


def names_of(root: Path) -> list[str]:
    return sorted(Lake.open(root).arrow(FILES.name, ["file"])["file"].to_pylist())


def test_a_new_lake_has_all_tables_empty_with_their_comments(tmp_path: Path) -> None:
    with Lake.writing(tmp_path / "lake", "test"):
        pass
    for name, table in TABLES.items():
        delta = DeltaTable(str(tmp_path / "lake" / name))
        assert [field.name for field in delta.schema().fields] == table.names
        assert all(field.metadata["comment"] for field in delta.schema().fields)
        assert name == RUNS.name or delta.to_pyarrow_table().num_rows == 0


def test_what_is_published_is_what_readers_see(tmp_path: Path) -> None:
    publish(tmp_path, "first", "a", "b")
    publish(tmp_path, "second", "c")
    assert names_of(tmp_path) == ["a", "b", "c"]


def test_files_that_go_and_files_that_come_are_one_commit(tmp_path: Path) -> None:
    publish(tmp_path, "first", "a", "b")
    before = DeltaTable(str(tmp_path / FILES.name)).version()
    with Lake.writing(tmp_path, "test") as lake:
        change = staged(lake, "second", "c")
        change.removed = lake.files(FILES.name)
        lake.publish({FILES.name: change}, journal("second"), "second")
    assert names_of(tmp_path) == ["c"]
    assert DeltaTable(str(tmp_path / FILES.name)).version() == before + 1


def test_the_working_folder_is_removed_after_publication(tmp_path: Path) -> None:
    publish(tmp_path, "first", "a")
    assert list((tmp_path / "_staging").iterdir()) == []


def die_after(root: str, commits: int) -> None:
    """Publish, and be killed after so many of the commits."""
    done = 0
    commit = table_changes.commit

    def commit_and_die(*arguments: Any) -> int:
        nonlocal done
        if done == commits:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return commit(*arguments)

    table_changes.commit = commit_and_die
    with Lake.writing(Path(root), "test") as lake:
        tables = {name: staged_all(lake, name) for name in ("files", "quality_results")}
        lake.publish(tables, journal("killed"), "killed")


def staged_all(lake: Lake, name: str) -> Change:
    rows = (
        [file_row("lost")]
        if name == FILES.name
        else [{"run_id": "killed", "table": "t", "expectation": "e", "severity": "warning", "passed": True}]
    )
    table = TABLES[name]
    return Change(added=write_partitioned(table, pa.Table.from_pylist(rows, schema=table.arrow.remove_metadata()), lake.begin("killed")))


@pytest.mark.parametrize("commits", [0, 1, 2])
def test_a_run_killed_between_its_commits_leaves_the_old_state_and_the_next_one_restores_it(tmp_path: Path, commits: int) -> None:
    publish(tmp_path, "first", "a")
    process = multiprocessing.get_context("spawn").Process(target=die_after, args=(str(tmp_path), commits))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert names_of(tmp_path) == ["a"]
    publish(tmp_path, "second", "b")
    assert names_of(tmp_path) == ["a", "b"]
    # Those who read the table as it stands, and not the recorded state, see the same.
    assert sorted(DeltaTable(str(tmp_path / FILES.name)).to_pyarrow_table()["file"].to_pylist()) == ["a", "b"]
    assert DeltaTable(str(tmp_path / "quality_results")).to_pyarrow_table().num_rows == 0
    assert list((tmp_path / "_staging").iterdir()) == []


def test_a_second_writer_learns_who_has_the_lock(tmp_path: Path) -> None:
    with Lake.writing(tmp_path, "millrace run"):
        second = f"from jobs.lake.tables import Lake; from pathlib import Path\nwith Lake.writing(Path({str(tmp_path)!r}), 'x'): pass"
        output = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False).stderr
        with (
            pytest.raises(LakeBusyError, match=rf"millrace run \(process {os.getpid()}, since .* is writing the lake"),
            Lake.writing(tmp_path, "y"),
        ):
            pass
    assert "LakeBusyError: millrace run" in output


def test_the_lock_of_a_dead_run_stops_nobody(tmp_path: Path) -> None:
    holder = f"""
import os
from pathlib import Path
from jobs.lake.tables import Lake
with Lake.writing(Path({str(tmp_path)!r}), "x"):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", holder], check=False).returncode == -9
    publish(tmp_path, "first", "a")
    assert names_of(tmp_path) == ["a"]


def test_a_table_that_someone_else_changed_stops_the_publication(tmp_path: Path) -> None:
    publish(tmp_path, "first", "a")
    with Lake.writing(tmp_path, "test") as lake:
        DeltaTable(str(tmp_path / FILES.name)).delete("file = 'a'")
        with pytest.raises(LakeError, match="changed by someone else"):
            lake.publish({FILES.name: staged(lake, "second", "b")}, journal("second"), "second")
    assert names_of(tmp_path) == ["a"]


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LakeError, match=r"holds something else \(thesis.tex\)"), Lake.writing(tmp_path, "test"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_lake(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()
    with pytest.raises(LakeError, match="is a file"), Lake.writing(tmp_path / "lake", "test"):
        pass


def test_reading_where_there_is_no_lake_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no lake at"):
        Lake.open(tmp_path)


def test_statistics_never_hide_a_row(tmp_path: Path) -> None:
    long = "x" * 40
    publish(tmp_path, "first", "a", long, "\N{DUCK}" * 40)
    lake = Lake.open(tmp_path)
    for name in ("a", long, "\N{DUCK}" * 40):
        assert lake.arrow(FILES.name, ["file"], pc.field("file") == name)["file"].to_pylist() == [name]
    assert lake.arrow(FILES.name, ["file"], pc.field("error").is_null()).num_rows == 3
    assert lake.arrow(RUNS.name, ["step"], pc.field("step") == "publish").num_rows == 1


def test_a_row_without_a_partition_date_comes_back_and_can_be_removed(tmp_path: Path) -> None:
    table = TABLES["workflow_chains"]
    row = {
        "chain_id": "c",
        "key": '["d"]',
        "key_hash": 1,
        "first_ets": 10**17,
        "last_ets": 10**17,
        "landing_dates": [NIGHT],
        "summaries": [],
    }
    rows = pa.Table.from_pylist([row | {"run_id": "one"}], schema=table.arrow.remove_metadata())
    with Lake.writing(tmp_path, "test") as lake:
        lake.publish({table.name: Change(added=write_partitioned(table, rows, lake.begin("one")))}, journal("one"), "one")
    held = Lake.open(tmp_path).arrow(table.name).to_pylist()
    assert [(one["chain_date"], one["first_ets"]) for one in held] == [(None, 10**17)]
    with Lake.writing(tmp_path, "test") as lake:
        (file,) = lake.files(table.name)
        assert table_rows.read_whole(table, tmp_path / table.name / file.path, file.partition).to_pylist() == held
        lake.publish({table.name: Change(removed=[file])}, journal("two"), "two")
    assert Lake.open(tmp_path).arrow(table.name).num_rows == 0


def test_a_lake_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with Lake.writing(tmp_path, "test"):
        pass
    shutil.rmtree(tmp_path / FILES.name)
    columns = FILES.arrow.remove(FILES.names.index("sha256"))
    DeltaTable.create(str(tmp_path / FILES.name), schema=columns, partition_by=list(FILES.partitioned_by))
    with pytest.raises(LakeError, match="another version of Millrace: call `millrace rebuild`"), Lake.writing(tmp_path, "test"):
        pass

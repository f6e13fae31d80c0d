"""The recorded state for readers without Millrace: the file that names it, and the way back to it after a kill."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandResult, call_millrace
from deltalake import DeltaTable
from killed_publication import kill_publication
from test_maintain import age
from tiny_lake import NIGHT, RUN, frame, publish

from jobs.lake import state_file
from jobs.lake.lock import LOCK
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake, recorded
from schemas.catalog import TABLES

pytestmark = pytest.mark.usefixtures("without_arguments")

DAY_SECONDS = 86_400
Call = Callable[..., CommandResult]
MOVED = ["sessions", "files"]  # by the publication that is killed, in this order


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of one night with a row in every table."""
    root = tmp_path_factory.mktemp("published") / "lake"
    counts = dict.fromkeys(["records", "accepted", "duplicates", "rejected", "erased", "blank", "empty"], 0)
    filled: dict[str, dict[str, Any]] = {"files": counts, "quality_results": {"date": NIGHT}}
    publish(root, {name: [filled.get(name, {})] for name in TABLES if name != "runs"})
    return root


@pytest.fixture(scope="module")
def killed(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int, str], Path]:
    """Gives a copy of the lake whose next publication was killed at a point; each is made once."""
    made: dict[tuple[str, int, str], Path] = {}

    def at(where: str, number: int, moment: str) -> Path:
        if (where, number, moment) not in made:
            root = tmp_path_factory.mktemp("killed") / "lake"
            shutil.copytree(published, root)
            output = Lake.open(root).begin("next")
            changes = {
                name: Change(write_partitioned(TABLES[name], frame(TABLES[name], [new_row(name)], "next"), output)) for name in MOVED
            }
            kill_publication(root, changes, "next", (where, number, moment))
            made[where, number, moment] = root
        return made[where, number, moment]

    return at


@pytest.fixture
def half_published(killed: Callable[[str, int, str], Path], tmp_path: Path) -> Path:
    """A lake of which one of two tables has moved, and that is nobody else's."""
    return Path(shutil.copytree(killed("commit", 1, "after"), tmp_path / "lake"))


@pytest.fixture
def call_with_lake(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Calls the command line on a lake, with an empty landing zone."""
    (tmp_path / "landing").mkdir()

    def call(lake: Path, *arguments: object) -> CommandResult:
        return call_millrace(capfd, *arguments, "--lake", lake, "--landing", tmp_path / "landing")

    return call


def new_row(name: str) -> dict[str, Any]:
    return {"sessions": {"session_id": "5f2c"}, "files": {"file": "new.json"}}[name]


def versions(root: Path) -> dict[str, int]:
    read: dict[str, int] = json.loads((root / "_state.json").read_text())["versions"]
    return read


def rows(root: Path, at: dict[str, int]) -> dict[str, int]:
    """How many rows each table has at these versions."""
    return {name: DeltaTable(str(root / name), version=version).count() for name, version in at.items()}


def test_the_file_names_the_state_that_was_published(published: Path) -> None:
    (last,) = [row for row in Lake.open(published).arrow("runs").to_pylist() if row["state"] == 1]
    held = json.loads((published / "_state.json").read_text())
    assert (held["state"], held["run_id"], held["ended"]) == (1, RUN, last["ended"].isoformat())
    assert {name: version for name, version in held["versions"].items() if name != "runs"} == dict(last["versions"])
    assert rows(published, held["versions"]) == dict.fromkeys(TABLES, 1) | {"runs": 9}
    assert not (published / state_file.PARTIAL).exists()


def test_after_a_killed_publication_the_file_opens_the_old_rows_and_the_tables_as_they_stand_do_not(half_published: Path) -> None:
    assert rows(half_published, versions(half_published)) == dict.fromkeys(TABLES, 1) | {"runs": 9}
    assert [DeltaTable(str(half_published / name)).count() for name in MOVED] == [2, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("sql", "SELECT count(*) AS sessions FROM sessions"),
        ("status",),
        ("quality",),
        ("session", "no-such-id"),
        ("report", "--date", NIGHT),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_reads_shows_the_recorded_state_and_names_the_remedy(
    call_with_lake: Call, published: Path, half_published: Path, arguments: Any
) -> None:
    code, out, err = call_with_lake(half_published, *arguments)
    warning, *others = err.splitlines()
    assert warning.startswith("warning: a killed run has left tables half-published: sessions. ")
    assert f"millrace restore --lake {half_published}" in warning
    # All else is what the lake says that nobody has harmed.
    expected = tuple(str(part).replace(str(published), str(half_published)) for part in call_with_lake(published, *arguments))
    assert (str(code), out, "".join(f"{line}\n" for line in others)) == expected


def test_a_lake_whose_tables_stand_as_recorded_is_read_without_a_word(call_with_lake: Call, published: Path) -> None:
    assert call_with_lake(published, "sql", "SELECT 1 AS one")[::2] == (0, "")


def test_a_publication_that_is_under_way_is_no_fault(call_with_lake: Call, half_published: Path) -> None:
    with (half_published / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, out, err = call_with_lake(half_published, "state")
    assert (code, err) == (0, "")
    assert "a run is writing this lake" in out


def test_state_shows_each_table_with_its_version_and_where_it_stands(call_with_lake: Call, half_published: Path) -> None:
    code, out, err = call_with_lake(half_published, "state", "--format", "json")
    assert (code, err.count("half-published: sessions")) == (0, 1)
    held = json.loads(out)
    assert held["versions"] == versions(half_published)
    assert held["tables"]["sessions"] == {"version": 1, "stands_at": 2, "status": "ahead"}
    assert {name for name, table in held["tables"].items() if table["status"] == "as recorded"} == set(TABLES) - {"sessions"}
    assert (held["state"], held["is_being_written"], held["state_file"]) == (1, False, "current")
    lines = [line.split() for line in call_with_lake(half_published, "state")[1].splitlines()]
    assert ["sessions", "1", "2", "ahead"] in lines
    assert ["files", "1", "1", "as", "recorded"] in lines


def test_restore_brings_the_tables_back_and_says_so_once(call_with_lake: Call, half_published: Path) -> None:
    code, out, _ = call_with_lake(half_published, "restore")
    assert code == 0
    assert out.splitlines()[0] == "sessions: stood at version 2, brought back to version 1 as version 3"
    assert [DeltaTable(str(half_published / name)).count() for name in MOVED] == [1, 1]
    assert versions(half_published)["sessions"] == 3
    assert list((half_published / "_staging").iterdir()) == []
    code, out, err = call_with_lake(half_published, "restore")
    assert (code, out, err) == (0, "nothing to restore: every table stands as recorded, in state 2 of the lake\n", "")
    assert call_with_lake(half_published, "state")[2] == ""


def test_restore_waits_for_nobody(call_with_lake: Call, half_published: Path) -> None:
    with (half_published / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, out, err = call_with_lake(half_published, "restore")
    assert (code, out, err.count("\n")) == (75, "", 1)
    assert "is writing the lake" in err


def test_restore_where_there_is_no_lake_names_the_remedy(call_with_lake: Call, tmp_path: Path) -> None:
    code, _, err = call_with_lake(tmp_path / "none", "restore")
    assert (code, err.count("\n")) == (2, 1)
    assert "no lake at" in err


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_is_killed_between_its_commit_point_and_the_file_counts(
    call_with_lake: Call, killed: Callable[[str, int, str], Path], tmp_path: Path, moment: str
) -> None:
    root = Path(shutil.copytree(killed("state", 1, moment), tmp_path / "lake"))
    code, out, err = call_with_lake(root, "sql", "--format", "csv", "SELECT count(*) AS sessions FROM sessions")
    assert (code, out, err) == (0, "sessions\n2\n", "")
    # An older state is a state, too.
    assert rows(root, versions(root))["sessions"] == {"before": 1, "after": 2}[moment]
    with Lake.writing(root, "a test"):
        pass
    assert versions(root)["sessions"] == 2


@pytest.mark.parametrize("content", [None, b"", b'{"state": 1', b'{"state": 0}', b"[]", b"\xff"], ids=str)
def test_a_file_that_is_missing_damaged_or_of_another_state_is_written_again(
    call_with_lake: Call, published: Path, tmp_path: Path, content: bytes | None
) -> None:
    root = Path(shutil.copytree(published, tmp_path / "lake"))
    whole = (root / "_state.json").read_bytes()
    (root / "_state.json").unlink()
    if content is not None:
        (root / "_state.json").write_bytes(content)
    code, out, _ = call_with_lake(root, "state")
    assert (code, out.count("the next run or `millrace restore` writes it again")) == (0, 1)
    code, out, _ = call_with_lake(root, "restore")
    assert (code, out.count("written again")) == (0, 1)
    assert (root / "_state.json").read_bytes() == whole


def test_a_file_that_cannot_be_written_is_a_warning_and_the_run_counts(
    published: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(published, tmp_path / "lake"))
    before = versions(root)
    (root / state_file.PARTIAL).mkdir()
    publish(root, {"files": [{"file": "new.json"}]}, run_id="next")
    printed = capfd.readouterr().err
    assert (printed.count("\n"), printed.count("_state.json still names an older state (Is a directory)")) == (1, 1)
    assert Lake.open(root).arrow("files").num_rows == 2
    assert versions(root) == before


def test_a_folder_with_nothing_but_the_file_can_become_a_lake(tmp_path: Path) -> None:
    (tmp_path / "_state.json").touch()
    publish(tmp_path, {})
    state = recorded(tmp_path)
    assert state is not None
    assert versions(tmp_path) == state.all_versions


def test_a_reader_that_looks_for_a_writer_stops_none(published: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(published, tmp_path / "lake"))
    with (root / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        release = threading.Timer(0.1, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        with Lake.writing(root, "a test"):
            pass
        release.join()


def test_every_version_that_was_current_in_the_last_thirty_days_stays_readable(tmp_path: Path) -> None:
    publish(tmp_path, {"files": [{"file": "a"}]})
    publish(tmp_path, {"files": [{"file": "b"}]})
    yesterday = versions(tmp_path)
    age_logs(tmp_path, 40)
    publish(tmp_path, {"files": [{"file": "c"}]})
    trim(tmp_path)
    # The version of yesterday is old, but the state that names it is not.
    assert rows(tmp_path, yesterday)["files"] == 2
    age_logs(tmp_path, 40)
    publish(tmp_path, {"files": [{"file": "d"}]})
    trim(tmp_path)
    assert rows(tmp_path, versions(tmp_path))["files"] == 4
    assert [version for version in range(5) if is_readable(tmp_path / "files", version)] == [3, 4]


@pytest.mark.parametrize(("days", "kept"), [(7, False), (30, True), (60, True)])
def test_a_longer_history_keeps_the_files_that_the_log_has_forgotten(tmp_path: Path, days: int, kept: bool) -> None:
    publish(tmp_path, {"files": [{"file": "a"}]})
    old = versions(tmp_path)
    age(tmp_path, 40)
    with Lake.writing(tmp_path, "a test") as lake:
        row = {"run_id": "next", "command": "run", "step": "publish", "started": dt.datetime.now(dt.UTC), "status": "done"}
        lake.publish({"files": Change(removed=lake.files("files"))}, [row], "next")
    age(tmp_path, 10)
    trim(tmp_path, days)
    with Lake.writing(tmp_path, "a test") as lake:
        freed = lake.vacuum(days)
    assert any(freed.values()) is not kept
    if kept:
        assert DeltaTable(str(tmp_path / "files"), version=old["files"]).to_pyarrow_table()["file"].to_pylist() == ["a"]


def age_logs(root: Path, days: int) -> None:
    """Let all commits have happened so many days earlier."""
    for path in root.glob("*/_delta_log/*"):
        moved = path.stat().st_mtime - days * DAY_SECONDS
        os.utime(path, (moved, moved))


def trim(root: Path, days: int = 7) -> None:
    with Lake.writing(root, "a test") as lake:
        lake.trim_logs(days)


def is_readable(table: Path, version: int) -> bool:
    try:
        return DeltaTable(str(table), version=version).version() == version
    except Exception:  # noqa: BLE001 - whatever delta-rs says of it
        return False

"""A lake whose files this user may not read or write, or that are no files: one line says so, and none calls it damage."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_lake
from command_line import call_millrace
from damaged_lakes import first_file, last_entry
from other_user import as_another_user, folder_for_all

from jobs.commands import verify
from jobs.errors import LakeDamagedError, LakeError
from jobs.lake import damage, failed_run, lease, lock, mending_mark, state_file, table_log
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake

pytestmark = pytest.mark.usefixtures("without_arguments")
MAY_READ = "give this user the right to read it"
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def root() -> Iterator[Path]:
    with folder_for_all() as folder:
        tiny_lake.publish(folder / "lake", {"events": [{"source": "sunbird", "event_id": "e"}]})
        yield folder / "lake"


def test_an_entry_of_a_log_that_may_not_be_read_is_no_damage(root: Path) -> None:
    entry = last_entry(root / "events")
    entry.chmod(0)
    with as_another_user(), pytest.raises(LakeError, match=rf"{entry.name} cannot be read .*: {MAY_READ}") as raised:
        damage.open_table(root, "events")
    assert not isinstance(raised.value, LakeDamagedError)


def test_a_checkpoint_that_may_not_be_read_is_no_damage(root: Path) -> None:
    damage.open_table(root, "events").create_checkpoint()
    (checkpoint,) = (root / "events" / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.chmod(0)
    with as_another_user(), pytest.raises(LakeError, match=rf"{checkpoint.name} cannot be read .*: {MAY_READ}"):
        table_log.fault(root / "events")


def test_a_data_file_of_the_journal_that_may_not_be_read_is_no_damage(root: Path) -> None:
    first_file(root / "runs").chmod(0)
    with as_another_user(), pytest.raises(LakeError, match=MAY_READ):
        damage.find_without_state(root)


def test_a_lock_of_another_user_is_one_line_with_the_remedy(root: Path) -> None:
    (root / lock.LOCK).chmod(0o444)
    with (
        as_another_user(),
        pytest.raises(LakeError, match=r"cannot be written \(_lock: Permission denied\): call as a user who may write it"),
        Lake.writing(root, "a test"),
    ):
        pass


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_folder, make_pipe])
def test_a_lock_that_is_no_file_is_one_line_and_nobody_holds_it(root: Path, make: Callable[[Path], None]) -> None:
    (root / lock.LOCK).unlink()
    make(root / lock.LOCK)
    with pytest.raises(LakeError, match="_lock, the lock of the lake, is no file: remove it"), Lake.writing(root, "a test"):
        pass
    assert not lock.is_locked(root)


def test_a_data_file_that_is_a_loop_of_links_is_damage(root: Path) -> None:
    file = first_file(root / "events")
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(LakeDamagedError, match=r"is unreadable \(Too many levels of symbolic links\)"):
        damage.open_table(root, "events")


def test_a_disk_that_fails_is_no_damage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, stat_of = damage.open_log(root, "events"), os.stat

    def fail(path: Path, **options: Any) -> os.stat_result:
        if str(path).endswith(".parquet"):
            raise OSError(errno.EIO, "Input/output error")
        return stat_of(path, **options)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(LakeError, match=r"cannot be read \(Input/output error\): mend the disk or its mount") as raised:
        damage.check_files(root, "events", table)
    assert not isinstance(raised.value, LakeDamagedError)


@pytest.mark.parametrize("mode", [0, stat.S_IXOTH, stat.S_IROTH], ids=oct)
def test_a_staging_folder_that_may_not_be_read_is_one_line(root: Path, mode: int) -> None:
    (root / "_staging").mkdir(exist_ok=True)
    (root / "_staging").chmod(mode)
    with as_another_user(), pytest.raises(LakeError, match=rf"_staging cannot be read .*: {MAY_READ}"):
        failed_run.read(root, "x")


def test_a_state_file_that_may_not_be_read_is_neither_missing_nor_damaged(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / state_file.NAME).chmod(0)
    with as_another_user():
        shown = call_millrace(capfd, "state", "--lake", root)
        (remark,) = verify.examine(root, root, deep=False).remarks
    assert f"{state_file.NAME}: unreadable (Permission denied); {MAY_READ}" in shown.stdout
    assert remark == f"{state_file.NAME} cannot be read (Permission denied), and readers without Millrace use it: {MAY_READ}"


def test_json_that_is_nested_too_deeply_is_damage_and_no_fault_of_millrace(root: Path) -> None:
    (root / state_file.NAME).write_bytes(DEEP)
    assert state_file.read(root) is None
    assert open_to_read(root).state == 1
    with Lake.writing(root, "a test"):
        pass
    assert state_file.state_in(root) is not None
    (root / mending_mark.NAME).write_bytes(DEEP)
    assert mending_mark.read(root) == mending_mark.Mark(is_emptied=True)
    assert lease._document(DEEP) == {}
    last_entry(root / "events").write_bytes(DEEP)
    assert table_log.fault(root / "events") == "the entry 1 of its log is unreadable"


def test_a_folder_of_the_lake_that_may_not_be_written_is_one_line(root: Path) -> None:
    (root / lock.LOCK).chmod(0o666)
    with (
        as_another_user(),
        pytest.raises(LakeError, match=r"_staging.* cannot be read or written \(Permission denied\): call as a user who may do both"),
        Lake.writing(root, "a test") as lake,
    ):
        lake.begin("20261122T030000-abc002")

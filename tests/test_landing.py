"""The landing zone: which files have landed, and their bytes."""

from __future__ import annotations

import bz2
import dataclasses
import datetime as dt
import gzip
import hashlib
import os
from pathlib import Path

import pytest

from jobs.errors import LandingError
from jobs.landing import zone
from jobs.landing.zone import LandedFile, UnreadableError

DATE = dt.date(2026, 11, 20)
CONTENT = b'{"a": 1}\n' * 1000


def land_bytes(root: Path, name: str, content: bytes = CONTENT, hour: str | None = "hour=07") -> Path:
    folder = root / "sunbird" / f"date={DATE}"
    path = (folder / hour if hour else folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(root: Path) -> dict[str, LandedFile]:
    return {Path(file.file).name: file for file in zone.landed(root, "sunbird", DATE)}


def content_of(root: Path, file: LandedFile) -> tuple[bytes, str]:
    digest = hashlib.sha256()
    return b"".join(zone.chunks(root, file, digest)), digest.hexdigest()


def why(root: Path, file: LandedFile) -> str:
    with pytest.raises(UnreadableError) as raised:
        content_of(root, file)
    return str(raised.value)


def test_files_are_listed_with_their_hour_and_those_to_be_ignored_are_not(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json")
    land_bytes(tmp_path, "b.ndjson.gz", hour=None)
    land_bytes(tmp_path, "_SUCCESS")
    land_bytes(tmp_path, ".a.json.crc")
    found = listed(tmp_path)
    assert {name: (file.landing_hour, file.size, file.fault) for name, file in found.items()} == {
        "a.json": (7, len(CONTENT), None),
        "b.ndjson.gz": (None, len(CONTENT), None),
    }
    assert found["a.json"].file == f"sunbird/date={DATE}/hour=07/a.json"


@pytest.mark.parametrize(
    ("name", "packed"), [("a.json", CONTENT), ("a.jsonl.gz", gzip.compress(CONTENT, mtime=0)), ("a.ndjson.bz2", bz2.compress(CONTENT))]
)
def test_the_ending_decides_the_codec_and_the_hash_is_of_the_file_as_landed(tmp_path: Path, name: str, packed: bytes) -> None:
    land_bytes(tmp_path, name, packed)
    assert content_of(tmp_path, listed(tmp_path)[name]) == (CONTENT, hashlib.sha256(packed).hexdigest())


def test_a_file_of_two_compressed_parts_is_read_to_its_end(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json.gz", gzip.compress(CONTENT, mtime=0) * 2)
    assert content_of(tmp_path, listed(tmp_path)["a.json.gz"])[0] == CONTENT * 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json.gz", gzip.compress(CONTENT, mtime=0)[:-20], "truncated"),
        ("a.json.gz", b"", "truncated"),
        ("a.json.gz", CONTENT, "not valid gzip"),
        ("a.json.gz", gzip.compress(CONTENT, mtime=0)[:-8] + bytes(8), "not valid gzip"),
        ("a.json.bz2", b"", "truncated"),
        ("a.json.bz2", CONTENT, "not valid bzip2"),
        ("a.json.bz2", bz2.compress(CONTENT)[:-20], "truncated"),
        ("a.json", gzip.compress(CONTENT, mtime=0), "compressed, which its name does not say"),
        ("a.json", bz2.compress(CONTENT), "compressed, which its name does not say"),
        ("a.csv", CONTENT, "unknown extension"),
        ("json", CONTENT, "unknown extension"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    land_bytes(tmp_path, name, content)
    assert why(tmp_path, listed(tmp_path)[name]) == reason


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json", b"")
    land_bytes(tmp_path, "a.json.gz", gzip.compress(b""))
    assert [content_of(tmp_path, file)[0] for file in listed(tmp_path).values()] == [b"", b""]


def test_a_file_that_changes_or_vanishes_while_it_is_read_is_not_read_half(tmp_path: Path) -> None:
    path = land_bytes(tmp_path, "a.json")
    file = listed(tmp_path)["a.json"]
    path.write_bytes(CONTENT + b"{}\n")
    assert why(tmp_path, file) == "changed while it was read"
    path.unlink()
    assert why(tmp_path, file) == "gone since it was listed"


def test_what_is_no_file_is_listed_with_its_fault(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json").with_name("folder.json").mkdir()
    (tmp_path / "sunbird" / f"date={DATE}" / "hour=07" / "dangling.json").symlink_to("nowhere")
    (tmp_path / "sunbird" / f"date={DATE}" / "hour=99").mkdir()
    faults = {name: file.fault for name, file in listed(tmp_path).items()}
    assert faults["a.json"] is None
    assert faults["folder.json"] == "a folder, not a file"
    assert faults["hour=99"] == "a folder, not a file: hours are hour=00 to hour=23"
    assert faults["dangling.json"] == "cannot be opened: No such file or directory"


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    folder = land_bytes(tmp_path, "a.json").parent
    (folder / "b\udcff.json").write_bytes(CONTENT)
    assert {file.file.rsplit("/", 1)[1]: file.fault for file in zone.landed(tmp_path, "sunbird", DATE)} == {
        "a.json": None,
        "b\\xff.json": "name is not UTF-8",
    }


def test_files_are_ordered_by_the_bytes_of_their_paths(tmp_path: Path) -> None:
    for name in ("é.json", "z.json", "Z.json"):
        land_bytes(tmp_path, name)
    assert [Path(file.file).name for file in zone.landed(tmp_path, "sunbird", DATE)] == ["Z.json", "z.json", "é.json"]


def test_dates_are_those_of_the_partitions_that_are_dates(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json")
    for name in ("date=2026-02-30", "date=today", "2026-11-21"):
        (tmp_path / "sunbird" / name).mkdir()
    assert zone.dates(tmp_path, ["sunbird", "contentsquare"]) == [DATE]


def test_no_landing_folder_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="millrace generate --landing"):
        zone.check_root(tmp_path / "nowhere")


def test_a_file_that_was_listed_differently_is_another_one(tmp_path: Path) -> None:
    land_bytes(tmp_path, "a.json")
    file = dataclasses.replace(listed(tmp_path)["a.json"], modified=0)
    assert why(tmp_path, file) == "changed while it was read"


def test_a_name_that_is_no_text_is_told_from_a_file_that_is_named_as_it_is_shown(tmp_path: Path) -> None:
    folder = land_bytes(tmp_path, "b\\xff\\xfe.json").parent
    for name in (b"b\xff\xfe.json", b"b\\xff\xfe.json", b"b\xff\\xfe.json"):
        (folder / os.fsdecode(name)).write_bytes(CONTENT)
    files = [file.file.rsplit("/", 1)[1] for file in zone.landed(tmp_path, "sunbird", DATE)]
    assert len(set(files)) == 4
    assert "b\\xff\\xfe.json" in files
    assert all(name.startswith("b\\xff\\xfe.json") for name in files)


@pytest.mark.parametrize(
    ("hour", "remedy"), [("hour=7", "name it hour=07"), ("Hour=07", "name it hour=07"), ("hour=24", "hours are hour=00 to hour=23")]
)
def test_a_folder_that_is_meant_for_an_hour_names_the_remedy(tmp_path: Path, hour: str, remedy: str) -> None:
    land_bytes(tmp_path, "a.json", hour=hour)
    assert listed(tmp_path)[hour].fault == f"a folder, not a file: {remedy}"


@pytest.mark.parametrize("folder", ["sunbird", f"sunbird/date={DATE}", f"sunbird/date={DATE}/hour=07"])
def test_a_folder_that_may_not_be_listed_is_one_unreadable_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    land_bytes(tmp_path, "a.json")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).is_relative_to(tmp_path / folder):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [file.fault for file in zone.landed(tmp_path, "sunbird", DATE)] == ["permission denied"]
    assert zone.has_files(tmp_path, zone.Partition(DATE, "sunbird"))
    if folder == "sunbird":
        with pytest.raises(LandingError, match=r"sunbird cannot be listed \(permission denied\)"):
            zone.dates(tmp_path, ["sunbird"])

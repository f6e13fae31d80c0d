"""A landing zone in a bucket: the same tables as from a folder, and one clear line for what goes wrong."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import bucket_server
import pytest
from bucket_server import BUCKET, MILLRACE, Server, fresh_stores, relaying, run_as_a_program
from command_line import CommandResult, call_millrace
from conftest import plain_environment
from lakes import contents

from jobs.errors import fault_of_the_machine
from jobs.generator.generate import generate
from jobs.lake.tables import Lake
from jobs.landing import strays, zone
from jobs.landing.zone import LandedFile, Partition, UnreadableError
from jobs.storage import bucket
from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import StoreError
from transforms.sources.registry import SOURCES

pytestmark = pytest.mark.usefixtures("without_arguments")

NIGHT = dt.date(2026, 11, 20)
PARTITION = "homepagevisit/date=2026-11-20"
VISIT = b'{"event":{"wiki":"enwiki"}}\n'  # lacks most required fields: it is refused


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with bucket_server.serving() as server:
        yield server


def landed(url: str, source: str = "homepagevisit") -> dict[str, LandedFile]:
    return {file.file: file for file in zone.landed(BucketPath.of_url(url), source, NIGHT)}


def read(url: str, file: LandedFile) -> bytes:
    return b"".join(zone.chunks(BucketPath.of_url(url), file, hashlib.sha256()))


def run(landing: object, lake: Path, command: str = "run", *options: object) -> CommandResult:
    date = ["--date", NIGHT] if command == "run" else []
    return run_as_a_program(landing, lake, lake.with_suffix(".yaml"), command, *date, *options)


# Nights


def test_a_night_from_a_bucket_is_read_by_spark(server: Server, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/by-spark"
    server.put(f"by-spark/{PARTITION}/hour=03/a.json.gz", gzip.compress(VISIT * 3))
    command = [MILLRACE, "run", "--date", str(NIGHT), "--env", "spark", "--landing", url, "--lake", str(tmp_path / "lake")]
    done = subprocess.run(command, capture_output=True, text=True, env=plain_environment())
    assert done.returncode == 0, done.stderr
    (file,) = Lake.open(tmp_path / "lake").arrow("files").to_pylist()
    assert (file["records"], file["rejected"]) == (3, 3)


def test_a_night_from_a_bucket_gives_the_tables_of_a_night_from_a_folder(server: Server, tmp_path: Path) -> None:
    """Given generated files with faults, some of them compressed."""
    generate(tmp_path / "landing", NIGHT, events=600, faults=0.1)
    url = server.upload(tmp_path / "landing", "same-tables")
    from_bucket, from_folder = tmp_path / "bucket", tmp_path / "folder"
    assert run(url, from_bucket).exit_code == run(tmp_path / "landing", from_folder).exit_code
    expected, made = contents(from_folder), contents(from_bucket)
    # Only the time of an upload differs.
    for tables in (expected, made):
        tables["files"] = sorted(json.dumps(json.loads(row) | {"modified": None}) for row in tables["files"])
    assert made == expected
    assert run(url, from_bucket).stdout.count("nothing has changed") == 1


def test_late_replaced_and_deleted_objects_change_the_next_run(server: Server, tmp_path: Path) -> None:
    def refused() -> dict[str, int]:
        rows = Lake.open(tmp_path / "lake").arrow("files").to_pylist()
        return {row["file"].rpartition("/")[2]: row["rejected"] for row in rows}

    url = f"s3://{BUCKET}/changes"
    server.put(f"changes/{PARTITION}/a.json", VISIT)
    server.put(f"changes/{PARTITION}/hour=03/b.json", VISIT * 2)
    run(url, tmp_path / "lake")
    assert refused() == {"a.json": 1, "b.json": 2}
    server.put(f"changes/{PARTITION}/c.json", VISIT * 3)
    server.delete(f"changes/{PARTITION}/hour=03/b.json")
    run(url, tmp_path / "lake")
    assert refused() == {"a.json": 1, "c.json": 3}
    for name in "ac":
        server.delete(f"changes/{PARTITION}/{name}.json")
    server.put("changes/homepagevisit/date=2026-11-19/d.json", VISIT)
    stopped = run(url, tmp_path / "lake")
    assert stopped.exit_code == 2
    assert "homepagevisit of 2026-11-20" in stopped.fault


def test_an_object_of_the_same_size_that_is_replaced_within_a_second_is_another_one(server: Server) -> None:
    server.put(f"replaced/{PARTITION}/a.json", b"[1]\n")
    first = landed(f"s3://{BUCKET}/replaced")[f"{PARTITION}/a.json"]
    server.put(f"replaced/{PARTITION}/a.json", b"[2]\n")
    second = landed(f"s3://{BUCKET}/replaced")[f"{PARTITION}/a.json"]
    assert first.size == second.size
    assert first.modified != second.modified


def test_status_and_verify_know_what_is_in_the_bucket(server: Server, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/status"
    server.put(f"status/{PARTITION}/a.json", VISIT)
    run(url, tmp_path / "lake")
    server.put(f"status/{PARTITION}/b.json", VISIT)
    server.put("status/Sunbird/date=2026-11-20/c.json", VISIT)
    document = json.loads(run(url, tmp_path / "lake", "status", "--format", "json").stdout)
    (night,) = [one for one in document["nights"] if one["source"] == "homepagevisit"]
    assert (night["landed"], night["done"]) == (2, 1)
    assert "Sunbird" in json.dumps(document)
    assert run(url, tmp_path / "lake", "verify", "--deep").exit_code == 0


# Listing and reading

NAMES = ("a b%41.json", "ä#?&+.json", "%zz.json", "..json", "back\\slash.json", "x.json.gz")


def test_objects_are_listed_and_read_whatever_their_names(server: Server) -> None:
    for name in NAMES:
        server.put(f"names/{PARTITION}/hour=05/{name}", b"\x1f\x8b" if name.endswith(".gz") else VISIT)
    files = landed(f"s3://{BUCKET}/names")
    # A name that begins with a dot is ignored, as in a folder.
    expected = {f"{PARTITION}/hour=05/{name}" for name in NAMES if not name.startswith(".")}
    assert set(files) == expected
    assert {file.landing_hour for file in files.values()} == {5}
    for name, file in files.items():
        if name.endswith(".gz"):
            with pytest.raises(UnreadableError, match="truncated"):
                read(f"s3://{BUCKET}/names", file)
        else:
            assert read(f"s3://{BUCKET}/names", file) == VISIT


def test_folders_and_other_names_are_listed_with_their_fault(server: Server) -> None:
    server.put(f"faults/{PARTITION}/hour=3/a.json", VISIT)
    server.put(f"faults/{PARTITION}/a.csv", VISIT)
    server.put(f"faults/{PARTITION}/_SUCCESS", b"")
    for folder in ("", "hour=03/", "hour=04/"):  # what some programs make for a folder
        server.put(f"faults/{PARTITION}/{folder}", b"")
    server.put(f"faults/{PARTITION}/hour=03/b.json", VISIT)
    faults = {file.file.rpartition("/")[2]: file.fault for file in landed(f"s3://{BUCKET}/faults").values()}
    assert faults == {"hour=3": "a folder, not a file: name it hour=03", "a.csv": "unknown extension", "b.json": None}
    assert zone.names(BucketPath.of_url(f"s3://{BUCKET}/faults"), Partition(NIGHT, "homepagevisit")) == 3


def test_dates_are_those_of_the_folders(server: Server) -> None:
    server.put("dates/sunbird/date=2026-11-18/a.json", VISIT)
    server.put("dates/sunbird/date=2026-11-20/hour=01/a.json", VISIT)
    server.put("dates/sunbird/date=20261121/a.json", VISIT)
    root = BucketPath.of_url(f"s3://{BUCKET}/dates")
    assert zone.dates(root, SOURCES) == [dt.date(2026, 11, 18), NIGHT]
    (stray,) = strays.strays(root, SOURCES)
    assert stray.line == "sunbird/date=20261121 is read by no night: not named date=YYYY-MM-DD; rename it to date=2026-11-21"
    assert strays.below(stray) == (1, len(VISIT))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("hour=03//x.json", "a part of its key is empty"),
        ("hour=03/./x.json", "a part of its key is ."),
        ("hour=03/../x.json", "a part of its key is .."),
        ("/x.json", "a part of its key is empty"),
        ("hour=03/\x01.json", "a part of its key has a control character"),
    ],
)
def test_an_object_whose_key_cannot_be_read_is_named_and_the_others_are_read(server: Server, key: str, why: str) -> None:
    folder = f"odd-keys/{hashlib.sha256(key.encode()).hexdigest()}"
    others = {f"{PARTITION}/hour=02/a.json", f"{PARTITION}/hour=03/x.json", f"{PARTITION}/b.json"}
    for good in others:
        server.put(f"{folder}/{good}", VISIT)
    before = landed(f"s3://{BUCKET}/{folder}")
    server.put(f"{folder}/{PARTITION}/{key}", VISIT)
    files = landed(f"s3://{BUCKET}/{folder}")
    odd = files.pop(f"{PARTITION}/{key}")
    assert odd.fault == f"{why}: rename it"
    assert files == before
    assert set(files) == others
    assert all(read(f"s3://{BUCKET}/{folder}", file) == VISIT for file in files.values())


def test_an_object_whose_key_ends_with_a_slash_says_so(server: Server) -> None:
    server.put(f"slash/{PARTITION}/hour=03/x.json/", VISIT)
    (file,) = landed(f"s3://{BUCKET}/slash").values()
    with pytest.raises(UnreadableError, match="its key ends with a slash: rename it"):
        read(f"s3://{BUCKET}/slash", file)


def test_an_object_that_changes_or_vanishes_after_it_was_listed_is_unreadable(server: Server) -> None:
    url = f"s3://{BUCKET}/vanishing"
    for name in ("changed", "gone"):
        server.put(f"vanishing/{PARTITION}/{name}.json", VISIT)
    files = landed(url)
    server.put(f"vanishing/{PARTITION}/changed.json", VISIT.upper())
    server.delete(f"vanishing/{PARTITION}/gone.json")
    with pytest.raises(UnreadableError, match="changed while it was read"):
        read(url, files[f"{PARTITION}/changed.json"])
    with pytest.raises(UnreadableError, match="gone since it was listed"):
        read(url, files[f"{PARTITION}/gone.json"])


def test_an_object_that_is_replaced_while_it_is_read_is_unreadable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that two bytes are read at a time, no bytes of the second version follow those of the first."""
    monkeypatch.setattr(bucket, "_RANGE_BYTES", 2)
    server.put("reading/a.json", b"aaaa")
    reader = (BucketPath.of_url(f"s3://{BUCKET}/reading") / "a.json").open_object()
    assert reader.read(2) == b"aa"
    server.put("reading/a.json", b"bbbb")
    with pytest.raises(OSError, match="changed while it was read"):
        reader.read(2)


# Faults


def fault_of_run(landing: object, tmp_path: Path) -> str:
    result = run(landing, tmp_path / "lake")
    assert result.exit_code == 2
    assert len(result.faults) == 1
    assert bucket_server.VARIABLES["AWS_SECRET_ACCESS_KEY"] not in result.stderr
    assert not (tmp_path / "lake").exists()
    return result.fault


def test_a_bucket_that_does_not_exist_is_one_line(server: Server, tmp_path: Path) -> None:
    assert "there is no such bucket): name another with --landing" in fault_of_run("s3://no-such-bucket/x", tmp_path)


def test_a_folder_without_objects_is_one_line(server: Server, tmp_path: Path) -> None:
    assert "nothing has landed there" in fault_of_run(f"s3://{BUCKET}/nothing-here", tmp_path)


@pytest.mark.parametrize("url", ["s3://", "s3:///folder"])
def test_a_url_without_a_bucket_is_one_line(tmp_path: Path, url: str) -> None:
    assert "names no bucket: write it as s3://BUCKET/FOLDER" in fault_of_run(url, tmp_path)


def test_nothing_is_generated_into_a_bucket(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = call_millrace(capfd, "demo", "--landing", "s3://bucket/x", "--lake", tmp_path / "lake")
    assert result.exit_code == 2
    assert "files are generated into a folder" in result.fault


def test_a_server_that_does_not_answer_is_one_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with fresh_stores():
        fault = fault_of_run(f"s3://{BUCKET}/x", tmp_path)
    assert "it cannot be reached): check its address, in AWS_ENDPOINT_URL and AWS_REGION" in fault


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_wrong_credentials_are_one_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with relaying(server.endpoint, lambda *_: code) as endpoint, fresh_stores():
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        fault = fault_of_run(f"s3://{BUCKET}/x", tmp_path)
    assert "permission denied" in fault
    assert "in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in fault


def test_a_store_that_fails_while_files_are_read_ends_the_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a store that answers while files are listed, and not when they are read, nothing of the night is taken for unreadable."""
    server.put(f"failing/{PARTITION}/a.json", VISIT)
    listed = landed(f"s3://{BUCKET}/failing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with fresh_stores(), pytest.raises(StoreError, match="cannot be reached") as failed:
        read(f"s3://{BUCKET}/failing", listed[f"{PARTITION}/a.json"])
    fault = fault_of_the_machine(RuntimeError(f"a task failed: {failed.value}"))
    assert fault is not None
    assert fault.exit_code == 75
    assert "nothing was published" in str(fault)


def test_a_store_that_fails_in_the_middle_of_a_night_leaves_the_lake_to_the_next_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given four files and a store that answers for two of them, nothing is published; the same call is right when it answers again."""
    for number in range(4):
        server.put(f"middle/{PARTITION}/{number}.json", VISIT)
    contents_given: list[str] = []

    def answer_twice(method: str, path: str, headers: Mapping[str, str]) -> int | None:
        if method == "GET" and "Range" in headers:
            contents_given.append(path)
        return 503 if len(contents_given) > 2 and "Range" in headers else None

    with relaying(server.endpoint, answer_twice) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        failed = run(f"s3://{BUCKET}/middle", tmp_path / "lake")
    assert (failed.exit_code, len(failed.faults)) == (75, 1)
    assert "did not answer: nothing was published" in failed.fault
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert run(f"s3://{BUCKET}/middle", tmp_path / "lake").exit_code == 0
    assert sorted(row["rejected"] for row in Lake.open(tmp_path / "lake").arrow("files").to_pylist()) == [1, 1, 1, 1]

"""A lake in a bucket: the same tables as in a folder, one writer at a time, whole after every failure."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bucket_server
import duckdb
import pyarrow as pa
import pytest
import tiny_lake
import weeks_lake
from bucket_server import BUCKET, MILLRACE, Server, fresh_stores, relaying, run_as_a_program
from conftest import plain_environment
from killed_publication import KillPoint, publish, publish_in_a_process
from lakes import assert_same, contents
from pyspark.sql import SparkSession
from staged_nights import StagedNight, stage_second_night
from tiny_lake import NIGHT, frame

from jobs import settings as configuration
from jobs.commands import site
from jobs.errors import LakeBusyError, LakeDamagedError, LakeError, MillraceError, fault_of_the_machine
from jobs.generator.generate import generate
from jobs.lake import failed_run, lease, run_output, table_changes
from jobs.lake.delta_tables import open_delta
from jobs.lake.duckdb_views import connect, connect_to_failed_run
from jobs.lake.lease import Lease
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import StoreError
from jobs.storage.parquet_files import open_parquet
from schemas.bookkeeping import QUALITY_RESULTS
from schemas.catalog import TABLES
from schemas.events import EVENTS

FIRST, SECOND = dt.date(2026, 11, 20), dt.date(2026, 11, 21)
RUN = "20261121T030000-abc001"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with bucket_server.serving() as server:
        yield server


@pytest.fixture
def root(server: Server) -> BucketPath:
    """A folder of the bucket in which nothing is."""
    return BucketPath.of_url(f"s3://{BUCKET}/{uuid.uuid4().hex}/lake")


def event(name: str) -> dict[str, object]:
    return {"event_id": name, "source": "sunbird", "landing_date": NIGHT}


def names_of_events(root: BucketPath) -> list[str]:
    return sorted(Lake.open(root).arrow("events", ["event_id"])["event_id"].to_pylist())


# --- nights


def test_nights_give_the_tables_of_a_lake_in_a_folder(root: BucketPath, tmp_path: Path) -> None:
    """Given two nights with faults and late files, their maintenance and a rebuild."""
    landing, folder, conf = tmp_path / "landing", tmp_path / "lake", tmp_path / "conf.yaml"
    for date in (FIRST, SECOND):
        generate(landing, date, events=400, faults=0.1)
        for lake in (root, folder):
            done = run_as_a_program(landing, lake, conf, "run", "--date", date)
            assert done.exit_code in (0, 3), done.stderr
    for lake in (root, folder):
        assert run_as_a_program(landing, lake, conf, "maintain").exit_code == 0
    assert_same(root, folder)
    rebuilt = run_as_a_program(landing, root, conf, "rebuild", "--all")
    assert rebuilt.exit_code in (0, 3), rebuilt.stderr
    assert_same(root, folder)
    for lake in (root, folder):
        devices = Lake.open(lake).arrow("events", ["source", "device_id"]).sort_by("device_id").to_pylist()
        device = next(row["device_id"] for row in devices if row["source"] == "contentsquare")
        erased = run_as_a_program(landing, lake, conf, "erase", "--source", "contentsquare", "--device", device)
        assert erased.exit_code == 0, erased.stderr
    vacuumed = run_as_a_program(landing, root, conf, "maintain", "--vacuum", "--now")
    assert vacuumed.exit_code == 0, vacuumed.stderr
    assert_same(root, folder)
    verified = run_as_a_program(landing, root, conf, "verify", "--deep")
    assert (verified.exit_code, "reads them" in verified.stdout) == (0, False)


@pytest.mark.slow
def test_random_nights_make_the_sessions_and_workflows_of_the_references(root: BucketPath, tmp_path: Path) -> None:
    """Given late, removed, moved and replaced files. A program of its own, since workers that run know nothing of the bucket."""
    program = "import sys, test_across_nights as nights; from pathlib import Path; from jobs.storage.bucket import BucketPath;"
    program += " from jobs import settings; from jobs.engine import spark_session; spark_session.start(settings.load());"
    program += " nights.assert_right(20261117, Path(sys.argv[1]), BucketPath.of_url(sys.argv[2]))"
    variables = plain_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, tmp_path, str(root)], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Lake.open(root).arrow("sessions", ["session_id"]).num_rows > 0


def test_a_night_on_spark_needs_no_library_for_buckets_in_the_jvm(server: Server, root: BucketPath, tmp_path: Path) -> None:
    generate(tmp_path / "landing", FIRST, events=400)
    url = server.upload(tmp_path / "landing", root.parent.key + "/landing")
    command = [MILLRACE, "run", "--date", FIRST, "--env", "spark", "--landing", url]
    for lake in (root, tmp_path / "lake"):
        done = subprocess.run([str(word) for word in (*command, "--lake", lake)], capture_output=True, text=True, env=plain_environment())
        assert done.returncode == 0, done.stderr
    assert_same(root, tmp_path / "lake")


def test_queries_read_one_state_without_access_to_anything_else(root: BucketPath) -> None:
    tiny_lake.publish(root, {"events": [event("a"), event("b")]})
    tables = connect(Lake.open(root))
    tiny_lake.publish(root, {"events": [event("later")]}, run_id=RUN)
    assert tables.sql("SELECT count(*), max(landing_date) FROM events WHERE source = 'sunbird'").fetchall() == [(2, NIGHT)]
    assert tables.sql("SELECT count(*) FROM sessions").fetchall() == [(0,)]
    with pytest.raises(duckdb.PermissionException, match="disabled"):
        tables.sql(f"SELECT * FROM read_text('{__file__}')")


def test_its_site_is_that_of_a_lake_in_a_folder(root: BucketPath, tmp_path: Path) -> None:
    rows = weeks_lake.tables_of(NIGHT, weeks_lake.DAYS - 1)
    sites = [tmp_path / "of-bucket", tmp_path / "of-folder"]
    for lake, folder in zip((root, tmp_path / "lake"), sites, strict=True):
        tiny_lake.publish(lake, rows)
        assert site.write(configuration.load().at(tmp_path / "landing", lake), folder) == 0
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*.html")) for folder in sites]
    assert names[0] == names[1]
    assert len(names[0]) == 5
    assert [name for name in names[0] if (sites[0] / name).read_bytes() != (sites[1] / name).read_bytes()] == []


def test_what_a_run_with_a_failed_check_wrote_can_be_queried(root: BucketPath) -> None:
    tiny_lake.publish(root, {"events": [event("old")]})
    with Lake.writing(root, "a test") as lake:
        output = lake.begin(RUN)
        (output.working_folder / "_records" / "a.parquet").write_bytes(b"an intermediate file")
        added = write_partitioned(EVENTS, frame(EVENTS, [event("new")], RUN), output)
        failed_run.record(output, lake.versions, {"events": Change(added, lake.files("events"))})
        row = {"run_id": RUN, "command": "run", "step": "publish", "started": tiny_lake.STARTED, "status": "failed"}
        lake.publish({}, [row], RUN, failed=True)
    with Lake.writing(root, "another test") as lake:
        failed = connect_to_failed_run(lake, RUN).sql("SELECT event_id FROM events").fetchall()
    assert failed == [("new",)]
    assert names_of_events(root) == ["old"]
    assert sorted(path.name for path in (root / "_staging" / RUN).iterdir()) == ["begun.json", "changes.json"]


# --- killed while it publishes


@pytest.fixture(scope="module")
def night(spark: SparkSession, environment: str, tmp_path_factory: pytest.TempPathFactory) -> StagedNight:
    return stage_second_night(environment, tmp_path_factory.mktemp("bucket_kills"))


LAST = 0  # the number of the last commit, which depends on what has changed
QUICK_POINTS = [KillPoint("commit", 5, "after"), KillPoint("commit", LAST, "after")]
POINTS = [
    *(KillPoint("commit", number, moment) for number in range(1, len(TABLES) + 1) for moment in ("before", "after")),
    *(KillPoint(function, 1, moment) for function in ("state", "sweep") for moment in ("before", "after")),
]


@pytest.mark.parametrize("point", QUICK_POINTS, ids=str)
def test_a_publication_that_is_killed_leaves_the_old_state_or_the_new_one(
    server: Server, root: BucketPath, night: StagedNight, point: KillPoint
) -> None:
    assert_whole_after_a_kill(server, root, night, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_publication_that_is_killed_anywhere_leaves_the_old_state_or_the_new_one(
    server: Server, root: BucketPath, night: StagedNight, point: KillPoint
) -> None:
    assert_whole_after_a_kill(server, root, night, point)


@pytest.mark.parametrize("point", [KillPoint("create", number, "after") for number in (1, len(TABLES))], ids=str)
def test_a_lake_that_is_killed_while_it_is_made_is_made_whole_by_the_next_writer(
    root: BucketPath, point: KillPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publish_in_a_process(root, tmp_path / "nothing to publish", point)
    monkeypatch.setattr(lease, "is_recent", lambda *_: False)
    let_leases_of_others_last(monkeypatch, 0.5)
    with Lake.writing(root, "a test"):
        pass
    assert all(rows == [] for rows in contents(root).values())


def assert_whole_after_a_kill(server: Server, root: BucketPath, night: StagedNight, point: KillPoint) -> None:
    """The lake holds the old rows or the new ones after the kill, and still does after the next writer."""
    server.upload(night.settings.paths.lake, root.key)
    exact_point = point._replace(number=point.number or night.commits)

    was_killed = publish_in_a_process(root, night.publication, exact_point)

    is_published = not was_killed or exact_point.function in ("state", "sweep") or exact_point == ("commit", night.commits, "after")
    rows = night.rows_after if is_published else night.rows_before
    assert contents(root) == rows
    with Lake.writing(root, "a test") as lake:
        assert not run_output.unfinished(root)
        recorded_files = {f"{name}/{file.path}" for name in TABLES for file in lake.files(name)}
    assert contents(root) == rows
    if not is_published:
        for output in run_output.unfinished(night.settings.paths.lake):
            for _, path in output.files():
                relative = path.relative_to(night.settings.paths.lake).as_posix()
                assert relative not in recorded_files
                assert not (root / relative).exists()
                server.put(f"{root.key}/{relative}", path.read_bytes())
        publish(root, night.publication)
        assert contents(root) == night.rows_after


def test_a_run_that_is_killed_holds_the_lake_for_some_seconds_and_loses_nothing(root: BucketPath, tmp_path: Path) -> None:
    landing, conf = tmp_path / "landing", tmp_path / "conf.yaml"
    # Long enough for the next run to start meanwhile, also on a busy machine.
    conf.write_text("{engine: sail, storage: {lease_seconds: 15}, quality: {pages: false}}")
    generate(landing, FIRST, events=600)
    assert run_as_a_program(landing, tmp_path / "lake", conf, "run", "--date", FIRST).exit_code in (0, 3)
    command = [MILLRACE, "run", "--date", FIRST, "--conf", conf, "--landing", landing, "--lake", root]
    run = subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, env=plain_environment(), start_new_session=True
    )
    assert run.stderr is not None
    for line in run.stderr:
        if " write " in line:
            break
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert (root / "_staging").is_dir()

    codes = []
    until = time.monotonic() + 120
    while (not codes or codes[-1] == 75) and time.monotonic() < until:
        last = run_as_a_program(landing, root, conf, "run", "--date", FIRST)
        codes.append(last.exit_code)
    assert codes[0] == 75
    assert codes[-1] in (0, 3), last.stderr
    assert_same(root, tmp_path / "lake")
    assert not (root / "_staging").is_dir()


# --- one writer at a time


def let_leases_of_others_last(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A lease in the bucket says that it lasts so long."""
    document = lease._document
    monkeypatch.setattr(lease, "_document", lambda content: document(content) | {"seconds": seconds})


def test_a_second_writer_is_refused_as_long_as_the_first_one_lives(root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lake.writing(root, "the first", lease_seconds=2):
        refused = r"the first \(process \d+ on .*\) is writing the lake s3://.*: wait for it to end, then call again"
        with pytest.raises(LakeBusyError, match=refused), Lake.writing(root, "the second"):
            pass
        # A machine whose clock is wrong takes a lease for old. It sees that it is renewed.
        monkeypatch.setattr(lease, "is_recent", lambda *_: False)
        with pytest.raises(LakeBusyError, match=refused), Lake.writing(root, "the second"):
            pass
    with Lake.writing(root, "the second"):
        pass


def publish_after_another_has_taken_over(root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish an event by a writer that was suspended, so that it did not renew its lease, which another one has taken over."""
    monkeypatch.setattr(Lease, "_renew", lambda _: None)
    monkeypatch.setattr(lease, "is_recent", lambda *_: False)
    with Lake.writing(root, "suspended", lease_seconds=1) as suspended:
        with Lake.writing(root, "the next", lease_seconds=60) as after:
            # It has recorded a state, so that the other cannot.
            assert after.state == suspended.state + 1
        publish_event(suspended, "lost")


def test_a_writer_that_could_not_renew_its_lease_cannot_publish(root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lake.publish(root, {"events": [event("old")]})
    with pytest.raises(LakeBusyError, match="could not renew its lease"):
        publish_after_another_has_taken_over(root, monkeypatch)
    assert names_of_events(root) == ["old"]


def test_a_writer_that_does_not_know_that_it_lost_its_lease_cannot_publish(root: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that it was suspended between its look at the lease and its last commit."""
    tiny_lake.publish(root, {"events": [event("old")]})
    monkeypatch.setattr(Lease, "check", lambda _: None)
    with pytest.raises(LakeError, match="was changed by someone else"):
        publish_after_another_has_taken_over(root, monkeypatch)
    assert names_of_events(root) == ["old"]
    tiny_lake.publish(root, {"events": [event("new")]}, run_id="20261122T030000-abc002")
    assert names_of_events(root) == ["new", "old"]


def publish_event(lake: Lake, name: str) -> None:
    output = lake.begin(RUN)
    added = write_partitioned(EVENTS, frame(EVENTS, [event(name)], RUN), output)
    row = {"run_id": RUN, "command": "run", "step": "publish", "started": tiny_lake.STARTED, "status": "done"}
    lake.publish({"events": Change(added)}, [row], RUN)


def test_of_two_commits_of_one_version_one_is_made(root: BucketPath) -> None:
    tiny_lake.publish(root, {})
    output = Lake.open(root).begin(RUN)
    rows = frame(QUALITY_RESULTS, [{"run_id": RUN, "night": NIGHT}], RUN)
    for _ in range(6):
        tables = [open_delta(root / QUALITY_RESULTS.name) for _ in range(2)]
        changes = [Change(write_partitioned(QUALITY_RESULTS, rows, output)) for _ in tables]
        barrier = threading.Barrier(2)

        def commit(number: int, tables=tables, changes=changes, barrier=barrier) -> bool:  # type: ignore[no-untyped-def]
            barrier.wait()
            try:
                table_changes.commit(tables[number], QUALITY_RESULTS, changes[number], tables[number].version(), RUN)
            except LakeError as error:
                assert "was changed by someone else" in str(error)  # noqa: PT017
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(commit, range(2))) == [False, True]


# --- faults


def fault_of_run(lake: str, tmp_path: Path, *, code: int = 2) -> str:
    generate(tmp_path / "landing", FIRST, events=50, sources=["sunbird"])
    done = run_as_a_program(tmp_path / "landing", lake, tmp_path / "conf.yaml", "run", "--date", FIRST)
    assert (done.exit_code, len(done.faults)) == (code, 1), done.stderr
    assert bucket_server.VARIABLES["AWS_SECRET_ACCESS_KEY"] not in done.stderr
    return done.fault


def test_a_bucket_that_does_not_exist_is_one_line(server: Server, tmp_path: Path) -> None:
    assert "there is no such bucket): name another" in fault_of_run("s3://no-such-bucket/lake", tmp_path)


def test_a_whole_bucket_is_no_lake(server: Server, tmp_path: Path) -> None:
    assert "is a whole bucket: name a folder in it" in fault_of_run(f"s3://{BUCKET}", tmp_path)


def test_a_folder_with_something_else_is_refused(server: Server, root: BucketPath, tmp_path: Path) -> None:
    server.put(f"{root.key}/thesis.tex", b"x")
    assert "holds something else (thesis.tex)" in fault_of_run(str(root), tmp_path)


def test_credentials_that_may_not_write_are_one_line(
    server: Server, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_writes(method: str, _path: str, _headers: Mapping[str, str]) -> str | None:
        return "AccessDenied" if method == "PUT" else None

    with relaying(server.endpoint, refuse_writes) as endpoint, fresh_stores():
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert "cannot be written (permission denied" in fault_of_run(str(root), tmp_path)


def test_credentials_that_expire_in_the_middle_of_a_night_are_one_line(
    server: Server, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a token that expires when the first task writes events."""

    def expire(method: str, path: str, _headers: Mapping[str, str]) -> str | None:
        return "ExpiredToken" if method == "PUT" and "/lake/events/" in path and "_delta_log" not in path else None

    with relaying(server.endpoint, expire) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        fault = fault_of_run(str(root), tmp_path)
    assert f"refuses access to {root}/events/" in fault
    assert "(ExpiredToken): nothing was published; set credentials that are valid for the whole run" in fault
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    done = run_as_a_program(tmp_path / "landing", root, tmp_path / "conf.yaml", "run", "--date", FIRST)
    assert done.exit_code in (0, 3), done.stderr


def test_a_store_that_does_not_answer_is_one_line(root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "it cannot be reached): check its address, in AWS_ENDPOINT_URL" in fault_of_run(str(root), tmp_path)


def test_a_store_that_fails_in_a_commit_leaves_the_lake_to_the_next_run(
    server: Server, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a store that answers with 503 when the second version of `sessions` is written."""

    def fail_in_a_commit(method: str, path: str, _headers: Mapping[str, str]) -> int | None:
        return 503 if method == "PUT" and "sessions/_delta_log/00000000000000000001.json" in path else None

    with relaying(server.endpoint, fail_in_a_commit) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        fault_of_run(str(root), tmp_path, code=75)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with fresh_stores():
        assert all(rows == [] for rows in contents(root).values())
    done = run_as_a_program(tmp_path / "landing", root, tmp_path / "conf.yaml", "run", "--date", FIRST)
    assert done.exit_code in (0, 3), done.stderr
    assert names_of_events(root)


@pytest.mark.parametrize(("conflicts", "code"), [(1, 0), (99, 75)])
def test_a_commit_that_the_store_refuses_though_its_version_is_free_is_tried_again(
    server: Server, root: BucketPath, monkeypatch: pytest.MonkeyPatch, conflicts: int, code: int
) -> None:
    """Given a store that answers some conditional writes with 409, as S3 does when another request to the key is under way."""
    tiny_lake.publish(root, {"events": [event("old")]})
    left = [conflicts]

    def conflict(method: str, path: str, _headers: Mapping[str, str]) -> int | None:
        if method != "PUT" or "events/_delta_log" not in path or not left[0]:
            return None
        left[0] -= 1
        return 409

    monkeypatch.setattr(table_changes, "_PAUSES_SECONDS", (0.01, 0.01))
    with relaying(server.endpoint, conflict) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with fresh_stores():
            failed = fault_of_publication(root)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with fresh_stores():
        assert (failed.exit_code if failed else 0) == code
        assert names_of_events(root) == (["old"] if failed else ["new", "old"])


def fault_of_publication(root: BucketPath) -> MillraceError | None:
    try:
        tiny_lake.publish(root, {"events": [event("new")]}, run_id="20261122T030000-abc002")
    except (StoreError, MillraceError) as error:
        return error if isinstance(error, MillraceError) else fault_of_the_machine(error)
    return None


@pytest.mark.parametrize("entry", ["sessions/_delta_log/00000000000000000001.json", "runs/_delta_log/00000000000000000002.json"])
def test_a_commit_whose_answer_is_lost_counts(
    server: Server, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """Given that the connection is cut whenever this entry of a log has been written: a commit of a night, or its last one."""

    def cut_after_the_commit(method: str, path: str, _headers: Mapping[str, str]) -> str | None:
        return "cut" if method == "PUT" and entry in path else None

    generate(tmp_path / "landing", FIRST, events=50, sources=["sunbird"])
    with relaying(server.endpoint, cut_after_the_commit) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        done = run_as_a_program(tmp_path / "landing", root, tmp_path / "conf.yaml", "run", "--date", FIRST)
    assert done.exit_code in (0, 3), done.stderr
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with fresh_stores():
        assert names_of_events(root)
        assert not (root / "_staging").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("AccessDenied", 2, r"refuses access to s3://.*/lake/events/.* \(AccessDenied\): nothing was published"),
        ("cut", 75, "did not answer: nothing was published; call again when it does"),
    ],
)
def test_data_files_that_cannot_be_read_end_a_night_with_one_line(
    server: Server, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: int, said: str
) -> None:
    """Given a second night, while the store does not give the events of the first one."""

    def refuse_events(method: str, path: str, _headers: Mapping[str, str]) -> str | None:
        return fault if method == "GET" and "/lake/events/" in path and "_delta_log" not in path else None

    landing, conf = tmp_path / "landing", tmp_path / "conf.yaml"
    for date in (FIRST, SECOND):
        generate(landing, date, events=100)
    assert run_as_a_program(landing, root, conf, "run", "--date", FIRST).exit_code in (0, 3)
    before = contents(root)
    with relaying(server.endpoint, refuse_events) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        refused = run_as_a_program(landing, root, conf, "run", "--date", SECOND)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert (refused.exit_code, len(refused.faults)) == (code, 1), refused.stderr
    assert re.search(said, refused.fault)
    assert contents(root) == before


def test_an_empty_object_is_no_parquet_file_and_no_failure_of_the_store(server: Server, root: BucketPath) -> None:
    server.put(f"{root.key}/empty.parquet", b"")
    with pytest.raises(pa.ArrowInvalid, match="size is 0 bytes"):
        open_parquet(root / "empty.parquet")


def test_a_data_file_that_vanished_is_damage_with_its_remedy(root: BucketPath, tmp_path: Path) -> None:
    tiny_lake.publish(root, {"events": [event("a")]})
    (file,) = Lake.open(root).files("events")
    (root / "events" / file.path).unlink()
    with pytest.raises(LakeDamagedError, match=r"events: the file .* is missing \(1 row\): call `millrace rebuild --lake s3://"):
        Lake.open(root).check_whole()


def test_errors_of_delta_rs_and_arrow_about_the_store_are_told_from_others() -> None:
    said = "Generic S3 error: Error performing PUT http://x/y in 3s, after 3 retries: error sending request"
    unknown = "When reading information for key 'a' in bucket 'b': AWS Error NO_SUCH_BUCKET during HeadObject operation"
    fault = fault_of_the_machine(RuntimeError(said))
    assert fault is not None
    assert fault.exit_code == 75
    assert fault_of_the_machine(RuntimeError(unknown)) is None

"""Paths, names and dates are data: any of them works, or is refused in one line before anything is made."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny_lake
from command_line import call_millrace
from landing_files import land_file
from pyspark.sql import SparkSession
from quiet_runs import run_quietly

from jobs import open_lake
from jobs import settings as configuration
from jobs.console.progress import Progress
from jobs.engine import parquet
from jobs.engine.spark_session import Engine
from jobs.errors import LakeError, LandingError, UsageError
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from jobs.landing.zone import check_root
from jobs.settings import Settings
from jobs.storage.storage_paths import storage_path
from schemas.table import spark_schema
from transforms.times import shifted

PATTERNS = ["{1}", "[1]", "[!a]", "x?", "*", "{1,2}", "a:b", "a:{1}", "#", " x ", "'\"", "é𠮷", "100%", "~", "x/../{2}"]
# Every character that is special to some reader, together.
ALL = "a:b {1}[2]?*,!^#~%&;'\"$()é𠮷"
NIGHT = dt.date(2026, 11, 20)


def event(mid: str, date: dt.date) -> str:
    at = int(dt.datetime.combine(date, dt.time(10), dt.UTC).timestamp() * 1000)
    body = {"eid": "INTERACT", "ets": at, "ver": "3.0", "mid": mid, "actor": {"id": "u1", "type": "User"}}
    context = {"channel": "c1", "env": "home", "sid": "s1", "did": "d1"}
    return json.dumps({**body, "context": context, "edata": {"type": "TOUCH", "id": "button"}}) + "\n"


def land_day(settings: Settings, date: dt.date, mids: Sequence[str], name: str = "a.json") -> None:
    land_file(settings.paths.landing, "sunbird", date, name, "".join(event(mid, date) for mid in mids))


@pytest.mark.parametrize("name", ["{1}", ALL, *(pytest.param(name, marks=pytest.mark.slow) for name in PATTERNS if name != "{1}")])
def test_a_repeat_is_found_whatever_the_paths_hold(spark: SparkSession, settings: Settings, tmp_path: Path, name: str) -> None:
    settings = settings.at(tmp_path / "l" / name, tmp_path / "k" / name / "lake")
    for date in (NIGHT, NIGHT + dt.timedelta(days=1)):
        land_day(settings, date, ["repeated", f"of {date}"], name=f"{name.replace('/', '_')}\n\x1b.json")
        run_quietly(settings, date)
    lake = Lake.open(settings.paths.lake)
    assert lake.arrow("duplicate_events", ["event_id"])["event_id"].to_pylist() == ["repeated"]
    query = "SELECT count(*), count(DISTINCT landing_date), count(DISTINCT file) FROM events"
    assert connect(lake).sql(query).fetchall() == [(3, 2, 2)]


@pytest.mark.parametrize("name", [*PATTERNS, ALL])
def test_an_engine_reads_and_writes_the_one_path_that_is_meant(spark: SparkSession, tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "x").mkdir()
    folder = tmp_path / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.table({"a": pa.array([1], pa.int64())})
    files = [folder / f"{number}.parquet" for number in range(2)]
    for file in files:
        pq.write_table(rows, file)
    engine = Engine(configuration.load(), Progress(quiet=True))
    read = parquet.read_parquet(engine.spark, spark_schema(rows.schema), files, on_sail=bool(engine.processes))
    parquet.write_parquet(read, folder / "written", on_sail=bool(engine.processes))
    assert pq.read_table(folder / "written")["a"].to_pylist() == [1, 1]


@pytest.mark.parametrize("name", ["k[1]", "k*", "k?", "k{1}"])
def test_sql_reads_no_other_lake_whose_path_matches(tmp_path: Path, name: str) -> None:
    tiny_lake.publish(tmp_path / name, {"events": [{"source": "sunbird", "event_id": "e"}]})
    for other in ("k1", "kx"):
        shutil.copytree(tmp_path / name, tmp_path / other)
    assert connect(Lake.open(tmp_path / name)).sql("SELECT count(*) FROM events").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a%20b", "percent sign"),
        ("back\\slash", "backslash"),
        ("new\nline", "control character"),
        ("\udcff", "not UTF-8"),
        ("source=abc/lake", "take for a partition"),
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 18), "too long"),
    ],
)
def test_a_path_that_no_lake_can_have_is_refused_in_one_line_before_anything_is_made(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(LakeError, match=what) as raised, Lake.writing(tmp_path / name, "a test"):
        pass
    assert str(raised.value).isprintable()
    assert str(raised.value).endswith("--lake")
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_does_not_hide_such_a_path(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a%20b")
    with pytest.raises(LakeError, match="percent sign"), Lake.writing(tmp_path / "link", "a test"):
        pass


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3a://bucket/lake", "begins with s3a://: write s3://bucket/lake"),
        ("S3://bucket/lake", "begins with S3://: write s3://bucket/lake"),
        ("gcs://bucket/lake", "begins with gcs://: write gs://bucket/lake"),
        ("file:///data/lake", "is a URL: write the path alone, /data/lake"),
        ("file://localhost/data/lake", "is a URL: write the path alone, /data/lake"),
        ("http://host/lake", "is a URL of another kind: name a folder, or a bucket by s3://, gs:// or abfss://"),
        ("s3:///lake", "names no bucket: write it as s3://BUCKET/FOLDER"),
        ("s3://bad bucket/x y", "names no bucket that there can be"),
        ("s3://bucket/../x", "a part of its key is ..: name another"),
        ("s3://bucket/./x", "a part of its key is .: name another"),
        ("s3://bucket/a//x", "a part of its key is empty: name another"),
        ("s3://bucket/\x01", "a part of its key has a control character: name another"),
    ],
)
@pytest.mark.usefixtures("without_arguments")
def test_a_url_that_names_no_folder_in_a_bucket_is_one_line_with_the_remedy(
    url: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an option, as a setting, and from Python."""
    monkeypatch.chdir(tmp_path)
    conf = tmp_path / "conf.yaml"
    conf.write_text(json.dumps({"paths": {"lake": url}}))
    for options in (["--lake", url], ["--landing", url], ["--conf", conf]):
        done = call_millrace(capfd, "state", *options)
        assert done.exit_code == 2
        assert says.lower() in done.fault.lower()  # of a setting, the first letter is small
    with pytest.raises(UsageError, match=re.escape(says)):
        open_lake(url)


@pytest.mark.parametrize("url", ["s3://bucket/lake", "s3://my_bucket.x/a b/", "abfss://container@account.dfs.core.windows.net/lake"])
def test_a_url_of_a_folder_in_a_bucket_is_taken(url: str) -> None:
    assert str(storage_path(url)) == url.rstrip("/")


def test_a_landing_path_that_the_system_cannot_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="File name too long"):
        check_root(tmp_path / ("x" * 300))


def test_a_path_of_the_configuration_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert configuration.load().at(lake=Path("~/lake")).paths.lake == tmp_path / "lake"


@pytest.mark.parametrize("date", [dt.date.min, dt.date.max])
def test_a_night_at_the_end_of_the_calendar_is_run(spark: SparkSession, settings: Settings, date: dt.date) -> None:
    land_day(settings, date, ["a", "b", "b"])
    run_quietly(settings, date)
    lake = Lake.open(settings.paths.lake)
    assert connect(lake).sql("SELECT landing_date, accepted, duplicates FROM files").fetchall() == [(date, 2, 1)]


def test_a_date_is_shifted_no_further_than_the_calendar_goes() -> None:
    assert shifted(NIGHT, -20) == dt.date(2026, 10, 31)
    assert shifted(dt.date.min, -1) == shifted(NIGHT, -(10**10)) == dt.date.min
    assert shifted(dt.date.max, 1) == shifted(NIGHT, 10**10) == dt.date.max

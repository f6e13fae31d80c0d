"""`open_lake`: every table as what a notebook works with, at one state, with the types of the data dictionary."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bucket_server
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from bucket_server import BUCKET
from tiny_lake import NIGHT, publish

from jobs import open_lake
from jobs.errors import LakeError, MillraceError, UsageError
from jobs.lake_reader import LakeReader
from jobs.storage.bucket import BucketPath
from schemas.catalog import TABLES
from schemas.table import BIGINT

FIRST, LAST = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
LARGE = 2**53 + 1  # the first integer that no double is
SESSIONS = [
    {"session_id": "a", "source": "sunbird", "start_time": FIRST, "end_time": LAST, "session_duration": LARGE, "session_date": NIGHT},
    {"session_id": "b", "source": "sunbird", "session_duration": None, "session_date": NIGHT},
    {"session_id": "c", "source": "contentsquare", "session_duration": 0, "session_date": NIGHT - dt.timedelta(days=1)},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of three sessions. No test changes it."""
    root = tmp_path_factory.mktemp("opened") / "lake"
    publish(root, {"sessions": SESSIONS, "files": [{"file": "a.json", "source": "sunbird", "landing_date": NIGHT, "records": 7}]})
    return root


@pytest.fixture(scope="module")
def lake(root: Path) -> LakeReader:
    return open_lake(root)


def test_integers_and_booleans_of_pandas_stay_such_beside_nulls(lake: LakeReader) -> None:
    durations = lake.sessions.to_pandas().set_index("session_id")["session_duration"]
    assert durations.dtype == "Int64"
    assert durations[["a", "b", "c"]].to_list() == [LARGE, pd.NA, 0]
    assert lake.files.to_pandas()["landing_hour"].dtype == "Int32"
    assert lake.quality_results.to_pandas()["passed"].dtype == "boolean"


def test_times_of_pandas_are_utc_in_microseconds_in_every_year(lake: LakeReader) -> None:
    sessions = lake.sessions.to_pandas(where="session_id = 'a'")
    assert {str(sessions[name].dtype) for name in ("start_time", "end_time")} == {"datetime64[us, UTC]"}
    assert [sessions["start_time"][0].to_pydatetime(), sessions["end_time"][0].to_pydatetime()] == [FIRST, LAST]
    assert sessions["session_date"][0] == pd.Timestamp(NIGHT)


def test_polars_has_the_same_values_and_utc(lake: LakeReader) -> None:
    sessions = lake.sessions.to_polars(["session_id", "session_duration", "end_time"]).sort("session_id")
    assert sessions["session_duration"].to_list() == [LARGE, None, 0]
    assert sessions.schema["end_time"] == pl.Datetime("us", "UTC")
    assert sessions["end_time"][0] == LAST


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_the_types_and_the_meanings_of_the_data_dictionary(name: str, lake: LakeReader) -> None:
    assert lake.table(name).to_arrow().schema.equals(TABLES[name].arrow, check_metadata=True)
    assert list(lake.table(name).describe().index) == TABLES[name].names == lake.table(name).to_polars().columns


def test_rows_and_columns_are_selected_before_they_are_read(lake: LakeReader) -> None:
    some = {"columns": ["session_duration", "source"], "where": "source = 'sunbird' AND session_duration > 0 -- not zero"}
    expected = {"session_duration": [LARGE], "source": ["sunbird"]}
    sessions = lake.sessions
    assert sessions.to_arrow(**some).to_pydict() == sessions.to_pandas(**some).to_dict("list") == expected
    assert sessions.to_polars(**some).to_dict(as_series=False) == sessions.to_duckdb(**some).to_arrow_table().to_pydict() == expected
    plan = lake.connection.execute("EXPLAIN " + sessions.to_duckdb(**some).sql_query()).fetchall()[0][1]
    assert "session_date" not in plan
    assert "Scanning Files: 1/2" in plan


def test_tables_are_joined_in_sql(lake: LakeReader) -> None:
    joined = lake.sql("SELECT count(*) AS sessions, max(records) AS records FROM sessions JOIN files USING (source)")
    assert joined.fetchall() == [(2, 7)]


def test_an_opened_lake_stays_at_its_state_while_nights_are_published(tmp_path: Path) -> None:
    """Given a publication between the opening of the lake and the first read of most of its tables."""
    publish(tmp_path / "lake", {"sessions": SESSIONS[:1]})
    opened = open_lake(str(tmp_path / "lake"))
    publish(tmp_path / "lake", {"sessions": SESSIONS[1:], "files": [{}]}, run_id="20261122T021500-abc123")
    again = open_lake(tmp_path / "lake")
    for lake, sessions, files in ((opened, 1, 0), (again, 3, 1)):
        assert (len(lake.sessions.to_pandas()), lake.files.to_arrow().num_rows) == (sessions, files)
        assert lake.runs.to_polars()["state"].max() == lake.state
    assert again.state == opened.state + 1
    assert opened.versions["sessions"] < again.versions["sessions"]


def test_a_lake_in_a_bucket_gives_the_same_rows(lake: LakeReader) -> None:
    with bucket_server.serving():
        url = f"s3://{BUCKET}/{uuid.uuid4().hex}/lake"
        publish(BucketPath.of_url(url), {"sessions": SESSIONS})
        in_bucket = open_lake(url)
        some = {"columns": ["session_id", "session_duration", "end_time"], "where": "source = 'sunbird'"}
        assert in_bucket.sessions.to_arrow(**some).sort_by("session_id") == lake.sessions.to_arrow(**some).sort_by("session_id")
        assert in_bucket.sessions.to_pandas()["session_duration"].dtype == "Int64"
        with pytest.raises(LakeError, match=r"^no lake at s3://.*/nowhere: give open_lake the folder or the s3:// URL of one"):
            open_lake(f"s3://{BUCKET}/nowhere")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda lake: lake.table("session"), "no table is called 'session': did you mean sessions? `millrace describe` lists the tables"),
        (
            lambda lake: lake.sessions.to_pandas(["sesion_id"]),
            "no column is called 'sesion_id' in sessions: did you mean session_id? `millrace describe sessions` lists the columns",
        ),
        (
            lambda lake: lake.sessions.to_arrow(where="sorce = 'sunbird'"),
            "no column is called 'sorce' in sessions: did you mean source? `millrace describe sessions` lists the columns",
        ),
        (lambda lake: lake.sql("FROM evnts"), "no table is called 'evnts': did you mean events? `millrace describe` lists the tables"),
        (lambda lake: lake.sessions.to_polars("source"), "columns is one text: give a list, such as ['source']"),
        (lambda lake: lake.sessions.to_polars([]), "columns names no column: leave it out to read all"),
        (lambda lake: lake.sessions.to_duckdb(where="source = "), 'line 3: Parser Error: syntax error at or near ")"'),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest_one(wrong: Callable[[LakeReader], Any], says: str, lake: LakeReader) -> None:
    with pytest.raises(UsageError) as raised:
        wrong(lake)
    assert str(raised.value) == says


def test_tables_are_attributes_and_a_wrong_one_is_no_attribute(lake: LakeReader) -> None:
    assert set(TABLES) <= set(dir(lake))
    assert not set(TABLES) & set(vars(LakeReader)), "a table hides behind an attribute of the reader"
    assert not hasattr(lake, "session")
    with pytest.raises(AttributeError, match="did you mean sessions"):
        _ = lake.session


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("{tmp}/nowhere", "no lake at {tmp}/nowhere: give open_lake the folder or the s3:// URL of one, or make one with `millrace demo`"),
        ("{tmp}", "no lake at {tmp}: give open_lake the folder or the s3:// URL of one, or make one with `millrace demo`"),
        ("", "the path of the lake is empty: give open_lake a folder or an s3:// URL"),
        ("s3://", "s3:// names no bucket: write it as s3://BUCKET/FOLDER"),
    ],
)
def test_no_lake_is_one_line_with_the_remedy(path: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(MillraceError) as raised:
        open_lake(path.replace("{tmp}", str(tmp_path)))
    assert str(raised.value) == says.replace("{tmp}", str(tmp_path))


def test_files_that_are_gone_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    publish(tmp_path / "lake", {"sessions": SESSIONS})
    lake = open_lake(tmp_path / "lake")
    for file in (tmp_path / "lake" / "sessions").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(LakeError, match=f"files of state {lake.state} cannot be read: open the lake again"):
        lake.sessions.to_pandas()


def test_the_import_is_cheap_and_no_engine_is_loaded(root: Path) -> None:
    heavy = "{'deltalake', 'duckdb', 'pandas', 'polars', 'pyarrow', 'py4j', 'pyspark', 'pysail'} & set(sys.modules)"
    code = (
        f"import sys, jobs; print(sorted({heavy})); lake = jobs.open_lake(sys.argv[1]); lake.sessions.to_pandas(); print(sorted({heavy}))"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n['deltalake', 'duckdb', 'pandas', 'pyarrow']\n", "")


def test_the_schema_of_a_selection_is_that_of_its_columns(lake: LakeReader) -> None:
    assert lake.sessions.to_arrow(["session_duration"], "false").schema.equals(pa.schema([("session_duration", BIGINT)]))

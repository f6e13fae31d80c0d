"""What a client sends at the ends of the types stops no night and no command, and hides nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import extreme_documents
import pyarrow as pa
import pytest
from landed_lines import records_of, tables_of, workflow_summaries
from pyspark.sql import SparkSession
from rule_counts import observe
from tiny_lake import frame

from jobs.commands import program, run_nights
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.catalog import TABLES
from schemas.sessions import WORKFLOW_SUMMARIES
from schemas.suite import suite
from schemas.table import Table
from transforms.quality.rule_violations import columns_needed
from transforms.times import EARLIEST_MS, LATEST_MS

NANOSECONDS = b"""\
{"eid":"START","ets":1795132800000000000,"ver":"3.0","mid":"a1","actor":{"id":"u1","type":"User"},"context":{"channel":"ch","env":"h","did":"d"},"edata":{"type":"content"}}
{"eid":"IMPRESSION","ets":1795132800000600000,"ver":"3.0","mid":"a2","actor":{"id":"u1","type":"User"},"context":{"channel":"ch","env":"h","did":"d"},"edata":{"type":"view","pageid":"p","uri":"u"}}
"""


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_no_rule_raises_whatever_its_columns_hold(spark: SparkSession, table: Table) -> None:
    names = columns_needed(table)
    rows = [
        {name: None if name == null else _extreme(table[name].type, number) for name in names}
        for number in range(4)
        for null in (None, *names)
    ]
    extremes = pa.Table.from_pylist(rows, schema=pa.schema([pa.field(name, table[name].type) for name in names]))
    found = observe(spark, [extremes], [extremes], table)
    assert set(found) == {rule.name for rule in suite(table) if rule.kind != "filled"}


def _extreme(kind: pa.DataType, number: int) -> Any:
    """A value at an end of a type."""
    if pa.types.is_list(kind):
        return [_extreme(kind.value_type, number)] * (number and 3)
    if pa.types.is_struct(kind):
        return {field.name: _extreme(field.type, number) for field in kind}
    if pa.types.is_map(kind):
        return []
    ends: dict[pa.DataType, list[Any]] = {
        pa.int64(): [2**63 - 1, -(2**63), 0, -1],
        pa.int32(): [2**31 - 1, -(2**31), 0, -1],
        pa.float64(): [1.7e308, -1.7e308, float("nan"), float("inf")],
        pa.date32(): [dt.date.max, dt.date.min, dt.date(1970, 1, 1), dt.date.max],
        pa.string(): ["x" * 100_000, "", "\u0000", "\U0010ffff"],
        pa.binary(): [b"", b"\x00", b"\xff", b"x"],
        pa.bool_(): [True, False, True, False],
    }
    if pa.types.is_timestamp(kind):
        ms = [LATEST_MS, EARLIEST_MS, 0, -1][number]
        return pa.scalar(ms, pa.timestamp("ms", tz="UTC")).as_py()
    return ends[kind][number]


def test_a_workflow_in_nanoseconds_breaks_no_rule(spark: SparkSession) -> None:
    made = tables_of([records_of("sunbird/date=2026-11-20/hour=00/part.jsonl", NANOSECONDS)])
    [*summaries] = workflow_summaries(made)
    assert [event["time_source"] for event in made.events] == ["received", "received"]
    assert summaries
    assert {row["summary_date"] for row in summaries} == {None}
    rows = frame(WORKFLOW_SUMMARIES, summaries)
    assert set(observe(spark, [rows], [], WORKFLOW_SUMMARIES).values()) == {0}


def test_a_summary_date_that_is_not_of_its_start_breaks_the_rule(spark: SparkSession) -> None:
    wrong = [(0, dt.date(1970, 1, 2)), (0, None), (2**63 - 1, dt.date(1970, 1, 1))]
    right = [(0, dt.date(1970, 1, 1)), (2**63 - 1, None), (-(2**63), None), (253402300799999, dt.date.max), (-62135596800000, dt.date.min)]
    rows = [{"summary_id": str(number), "start_time": start, "summary_date": date} for number, (start, date) in enumerate(wrong + right)]
    assert observe(spark, [frame(WORKFLOW_SUMMARIES, rows)], [], WORKFLOW_SUMMARIES)["summary_date is the date of start_time"] == len(wrong)


@pytest.mark.usefixtures("spark", "without_arguments")
def test_a_night_of_extremes_is_published_and_every_command_shows_it(settings: Settings, tmp_path: Path) -> None:
    landing, lake_root = settings.paths.landing, settings.paths.lake
    extreme_documents.land_variants(landing)
    folder = landing / "sunbird" / "date=2026-11-20" / "hour=10"
    (folder / "nanoseconds.jsonl").write_bytes(NANOSECONDS)
    (folder / "summaries.jsonl").write_text("\n".join(map(json.dumps, _sessions_with_summaries())))
    assert run_nights.run(settings, [extreme_documents.NIGHT], [], "run") == 0
    lake = Lake.open(lake_root)
    files = lake.arrow("files").to_pylist()
    assert len(files) == 6
    for file in files:
        assert file["records"] == file["accepted"] + file["duplicates"] + file["rejected"]
        assert file["accepted"]
    sessions = lake.arrow("sessions", ["session_id", "source"])
    assert set(sessions["source"].to_pylist()) == {file["source"] for file in files}
    with_summary = [row for row in lake.arrow("sessions").to_pylist() if row["reported"] is not None]
    assert 1.7e308 in {row["reported"]["timespent"] for row in with_summary}
    assert len(with_summary) > len(extreme_documents.NUMBERS)
    chosen = sessions["session_id"].to_pylist()[::200] + [
        row["session_id"] for row in with_summary if row["reported"]["timespent"] == 1.7e308
    ]
    calls = [["session", session_id] for session_id in chosen]
    calls += [
        ["status"],
        ["quality"],
        ["report", "--date", "2026-11-20", "--out", str(tmp_path / "report.html")],
        ["site", "--out", str(tmp_path / "site")],
    ]
    calls += [["sql", f"SELECT * FROM {name}", "--format", shape] for name in ("sessions", "workflow_summaries") for shape in _SHAPES]
    for call in calls:
        arguments = [*call, "--landing", str(landing), "--lake", str(lake_root)]
        assert _exit_code(arguments) == 0, call


def _sessions_with_summaries() -> Iterator[dict[str, Any]]:
    """Per extreme number a session whose summary says it of everything."""
    for number, extreme in enumerate(extreme_documents.NUMBERS):
        common = {"ver": "3.0", "ets": 1795132800000, "actor": {"id": "u", "type": "User"}}
        common["context"] = {"channel": "c", "env": "e", "sid": f"with-summary-{number}", "did": "d"}
        yield common | {"eid": "IMPRESSION", "mid": f"view-{number}", "edata": {"type": "view", "pageid": "p", "uri": "u"}}
        said: dict[str, Any] = dict.fromkeys(("timespent", "pageviews", "interactions", "starttime", "endtime"), extreme)
        said["envsummary"] = [{"env": "e", "timespent": extreme, "visits": extreme}]
        said["pagesummary"] = [{"id": "p", "type": "t", "env": "e", "timespent": extreme, "visits": extreme}]
        said["eventssummary"] = [{"id": "x", "count": extreme}]
        yield common | {"eid": "SUMMARY", "mid": f"summary-{number}", "edata": {"type": "session"} | said}


_SHAPES = ("table", "csv", "json")


def _exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    return int(ended.value.code or 0)

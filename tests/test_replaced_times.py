"""Events whose own time is implausible: flagged, and a file of them is warned of."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from landed_lines import records_of, tables_of
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.commands.run_nights import run
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.events import EVENTS
from schemas.table import spark_schema
from transforms.quality import time_shares

NIGHT = dt.date(2026, 11, 20)
NOON = int(dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp() * 1000)
YEARS_AGO = NOON - 5 * 366 * 86_400_000


def sunbird(number: int, ets: Any) -> dict[str, Any]:
    return {
        "eid": "IMPRESSION", "ets": ets, "ver": "3.0", "mid": f"m{number}", "actor": {"id": "u", "type": "User"},
        "context": {"channel": "c", "env": "e", "sid": "s", "did": "d", "pdata": {"id": "app"}},
        "edata": {"type": "view", "pageid": "p", "uri": "u"},
    }  # fmt: skip


def lines(*times: Any) -> bytes:
    return b"".join(json.dumps(sunbird(number, ets)).encode() + b"\n" for number, ets in enumerate(times))


def test_an_event_of_five_years_ago_is_flagged_and_so_is_its_session() -> None:
    made = tables_of([records_of("sunbird/date=2026-11-20/hour=12/old.jsonl", lines(YEARS_AGO, YEARS_AGO + 60_000))])
    assert [event["flags"] for event in made.events] == [["time_replaced"]] * 2
    assert ["time_replaced" in session["flags"] for session in made.sessions] == [True]


def test_an_event_with_a_plausible_time_or_no_clock_of_a_client_is_not_flagged() -> None:
    made = tables_of([records_of("sunbird/date=2026-11-20/hour=12/new.jsonl", lines(NOON))])
    assert [event["flags"] for event in made.events] == [[]]


def worst(spark: SparkSession, files: dict[str, list[bool]], events_minimum: int) -> list[tuple[str, float]]:
    """The worst file of a source, and its share. Each file's events are counted in two halves."""
    schema = pa.schema([pa.field(name, EVENTS[name].type) for name in time_shares.COLUMNS])
    counts = []
    for start in (0, 1):
        rows = [
            {"source": "sunbird", "file": file, "flags": ["time_replaced"] if replaced else ["late"]}
            for file, events in files.items()
            for replaced in events[start::2]
        ]
        counts.append(time_shares.count_events([pa.Table.from_pylist(rows, schema=schema)]))
    frame = spark.createDataFrame(pa.concat_tables(counts), spark_schema(time_shares.EVENT_COUNTS))
    found = time_shares.worst_files(frame, {"sunbird": events_minimum}).toArrow().to_pylist()
    return [(row["file"], row["share"]) for row in found]


def test_the_worst_file_is_the_one_with_the_largest_share_among_files_that_are_not_tiny(spark: SparkSession) -> None:
    files = {"a": [True, False], "b": [True, True, False, True], "tiny": [True]}
    assert worst(spark, files, 2) == [("b", 0.75)]
    assert worst(spark, files, 5) == []


def test_of_files_with_the_same_share_the_first_by_name_is_the_worst(spark: SparkSession) -> None:
    assert worst(spark, {"c": [True, False], "b": [True, False, False, True], "d": [True, False]}, 2) == [("b", 0.5)]


def test_each_source_has_its_own_minimum_of_events(spark: SparkSession) -> None:
    of_files = [("sunbird", "a", 3, 3), ("sunbird", "b", 4, 1), ("homepagevisit", "a", 3, 2), ("homepagevisit", "b", 4, 1)]
    counts = spark.createDataFrame(of_files, "source string, file string, events bigint, replaced bigint")
    expected = spark.createDataFrame([("sunbird", "b", 0.25), ("homepagevisit", "a", 2 / 3)], "source string, file string, share double")
    made = time_shares.worst_files(counts, {"sunbird": 4, "homepagevisit": 3})
    assert_df_equality(made, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_night_warns_of_a_file_of_history_by_name(spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folder = settings.paths.landing / "sunbird" / f"date={NIGHT}" / "hour=12"
    folder.mkdir(parents=True)
    (folder / "new.jsonl").write_bytes(lines(*(NOON + number for number in range(100, 120))))
    history = b"".join(json.dumps(sunbird(number, YEARS_AGO + number)).encode() + b"\n" for number in range(12))
    (folder / "history.jsonl").write_bytes(history)
    assert run(settings, [NIGHT], ["sunbird"], "run") == 0
    assert "hour=12/history.jsonl" in capsys.readouterr().out
    results = Lake.open(settings.paths.lake).arrow("quality_results").to_pylist()
    (failed,) = [row for row in results if "replaced times" in row["expectation"]]
    assert (failed["passed"], failed["severity"], failed["observed"], failed["source"]) == (False, "warning", "1", "sunbird")


def test_the_bound_can_differ_per_source(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    file.write_text("quality: {sources: {sunbird: {time_replaced: {maximum: 0.9}}}}")
    loaded = configuration.load(file=file).quality
    assert (loaded.of("sunbird").time_replaced.maximum, loaded.of("contentsquare").time_replaced.maximum) == (0.9, 0.5)

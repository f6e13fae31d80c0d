"""Every reader finds a row by its values, whatever characters they have; and older lakes are mended."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path

import duckdb
import landed_lines
import polars as pl
import pyarrow.compute as pc
import pytest
import tiny_lake
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from lakes import contents
from pyspark.sql import SparkSession

from jobs import maintain
from jobs.commands import explain_session
from jobs.lake import log_statistics, table_files
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.catalog import TABLES

RARE = Path(__file__).parent / "rare-characters.jsonl"
LAST = "\U0010ffff"
# Of every plane a character, the edges of the basic one, a combining mark, and what JSON escapes.
CHARACTERS = [chr(plane << 16 | low) for plane in range(17) for low in (0x41, 0xBB7, 0xFFFD, 0xFFFF)]
CHARACTERS += ["\u0301", "\ud7ff", "\ue000", "\ufeff", "\x01", "\x7f", "\u2028", '"', "\\", "\n"]
TEXTS = (
    st.text(st.sampled_from(CHARACTERS), max_size=3) | st.text(max_size=40) | st.text(st.sampled_from(CHARACTERS), min_size=31, max_size=35)
)


def found(lake: Lake, *texts: str) -> dict[str, list[int]]:
    """Per reader, how many rows have each of these pages."""
    reader, sql = lake.dataset("events"), connect(lake)
    frame = pl.scan_delta(str(lake.root / "events"), version=lake.version("events"))
    with duckdb.connect() as other:
        other.register("events", reader)
        count = "SELECT count(*) FROM events WHERE page = ?"
        return {
            "delta-rs": [reader.count_rows(filter=pc.field("page") == text) for text in texts],
            "millrace sql": [sql.execute(count, [text]).fetchall()[0][0] for text in texts],
            "Polars": [frame.filter(pl.col("page") == text).select(pl.len()).collect().item() for text in texts],
            "DuckDB": [other.execute(count, [text]).fetchall()[0][0] for text in texts],
        }


@tries(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=1, max_size=15, unique=True))
@example(["𠮷野家", LAST * 31, LAST * 32, LAST * 33, "x" * 32 + LAST, "x" * 32, "x" * 33, "", *CHARACTERS])
def test_every_reader_finds_a_text_by_equality(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        # A file of its own for every other text, so that its bounds are as tight as they can be.
        dates = [tiny_lake.NIGHT - dt.timedelta(days=number if number % 2 else 0) for number in range(len(texts))]
        rows = [
            {"source": "sunbird", "event_id": str(number), "page": text, "landing_date": date}
            for number, (text, date) in enumerate(zip(texts, dates, strict=True))
        ]
        tiny_lake.publish(root, {"events": rows})
        for reader, counts in found(Lake.open(root), *texts).items():
            assert counts == [1] * len(texts), reader


def escaped(value: object) -> str:
    """JSON as earlier versions wrote it into the log."""
    return json.dumps(value, sort_keys=True)


@pytest.fixture
def old(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake whose log has escaped bounds."""
    with monkeypatch.context() as earlier:
        earlier.setattr(table_files, "as_json", escaped)
        earlier.setattr(table_files, "has_bounds", lambda column: True)
        tiny_lake.publish(settings.paths.lake, {"events": [{"source": "sunbird", "event_id": "e", "page": "𠮷野家"}]})
    return settings


def test_an_older_lake_hides_rows_until_it_is_maintained(spark: SparkSession, old: Settings) -> None:
    lake = old.paths.lake
    before = contents(lake)
    hidden = found(Lake.open(lake), "𠮷野家")
    assert (hidden["delta-rs"], hidden["Polars"]) == ([0], [0])
    assert len(log_statistics.misdescribed(Lake.open(lake), "events")) == 1
    assert maintain.run(old, tiny_lake.NIGHT) == 0
    assert all(counts == [1] for counts in found(Lake.open(lake), "𠮷野家").values())
    assert not any(log_statistics.misdescribed(Lake.open(lake), name) for name in TABLES)
    assert contents(lake) == before
    newest = max((lake / "events" / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in newest.read_text().splitlines()]
    assert [action["add"]["dataChange"] for action in actions if "add" in action] == [False]
    version = Lake.open(lake).version("events")
    assert maintain.run(old, tiny_lake.NIGHT) == 0
    assert Lake.open(lake).version("events") == version


def test_bounds_are_read_from_a_checkpoint_too(old: Settings) -> None:
    with Lake.writing(old.paths.lake, "test") as lake:
        lake.trim_logs(7)
        (file,) = log_statistics.misdescribed(lake, "events")
        stats = json.loads(log_statistics.described_again(lake, "events", [file])[0].stats)
        assert (stats["minValues"]["page"], stats["maxValues"]["page"]) == ("", LAST)
        assert (stats["minValues"]["event_date"], stats["nullCount"]["page"]) == (tiny_lake.NIGHT.isoformat(), 0)


def test_rare_characters_are_found_by_spark_and_in_their_session(
    spark: SparkSession, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    made = landed_lines.tables_of([landed_lines.records_of("sunbird/date=2026-11-20/hour=00/rare.jsonl", RARE.read_bytes())])
    root = settings.paths.lake
    landed_lines.publish(root, made)
    lake = Lake.open(root)
    assert lake.arrow("events", ["page"], (pc.field("page") == "𠮷野家") & (pc.field("user_id") == "𠮟")).num_rows == 1
    assert explain_session.show(settings, made.sessions[0]["session_id"]) == 0
    assert "𠮷野家" in capsys.readouterr().out
    rows = spark.read.format("delta").load(str(root / "events"))
    assert rows.filter("page = '𠮷野家' AND user_id = '𠮟'").count() == 1

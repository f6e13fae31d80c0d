"""The 500 real Sunbird events: all accepted, 24 sessions, two of them worked out by hand."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.commands import run_nights
from jobs.lake.tables import Lake

REAL = Path(__file__).parents[2] / "shared" / "data" / "sunbird" / "telemetry-500.jsonl"
NIGHT = dt.date(2019, 8, 20)

pytestmark = pytest.mark.skipif(not REAL.exists(), reason="the real events are not here")


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("real")
    landed = root / "landing" / "sunbird" / f"date={NIGHT}" / "hour=00" / "telemetry.jsonl"
    landed.parent.mkdir(parents=True)
    shutil.copy(REAL, landed)
    assert run_nights.run(configuration.load().at(root / "landing", root / "lake"), [NIGHT], [], "run") == 0
    return Lake.open(root / "lake")


def session(lake: Lake, key: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = lake.arrow("sessions", where=pc.field("session_key") == key).to_pylist()
    assert len(rows) == 1
    return rows[0]


def at(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=ms)


def test_all_are_accepted(lake: Lake) -> None:
    counts = ("records", "accepted", "duplicates", "rejected", "erased")
    assert [lake.arrow("files").to_pylist()[0][name] for name in counts] == [500, 500, 0, 0, 0]


def test_they_are_of_the_kinds_that_were_counted_in_the_file(lake: Lake) -> None:
    names = lake.arrow("events", ["event_name"])["event_name"]
    assert {row["values"]: row["counts"] for row in pc.value_counts(names).to_pylist()} == {
        "INTERACT": 280,
        "SEARCH": 67,
        "IMPRESSION": 57,
        "INTERRUPT": 33,
        "END": 21,
        "START": 20,
        "AUDIT": 8,
        "SHARE": 6,
        "EXDATA": 3,
        "RESPONSE": 2,
        "ASSESS": 2,
        "FEEDBACK": 1,
    }


def test_they_make_24_sessions_and_71_events_bear_no_session_id(lake: Lake) -> None:
    assert lake.arrow("sessions").num_rows == 24
    assert lake.arrow("events", ["session_key"])["session_key"].null_count == 71


def test_a_session_that_looks_at_one_page_to_its_end(lake: Lake) -> None:
    """Eleven events of one sid, 905,645 … 938,229 ms: no gap is idle, the fifth alone is in the library.

    Its gap of 334 ms is the library's; all that follows the only IMPRESSION (905,700) is that page's.
    """
    found = session(lake, "75565746-d402-43ed-8b65-243c12125ba0")
    assert (found["start_time"], found["end_time"]) == (at(1_566_242_905_645), at(1_566_242_938_229))
    assert (found["session_duration"], found["timespent"]) == (32_584, 32.584)
    assert (found["events"], found["pageviews"], found["interactions"]) == (11, 1, 10)
    assert found["envsummary"] == [{"env": "home", "timespent": 32.25, "visits": 2}, {"env": "library", "timespent": 0.334, "visits": 1}]
    assert [(page["type"], page["env"], page["timespent"], page["visits"]) for page in found["pagesummary"]] == [
        ("view", "home", 32.529, 1)
    ]
    assert found["eventssummary"] == [{"id": "IMPRESSION", "count": 1}, {"id": "INTERACT", "count": 10}]
    assert found["flags"] == ["no_end"]


def test_a_session_that_goes_to_the_background_three_times(lake: Lake) -> None:
    """Ten events, 905,653 … 987,480 ms; the gaps after the three `background` (2,258, 16,552 and 29,966 ms) count 0.

    What counts: 147 (app), 10,577 (sdk), 15,013, 6,740 and 499 (app), 75 (home) = 33,051 ms.
    """
    found = session(lake, "ed74988d-34b6-42aa-be15-062b5e71cd28")
    assert (found["session_duration"], found["timespent"]) == (81_827, 33.051)
    assert (found["events"], found["pageviews"], found["interactions"]) == (10, 0, 4)
    assert found["envsummary"] == [
        {"env": "app", "timespent": 22.399, "visits": 2},
        {"env": "home", "timespent": 0.075, "visits": 1},
        {"env": "sdk", "timespent": 10.577, "visits": 1},
    ]
    assert (found["pagesummary"], found["entry_page"], found["exit_page"]) == ([], None, None)


def test_time_in_environments_adds_up_in_every_session(lake: Lake) -> None:
    for row in lake.arrow("sessions").to_pylist():
        spent = round(row["timespent"] * 1000)
        assert sum(round(part["timespent"] * 1000) for part in row["envsummary"]) == spent
        assert sum(round(part["timespent"] * 1000) for part in row["pagesummary"]) <= spent

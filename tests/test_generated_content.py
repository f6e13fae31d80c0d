"""What a generated night holds: every codec, envelope, reason of refusal, repetition, gap and peculiarity that the rules speak of."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from generated_nights import (
    FIRST,
    MINUTE_MS,
    accepted_records,
    build_sessions,
    contexts,
    date_of,
    decompressed,
    distinct_events,
    gaps_within_keys,
    json_documents,
    landed_files,
    properties,
    read_records_once,
    session_keys,
)

from jobs.generator.format import Format
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate, truth
from jobs.generator.visits import begun
from schemas.events import REASONS

ENVELOPES = {
    "activity_stream": {"single", "array", "batch"},
    "contentsquare": {"batch"},
    "homepagevisit": {"single", "array"},
    "sunbird": {"single", "array", "batch"},
}


@pytest.fixture(scope="module")
def events_of_night(generated_night: Path) -> dict[str, pa.Table]:
    """Per source the distinct events of the night."""
    return {source: distinct_events(read_records_once(generated_night, source)[0]) for source in FORMATS}


def test_files_have_every_codec_and_every_allowed_peculiarity(generated_night: Path) -> None:
    files = [file for source in FORMATS for file in landed_files(generated_night, source)]
    texts = [decompressed(file) for file in files]
    assert {"".join(file.suffixes) for file in files} >= {".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".jsonl.bz2"}
    assert any(text.startswith(b"\xef\xbb\xbf") for text in texts)
    assert any(text.endswith(b"\r\n") for text in texts)
    assert any(not text.endswith(b"\n") for text in texts)

    counts = truth(generated_night, FIRST, FIRST).sources

    assert all(part.blank and part.empty for part in counts.values())


@pytest.mark.parametrize("source", FORMATS)
def test_records_land_in_every_envelope(generated_night: Path, source: str) -> None:
    lists = {"sunbird": "events", "contentsquare": "pl", "activity_stream": "payloads"}
    envelopes = {
        "array" if type(line) is list else "batch" if type(line) is dict and lists.get(source) in line else "single"
        for line in json_documents(generated_night, source)
        if line not in ([], {})
    }
    assert envelopes >= ENVELOPES[source]


@pytest.mark.parametrize("source", FORMATS)
def test_records_are_refused_for_every_reason(generated_night: Path, source: str) -> None:
    records, _ = read_records_once(generated_night, source)
    assert set(records["reason"].drop_null().to_pylist()) == set(REASONS) - {"too_large"}


def test_invalid_json_is_invalid_in_every_way(generated_night: Path) -> None:
    raw = [
        text
        for source in FORMATS
        for text in read_records_once(generated_night, source)[0].filter(pc.field("reason") == "invalid_json")["raw"].to_pylist()
    ]
    assert any(text.endswith(b":NaN}") for text in raw)
    assert any(b"\xff" in text for text in raw)
    assert any(text.endswith(b'"\\ud83d"}') for text in raw)
    assert any(not text.endswith(b"}") for text in raw)


@pytest.mark.parametrize("source", FORMATS)
def test_events_are_repeated_in_the_same_file_in_another_file_and_on_another_night(generated_week: Path, source: str) -> None:
    records = accepted_records(read_records_once(generated_week, source)[0])
    files_by_event: dict[str, list[tuple[dt.date, str]]] = defaultdict(list)
    for row in records.select(["event_id", "landing_date", "file"]).to_pylist():
        files_by_event[row["event_id"]].append((row["landing_date"], row["file"]))

    def nights_of(files: Iterable[tuple[dt.date, str]]) -> set[dt.date]:
        return {night for night, _ in files}

    assert any(len(set(files)) < len(files) for files in files_by_event.values())
    assert any(len(nights_of(files)) < len(set(files)) for files in files_by_event.values())
    assert any(len(nights_of(files)) > 1 for files in files_by_event.values())


@pytest.mark.parametrize("source", FORMATS)
def test_some_events_arrive_days_late(events_of_night: dict[str, pa.Table], source: str) -> None:
    days = {(FIRST - time.date()).days for time in events_of_night[source]["event_time"].to_pylist()}
    assert days & {2, 3, 4, 5}
    assert max(days) <= 7


def test_some_sessions_of_every_source_continue_over_midnight(tmp_path: Path) -> None:
    for number in range(2):
        generate(tmp_path, date_of(number), 2_000)
    assert all(part.sessions.over_midnight for part in truth(tmp_path, date_of(0), date_of(1)).sources.values())


@pytest.mark.parametrize("source", ["sunbird", "contentsquare"])
def test_some_gaps_are_idle_and_some_exactly_at_the_limit(generated_week: Path, source: str) -> None:
    gaps = gaps_within_keys(distinct_events(read_records_once(generated_week, source)[0]))
    assert {10 * MINUTE_MS, 10 * MINUTE_MS + 1} <= gaps
    assert any(11 * MINUTE_MS < gap < 60 * MINUTE_MS for gap in gaps)
    assert any(0 < gap < MINUTE_MS for gap in gaps)


@pytest.mark.parametrize("source", ["sunbird", "homepagevisit"])
def test_some_gaps_end_a_session_and_some_are_exactly_at_the_limit(generated_week: Path, source: str) -> None:
    gaps = gaps_within_keys(distinct_events(read_records_once(generated_week, source)[0]))
    assert 30 * MINUTE_MS in gaps
    assert any(30 * MINUTE_MS < gap < 180 * MINUTE_MS for gap in gaps)


def test_most_summaries_of_clients_agree_with_their_events_and_some_do_not(events_of_night: dict[str, pa.Table]) -> None:
    rows = [row for row in build_sessions(events_of_night["sunbird"])["session"].to_pylist() if row is not None]
    mismatched = ["reported_mismatch" in row["flags"] for row in rows if row["reported"] is not None]
    assert any(mismatched)
    assert mismatched.count(False) > len(mismatched) / 2


def test_session_lengths_have_a_heavy_tail() -> None:
    for source in FORMATS.values():
        lengths = source.crowd.lengths((np.arange(10_000) + 0.5) / 10_000)
        assert lengths.max() > 8 * np.median(lengths)


CONTENTS: dict[str, tuple[str, Callable[[pa.Table], Any]]] = {
    "a session with an id": ("sunbird", lambda events: pc.sum(pc.is_valid(events["session_key"])).as_py()),
    "a session without": (
        "sunbird",
        lambda events: any(key and sid is None for key, sid in zip(session_keys(events), events["session_key"].to_pylist(), strict=True)),
    ),
    "events without any key": ("sunbird", lambda events: None in session_keys(events)),
    "events of a service": ("sunbird", lambda events: any("did" not in context["context"] for context in contexts(events))),
    "someone who has not signed in": ("sunbird", lambda events: events["user_id"].null_count),
    "a federated user": ("sunbird", lambda events: any(context["actor"]["id"].startswith("f:") for context in contexts(events))),
    "kinds that the format does not name": ("sunbird", lambda events: {"SHARE_ITEM", "JOB_START"} & set(events["event_name"].to_pylist())),
    "both versions": ("sunbird", lambda events: set(events["format_version"].to_pylist()) == {"3.0", "3.1"}),
    "a number as a text": ("sunbird", lambda events: any(type(data.get("timespent")) is str for data in properties(events))),
    "a player within a session": ("sunbird", lambda events: any(data.get("mode") == "play" for data in properties(events))),
    "the background": ("sunbird", lambda events: any(str(data.get("type")).lower() == "background" for data in properties(events))),
    "a null where there might be an object": (
        "sunbird",
        lambda events: any('"cData":null' in text for text in events["context"].to_pylist()),
    ),
    "times in seconds": ("sunbird", lambda events: any("ets_in_seconds" in flags for flags in events["flags"].to_pylist())),
    "times with an exponent": ("sunbird", lambda events: any(type(context["ets"]) is float for context in contexts(events))),
    "a phone's clock that is years ahead": (
        "sunbird",
        lambda events: any(time.year > FIRST.year + 1 for time in events["client_time"].to_pylist()),
    ),
    "servers' times of their own": ("sunbird", lambda events: any("@timestamp" in context for context in contexts(events))),
    "a duration that cannot be": ("sunbird", lambda events: any("duration_implausible" in flags for flags in events["flags"].to_pylist())),
    "the year 2378": ("contentsquare", lambda events: any(time.year > 2370 for time in events["client_time"].to_pylist())),
    "transactions in several currencies": (
        "contentsquare",
        lambda events: len({data["tr"]["cu"] for data in properties(events) if "tr" in data}) > 2,
    ),
    "variables": ("contentsquare", lambda events: {"string_variable", "integer_variable"} <= set(events["event_name"].to_pylist())),
    "actions that the format does not name": ("contentsquare", lambda events: "other" in events["event_type"].to_pylist()),
    "a batch that was sent in the future": (
        "contentsquare",
        lambda events: any("clock_skew" in flags for flags in events["flags"].to_pylist()),
    ),
    "several devices": ("contentsquare", lambda events: len(set(events["device_id"].to_pylist())) > 10),
    "several languages": ("contentsquare", lambda events: len(set(events["locale"].to_pylist())) > 2),
    "several versions of the app": ("contentsquare", lambda events: len(set(events["app_version"].to_pylist())) > 2),
    "pings that name their session": ("activity_stream", lambda pings: pc.sum(pc.is_valid(pings["session_key"])).as_py()),
    "pings that name their tab": ("activity_stream", lambda pings: any("tab_id" in ping for ping in properties(pings))),
    "performance pings": ("activity_stream", lambda pings: "performance" in pings["event_type"].to_pylist()),
    "pings of other actions": ("activity_stream", lambda pings: "other" in pings["event_type"].to_pylist()),
    "pings without a time": (
        "activity_stream",
        lambda pings: any("timestamp" not in ping and "receive_at" not in ping for ping in properties(pings)),
    ),
    "times in words": ("activity_stream", lambda pings: any(type(ping.get("receive_at")) is str for ping in properties(pings))),
    "a session that does not say how long it was": (
        "activity_stream",
        lambda pings: any("session_duration" not in ping for ping in properties(pings.filter(pc.field("event_type") == "session"))),
    ),
    "two session pings for one tab": (
        "activity_stream",
        lambda pings: Counter(pings.filter(pc.field("event_type") == "session")["device_id"].to_pylist()).most_common(1)[0][1] > 1,
    ),
    "visits of the canary": ("homepagevisit", lambda visits: "other" in visits["event_type"].to_pylist()),
    "visits without an id": ("homepagevisit", lambda visits: any(len(event_id) == 64 for event_id in visits["event_id"].to_pylist())),
    "visits with an id of the old kind": ("homepagevisit", lambda visits: any("uuid" in context for context in contexts(visits))),
    "visits without a client's time": ("homepagevisit", lambda visits: visits["client_time"].null_count),
    "several wikis": ("homepagevisit", lambda visits: len(set(visits["environment"].to_pylist())) > 3),
    "several versions of the schema": ("homepagevisit", lambda visits: len(set(visits["format_version"].to_pylist())) > 2),
    "user 0": ("homepagevisit", lambda visits: any(user.endswith(":0") for user in visits["user_id"].to_pylist())),
    "a negative user": ("homepagevisit", lambda visits: any(":-" in user for user in visits["user_id"].to_pylist())),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_night_holds(case: str, events_of_night: dict[str, pa.Table]) -> None:
    source, is_in = CONTENTS[case]
    assert is_in(events_of_night[source])


@pytest.mark.parametrize(
    ("source", "secret"), [("activity_stream", '"ip":"'), ("homepagevisit", '"x-forwarded-for":"'), ("sunbird", '"x-real-ip":"')]
)
def test_secrets_land_and_reach_no_column(generated_night: Path, events_of_night: dict[str, pa.Table], source: str, secret: str) -> None:
    assert any(secret.encode() in decompressed(file) for file in landed_files(generated_night, source))
    texts = events_of_night[source]["properties"].to_pylist() + events_of_night[source]["context"].to_pylist()
    assert not any(secret in text for text in texts)


def test_some_session_pings_are_repeated_from_another_address(generated_week: Path) -> None:
    addresses = defaultdict(set)
    for line in json_documents(generated_week, "activity_stream"):
        for ping in line if type(line) is list else [line]:
            if type(ping) is dict and "session_duration" in ping:
                addresses[ping["client_id"], ping.get("timestamp", ping.get("receive_at"))].add(ping.get("ip"))
    assert any(len(of_ping) > 1 for of_ping in addresses.values())


@pytest.mark.parametrize("source", FORMATS.values(), ids=FORMATS)
def test_people_come_back_less_and_less_often(source: Format) -> None:
    """Given two months of visits, and the people who were there for the first time in some of its days."""
    days_of: dict[int, list[int]] = {}
    for day in range(20_000, 20_060):
        visits = begun(5, source.crowd, day, np.arange(300), source.reused)
        ordinary = visits.person[visits.scenario == 0].tolist()
        assert len(set(ordinary)) == len(ordinary)
        for person in ordinary:
            days_of.setdefault(person, []).append(day)
    since_first = [[day - days[0] for day in days] for days in days_of.values() if 20_025 <= days[0] < 20_031]
    returning = [sum(first <= day <= last for days in since_first for day in days) for first, last in ((1, 7), (8, 14), (15, 21), (22, 28))]
    assert returning == sorted(returning, reverse=True)
    assert len(since_first) * 0.4 < returning[0] < len(since_first)
    assert 0 < returning[-1] < returning[0] / 2

"""Generated nights: what they hold, that they are the same every time, and that the truth about them is what the rules make of them."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import hashlib
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.generator.arrivals import Parameters, arrivals
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate, truth
from jobs.generator.session_counts import SessionCounts
from jobs.generator.truth import SourceTruth, Truth
from schemas.events import REASONS
from transforms import sessions
from transforms.lines import split_lines
from transforms.records import Counts, Place, TimeRules, to_records
from transforms.sources import SOURCES

FIRST = dt.date(2026, 11, 20)
NIGHTS = 8
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


def date(night: int) -> dt.date:
    return FIRST + dt.timedelta(night)


def content(file: Path) -> bytes:
    packed = file.read_bytes()
    return gzip.decompress(packed) if file.suffix == ".gz" else bz2.decompress(packed) if file.suffix == ".bz2" else packed


def landed_files(landing: Path, source: str) -> list[Path]:
    """The source's files in the order in which they landed."""
    return sorted((landing / source).glob("date=*/hour=*/*"), key=lambda file: file.as_posix().encode())


def fingerprints(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def read(landing: Path, source: str) -> tuple[pa.Table, Counts]:
    """All records of a source as the transforms see them, in the order in which they landed, and their counts."""
    batches, counts = [], Counts()
    for file in landed_files(landing, source):
        landed, hour = (part.split("=")[1] for part in file.parts[-3:-1])
        place = Place(source, dt.date.fromisoformat(landed), int(hour), file.relative_to(landing).as_posix())
        batch, held = to_records(SOURCES[source], list(split_lines([content(file)])), place, TimeRules())
        batches.append(batch.take(pc.sort_indices(batch, [("record", "ascending"), ("position", "ascending")])))
        counts += held
    return pa.Table.from_batches(batches), counts


# For the landing zones that no test changes.
read_once = cache(read)


def valid(records: pa.Table) -> pa.Table:
    return records.filter(pc.field("status") == "accepted")


def first_copies(records: pa.Table) -> pa.Table:
    """The valid records without those that repeat one landed before."""
    seen: dict[str, int] = {}
    for row, event_id in enumerate(valid(records)["event_id"].to_pylist()):
        seen.setdefault(event_id, row)
    return valid(records).take(pa.array(list(seen.values())))


def computed(landing: Path, source: str) -> SourceTruth:
    """The truth about what has landed of a source, by the transforms."""
    records, counts = read(landing, source)
    accepted = first_copies(records)
    refused = Counter(records["reason"].drop_null().to_pylist())
    return SourceTruth(
        files=len(landed_files(landing, source)),
        records=counts.records,
        accepted=len(accepted),
        duplicates=counts.records - counts.rejected - len(accepted),
        rejected=counts.rejected,
        reasons={reason: refused[reason] for reason in REASONS},
        blank=counts.blank,
        empty=counts.empty,
        event_types=dict(Counter(accepted["event_type"].to_pylist())),
        sessions=computed_sessions(source, accepted),
    )


def build(accepted: pa.Table) -> pa.Table:
    return pa.Table.from_batches(
        sessions.build(map(sessions.as_input, accepted.select(sessions.INPUT.names).to_batches()), sessions.SessionRules()), sessions.BUILT
    )


def computed_sessions(source: str, accepted: pa.Table) -> SessionCounts:
    built = build(accepted)
    rows = [row for row in built["session"].to_pylist() if row is not None]
    unassigned = sum(part["count"] for row in built["chain"].to_pylist() if row is not None for part in row["unassigned"])
    of_pings = source == "activity_stream"

    def total(column: str) -> int:
        return sum(row[column] or 0 for row in rows)

    return SessionCounts(
        sessions=len(rows),
        session_duration=total("session_duration"),
        timespent=sum(round((row["timespent"] or 0) * 1000) for row in rows),
        pageviews=total("pageviews"),
        interactions=total("interactions"),
        events=total("events"),
        over_midnight=sum(row["start_time"].date() != row["end_time"].date() for row in rows),
        orphan_events=unassigned if of_pings else 0,
        sessionless_events=0 if of_pings else unassigned,
        keyless_events=keys(accepted).count(None),
    )


def keys(records: pa.Table) -> list[str | None]:
    return list(pc.struct_field(records["session_input"].combine_chunks(), "key").to_pylist())


def gaps_of_keys(accepted: pa.Table) -> set[int]:
    """The gaps, in ms, between the events of each session key."""
    times = defaultdict(list)
    for key, time in zip(keys(accepted), accepted["event_time"].cast(pa.int64()).to_pylist(), strict=True):
        if key is not None:
            times[key].append(time // 1000)
    return {after - before for of_key in times.values() for before, after in zip(sorted(of_key)[:-1], sorted(of_key)[1:], strict=True)}


def properties(records: pa.Table) -> list[Any]:
    return [orjson.loads(text) for text in records["properties"].to_pylist()]


def contexts(records: pa.Table) -> list[Any]:
    return [orjson.loads(text) for text in records["context"].to_pylist()]


def lines(landing: Path, source: str) -> list[Any]:
    """The documents of all lines that are JSON."""
    documents = []
    for file in landed_files(landing, source):
        for line in content(file).removeprefix(b"\xef\xbb\xbf").splitlines():
            try:
                documents.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue
    return documents


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One night of about 2,000 records."""
    landing = tmp_path_factory.mktemp("night")
    generate(landing, FIRST, 2_000)
    return landing


@pytest.fixture(scope="module")
def accepted_of_night(night: Path) -> dict[str, pa.Table]:
    return {source: first_copies(read_once(night, source)[0]) for source in FORMATS}


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight nights with many faults, so that most late and repeated events land among them and some do not."""
    landing = tmp_path_factory.mktemp("week")
    for number in range(NIGHTS):
        generate(landing, date(number), 2_500, faults=0.12)
    return landing


# the truth


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(("first", "last"), [(0, NIGHTS - 1), (0, 0), (3, 5)])
def test_the_truth_is_what_the_transforms_make_of_just_these_nights(week: Path, source: str, first: int, last: int, tmp_path: Path) -> None:
    for number in range(first, last + 1):
        shutil.copytree(week / source / f"date={date(number)}", tmp_path / source / f"date={date(number)}")
    assert computed(tmp_path, source) == truth(week, date(first), date(last)).sources[source]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("events", [30, 400])
def test_the_truth_of_a_small_night_is_exact(source: str, events: int, tmp_path: Path) -> None:
    told = generate(tmp_path, FIRST, events, [source], seed=8)
    assert computed(tmp_path, source) == told.sources[source]


def test_nights_of_different_sizes_seeds_and_faults_have_an_exact_truth(tmp_path: Path) -> None:
    for number, (events, seed, faults) in enumerate([(200, 1, 0.03), (3_000, 1, 0.3), (900, 2, 0.0), (900, 1, 0.9)]):
        generate(tmp_path, date(number), events, seed=seed, faults=faults)
    told = truth(tmp_path, date(0), date(3))
    assert {source: computed(tmp_path, source) for source in FORMATS} == told.sources


def test_the_truths_of_nights_add_up_but_for_what_nights_share(week: Path) -> None:
    nights = [truth(week, date(number), date(number)).total for number in range(NIGHTS)]
    all_nights = truth(week, date(0), date(NIGHTS - 1)).total
    for count in ("files", "records", "rejected", "blank", "empty"):
        assert getattr(all_nights, count) == sum(getattr(one, count) for one in nights)
    assert all_nights.accepted + all_nights.duplicates == sum(one.accepted + one.duplicates for one in nights)
    # A copy is an event to the night that it lands on alone, and a session over midnight is one to each of its nights.
    assert all_nights.duplicates > sum(one.duplicates for one in nights)
    assert all_nights.sessions.sessions < sum(one.sessions.sessions for one in nights)


def test_the_total_is_the_sum_of_the_sources(week: Path) -> None:
    told = truth(week, date(0), date(NIGHTS - 1))
    assert told.total.records == sum(part.records for part in told.sources.values())
    assert told.total.sessions.timespent == sum(part.sessions.timespent for part in told.sources.values())
    assert told.total.reasons["invalid_json"] == sum(part.reasons["invalid_json"] for part in told.sources.values())


def test_the_truth_is_written_beside_the_night(night: Path) -> None:
    written = orjson.loads((night / "_truth" / f"{FIRST}.json").read_bytes())
    assert Truth.from_json({name: written[name] for name in ("first", "last", "total", "sources")}) == truth(night, FIRST, FIRST)


def test_the_truth_can_be_asked_for_before_anything_is_written(night: Path) -> None:
    shares = {"sunbird": 800, "contentsquare": 600, "activity_stream": 400, "homepagevisit": 200}
    planned = {FIRST: {source: Parameters(seed=1, events=events, faults=0.03) for source, events in shares.items()}}
    assert truth(planned, FIRST, FIRST) == truth(night, FIRST, FIRST)


def test_the_truth_of_nights_that_were_not_generated_is_empty(night: Path) -> None:
    told = truth(night, date(1), date(9))
    assert (told.sources, told.total.records) == ({}, 0)


# the same every time


def test_a_night_is_the_same_whatever_other_nights_there_are(week: Path, tmp_path: Path) -> None:
    generate(tmp_path, date(4), 2_500, faults=0.12)
    alone = fingerprints(tmp_path)
    assert alone == {name: sha256 for name, sha256 in fingerprints(week).items() if str(date(4)) in name}
    generate(tmp_path, date(4), 2_500, faults=0.12)
    assert fingerprints(tmp_path) == alone


def test_a_night_is_the_same_by_any_number_of_workers(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["jobs.generator.generate"], "_WORTH_A_POOL", 0)
    generate(tmp_path, FIRST, 2_000, workers=2)
    assert fingerprints(tmp_path) == fingerprints(night)


def test_another_seed_is_another_night(night: Path, tmp_path: Path) -> None:
    generate(tmp_path, FIRST, 2_000, seed=2)
    before = set(read_once(night, "sunbird")[0]["event_id"].drop_null().to_pylist())
    assert before.isdisjoint(read(tmp_path, "sunbird")[0]["event_id"].drop_null().to_pylist())


def test_generating_a_night_again_replaces_its_partitions_of_these_sources_alone(tmp_path: Path) -> None:
    generate(tmp_path, FIRST, 900)
    generate(tmp_path, date(1), 900)
    stale = tmp_path / "sunbird" / f"date={FIRST}" / "hour=00" / "part-00099.json"
    stale.parent.mkdir(exist_ok=True)
    stale.write_bytes(b"{}")
    before = fingerprints(tmp_path)
    generate(tmp_path, FIRST, 300, ["sunbird"])
    after = fingerprints(tmp_path)
    assert not stale.exists()
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name.partition("/hour=")[0] for name in touched} == {f"sunbird/date={FIRST}", f"_truth/{FIRST}.json"}
    assert {source: computed(tmp_path, source) for source in FORMATS} == truth(tmp_path, FIRST, date(1)).sources


def test_a_source_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such source: sunbeam"):
        generate(tmp_path, FIRST, 100, ["sunbird", "sunbeam"])


# how much


@pytest.mark.parametrize("events", [500, 2_000, 20_000])
def test_about_so_many_records_arrive_as_were_asked_for(events: int) -> None:
    records = [len(arrivals(source, Parameters(3, events, 0.03), 20_777)) for source in FORMATS.values()]
    assert records == [pytest.approx(events, rel=0.12)] * len(FORMATS)


def test_a_third_of_the_faults_each_are_late_repeated_and_bad() -> None:
    parameters, day = Parameters(seed=1, events=60_000, faults=0.09), 20_777
    for source in FORMATS.values():
        rows = arrivals(source, parameters, day)
        copies = len(rows) - int((rows.bad > 0).sum()) - len(np.unique(rows.bits[rows.bad == 0]))
        assert (rows.bad > 0).mean() == pytest.approx(0.03, rel=0.1)
        # Those that repeat an event of an earlier night are not seen here.
        assert 0.01 < copies / len(rows) < 0.03
        assert ((rows.arrival - rows.sent) >= DAY_MS).mean() == pytest.approx(0.04, rel=0.25)


def test_without_faults_nothing_is_late_repeated_or_bad() -> None:
    for source in FORMATS.values():
        rows = arrivals(source, Parameters(seed=1, events=5_000, faults=0), 20_777)
        assert not rows.bad.any()
        assert len(np.unique(rows.bits)) == len(rows)
        assert (rows.arrival == rows.sent).all()


def test_no_events_are_no_files(tmp_path: Path) -> None:
    told = generate(tmp_path, FIRST, 0)
    assert (told.total.files, told.total.records) == (0, 0)
    assert [name for name in fingerprints(tmp_path) if "hour=" in name] == []


def test_a_busy_hour_has_several_files() -> None:
    rows = arrivals(FORMATS["contentsquare"], Parameters(seed=1, events=400_000, faults=0.03), 20_777)
    files = [len(np.unique(rows.file[rows.hour == hour])) for hour in range(24)]
    assert min(files) == 1
    assert max(files) > 2


def test_more_arrives_in_the_evening_than_in_the_small_hours() -> None:
    rows = arrivals(FORMATS["contentsquare"], Parameters(seed=1, events=20_000, faults=0.03), 20_777)
    per_hour = np.bincount(rows.hour, minlength=24)
    assert per_hour[18:22].sum() > 3 * per_hour[1:5].sum()


# what a night of 2,000 records holds


def test_files_come_in_every_codec_and_with_every_oddity_that_is_allowed(night: Path) -> None:
    files = [file for source in FORMATS for file in landed_files(night, source)]
    texts = [content(file) for file in files]
    assert {"".join(file.suffixes) for file in files} >= {".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".jsonl.bz2"}
    assert any(text.startswith(b"\xef\xbb\xbf") for text in texts)
    assert any(text.endswith(b"\r\n") for text in texts)
    assert any(not text.endswith(b"\n") for text in texts)
    told = truth(night, FIRST, FIRST)
    assert all(part.blank and part.empty for part in told.sources.values())


@pytest.mark.parametrize("source", FORMATS)
def test_records_travel_in_every_envelope(night: Path, source: str) -> None:
    lists = {"sunbird": "events", "contentsquare": "pl", "activity_stream": "payloads"}
    found = {
        "array" if type(line) is list else "batch" if type(line) is dict and lists.get(source) in line else "single"
        for line in lines(night, source)
        if line not in ([], {})
    }
    envelopes = {"contentsquare": {"batch"}, "homepagevisit": {"single", "array"}}.get(source, {"single", "array", "batch"})
    assert found >= envelopes


@pytest.mark.parametrize("source", FORMATS)
def test_records_are_refused_for_every_reason(night: Path, source: str) -> None:
    records, _ = read_once(night, source)
    assert set(records["reason"].drop_null().to_pylist()) == set(REASONS) - {"too_large"}


def test_what_is_no_json_comes_in_every_form(night: Path) -> None:
    raw = [
        text for source in FORMATS for text in read_once(night, source)[0].filter(pc.field("reason") == "invalid_json")["raw"].to_pylist()
    ]
    assert any(text.endswith(b":NaN}") for text in raw)
    assert any(b"\xff" in text for text in raw)
    assert any(text.endswith(b'"\\ud83d"}') for text in raw)
    assert any(not text.endswith(b"}") for text in raw)


@pytest.mark.parametrize("source", FORMATS)
def test_events_come_again_in_the_same_file_in_another_and_on_another_night(week: Path, source: str) -> None:
    places: dict[str, set[tuple[dt.date, str]]] = defaultdict(set)
    same_file = 0
    for event_id, landed, file in zip(
        *(valid(read_once(week, source)[0])[name].to_pylist() for name in ("event_id", "landing_date", "file")), strict=True
    ):
        same_file += (landed, file) in places[event_id]
        places[event_id].add((landed, file))
    assert same_file
    assert any(len({landed for landed, _ in found}) < len(found) for found in places.values())
    assert any(len({landed for landed, _ in found}) > 1 for found in places.values())


@pytest.mark.parametrize("source", FORMATS)
def test_some_events_arrive_days_late(accepted_of_night: dict[str, pa.Table], source: str) -> None:
    days = {(FIRST - time.date()).days for time in accepted_of_night[source]["event_time"].to_pylist()}
    assert days & {2, 3, 4, 5}
    assert max(days) <= 7


def test_sessions_go_on_over_midnight_in_every_source(tmp_path: Path) -> None:
    for number in range(2):
        generate(tmp_path, date(number), 2_000)
    assert all(part.sessions.over_midnight for part in truth(tmp_path, date(0), date(1)).sources.values())


@pytest.mark.parametrize("source", ["sunbird", "contentsquare"])
def test_some_gaps_are_idle_and_some_exactly_at_the_limit(week: Path, source: str) -> None:
    gaps = gaps_of_keys(first_copies(read_once(week, source)[0]))
    assert {10 * MINUTE_MS, 10 * MINUTE_MS + 1} <= gaps
    assert any(11 * MINUTE_MS < gap < 60 * MINUTE_MS for gap in gaps)
    assert any(0 < gap < MINUTE_MS for gap in gaps)


@pytest.mark.parametrize("source", ["sunbird", "homepagevisit"])
def test_some_silences_end_a_session_and_some_just_do_not(week: Path, source: str) -> None:
    gaps = gaps_of_keys(first_copies(read_once(week, source)[0]))
    assert 30 * MINUTE_MS in gaps
    assert any(30 * MINUTE_MS < gap < 180 * MINUTE_MS for gap in gaps)


def test_most_summaries_of_clients_agree_with_their_events_and_some_do_not(accepted_of_night: dict[str, pa.Table]) -> None:
    rows = [row for row in build(accepted_of_night["sunbird"])["session"].to_pylist() if row is not None]
    mismatched = ["reported_mismatch" in row["flags"] for row in rows if row["reported"] is not None]
    assert any(mismatched)
    assert mismatched.count(False) > len(mismatched) / 2


def test_session_lengths_have_a_heavy_tail() -> None:
    for source in FORMATS.values():
        lengths = source.crowd.lengths((np.arange(10_000) + 0.5) / 10_000)
        assert lengths.max() > 8 * np.median(lengths)


PHENOMENA: dict[str, tuple[str, Callable[[pa.Table], Any]]] = {
    "a session with an id": ("sunbird", lambda events: pc.sum(pc.is_valid(events["session_key"])).as_py()),
    "a session without": (
        "sunbird",
        lambda events: any(key and sid is None for key, sid in zip(keys(events), events["session_key"].to_pylist(), strict=True)),
    ),
    "events without any key": ("sunbird", lambda events: None in keys(events)),
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


@pytest.mark.parametrize("phenomenon", PHENOMENA)
def test_a_night_holds(phenomenon: str, accepted_of_night: dict[str, pa.Table]) -> None:
    source, is_there = PHENOMENA[phenomenon]
    assert is_there(accepted_of_night[source])


@pytest.mark.parametrize(
    ("source", "secret"), [("activity_stream", '"ip":"'), ("homepagevisit", '"x-forwarded-for":"'), ("sunbird", '"x-real-ip":"')]
)
def test_secrets_land_and_reach_no_column(night: Path, accepted_of_night: dict[str, pa.Table], source: str, secret: str) -> None:
    assert any(secret.encode() in content(file) for file in landed_files(night, source))
    texts = accepted_of_night[source]["properties"].to_pylist() + accepted_of_night[source]["context"].to_pylist()
    assert not any(secret in text for text in texts)


def test_a_ping_that_comes_again_from_another_address_is_the_same_ping(week: Path) -> None:
    addresses = defaultdict(set)
    for line in lines(week, "activity_stream"):
        for ping in line if type(line) is list else [line]:
            if type(ping) is dict and "session_duration" in ping:
                addresses[ping["client_id"], ping.get("timestamp", ping.get("receive_at"))].add(ping.get("ip"))
    assert any(len(found) > 1 for found in addresses.values())

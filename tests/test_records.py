"""Lines in, one Arrow batch of records out."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_batch import to_records

from schemas.events import EVENTS, REJECTED_EVENTS
from transforms.documents.json_documents import canonical, short_hash
from transforms.ingest.lines import split_lines
from transforms.ingest.records import RECORDS, FileLocation, RecordCounts, TimeRules
from transforms.ingest.source import Source
from transforms.privacy.secret_names import content_hash
from transforms.sources import sunbird
from transforms.sources.registry import SOURCES

LANDED = datetime(2026, 11, 20, 6, tzinfo=UTC)
STORAGE_PATH = FileLocation("sunbird", LANDED.date(), LANDED.hour, "sunbird/date=2026-11-20/hour=06/a.jsonl")
DAY = timedelta(days=1)
MS = timedelta(milliseconds=1)


def ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // MS


def event(**fields: Any) -> dict[str, Any]:
    return {
        "eid": "HEARTBEAT",
        "ets": ms(LANDED),
        "ver": "3.0",
        "mid": "m1",
        "actor": {"id": "u1", "type": "User"},
        "context": {"channel": "c1", "env": "home"},
        "edata": {},
    } | fields


def read(
    content: bytes,
    source: Source = sunbird.SOURCE,
    location: FileLocation = STORAGE_PATH,
    rules: TimeRules | None = None,
    limit: int = 10_000,
) -> tuple[list[dict[str, Any]], RecordCounts]:
    batch, counts = to_records(source, list(split_lines([content], limit)), location, rules or TimeRules())
    batch.validate(full=True)
    assert batch.schema == RECORDS
    return batch.to_pylist(), counts


def rows(*documents: Any, **options: Any) -> list[dict[str, Any]]:
    return read(b"\n".join(orjson.dumps(document) for document in documents), **options)[0]


def row(document: Any, **options: Any) -> dict[str, Any]:
    (only,) = rows(document, **options)
    return only


def test_a_record_has_the_columns_of_events_and_of_rejected_events_once() -> None:
    events, rejected = set(EVENTS.names) - {"run_id"}, set(REJECTED_EVENTS.names) - {"run_id"}
    assert set(RECORDS.names) == events | rejected | {"status"}
    assert len(RECORDS.names) == len(set(RECORDS.names))
    assert all(RECORDS.field(column.name).type == column.type for column in EVENTS.columns if column.name != "run_id")


def test_required_columns_are_filled() -> None:
    accepted = row(event())
    rejected = row([1])
    for table, record in ((EVENTS, accepted), (REJECTED_EVENTS, rejected)):
        assert [c.name for c in table.columns if c.required and c.name != "run_id" and record[c.name] is None] == []


def test_an_accepted_record_says_where_it_landed() -> None:
    record = rows(event(), [event(mid="m2"), event(mid="m3")])[2]
    assert (record["status"], record["source"], record["landing_date"], record["landing_hour"], record["file"]) == (
        "accepted",
        "sunbird",
        date(2026, 11, 20),
        6,
        STORAGE_PATH.file,
    )
    assert (record["event_id"], record["record"], record["position"]) == ("m3", 2, 1)
    assert record["event_hash"] == short_hash("m3")
    assert record["raw"] is record["reason"] is None


def test_blank_lines_count_as_lines_and_hold_no_record() -> None:
    records, counts = read(b"\n \t\n" + orjson.dumps(event()) + b"\r\n\r\n")
    assert [record["record"] for record in records] == [3]
    assert counts == RecordCounts(records=1, blank=3)


def test_empty_batches_and_arrays_are_counted() -> None:
    records, counts = read(b'[]\n{"events":[]}\n')
    assert records == []
    assert counts == RecordCounts(empty=2)


def test_counts_of_several_chunks_add_up() -> None:
    assert RecordCounts(1, 2, 3, 4) + RecordCounts(10, 20, 30, 40) == RecordCounts(11, 22, 33, 44)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b'{"a":1e999}', "invalid_json"),
        (b"\x00", "invalid_json"),
        (b'  {"a":1} trailing \r', "invalid_json"),
        (b"1", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"eid":"START"}', "schema_violation"),
        (b'{"events":{}}', "schema_violation"),
        (b'{"events":null}', "schema_violation"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_record_byte_for_byte(raw: bytes, reason: str) -> None:
    records, counts = read(b"\n" + raw + b"\r\n" + orjson.dumps(event()))
    accepted, rejected = records
    assert (accepted["status"], accepted["record"]) == ("accepted", 3)
    assert rejected["status"] == "rejected"
    assert rejected["raw"] == raw
    assert (rejected["raw_length"], rejected["raw_sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert (rejected["reason"], rejected["record"], rejected["position"]) == (reason, 2, 0)
    assert counts == RecordCounts(records=2, rejected=1, blank=1)


def test_a_line_over_the_limit_is_truncated_and_its_length_is_whole() -> None:
    line = orjson.dumps(event(edata={"a": "x" * 100_000}))
    (record,) = read(line, limit=len(line) - 1)[0]
    assert (record["reason"], record["path"]) == ("too_large", "")
    assert record["raw"] == line[:65536]
    assert (record["raw_length"], record["raw_sha256"]) == (len(line), hashlib.sha256(line).hexdigest())
    assert read(line, limit=len(line))[0][0]["status"] == "accepted"


def test_a_byte_order_mark_at_the_start_of_a_file_is_tolerated_and_kept_in_raw() -> None:
    good = read(b"\xef\xbb\xbf" + orjson.dumps(event()))[0]
    bad = read(b"\xef\xbb\xbf[")[0]
    second = read(b"\n\xef\xbb\xbf" + orjson.dumps(event()))[0]
    assert [record["status"] for record in good] == ["accepted"]
    assert [record["raw"] for record in bad] == [b"\xef\xbb\xbf["]
    assert [record["reason"] for record in second] == ["invalid_json"]


def test_one_bad_event_of_a_batch_rejects_itself_alone() -> None:
    header = {"id": "api.telemetry", "params": {"msgid": "x"}, "zone": 1}
    records = rows({**header, "events": [event(), event(mid=""), 7, event(mid="m4")]})
    assert [(r["status"], r["position"]) for r in records] == [("accepted", 0), ("accepted", 3), ("rejected", 1), ("rejected", 2)]
    assert [(r["reason"], r["path"]) for r in records[2:]] == [("schema_violation", "/mid"), ("not_an_object", "")]
    assert records[2]["raw"] == canonical({**header, "events": [event(mid="")]})
    assert records[3]["raw"] == canonical({**header, "events": [7]})
    assert records[3]["raw_length"] == len(records[3]["raw"])


def test_what_was_refused_of_a_batch_can_be_mended_and_landed_again() -> None:
    whole = row({"syncts": ms(LANDED) - 5, "events": [event()]})
    refused = row({"syncts": ms(LANDED) - 5, "events": [event(ver="2.0")]})
    assert rows(json.loads(refused["raw"].replace(b'"2.0"', b'"3.0"'))) == [whole]


def test_elements_of_an_array_must_be_events() -> None:
    records = rows([event(), [event()], None, {"events": [event()]}])
    assert [(r["position"], r["reason"]) for r in records] == [
        (0, None),
        (1, "not_an_object"),
        (2, "not_an_object"),
        (3, "schema_violation"),
    ]
    assert records[1]["raw"] == canonical([event()])


def test_the_client_is_believed_within_366_days_before_and_24_hours_after_receipt() -> None:
    received = LANDED - timedelta(hours=3)
    for client, believed in (
        (received, True),
        (received - 366 * DAY, True),
        (received - 366 * DAY - MS, False),
        (received + DAY, True),
        (received + DAY + MS, False),
    ):
        record = row(event(ets=ms(client), syncts=ms(received)))
        assert record["client_time"] == client
        assert record["received_time"] == received
        assert record["event_time"] == (client if believed else received)
        assert record["time_source"] == ("client" if believed else "received")
        assert record["event_date"] == record["event_time"].date()


def test_a_server_time_is_believed_from_2000_to_24_hours_after_the_landing_hour() -> None:
    early = datetime(2000, 1, 1, tzinfo=UTC)
    for received, believed in ((early, True), (early - MS, False), (LANDED + DAY, True), (LANDED + DAY + MS, False)):
        assert row(event(syncts=ms(received)))["received_time"] == (received if believed else LANDED)


def test_without_a_landing_hour_arrival_is_at_midnight() -> None:
    location = STORAGE_PATH._replace(landing_hour=None)
    record = row(event(ets=0), location=location)
    assert record["landing_hour"] is None
    assert record["event_time"] == record["received_time"] == datetime(2026, 11, 20, tzinfo=UTC)


def test_the_bounds_of_time_are_settings() -> None:
    rules = TimeRules(past_ms=1000, future_ms=10, late_ms=500)
    assert row(event(ets=ms(LANDED) - 1000), rules=rules)["time_source"] == "client"
    assert row(event(ets=ms(LANDED) - 1000), rules=rules)["flags"] == ["late"]
    assert row(event(ets=ms(LANDED) - 1001), rules=rules)["time_source"] == "received"
    assert row(event(ets=ms(LANDED) + 11), rules=rules)["time_source"] == "received"


def test_an_event_that_happened_over_24_hours_before_its_landing_hour_is_late() -> None:
    assert row(event(ets=ms(LANDED - DAY)))["flags"] == []
    assert row(event(ets=ms(LANDED - DAY) - 1))["flags"] == ["late"]


def test_a_time_that_no_table_represents_is_null() -> None:
    record = row(event(ets=1e300))
    assert record["client_time"] is None
    assert record["event_time"] == LANDED


def test_a_value_too_large_for_sums_stays_and_is_flagged() -> None:
    def feedback(rating: float) -> dict[str, Any]:
        return row(event(eid="FEEDBACK", edata={"rating": rating}, ets=ms(LANDED - 2 * DAY)))

    assert (feedback(1e18)["value"], feedback(1e18)["flags"]) == (1e18, ["late", "value_out_of_sums"])
    assert feedback(-(10**18))["flags"] == ["late", "value_out_of_sums"]
    assert feedback(2**64 - 1)["value"] == float(2**64 - 1)
    assert feedback(999_999_999_999_999_872)["flags"] == ["late"]


def test_a_record_without_an_id_is_known_by_its_content_without_the_secrets() -> None:
    first = row(event(mid="n/a", Cookie="a"))
    assert first["event_id"] == content_hash("sunbird", event(mid="n/a"))
    assert row(event(mid="n/a", Cookie="b"))["event_id"] == first["event_id"]
    assert row(event(mid="n/a", more=1))["event_id"] != first["event_id"]
    assert row({"id": "other batch", "events": [event(mid="n/a")]})["event_id"] == first["event_id"]


def test_secrets_are_in_no_column_of_an_accepted_record() -> None:
    document = {
        "X-Forwarded-For": "10.0.0.1",
        "events": [event(edata={"ip": "10.0.0.2", "kept": 1}, metadata=[{"headers": {"COOKIE": "10.0.0.3"}}])],
    }
    text = orjson.dumps(document).replace(b'"ip"', b'"\\u0069p"')
    ((record,), _) = read(text)
    assert "10.0.0" not in str(record)
    assert record["properties"] == '{"kept":1}'
    assert json.loads(record["context"])["batch"] == {}
    assert json.loads(record["context"])["metadata"] == [{"headers": {}}]


def test_properties_and_context_hold_everything_else_of_the_record() -> None:
    whole = event(edata={"b": [1, 2.5, None], "a": "é"}, tags=[], extra={"deep": [{}]}, batch=3)
    record = row({"id": "i", "events": [whole]})
    context = json.loads(record["context"])
    assert record["properties"] == '{"a":"é","b":[1,2.5,null]}'
    assert context.pop("_batch") == {"id": "i"}
    assert context | {"edata": json.loads(record["properties"])} == whole


@pytest.mark.parametrize("levels", [254, 300, 1023])
def test_a_document_of_any_legal_depth_is_accepted(levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    ((record,), _) = read(orjson.dumps(event(more="DEEP")).replace(b'"DEEP"', deep))
    assert deep.decode() in record["context"]


def test_no_lines_are_no_rows() -> None:
    assert read(b"") == ([], RecordCounts())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "n/a", "START", "User", "2020-01-01T00:00:00Z", "\x00"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
odd_lines = (
    st.binary(max_size=60)
    | json_values.map(orjson.dumps)
    | st.lists(json_values, max_size=3).map(lambda items: orjson.dumps({"events": items}))
)


@given(st.lists(odd_lines, max_size=6), st.sampled_from(list(SOURCES.values())))
def test_nothing_that_lands_raises_and_every_record_is_accounted_for(pieces: list[bytes], source: Source) -> None:
    lines = list(split_lines([b"\n".join(pieces)], 50))
    batch, counts = to_records(source, lines, STORAGE_PATH, TimeRules())
    batch.validate(full=True)
    statuses = batch["status"].to_pylist()
    assert counts.records == len(statuses)
    assert counts.rejected == statuses.count("rejected")
    assert counts.blank == sum(line.blank for line in lines)
    whole = {line.number: line.content for line in lines}
    for record in batch.to_pylist():
        if record["reason"] in ("invalid_json", "too_large"):
            assert record["raw"] == whole[record["record"]]
    numbers = set(batch["record"].to_pylist())
    assert numbers | {line.number for line in lines if line.blank} <= set(whole)
    assert len(whole) - counts.blank <= len(numbers) + counts.empty


@given(st.lists(st.tuples(st.sampled_from(["accepted", "rejected"]), st.integers(0, 5)), min_size=1, max_size=5))
def test_rows_are_identified_by_line_and_position(plan: list[tuple[str, int]]) -> None:
    batches = [{"events": [event() if kind == "accepted" else {} for _ in range(size)]} for kind, size in plan]
    found = sorted((r["record"], r["position"], r["status"]) for r in rows(*batches))
    assert found == [(line, position, kind) for line, (kind, size) in enumerate(plan, 1) for position in range(size)]


def test_the_batch_is_one_arrow_batch_of_the_given_schema_whatever_its_rows() -> None:
    for content in (b"", b"[", orjson.dumps(event()), b"[\n" + orjson.dumps(event())):
        batch, _ = to_records(sunbird.SOURCE, list(split_lines([content])), STORAGE_PATH, TimeRules())
        assert isinstance(batch, pa.RecordBatch)
        assert batch.schema.equals(RECORDS)

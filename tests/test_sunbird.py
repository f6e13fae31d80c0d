"""Sunbird Telemetry V3: what is valid, and how it maps to events."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_batch import to_records
from source_records import rejection, single_record

from schemas.events import REPORTED
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.sources.sunbird import EVENT_TYPES, SOURCE

REAL = Path(__file__).parents[2] / "shared" / "data" / "sunbird" / "telemetry-500.jsonl"
HOUR_MS = 1_566_244_800_000  # 2019-08-19 20:00 UTC
STORAGE_PATH = FileLocation("sunbird", date(2019, 8, 19), 20, "sunbird/date=2019-08-19/hour=20/a.jsonl")

TEXT, NUMBER, OBJECT, OBJECTS, TEXTS = "text", 1.5, {"k": 1}, [{"k": 1}], ["text"]
VISIT = {"objid": "o", "objtype": "t"}
# Per kind: the verb, and the fields of edata that are required and that are optional, with values that are valid.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "START": (
        "start",
        {"type": TEXT},
        {"dspec": OBJECT, "uaspec": OBJECT, "loc": TEXT, "mode": TEXT, "duration": NUMBER, "pageid": TEXT},
    ),
    "IMPRESSION": (
        "page_view",
        {"type": TEXT, "pageid": TEXT, "uri": TEXT},
        {"subtype": TEXT, "duration": NUMBER, "visits": [VISIT]},
    ),
    "INTERACT": (
        "interaction",
        {"type": TEXT, "id": TEXT},
        {"subtype": TEXT, "pageid": TEXT, "target": OBJECT, "plugin": OBJECT, "extra": OBJECT, "duration": NUMBER},
    ),
    "ASSESS": (
        "assessment",
        {"item": OBJECT, "pass": TEXT, "score": 1, "resvalues": OBJECTS, "duration": NUMBER},
        {"index": NUMBER},
    ),
    "RESPONSE": ("response", {"target": OBJECT, "type": TEXT, "values": OBJECTS}, {}),
    "INTERRUPT": ("interrupt", {"type": TEXT}, {"pageid": TEXT}),
    "FEEDBACK": ("feedback", {}, {"rating": NUMBER, "comments": TEXT, "commentid": TEXT, "commenttxt": TEXT}),
    "SHARE": ("share", {"items": OBJECTS}, {"dir": TEXT, "type": TEXT}),
    "AUDIT": (
        "audit",
        {},
        {"type": TEXT, "props": TEXTS, "state": TEXT, "prevstate": TEXT, "duration": NUMBER},
    ),
    "ERROR": (
        "error",
        {"err": TEXT, "errtype": TEXT, "stacktrace": TEXT},
        {"pageid": TEXT, "object": OBJECT, "plugin": OBJECT},
    ),
    "HEARTBEAT": ("heartbeat", {}, {}),
    "LOG": ("log", {"type": TEXT, "level": TEXT, "message": TEXT}, {"pageid": TEXT, "params": OBJECTS}),
    "SEARCH": (
        "search",
        {"query": TEXT, "size": NUMBER, "topn": OBJECTS},
        {"type": TEXT, "filters": OBJECT, "sort": OBJECT, "correlationid": TEXT},
    ),
    "METRICS": ("metrics", {}, {"anything": NUMBER}),
    "SUMMARY": (
        "session",
        {"type": TEXT, "starttime": HOUR_MS, "endtime": HOUR_MS, "timespent": 2.5, "pageviews": 3, "interactions": 4},
        {"mode": TEXT, "envsummary": OBJECTS, "eventssummary": OBJECTS, "pagesummary": OBJECTS},
    ),
    "EXDATA": ("external_data", {}, {"type": TEXT, "data": TEXT}),
    "END": ("end", {"type": TEXT}, {"mode": TEXT, "duration": NUMBER, "pageid": TEXT, "summary": OBJECTS}),
}
REQUIRED = [(eid, name) for eid, (_, required, _) in KINDS.items() for name in required]
OPTIONAL = [(eid, name) for eid, (_, _, optional) in KINDS.items() for name in optional]


def event(eid: str = "HEARTBEAT", edata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    context = {"channel": "c1", "env": "home", "did": "d1", "sid": "s1"}
    return {
        "eid": eid,
        "ets": HOUR_MS,
        "ver": "3.0",
        "mid": "m1",
        "actor": {"id": "u1", "type": "User"},
        "context": context | fields.pop("context", {}),
        "edata": (KINDS[eid][1] if eid in KINDS else {}) | (edata or {}),
    } | fields


record_of = partial(single_record, SOURCE, STORAGE_PATH)
rejection_of = partial(rejection, SOURCE, STORAGE_PATH)


def session_of(document: Any) -> dict[str, Any]:
    session: dict[str, Any] = record_of(document)["session_input"]
    if session["reported"] is not None:
        session["reported"] = pa.array([json.loads(session["reported"])], REPORTED)[0].as_py()
    return session


# what is valid


@pytest.mark.skipif(not REAL.exists(), reason="the real data is not here")
def test_all_500_real_events_are_accepted() -> None:
    batch, counts = to_records(
        SOURCE, list(split_lines([REAL.read_bytes()])), STORAGE_PATH, TimeRules(), PrivacyRules(patterns=frozenset())
    )
    assert (counts.records, counts.rejected) == (500, 0)
    records = batch.to_pylist()
    assert sum(record["session_key"] is None for record in records) == 71
    assert sum(record["event_name"] == "INTERACT" and record["event_type"] == "interaction" for record in records) == 280
    landed = [json.loads(line) for line in REAL.read_bytes().splitlines()]
    for document in landed:
        document["edata"].get("filters", {}).pop("email", None)  # the only secret in them
    again = [json.loads(r["context"]) | {"edata": json.loads(r["properties"])} for r in records]
    assert again == landed


def test_the_table_names_every_kind() -> None:
    assert {eid: verb for eid, (verb, _, _) in KINDS.items()} == EVENT_TYPES


@pytest.mark.parametrize("eid", KINDS)
def test_an_event_with_its_required_fields_alone_is_accepted(eid: str) -> None:
    record = record_of(event(eid))
    assert (record["status"], record["event_type"], record["event_name"]) == ("accepted", KINDS[eid][0], eid)


@pytest.mark.parametrize("eid", KINDS)
def test_an_event_with_all_its_fields_and_another_is_accepted(eid: str) -> None:
    extra = {} if eid == "METRICS" else {"surprise": [TEXT]}
    assert record_of(event(eid, KINDS[eid][2] | extra))["status"] == "accepted"


@pytest.mark.parametrize(("eid", "name"), REQUIRED)
def test_a_missing_required_field_is_named(eid: str, name: str) -> None:
    document = event(eid)
    document["edata"] = {other: value for other, value in document["edata"].items() if other != name}
    assert rejection_of(document) == ("/edata", f'required: "{name}" is missing')


@pytest.mark.parametrize(("eid", "name"), REQUIRED)
def test_a_required_field_is_not_null(eid: str, name: str) -> None:
    path, detail = rejection_of(event(eid, {name: None}))
    assert path == f"/edata/{name}"
    assert detail.startswith("type: must be ")


@pytest.mark.parametrize(("eid", "name"), OPTIONAL)
def test_an_optional_field_that_is_null_is_absent(eid: str, name: str) -> None:
    assert record_of(event(eid, {name: None}))["status"] == "accepted"


@pytest.mark.parametrize(("eid", "name"), REQUIRED + OPTIONAL)
def test_a_field_of_the_wrong_type_is_pointed_at(eid: str, name: str) -> None:
    right = (KINDS[eid][1] | KINDS[eid][2])[name]
    wrong: dict[type, list[Any]] = {
        str: [True, 7, [TEXT], {}],
        int: [True, "not a number", [7], {}],
        float: [True, "not a number", [7], {}],
        dict: [True, TEXT, 7, [{}]],
        list: [True, TEXT, 7, {}],
    }
    for value in wrong[type(right)]:
        assert rejection_of(event(eid, {name: value}))[0] == f"/edata/{name}"
    if isinstance(right, list):
        assert rejection_of(event(eid, {name: [*right, 7]}))[0] == f"/edata/{name}/1"


def test_items_of_visits_are_checked() -> None:
    without_type = event("IMPRESSION", {"visits": [VISIT, {"objid": "o"}]})
    assert rejection_of(without_type) == ("/edata/visits/1", 'required: "objtype" is missing')
    assert rejection_of(event("IMPRESSION", {"visits": [VISIT | {"index": "1"}]}))[0] == "/edata/visits/0/index"
    full = VISIT | {"objver": None, "section": None, "index": 0, "more": 1}
    assert record_of(event("IMPRESSION", {"visits": [full]}))["status"] == "accepted"


def test_a_metric_that_is_no_number_is_pointed_at() -> None:
    assert rejection_of(event("METRICS", {"a/b": "1"})) == ("/edata/a~1b", "type: must be null or number")


def test_a_summary_may_give_its_timespent_as_a_numeric_string() -> None:
    assert session_of(event("SUMMARY", {"timespent": "12.5"}))["reported"]["timespent"] == 12.5
    assert session_of(event("SUMMARY", {"timespent": "1e999"}))["reported"]["timespent"] is None
    assert rejection_of(event("SUMMARY", {"timespent": "soon"}))[0] == "/edata/timespent"


@pytest.mark.parametrize("name", ["eid", "ets", "ver", "mid", "actor", "context", "edata"])
@pytest.mark.parametrize("eid", ["START", "UNHEARD_OF"])
def test_the_envelope_is_required_of_every_event(eid: str, name: str) -> None:
    document = event(eid)
    del document[name]
    assert rejection_of(document) == ("", f'required: "{name}" is missing')


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"ver": "2.0"}, "/ver"),
        ({"ver": 3.0}, "/ver"),
        ({"ets": "1566242911079"}, "/ets"),
        ({"ets": True}, "/ets"),
        ({"mid": ""}, "/mid"),
        ({"mid": None}, "/mid"),
        ({"eid": 7}, "/eid"),
        ({"actor": {"id": None, "type": "User"}}, "/actor/id"),
        ({"actor": {"id": "a"}}, "/actor"),
        ({"context": {"env": None}}, "/context/env"),
        ({"edata": []}, "/edata"),
    ],
)
def test_the_envelope_is_checked(fields: dict[str, Any], path: str) -> None:
    edata = fields.pop("edata", None)
    document = event(**fields)
    assert rejection_of(document if edata is None else document | {"edata": edata})[0] == path


@pytest.mark.parametrize("eid", ["SHARE_ITEM", "JOB_START", "METRIC", "", "start"])
def test_a_kind_that_the_format_does_not_name_is_other(eid: str) -> None:
    record = record_of(event(eid, {"type": 7}))
    assert (record["event_type"], record["event_name"]) == ("other", eid)


@pytest.mark.parametrize(
    "fields",
    [
        {"object": {}},
        {"object": {"id": "", "type": "Content"}},
        {"object": "text"},
        {"tags": {"a": 1}},
        {"@timestamp": 7, "syncts": "x", "flags": None, "metadata": [], "type": "events"},
        {"context": {"cdata": None, "cData": [{"id": ["a"], "type": 1}], "pdata": "text", "sid": 7, "did": []}},
        {"actor": {"id": "", "type": ""}},
        {"ver": "3.1", "ets": 1.566242911079e12},
    ],
)
def test_what_real_senders_send_is_accepted(fields: dict[str, Any]) -> None:
    assert record_of(event("START", {"dspec": {"mem": "1", "os": 7, "make": []}}, **fields))["status"] == "accepted"


def test_an_event_with_a_field_of_the_name_events_is_no_batch() -> None:
    assert record_of(event(events=[1]))["status"] == "accepted"


# times


def test_the_clients_time_is_ets_in_milliseconds_integer_or_not() -> None:
    expected = datetime(2019, 8, 19, 19, 28, 31, 79_000, tzinfo=UTC)
    assert record_of(event(ets=1_566_242_911_079))["client_time"] == expected
    record = record_of(event(ets=1.566242911079e12))
    assert (record["client_time"], record["time_source"], record["flags"]) == (expected, "client", [])


def test_an_ets_below_1e11_is_in_seconds_and_flagged() -> None:
    record = record_of(event(ets=1442816723.25))
    assert record["client_time"] == datetime(2015, 9, 21, 6, 25, 23, 250_000, tzinfo=UTC)
    assert record["flags"] == ["ets_in_seconds", "time_replaced"]
    assert record_of(event(ets=100_000_000_000))["flags"] == ["time_replaced"]


def test_received_time_is_the_first_well_formed_time_of_a_server() -> None:
    def received(event_fields: dict[str, Any], header: dict[str, Any] | None = None) -> int:
        document = event(**event_fields)
        record = record_of(document if header is None else {**header, "events": [document]})
        return int(record["received_time"].timestamp() * 1000) - HOUR_MS

    sync, stamp = HOUR_MS - 2000, "2019-08-19T19:59:59Z"
    assert received({"@timestamp": stamp, "syncts": sync}, {"syncts": sync - 1000}) == -1000
    assert received({"@timestamp": "yesterday", "syncts": sync}, {"syncts": sync - 1000}) == -2000
    assert received({"syncts": "x"}, {"syncts": float(sync - 1000)}) == -3000
    assert received({}, {}) == 0
    assert received({}) == 0


# columns


@pytest.mark.parametrize(
    ("actor", "user_id"),
    [
        ({"id": "u1", "type": "User"}, "u1"),
        ({"id": "u1", "type": "USER"}, "u1"),
        ({"id": "u1", "type": "System"}, None),
        ({"id": "", "type": "User"}, None),
        ({"id": "n/a", "type": "User"}, None),
        ({"id": "anonymous", "type": "User"}, None),
        ({"id": "d1", "type": "User"}, None),
        ({"id": "f:5a8a3f2b-3409-42e0-9001-f913bc0fde31:8454cb21", "type": "User"}, "8454cb21"),
        ({"id": "f:5a8a3f2b-3409-42e0-9001-f913bc0fde31:", "type": "User"}, None),
        ({"id": "f:5a8a3f2b-3409-42e0-9001-f913bc0fde31:d1", "type": "User"}, None),
        ({"id": "a:b:c", "type": "User"}, "a:b:c"),
    ],
)
def test_the_user_is_the_signed_in_one(actor: dict[str, str], user_id: str | None) -> None:
    assert record_of(event(actor=actor))["user_id"] == user_id


def test_the_context_gives_device_session_application_and_environment() -> None:
    record = record_of(event(context={"pdata": {"id": "p", "ver": "1.2", "pid": "x"}, "env": "library"}))
    assert [record[name] for name in ("device_id", "session_key", "app_id", "app_version", "environment", "format_version")] == [
        "d1",
        "s1",
        "p",
        "1.2",
        "library",
        "3.0",
    ]


@pytest.mark.parametrize("absent", ["", "n/a", None])
def test_empty_ids_are_absent(absent: str | None) -> None:
    record = record_of(event("INTERACT", {"pageid": absent}, context={"did": absent, "sid": absent, "pdata": {"id": absent}}))
    assert record["device_id"] is record["session_key"] is record["app_id"] is record["page"] is None


def test_the_target_is_the_object_then_the_target_then_the_resource() -> None:
    def target(object_: Any, target: Any, resource: str = "button") -> tuple[Any, Any]:
        record = record_of(event("INTERACT", {"id": resource, "target": target}, object=object_))
        return record["target_id"], record["target_type"]

    assert target({"id": "o", "type": "Content"}, {"id": "t", "type": "Page"}) == ("o", "Content")
    assert target({"id": "", "type": "Content"}, {"id": "t", "type": "Page"}) == ("t", "Page")
    assert target({}, {"id": 7, "type": "Page"}) == ("button", None)
    assert target(None, None) == ("button", None)
    assert target({"id": "o"}, None, "") == ("o", None)
    assert target(None, None, "") == (None, None)


def test_the_device_is_that_of_its_specification() -> None:
    record = record_of(event("START", {"dspec": {"os": "Android 6.0", "make": "vivo 1606"}, "pageid": "splash"}))
    assert (record["os"], record["device_model"], record["page"]) == ("Android 6.0", "vivo 1606", "splash")


def test_the_value_is_the_score_or_the_rating() -> None:
    assert record_of(event("ASSESS", {"score": 0.5}))["value"] == 0.5
    assert record_of(event("FEEDBACK", {"rating": 4}))["value"] == 4.0
    assert record_of(event("FEEDBACK"))["value"] is None
    assert record_of(event("METRICS", {"score": 9}))["value"] is None


def test_a_score_outside_0_to_1_is_kept_and_flagged() -> None:
    record = record_of(event("ASSESS", {"score": 5}))
    assert (record["value"], record["flags"]) == (5.0, ["score_out_of_range"])
    assert record_of(event("ASSESS", {"score": -0.1}))["flags"] == ["score_out_of_range"]
    assert record_of(event("ASSESS", {"score": 1}))["flags"] == record_of(event("ASSESS", {"score": 0}))["flags"] == []


@pytest.mark.parametrize(
    ("seconds", "duration_ms", "flags"),
    [
        (1.5, 1500, []),
        (0.0005, 1, []),
        (0, 0, []),
        (86_400, 86_400_000, []),
        (86_400.001, None, ["duration_implausible"]),
        (-1_564_676_673_421, None, ["duration_implausible"]),
        (2**63, None, ["duration_implausible"]),
        (-1, None, []),
        (None, None, []),
    ],
)
def test_a_duration_is_in_seconds_of_at_most_a_day(seconds: float, duration_ms: int | None, flags: list[str]) -> None:
    record = record_of(event("START", {"duration": seconds}))
    assert (record["duration_ms"], record["flags"]) == (duration_ms, flags)


# sessions


def test_a_session_is_keyed_by_channel_and_sid() -> None:
    assert (session_of(event())["key"], session_of(event())["kind"]) == ('["c1","s1"]', "keyed")
    assert session_of(event(context={"channel": 'c"1'}))["key"] == '["c\\"1","s1"]'


def test_without_a_sid_a_session_is_derived_from_channel_device_and_actor() -> None:
    def derived(did: str | None, actor: str, channel: str = "c1") -> Any:
        session = session_of(event(context={"sid": "", "did": did, "channel": channel}, actor={"id": actor, "type": "User"}))
        assert session["kind"] == (None if session["key"] is None else "derived")
        return session["key"]

    assert derived("d1", "u1") == '["c1","d1","u1"]'
    assert derived(None, "u1") == '["c1","","u1"]'
    assert derived("d1", "") == '["c1","d1",""]'
    assert derived("d1", "u1", "") == '["","d1","u1"]'
    assert derived("", "") is None


@pytest.mark.parametrize("eid", [*EVENT_TYPES, "METRIC", "JOB_START", "SHARE_ITEM"])
def test_system_kinds_and_other_actors_carry_no_time(eid: str) -> None:
    system = {"AUDIT", "LOG", "SEARCH", "METRICS", "HEARTBEAT", "SUMMARY", "EXDATA", "JOB_START", "METRIC"}
    assert session_of(event(eid))["user"] is (eid not in system)
    assert session_of(event(eid, actor={"id": "x", "type": "System"}))["user"] is False
    assert session_of(event(eid, actor={"id": "x", "type": "System"}))["key"] == '["c1","s1"]'


@pytest.mark.parametrize(("kind", "pauses"), [("background", True), ("BACKGROUND", True), ("m:background", True), ("resume", False)])
def test_an_interrupt_into_the_background_pauses(kind: str, pauses: bool) -> None:
    assert session_of(event("INTERRUPT", {"type": kind}))["pauses"] is pauses
    assert session_of(event("START", {"type": kind}))["pauses"] is False


def test_the_type_of_an_impression_is_that_of_its_page() -> None:
    assert session_of(event("IMPRESSION", {"type": "view"}))["page_type"] == "view"
    assert session_of(event("INTERACT"))["page_type"] is None


def test_a_summary_reports_its_session_with_sorted_arrays() -> None:
    session = session_of(
        event(
            "SUMMARY",
            {
                "type": "App",
                "pageviews": 2.5,
                "interactions": -1,
                "starttime": HOUR_MS,
                "endtime": 1e300,
                "envsummary": [{"env": "b", "timespent": 2, "visits": 1}, {"env": None, "timespent": "3", "visits": 2**64 - 1}],
                "eventssummary": [{"id": "START", "count": 2}, {"id": "END", "count": 1.0}, {}],
                "pagesummary": [{"id": "p", "type": "view", "env": "e", "timespent": 1.25, "visits": 1}],
            },
        )
    )
    assert session["reported_rank"] == 1
    assert session["reported"] == {
        "timespent": 2.5,
        "pageviews": 3,
        "interactions": None,
        "start_time": datetime(2019, 8, 19, 20, tzinfo=UTC),
        "end_time": None,
        "envsummary": [{"env": None, "timespent": None, "visits": None}, {"env": "b", "timespent": 2.0, "visits": 1}],
        "eventssummary": [{"id": None, "count": None}, {"id": "END", "count": 1}, {"id": "START", "count": 2}],
        "pagesummary": [{"id": "p", "type": "view", "env": "e", "timespent": 1.25, "visits": 1}],
    }
    assert session_of(event("START"))["reported"] is None


@pytest.mark.parametrize(("kind", "rank"), [("session", 0), ("SESSION", 0), ("app", 1), ("tool", 2), ("", 2)])
def test_a_summary_of_the_session_comes_before_one_of_the_app_and_that_before_any(kind: str, rank: int) -> None:
    assert session_of(event("SUMMARY", {"type": kind}))["reported_rank"] == rank


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "ver", "env", "count"]), inner, max_size=3),
    max_leaves=4,
)


@given(
    eid=st.sampled_from(sorted(KINDS)),
    edata=st.dictionaries(
        st.sampled_from(["target", "dspec", "duration", "pageid", "id", "type", "rating", "score", "envsummary", "timespent"]), odd
    ),
    context=st.dictionaries(st.sampled_from(["did", "sid", "pdata", "channel", "env"]), odd),
    fields=st.dictionaries(st.sampled_from(["object", "ets", "@timestamp", "syncts", "tags", "mid"]), odd),
)
def test_odd_but_valid_events_never_fail(eid: str, edata: dict[str, Any], context: dict[str, Any], fields: dict[str, Any]) -> None:
    assert record_of(event(eid, edata, context=context, **fields))["status"] in ("accepted", "rejected")

"""Contentsquare events: what is valid, and what becomes of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_batch import to_records

from transforms.documents.refusal import Refusal
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.ingest.source import Batch, Record
from transforms.sources.contentsquare import SOURCE
from transforms.times import DAY_MS

ARRIVAL_MS = 1_522_152_000_000  # 2018-03-27 12:00 UTC
SENT_MS = ARRIVAL_MS + 60_000

EXAMPLE_HEADER = {
    "pid": 8,
    "uid": "ac1529a7-59f6-49d9-b254-6f0a22f57284",
    "dt": 4,
    "dma": "Samsung",
    "dmo": "SG",
    "os": "7.0",
    "l": "en_US",
    "tz": "Europe/Paris",
    "now": 1522159618000,
    "to": {"an": "appname", "st": "SDK-android", "sf": "release"},
    "r": {"d": 1.5},
}
EXAMPLE_COMMON = {
    "upt": 1522,
    "euid": "euid",
    "url": "app-and://identifier/mainPath/secondaryPath?title=screeName",
    "scn": 4,
    "c": 3,
    "ci": "verizon",
    "o": 1,
    "vo": {"sv": "2.1", "sb": 4, "av": "appVersion", "af": "appFlavor", "ab": 1},
    "sn": 1,
    "t": 12894726459435,
}

HEADER = {"pid": 8, "uid": "u", "now": SENT_MS}
COMMON = {"euid": "e", "sn": 1, "t": SENT_MS - 1_000}
GESTURE = {"tvp": "[root]>view#id>view2>", "tvid": "btn_ok"}
MOVE = {**GESTURE, "fd": 3, "tvd": 100, "tvv": 100}

APP_START = {**COMMON, "ea": 0}
APP_SHOW = {**COMMON, "ea": 1}
APP_HIDE = {**COMMON, "ea": 2}
SCREENVIEW = {**COMMON, "ea": 4, "st": "title", "sl": 34543}
TAP = {**COMMON, "ea": 6, **GESTURE, "ur": True}
LONG_PRESS = {**COMMON, "ea": 8, **GESTURE}
DRAG = {**COMMON, "ea": 9, **MOVE}
SWIPE = {**COMMON, "ea": 10, **MOVE}
TRANSACTION = {**COMMON, "ea": 16, "tr": {"vl": 20.0, "cu": 978, "id": "32akjkljklJ575775"}}
STRING_VARIABLE = {**COMMON, "ea": 18, "k": "key", "v": "value"}
INTEGER_VARIABLE = {**COMMON, "ea": 19, "k": "key", "v": 2344}
UNKNOWN = {**COMMON, "ea": 21}

# Every row of the list: the event, the name it gets and its verb.
KINDS = (
    (APP_START, "app_start", "start"),
    (APP_SHOW, "app_show", "foreground"),
    (APP_HIDE, "app_hide", "background"),
    (SCREENVIEW, "screenview", "page_view"),
    (TAP, "tap", "interaction"),
    (LONG_PRESS, "long_press", "interaction"),
    (DRAG, "drag", "interaction"),
    (SWIPE, "swipe", "interaction"),
    (TRANSACTION, "transaction", "transaction"),
    (STRING_VARIABLE, "string_variable", "variable"),
    (INTEGER_VARIABLE, "integer_variable", "variable"),
    (UNKNOWN, "ea_21", "other"),
)
EVENTS = [event for event, _, _ in KINDS]


def record(event: dict[str, Any], header: dict[str, Any] | None = HEADER) -> Record:
    document = event if header is None else SOURCE.join_header(header, event)
    return Record(document, event, header, ARRIVAL_MS)


def refusal(event: dict[str, Any]) -> Refusal | None:
    return SOURCE.refusal(record(event))


def mapped(event: dict[str, Any], header: dict[str, Any] | None = HEADER) -> dict[str, Any]:
    """The columns of one valid event, those of its session input among them as session_input.…"""
    taken = record(event, header)
    assert SOURCE.refusal(taken) is None
    columns = SOURCE.columns([taken])
    session_input = {f"session_input.{name}": values[0] for name, values in columns["session_input"].items()}
    return {name: values[0] for name, values in columns.items() if name != "session_input"} | session_input


def landed(*lines: Any) -> list[dict[str, Any]]:
    """The records of these lines of a file, by all steps from bytes to Arrow."""
    content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    location = FileLocation("contentsquare", date(2018, 3, 27), 12, "contentsquare/date=2018-03-27/hour=12/a.jsonl")
    batch, _ = to_records(SOURCE, list(split_lines([content])), location, TimeRules())
    return list(batch.to_pylist())


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def assert_refused_at(path: str, event: dict[str, Any]) -> None:
    refused = refusal(event)
    assert refused is not None, event
    assert (refused.reason, refused.path) == ("schema_violation", path)


# --- what is valid


@pytest.mark.parametrize(("event", "event_name", "event_type"), KINDS, ids=lambda part: part if isinstance(part, str) else "")
def test_every_action_has_its_name_and_verb(event: dict[str, Any], event_name: str, event_type: str) -> None:
    row = mapped(event)
    assert (row["event_name"], row["event_type"]) == (event_name, event_type)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"ea {event['ea']}")
@pytest.mark.parametrize("name", ["ea", "euid", "sn", "t"])
def test_an_event_that_lacks_a_common_field_is_refused(event: dict[str, Any], name: str) -> None:
    assert refusal(without(event, name)) == Refusal("schema_violation", "", f'required: "{name}" is missing')
    assert_refused_at(f"/{name}", {**event, name: None})
    assert_refused_at(f"/{name}", {**event, name: [1]})


@pytest.mark.parametrize("missing", ["", "n/a"])
def test_an_event_id_that_stands_for_a_missing_one_is_refused(missing: str) -> None:
    assert_refused_at("/euid", {**TAP, "euid": missing})


@pytest.mark.parametrize(
    ("event", "parent", "name"),
    [
        (TRANSACTION, "", "tr"),
        (TRANSACTION, "/tr", "vl"),
        (TRANSACTION, "/tr", "cu"),
        (STRING_VARIABLE, "", "k"),
        (STRING_VARIABLE, "", "v"),
        (INTEGER_VARIABLE, "", "k"),
        (INTEGER_VARIABLE, "", "v"),
    ],
)
def test_an_event_that_lacks_what_its_action_requires_is_refused(event: dict[str, Any], parent: str, name: str) -> None:
    def changed(fields: dict[str, Any]) -> dict[str, Any]:
        return {**event, "tr": fields} if parent else fields

    fields = event["tr"] if parent else event
    assert refusal(changed(without(fields, name))) == Refusal("schema_violation", parent, f'required: "{name}" is missing')
    assert_refused_at(f"{parent}/{name}", changed({**fields, name: None}))


OPTIONAL_TYPES = [
    *((APP_START, name, wrong) for name in ("upt", "scn", "c", "o") for wrong in ("1", 1.5, True)),
    *((APP_START, name, 5) for name in ("url", "ci", "vo")),
    *((SCREENVIEW, name, wrong) for name, wrong in (("st", 5), ("sl", "5"), ("sl", 5.5))),
    *((event, name, 5) for event in (TAP, LONG_PRESS, DRAG, SWIPE) for name in ("tvp", "tvid")),
    (TAP, "ur", 1),
    *((event, name, wrong) for event in (DRAG, SWIPE) for name in ("fd", "tvd", "tvv") for wrong in ("1", 1.5)),
]


@pytest.mark.parametrize(("event", "name", "wrong"), OPTIONAL_TYPES)
def test_an_optional_field_may_be_absent_or_null_and_of_no_other_type(event: dict[str, Any], name: str, wrong: Any) -> None:
    assert refusal(without(event, name)) is None
    assert refusal({**event, name: None}) is None
    assert_refused_at(f"/{name}", {**event, name: wrong})


@pytest.mark.parametrize(("name", "wrong"), [("sv", 2), ("sb", "4"), ("av", 1), ("af", 1), ("ab", "1")])
def test_the_versions_of_an_event_may_be_null_and_of_no_other_type(name: str, wrong: Any) -> None:
    assert refusal({**TAP, "vo": {name: None}}) is None
    assert_refused_at(f"/vo/{name}", {**TAP, "vo": {name: wrong}})


def test_the_id_of_a_transaction_may_be_null_and_of_no_other_type() -> None:
    assert refusal({**TRANSACTION, "tr": {"vl": 1, "cu": 978, "id": None}}) is None
    assert_refused_at("/tr/id", {**TRANSACTION, "tr": {"vl": 1, "cu": 978, "id": 5}})


@pytest.mark.parametrize(
    ("event", "path", "allowed", "refused"),
    [
        (TAP, "sn", [1, 1.0, 1e3, 2**31], [0, -1, 1.5, "1", True]),
        (TAP, "c", [-1, 0, 4, 5, 99], [-2]),
        (TAP, "o", [0, 1, 1.0], [-1, 2]),
        (TAP, "t", [0, -5, 12894726459435, 1.522e12, 2**64 - 1, 1e300], [1.5, "1522159618000", True]),
        (TAP, "ea", [6, 6.0, -1, 2**63, 1e300], [6.5, "6", True]),
        (DRAG, "fd", [1, 5, 5.0], [0, 6, -1]),
        (SWIPE, "fd", [1, 5, 5.0], [0, 6, -1]),
        (INTEGER_VARIABLE, "v", [0, 2**32 - 1, 5.0], [-1, 2**32, 5.5, "5", True]),
        (STRING_VARIABLE, "v", ["", "cs-empty"], [5, True]),
        (TRANSACTION, "tr/vl", [20, -20.5, 0, 1e300], ["20", True]),
        (TRANSACTION, "tr/cu", [978, -1, 978.0, 0, 99999], ["978", 978.5, True]),
    ],
)
def test_the_bounds_of_a_field_hold_at_their_edges(event: dict[str, Any], path: str, allowed: list[Any], refused: list[Any]) -> None:
    outer, _, inner = path.partition("/")

    def changed(value: Any) -> dict[str, Any]:
        return {**event, outer: {**event[outer], inner: value} if inner else value}

    for value in allowed:
        assert refusal(changed(value)) is None, value
        assert landed({**HEADER, "pl": [changed(value)]})[0]["status"] == "accepted"
    for value in refused:
        assert_refused_at(f"/{path}", changed(value))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"ea {event['ea']}")
def test_fields_that_no_schema_names_are_accepted_and_kept(event: dict[str, Any]) -> None:
    extended = {**event, "new": {"a": [None]}, "vo": {"new": 1}}
    assert mapped(extended)["properties"] == extended


def test_fields_of_one_action_are_not_checked_on_another() -> None:
    assert refusal({**UNKNOWN, "tr": 5, "k": 5, "v": [], "st": 5, "sl": "x", "tvp": 5, "tvid": 5, "fd": 9}) is None


# --- batches


@pytest.mark.parametrize("extra", [{}, {"new": 1}, {"ea": 6}, {"to": 5, "r": "x", "now": "soon", "os": 7}])
def test_a_batch_is_opened_whatever_else_its_header_bears(extra: dict[str, Any]) -> None:
    header = {"pid": 8, "uid": "u", **extra}
    assert SOURCE.open_batch({**header, "pl": [TAP]}) == Batch(header, [TAP], "pl")


@pytest.mark.parametrize("name", ["pid", "uid", "pl"])
def test_a_batch_that_lacks_a_required_field_is_refused(name: str) -> None:
    batch = {"pid": 8, "uid": "u", "pl": [TAP]}
    assert SOURCE.open_batch(without(batch, name)) == Refusal("schema_violation", "", f'required: "{name}" is missing')
    nulled = SOURCE.open_batch({**batch, name: None})
    assert isinstance(nulled, Refusal)
    assert nulled.path == f"/{name}"


@pytest.mark.parametrize(
    ("name", "wrong"), [("pid", "8"), ("pid", 8.5), ("pid", True), ("uid", 8), ("uid", ""), ("uid", "n/a"), ("pl", {})]
)
def test_a_batch_with_a_required_field_of_another_type_is_refused(name: str, wrong: Any) -> None:
    refused = SOURCE.open_batch({"pid": 8, "uid": "u", "pl": [TAP], name: wrong})
    assert isinstance(refused, Refusal)
    assert refused.path == f"/{name}"


@pytest.mark.parametrize("document", [TAP, {**TAP, "pl": 5}, {**TAP, "pid": 8}, {**TAP, "uid": "u"}, {"hello": 1}, {}])
def test_what_is_no_batch_is_taken_for_an_event(document: dict[str, Any]) -> None:
    assert SOURCE.open_batch(document) is None


def test_one_bad_event_of_a_batch_rejects_itself_alone() -> None:
    rows = landed({"uid": "u", "pid": 8, "pl": [TAP, without(TAP, "t"), SWIPE]})
    assert [(row["status"], row["position"]) for row in rows] == [("accepted", 0), ("accepted", 2), ("rejected", 1)]
    assert rows[2]["raw"] == orjson.dumps({"pid": 8, "pl": [without(TAP, "t")], "uid": "u"}, option=orjson.OPT_SORT_KEYS)


def test_an_event_is_kept_as_it_stood_beside_its_header() -> None:
    row = mapped(TAP)
    assert (row["properties"], row["context"]) == (TAP, {"batch": HEADER})


@pytest.mark.parametrize("line", [TAP, [TAP]])
def test_an_event_without_a_header_is_valid_and_has_no_device_and_no_session(line: Any) -> None:
    (row,) = landed(line)
    assert (row["status"], row["event_id"], row["session_key"], row["context"]) == ("accepted", "e", "1", "{}")
    assert [row[name] for name in ("device_id", "app_id", "os", "device_model", "locale")] == [None] * 5
    assert row["session_input"]["key"] is None
    assert row["flags"] == []


# --- what the columns say


def test_the_screenview_of_mozillas_documentation_is_mapped() -> None:
    event = {**EXAMPLE_COMMON, "ea": 4, "st": "title", "sl": 34543}
    row = mapped(event, EXAMPLE_HEADER)
    assert {name: value for name, value in row.items() if value is not None} == {
        "event_id": "euid",
        "event_type": "page_view",
        "event_name": "screenview",
        "format_version": "2.1",
        "client_ms": 12894726459435,
        "says_client_time": True,
        "device_id": "ac1529a7-59f6-49d9-b254-6f0a22f57284",
        "session_key": "1",
        "app_id": "8",
        "app_version": "appVersion",
        "page": "/mainPath/secondaryPath",
        "page_title": "screeName",
        "locale": "en_US",
        "os": "android 7.0",
        "device_model": "Samsung SG",
        "duration_ms": 34543,
        "properties": event,
        "context": {"batch": EXAMPLE_HEADER},
        "flags": ["clock_skew"],
        "session_input.kind": "keyed",
        "session_input.key": '[8,"ac1529a7-59f6-49d9-b254-6f0a22f57284",1]',
        "session_input.user": True,
        "session_input.pauses": False,
        "session_input.load_latency": 34543,
    }


def test_the_seeds_time_in_the_year_2378_is_kept_and_not_believed() -> None:
    (row,) = landed({**EXAMPLE_HEADER, "pl": [{**EXAMPLE_COMMON, "ea": 0}]})
    assert row["client_time"].year == 2378
    assert row["time_source"] == "received"
    assert row["event_time"].isoformat() == "2018-03-27T12:00:00+00:00"


def test_the_gestures_of_the_seed_have_their_target() -> None:
    for event in (TAP, LONG_PRESS, DRAG, SWIPE):
        row = mapped(event)
        assert (row["target_id"], row["target_type"]) == ("btn_ok", "[root]>view#id>view2>")


def test_all_records_of_a_batch_keep_their_order_and_their_own_header() -> None:
    other = {"pid": 9, "uid": "w"}
    records = [record(TAP), record({**TAP, "sn": 2}), record(TAP, other), record(TAP, None)]
    columns = SOURCE.columns(records)
    assert columns["device_id"] == ["u", "u", "w", None]
    assert columns["session_input"]["key"] == ['[8,"u",1]', '[8,"u",2]', '[9,"w",1]', None]


def test_each_event_s_own_session_number_makes_its_session() -> None:
    rows = landed({**HEADER, "pl": [{**TAP, "euid": "a", "sn": 1}, {**TAP, "euid": "b", "sn": 2.0}, {**TAP, "euid": "c", "sn": 2}]})
    assert [row["session_key"] for row in rows] == ["1", "2", "2"]
    assert rows[0]["session_input"]["key"] != rows[1]["session_input"]["key"] == rows[2]["session_input"]["key"] == '[8,"u",2]'


def test_integers_may_be_written_as_doubles() -> None:
    row = mapped({**SCREENVIEW, "ea": 4.0, "sl": 2e3, "t": 1.522155e12}, {**HEADER, "pid": 8.0})
    assert (row["event_name"], row["app_id"], row["duration_ms"], row["client_ms"]) == ("screenview", "8", 2000, 1522155000000)
    assert row["session_input.key"] == '[8,"u",1]'


def test_integers_beyond_what_a_column_holds_harm_nothing() -> None:
    huge = {"sn": 1e30, "t": 1e30, "ea": 4, "sl": 2**64 - 1}
    (row,) = landed({**HEADER, "pid": 2**64 - 1, "pl": [{**COMMON, **huge}]})
    assert (row["status"], row["duration_ms"], row["client_time"]) == ("accepted", None, None)
    assert row["app_id"] == "18446744073709551615"
    assert row["session_input"]["key"] is not None


@pytest.mark.parametrize(("sent", "stored"), [(0, 0), (34543, 34543), (-1, None), (-7, None), (None, None)])
def test_a_load_time_below_nothing_is_none(sent: int | None, stored: int | None) -> None:
    row = mapped({**SCREENVIEW, "sl": sent})
    assert (row["duration_ms"], row["session_input.load_latency"]) == (stored, stored)


def test_only_a_screenview_tells_how_long_its_session_took_to_load() -> None:
    assert mapped({**TAP, "sl": 5})["session_input.load_latency"] is None


def test_only_an_app_that_goes_to_the_background_pauses_its_session() -> None:
    assert [event["ea"] for event in EVENTS if mapped(event)["session_input.pauses"]] == [2]


@pytest.mark.parametrize(
    ("header", "os"),
    [
        ({"to": {"st": "SDK-android"}, "os": "7.0"}, "android 7.0"),
        ({"to": {"st": "SDK-iOS"}, "os": "11.2"}, "iOS 11.2"),
        ({"to": {"st": "android"}, "os": "7.0"}, "android 7.0"),
        ({"to": {"st": "SDK-android"}}, "android"),
        ({"os": "7.0"}, "7.0"),
        ({"to": None, "os": 7}, None),
        ({"to": {"st": 5}, "os": ""}, None),
        ({}, None),
    ],
)
def test_the_operating_system_is_platform_and_version_as_far_as_they_are_known(header: dict[str, Any], os: str | None) -> None:
    assert mapped(TAP, {**HEADER, **header})["os"] == os


@pytest.mark.parametrize(
    ("header", "device_model"),
    [
        ({"dma": "Samsung", "dmo": "SG"}, "Samsung SG"),
        ({"dma": "Samsung"}, "Samsung"),
        ({"dmo": "SG"}, "SG"),
        ({"dma": "", "dmo": "n/a"}, None),
        ({"dma": 5, "dmo": ["SG"]}, None),
        ({}, None),
    ],
)
def test_the_device_is_maker_and_model_as_far_as_they_are_known(header: dict[str, Any], device_model: str | None) -> None:
    assert mapped(TAP, {**HEADER, **header})["device_model"] == device_model


@pytest.mark.parametrize(
    ("url", "page", "page_title"),
    [
        ("app-and://identifier/mainPath/secondaryPath?title=screeName", "/mainPath/secondaryPath", "screeName"),
        ("app-ios://identifier/main?x=1&title=Caf%C3%A9%20%26%20Bar&y=2", "/main", "Café & Bar"),
        ("app-and://identifier/a%20b?title=a+b", "/a%20b", "a+b"),
        ("app-and://identifier/main", "/main", "own title"),
        ("app-and://identifier/main?title=", "/main", "own title"),
        ("app-and://identifier/main?subtitle=x", "/main", "own title"),
        ("app-and://identifier/main?title=a&title=b", "/main", "a"),
        ("app-and://identifier/main#part?title=x", "/main", "own title"),
        ("app-and://identifier/", "/", "own title"),
        ("app-and://identifier", None, "own title"),
        ("app-and://identifier?title=x", None, "x"),
        ("", None, "own title"),
        ("/main/second?title=x", "/main/second", "x"),
        ("main/second", "main/second", "own title"),
        ("app-and://[broken/main?title=100%", "/main", "100%"),
        ("app-and://identifier/main?title=%zz%4", "/main", "%zz%4"),
        ("app-and://identifier/main?title=%ff", "/main", "\ufffd"),
        ("app-and://identifier/main?title=ü%C3%BC", "/main", "üü"),
        ("://?#", "://", "own title"),
        (None, None, "own title"),
    ],
)
def test_page_and_title_are_read_off_the_url_however_broken_it_is(url: str | None, page: str | None, page_title: str) -> None:
    row = mapped({**SCREENVIEW, "url": url, "st": "own title"})
    assert (row["page"], row["page_title"]) == (page, page_title)


@given(st.text())
def test_no_url_raises(url: str) -> None:
    mapped({**SCREENVIEW, "url": url})
    mapped({**SCREENVIEW, "url": f"app-and://identifier/main?title={url}"})


@pytest.mark.parametrize(
    ("code", "currency"),
    [(978, "EUR"), (978.0, "EUR"), (36, "AUD"), (8, "ALL"), (840, "USD"), (-1, None), (0, None), (1, None), (99999, None), (1e300, None)],
)
def test_a_currency_number_is_its_letters_and_an_unknown_one_is_null(code: float, currency: str | None) -> None:
    row = mapped({**TRANSACTION, "tr": {"vl": 20, "cu": code}})
    assert (row["session_input.currency"], row["value"]) == (currency, 20.0)


def test_only_transactions_have_a_currency() -> None:
    assert mapped({**UNKNOWN, "tr": {"vl": 1, "cu": 978}})["session_input.currency"] is None


@pytest.mark.parametrize(
    ("event", "key", "value"),
    [
        (STRING_VARIABLE, "key", "value"),
        ({**STRING_VARIABLE, "v": "cs-empty"}, "key", ""),
        ({**STRING_VARIABLE, "k": "cs-empty"}, "", "value"),
        ({**INTEGER_VARIABLE, "k": "cs-empty"}, "", "2344"),
        (INTEGER_VARIABLE, "key", "2344"),
        ({**INTEGER_VARIABLE, "v": 2344.0}, "key", "2344"),
        ({**INTEGER_VARIABLE, "v": 2**32 - 1}, "key", "4294967295"),
        ({**UNKNOWN, "k": "key", "v": "value"}, None, None),
    ],
)
def test_a_variable_has_its_key_and_its_value_as_text(event: dict[str, Any], key: str | None, value: str | None) -> None:
    row = mapped(event)
    assert (row["session_input.variable_key"], row["session_input.variable_value"]) == (key, value)


@pytest.mark.parametrize(
    ("now", "happened", "flags"),
    [
        (SENT_MS, SENT_MS - 1_000, []),
        (ARRIVAL_MS + DAY_MS, ARRIVAL_MS, []),
        (ARRIVAL_MS + DAY_MS + 1, ARRIVAL_MS, ["clock_skew"]),
        (SENT_MS, SENT_MS + 60_000, []),
        (SENT_MS, SENT_MS + 60_001, ["clock_skew"]),
        (ARRIVAL_MS - DAY_MS, ARRIVAL_MS - DAY_MS, []),
        (ARRIVAL_MS - DAY_MS - 1, ARRIVAL_MS - DAY_MS - 1, ["sent_late"]),
        (ARRIVAL_MS - DAY_MS - 1, ARRIVAL_MS, ["clock_skew", "sent_late"]),
        (1e300, ARRIVAL_MS, ["clock_skew"]),
        (2**64 - 1, ARRIVAL_MS, ["clock_skew"]),
        (-1, ARRIVAL_MS, []),
        (None, 12894726459435, []),
        ("soon", ARRIVAL_MS, []),
        (True, ARRIVAL_MS, []),
    ],
)
def test_the_phones_clock_is_held_against_the_arrival(now: Any, happened: int, flags: list[str]) -> None:
    assert mapped({**TAP, "t": happened}, {**HEADER, "now": now})["flags"] == flags


# --- whatever is landed

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["st", "sv", "av", "vl", "cu"]) | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
header_names = st.sampled_from(["pid", "uid", "dma", "dmo", "os", "l", "now", "to", "r"])
event_names = st.sampled_from(sorted({name for event in EVENTS for name in event} | set(EXAMPLE_COMMON)))


@given(st.dictionaries(header_names | event_names | st.just("pl") | st.text(max_size=8), json_values, max_size=8))
def test_an_arbitrary_object_is_one_record_or_a_batch_and_raises_nothing(document: dict[str, Any]) -> None:
    rows = landed(document)
    if not isinstance(document.get("pl"), list):
        assert len(rows) == 1


@given(
    st.dictionaries(header_names, json_values, max_size=6), st.sampled_from(EVENTS), st.dictionaries(event_names, json_values, max_size=6)
)
def test_an_odd_event_of_an_odd_batch_is_one_record_and_raises_nothing(
    header: dict[str, Any], event: dict[str, Any], odd: dict[str, Any]
) -> None:
    (row,) = landed({**HEADER, **header, "pl": [{**event, **odd, "ea": event["ea"]}]})
    assert row["status"] in ("accepted", "rejected")


@given(st.integers(20, 2**64 - 1), st.dictionaries(event_names.filter(lambda name: name not in EXAMPLE_COMMON), json_values, max_size=8))
def test_an_unknown_action_is_never_refused_for_its_fields(action: int, odd: dict[str, Any]) -> None:
    (row,) = landed({**HEADER, "pl": [{**COMMON, **odd, "ea": action}]})
    assert (row["status"], row["event_type"], row["event_name"]) == ("accepted", "other", f"ea_{action}")

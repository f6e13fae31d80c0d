"""Activity Stream pings: what is valid, and what becomes of it."""

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
from transforms.sources.activity_stream import SOURCE

ARRIVAL_MS = 1_457_395_200_000  # 2016-03-08 00:00 UTC

EXAMPLE_SESSION = {
    "action": "activity_stream_session",
    "addon_version": "1.0.0",
    "client_id": "374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e",
    "date": "2016-03-07",
    "ip": "",
    "load_latency": 1100,
    "load_reason": "restore",
    "locale": "en-US",
    "max_scroll_depth": 145,
    "page": "newtab or timeline",
    "receive_at": 1457396660000,
    "session_duration": 1635,
    "tab_id": "1-3",
    "total_bookmarks": 19,
    "total_history_size": 9,
    "ua": "python-requests/2.9.1",
    "unload_reason": "close",
}
EXAMPLE_EVENT = {
    "action": "activity_stream_event",
    "action_position": "3",
    "addon_version": "1.0.0",
    "client_id": "374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e",
    "date": "2016-03-07",
    "event": "click or scroll or search or delete",
    "ip": "",
    "locale": "en-US",
    "page": "newtab or timeline",
    "receive_at": 1457396660000,
    "source": "top sites, or bookmarks, or...",
    "tab_id": "1-3",
    "ua": "python-requests/2.9.1",
    "url": "https://www.example.com",
    "recommender_type": "pocket-trending",
}
EXAMPLE_PERFORMANCE = {
    "action": "activity_stream_performance",
    "addon_version": "1.0.0",
    "client_id": "374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e",
    "date": "2016-03-07",
    "event": "previewCacheHit",
    "event_id": "45f1912165ca4dfdb5c1c2337dbdc58f",
    "ip": "",
    "locale": "en-US",
    "receive_at": 1457396660000,
    "source": "TOP_FRECENT_SITES",
    "tab_id": "1-3",
    "ua": "python-requests/2.9.1",
    "value": 1,
}

WHO = {"client_id": "c", "addon_version": "1"}
SESSION = {**WHO, "action": "activity_stream_session", "page": "newtab", "session_id": "{A-1}"}
SESSION_OF_TAB = {
    **WHO,
    "action": "activity_stream_session",
    "page": "newtab",
    "tab_id": 5,
    "load_reason": "newtab",
    "unload_reason": "close",
}
EVENT = {**WHO, "action": "activity_stream_event", "page": "newtab", "event": "CLICK", "tab_id": "5"}
PERFORMANCE = {**WHO, "action": "activity_stream_performance", "event": "hit", "event_id": "e", "source": "TOP", "value": 1, "tab_id": "5"}
USER_EVENT = {**WHO, "action": "activity_stream_user_event", "event": "SEARCH"}
PERFORMANCE_EVENT = {**WHO, "action": "activity_stream_performance_event", "event": "PAGE_TAKEOVER_DATA"}
OTHER = {"action": "activity_stream_impression_stats", "client_id": "n/a", "impression_id": "{i}"}
KINDS = (SESSION, SESSION_OF_TAB, EVENT, PERFORMANCE, USER_EVENT, PERFORMANCE_EVENT, OTHER)


def record(ping: dict[str, Any], header: dict[str, Any] | None = None) -> Record:
    document = ping if header is None else SOURCE.join_header(header, ping)
    return Record(document, ping, header, ARRIVAL_MS)


def refusal(ping: dict[str, Any]) -> Refusal | None:
    return SOURCE.refusal(record(ping))


def mapped(ping: dict[str, Any], header: dict[str, Any] | None = None) -> dict[str, Any]:
    """The columns of one valid ping, those of its session input among them as session_input.…"""
    taken = record(ping, header)
    assert SOURCE.refusal(taken) is None
    columns = SOURCE.columns([taken])
    session_input = {f"session_input.{name}": values[0] for name, values in columns["session_input"].items()}
    return {name: values[0] for name, values in columns.items() if name != "session_input"} | session_input


def landed(*lines: Any) -> list[dict[str, Any]]:
    """The records of these lines of a file, by all steps from bytes to Arrow."""
    content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    location = FileLocation("activity_stream", date(2016, 3, 8), 0, "activity_stream/date=2016-03-08/hour=00/a.jsonl")
    batch, _ = to_records(SOURCE, list(split_lines([content])), location, TimeRules())
    return list(batch.to_pylist())


def without(ping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in ping.items() if name not in names}


# --- what is valid


@pytest.mark.parametrize("ping", [EXAMPLE_SESSION, EXAMPLE_EVENT, EXAMPLE_PERFORMANCE, *KINDS], ids=lambda ping: ping["action"])
def test_a_ping_with_what_its_action_requires_is_valid(ping: dict[str, Any]) -> None:
    assert refusal(ping) is None


@pytest.mark.parametrize(
    ("ping", "name"),
    [
        *((ping, name) for ping in KINDS for name in ("action",)),
        *((ping, name) for ping in KINDS if ping is not OTHER for name in ("client_id", "addon_version")),
        (SESSION, "page"),
        (SESSION_OF_TAB, "page"),
        (SESSION_OF_TAB, "tab_id"),
        (SESSION_OF_TAB, "load_reason"),
        (SESSION_OF_TAB, "unload_reason"),
        (EVENT, "page"),
        (EVENT, "event"),
        (EVENT, "tab_id"),
        (PERFORMANCE, "event"),
        (PERFORMANCE, "event_id"),
        (PERFORMANCE, "source"),
        (PERFORMANCE, "value"),
        (PERFORMANCE, "tab_id"),
        (USER_EVENT, "event"),
        (PERFORMANCE_EVENT, "event"),
    ],
    ids=lambda part: part if isinstance(part, str) else part["action"],
)
def test_a_ping_that_lacks_what_its_action_requires_is_refused_and_the_field_named(ping: dict[str, Any], name: str) -> None:
    assert refusal(without(ping, name)) == Refusal("schema_violation", "", f'required: "{name}" is missing')
    nulled = refusal({**ping, name: None})
    assert nulled is not None
    assert nulled.path == f"/{name}"


def test_a_session_id_stands_in_for_the_tab_and_the_reasons() -> None:
    by_session_id = {"session_id": "a"}
    assert refusal(without(SESSION_OF_TAB, "tab_id", "load_reason", "unload_reason") | by_session_id) is None
    assert refusal(without(EVENT, "tab_id") | by_session_id) is None
    assert refusal(without(PERFORMANCE, "tab_id") | by_session_id) is None


@pytest.mark.parametrize("missing", ["", "n/a", None])
def test_a_session_id_that_stands_for_a_missing_one_does_not(missing: str | None) -> None:
    assert refusal({**SESSION, "session_id": missing}) is not None
    assert refusal({**SESSION_OF_TAB, "session_id": missing}) is None
    assert refusal({**without(EVENT, "tab_id"), "session_id": missing}) is not None
    assert refusal({**EVENT, "session_id": missing}) is None


@pytest.mark.parametrize("missing", ["", "n/a"])
@pytest.mark.parametrize(
    ("ping", "name"),
    [(SESSION, "client_id"), (USER_EVENT, "client_id"), (EVENT, "tab_id"), (SESSION_OF_TAB, "tab_id"), (PERFORMANCE, "event_id")],
)
def test_a_required_id_that_stands_for_a_missing_one_is_refused(ping: dict[str, Any], name: str, missing: str) -> None:
    refused = refusal({**ping, name: missing})
    assert refused is not None
    assert refused.path == f"/{name}"


@pytest.mark.parametrize("action", ["fetch_served", "activity", "xactivity_stream_session", "", 5, None, ["activity_stream_session"], {}])
def test_an_action_that_is_not_activity_streams_is_refused(action: Any) -> None:
    refused = refusal({**SESSION, "action": action})
    assert refused is not None
    assert refused.path == "/action"


@pytest.mark.parametrize(
    ("who", "valid"),
    [
        ({"client_id": "c"}, True),
        ({"impression_id": "{i}"}, True),
        ({"client_id": "n/a", "impression_id": "{i}"}, True),
        ({"client_id": 5, "impression_id": "{i}"}, True),
        ({"client_id": "c", "impression_id": None}, True),
        ({"client_id": "n/a"}, False),
        ({"client_id": "n/a", "impression_id": ""}, False),
        ({}, False),
    ],
)
def test_a_ping_of_an_unnamed_action_needs_a_client_or_an_impression_alone(who: dict[str, Any], valid: bool) -> None:
    assert (refusal({"action": "activity_stream_undesired_event", **who}) is None) is valid


def test_nothing_else_of_an_unnamed_action_is_checked() -> None:
    odd: dict[str, Any] = {
        "page": 1,
        "value": -1,
        "session_duration": -7,
        "event": None,
        "load_latency": "slow",
        "tab_id": 1.5,
        "session_id": [],
    }
    assert mapped({**OTHER, **odd})["duration_ms"] is None


OPTIONAL = (
    *("session_id", "tab_id", "event_id", "source", "action_position", "url", "recommender_type", "load_reason", "unload_reason"),
    *("locale", "ver", "session_duration", "load_latency", "max_scroll_depth", "total_bookmarks", "total_history_size"),
)


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_field_may_be_null_and_of_no_other_type(name: str) -> None:
    assert refusal({**USER_EVENT, name: None}) is None
    refused = refusal({**USER_EVENT, name: [1]})
    assert refused is not None
    assert refused.path == f"/{name}"


@pytest.mark.parametrize("ping", KINDS, ids=lambda ping: ping["action"])
def test_fields_that_no_schema_names_are_accepted_and_kept(ping: dict[str, Any]) -> None:
    extended = {**ping, "new": {"a": [None]}, "shield_id": "x"}
    assert mapped(extended)["properties"] == extended


@pytest.mark.parametrize("position", [3, "3", "1-3", "-3-17"])
def test_positions_and_tabs_are_numbers_or_texts(position: Any) -> None:
    assert refusal({**EVENT, "action_position": position, "tab_id": position}) is None


# --- bounds


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (0, 0),
        (-0.49, 0),
        (0.49999999999999994, 0),
        (0.5, 1),
        (1.5, 2),
        (2.5, 3),
        (1635.0, 1635),
        (1e3, 1000),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 0.51, 2**31 - 1),
    ],
)
def test_a_duration_or_measured_value_is_stored_rounded_half_away_from_zero(sent: float, stored: int) -> None:
    assert mapped({**SESSION, "session_duration": sent})["duration_ms"] == stored
    assert mapped({**PERFORMANCE, "value": sent})["value"] == stored
    assert mapped({**PERFORMANCE_EVENT, "value": sent})["value"] == stored


@pytest.mark.parametrize("sent", [-1, -0.5, -1.0, -2, 2**31 - 0.5, 2**31, 2**63, 2**64 - 1, 1e300, "5", True, [5]])
def test_a_duration_or_measured_value_out_of_bounds_is_refused(sent: Any) -> None:
    for ping, name in ((SESSION, "session_duration"), (PERFORMANCE, "value"), (PERFORMANCE_EVENT, "value")):
        refused = refusal({**ping, name: sent})
        assert refused is not None
        assert refused.path == f"/{name}"


def test_a_session_ping_may_lack_its_duration() -> None:
    assert mapped(SESSION)["duration_ms"] is None


def test_a_performance_event_may_lack_its_value() -> None:
    assert mapped({**PERFORMANCE_EVENT, "value": None})["value"] is None


@pytest.mark.parametrize("name", ["max_scroll_depth", "load_latency"])
@pytest.mark.parametrize(
    ("sent", "stored"),
    [(0, 0), (-0.49, 0), (0.5, 1), (144.5, 145), (2**31, 2**31), (-1, None), (-1.0, None), (None, None), (2**64 - 1, None), (1e300, None)],
)
def test_an_extent_is_rounded_and_minus_one_is_a_missing_one(name: str, sent: float | None, stored: int | None) -> None:
    assert mapped({**SESSION, name: sent})[f"session_input.{name}"] == stored


@pytest.mark.parametrize("name", ["max_scroll_depth", "load_latency", "total_bookmarks", "total_history_size"])
def test_any_other_negative_extent_is_refused(name: str) -> None:
    assert refusal({**SESSION, name: -1}) is None
    assert refusal({**SESSION, name: 0}) is None
    for sent in (-0.5, -0.99, -1.01, -2, -1e300, "1", True):
        refused = refusal({**SESSION, name: sent})
        assert refused is not None
        assert refused.path == f"/{name}"


# --- batches


BATCH = {"batch-mode": True, "client_id": "outer", "addon_version": "9", "payloads": [EVENT, USER_EVENT]}


def test_a_batch_is_opened_and_keeps_its_header() -> None:
    assert SOURCE.open_batch(BATCH) == Batch(without(BATCH, "payloads"), [EVENT, USER_EVENT], "payloads")


def test_outer_keys_join_each_ping_and_win() -> None:
    header = without(BATCH, "payloads")
    row = mapped(EVENT, header)
    assert (row["device_id"], row["app_version"], row["event_name"]) == ("outer", "9", "CLICK")


def test_a_ping_of_a_batch_is_kept_as_it_stood_beside_its_header() -> None:
    header = without(BATCH, "payloads")
    row = mapped(EVENT, header)
    assert row["properties"] == EVENT
    assert row["context"] == {"batch": header}
    assert mapped(EVENT)["context"] == {}


def test_a_ping_is_valid_or_not_with_the_outer_keys_joined() -> None:
    rows = landed(
        BATCH | {"payloads": [{"action": "activity_stream_user_event", "event": "CLICK"}]},
        {"batch-mode": True, "payloads": [{"event": "CLICK"}]},
    )
    assert [row["status"] for row in rows] == ["accepted", "rejected"]
    assert rows[1]["raw"] == b'{"batch-mode":true,"payloads":[{"event":"CLICK"}]}'


@pytest.mark.parametrize("payloads", [None, {}, "x", 5])
def test_a_batch_without_a_list_of_pings_is_refused(payloads: Any) -> None:
    assert SOURCE.open_batch({"batch-mode": True}) == Refusal("schema_violation", "", 'required: "payloads" is missing')
    refused = SOURCE.open_batch({"batch-mode": True, "payloads": payloads})
    assert isinstance(refused, Refusal)
    assert refused.path == "/payloads"


@pytest.mark.parametrize("mark", [False, None, 1, "true"])
def test_only_batch_mode_true_makes_a_batch(mark: Any) -> None:
    assert SOURCE.open_batch({**BATCH, "batch-mode": mark}) is None
    assert SOURCE.open_batch(EVENT) is None


def test_a_ping_that_is_sent_alone_and_in_a_batch_is_the_same_event() -> None:
    alone, batched, other = landed(EVENT, {"batch-mode": True, "payloads": [EVENT]}, {**EVENT, "event": "DELETE"})
    assert alone["event_id"] == batched["event_id"] != other["event_id"]


# --- what the columns say


def test_the_session_of_mozillas_documentation_is_mapped() -> None:
    row = mapped({**EXAMPLE_SESSION, "ver": "3"})
    assert {name: value for name, value in row.items() if value is not None} == {
        "event_type": "session",
        "event_name": "activity_stream_session",
        "format_version": "3",
        "received_ms": 1457396660000,
        "device_id": "374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e",
        "app_id": "activity_stream",
        "app_version": "1.0.0",
        "page": "newtab or timeline",
        "locale": "en-US",
        "duration_ms": 1635,
        "properties": {**EXAMPLE_SESSION, "ver": "3"},
        "context": {},
        "flags": (),
        "session_input.kind": "reported",
        "session_input.key": '["374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e"]',
        "session_input.user": True,
        "session_input.tab": "1-3",
        "session_input.load_latency": 1100,
        "session_input.load_reason": "restore",
        "session_input.unload_reason": "close",
        "session_input.max_scroll_depth": 145,
    }


def test_the_event_of_mozillas_documentation_is_mapped() -> None:
    row = mapped(EXAMPLE_EVENT)
    assert (row["event_type"], row["event_name"]) == ("interaction", "click or scroll or search or delete")
    assert (row["target_id"], row["target_type"]) == ("https://www.example.com", "top sites, or bookmarks, or...")
    assert (row["session_input.user"], row["session_input.key"]) == (False, '["374dc4d8-0cb2-4ac5-a3cf-c5a9bc3c602e"]')


def test_the_performance_ping_of_mozillas_documentation_is_mapped_and_keeps_no_id_as_its_own() -> None:
    row = mapped(EXAMPLE_PERFORMANCE)
    assert (row["event_type"], row["event_name"], row["value"]) == ("performance", "previewCacheHit", 1.0)
    assert row["event_id"] is None


@pytest.mark.parametrize(
    ("ping", "event_type", "event_name"),
    [
        (SESSION, "session", "activity_stream_session"),
        (EVENT, "interaction", "CLICK"),
        ({**EVENT, "event": "search"}, "search", "search"),
        ({**EVENT, "event": "SEARCH"}, "search", "SEARCH"),
        ({**EVENT, "event": "Share"}, "share", "Share"),
        ({**EVENT, "event": ""}, "interaction", ""),
        (PERFORMANCE, "performance", "hit"),
        ({**PERFORMANCE, "event": "search"}, "performance", "search"),
        (USER_EVENT, "interaction", "SEARCH"),
        (PERFORMANCE_EVENT, "performance", "PAGE_TAKEOVER_DATA"),
        (OTHER, "other", "activity_stream_impression_stats"),
        ({**OTHER, "action": "activity_stream_undesired_event", "event": "SEARCH"}, "other", "activity_stream_undesired_event"),
    ],
)
def test_action_and_event_make_verb_and_name(ping: dict[str, Any], event_type: str, event_name: str) -> None:
    row = mapped(ping)
    assert (row["event_type"], row["event_name"]) == (event_type, event_name)


def test_the_value_of_an_interaction_is_kept_when_it_is_a_number() -> None:
    assert mapped({**EVENT, "value": -3.25})["value"] == -3.25
    assert mapped({**EVENT, "value": {"card_type": "pocket"}})["value"] is None
    assert mapped({**EVENT, "value": True})["value"] is None


@pytest.mark.parametrize(
    ("times", "received_ms"),
    [
        ({"timestamp": 1457396660001, "receive_at": 1457396660000}, 1457396660001),
        ({"receive_at": 1457396660000}, 1457396660000),
        ({"receive_at": 1457396660000.9}, 1457396660000),
        ({"receive_at": "2016-03-08 00:24:20"}, 1457396660000),
        ({"timestamp": "2016-03-08 00:24:20"}, 1457396660000),
        ({"timestamp": "soon", "receive_at": 1457396660000}, 1457396660000),
        ({"timestamp": None, "receive_at": 1457396660000}, 1457396660000),
        ({"receive_at": "2016-02-30 00:24:20"}, None),
        ({"receive_at": "2016-03-08T00:24:20"}, None),
        ({"receive_at": "2016-03-08 00:24:2"}, None),
        ({"receive_at": True}, None),
        ({"receive_at": 2**64 - 1}, None),
        ({"date": "2016-03-07"}, None),
        ({}, None),
    ],
)
def test_the_servers_time_is_timestamp_else_receive_at(times: dict[str, Any], received_ms: int | None) -> None:
    row = mapped({**EVENT, **times})
    assert (row["received_ms"], row["client_ms"]) == (received_ms, None)


def test_the_client_says_no_time_so_the_servers_is_the_events() -> None:
    (row,) = landed(EXAMPLE_SESSION)
    assert row["time_source"] == "received"
    assert row["event_time"].isoformat() == "2016-03-08T00:24:20+00:00"
    assert row["client_time"] is None


@pytest.mark.parametrize(
    ("sent", "tab"), [(5, "5"), ("5", "5"), (5.0, "5"), ("1-3", "1-3"), (-1, "-1"), (2**64 - 1, str(2**64 - 1)), ("", None), (None, None)]
)
def test_a_tab_is_the_same_as_number_and_as_text(sent: Any, tab: str | None) -> None:
    assert mapped({**USER_EVENT, "tab_id": sent})["session_input.tab"] == tab


@pytest.mark.parametrize(
    ("sent", "session_key", "link"),
    [
        ("{5A1B-c}", "{5A1B-c}", "5a1b-c"),
        ("5a1b-C", "5a1b-C", "5a1b-c"),
        ("{}", "{}", None),
        ("n/a", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_session_id_links_with_and_without_braces_and_is_kept_as_sent(
    sent: str | None, session_key: str | None, link: str | None
) -> None:
    row = mapped({**USER_EVENT, "session_id": sent})
    assert (row["session_key"], row["session_input.link"]) == (session_key, link)


def test_pings_of_unnamed_actions_join_no_session() -> None:
    row = mapped({**OTHER, "client_id": "c", "session_id": "{A-1}"})
    assert (row["session_input.key"], row["session_input.user"]) == (None, False)
    assert row["device_id"] == "c"


def test_a_client_id_that_stands_for_a_missing_one_is_no_device() -> None:
    assert mapped(OTHER)["device_id"] is None


def test_what_a_page_load_was_like_is_read_of_session_pings_alone() -> None:
    row = mapped({**EVENT, "load_latency": 5, "max_scroll_depth": 5, "load_reason": "newtab", "unload_reason": "close"})
    assert [row[f"session_input.{name}"] for name in ("load_latency", "max_scroll_depth", "load_reason", "unload_reason")] == [None] * 4


@pytest.mark.parametrize(("sent", "format_version"), [("3", "3"), (3, "3"), (3.0, "3"), (1.5, "1.5"), (None, None)])
def test_the_version_is_text_however_it_was_sent(sent: Any, format_version: str | None) -> None:
    assert mapped({**USER_EVENT, "ver": sent})["format_version"] == format_version


def test_the_ip_address_reaches_no_column() -> None:
    (row,) = landed({**EVENT, "ip": "203.0.113.9"})
    assert "203.0.113.9" not in str(row)


# --- whatever is landed

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    sorted({name for kind in KINDS for name in kind} | set(OPTIONAL) | {"timestamp", "receive_at", "batch-mode", "payloads"})
)


@given(st.dictionaries(names | st.text(max_size=8), json_values, max_size=8))
def test_an_arbitrary_object_is_one_record_or_a_batch_and_raises_nothing(document: dict[str, Any]) -> None:
    rows = landed(document)
    is_batch = document.get("batch-mode") is True and isinstance(document.get("payloads"), list)
    assert len(rows) == (len(document["payloads"]) if is_batch else 1)


@given(st.sampled_from(KINDS), st.dictionaries(names, json_values, max_size=6))
def test_an_odd_ping_is_refused_or_mapped_and_raises_nothing(kind: dict[str, Any], odd: dict[str, Any]) -> None:
    (row,) = landed({**without({**kind, **odd}, "batch-mode", "payloads"), "action": kind["action"]})
    assert row["status"] in ("accepted", "rejected")


@given(
    st.dictionaries(names.filter(lambda name: name not in ("action", "impression_id", "batch-mode", "payloads")), json_values, max_size=8)
)
def test_a_ping_of_an_unnamed_action_is_never_refused_for_its_fields(odd: dict[str, Any]) -> None:
    (row,) = landed({**odd, "action": "activity_stream_new", "impression_id": "i"})
    assert (row["status"], row["event_type"]) == ("accepted", "other")

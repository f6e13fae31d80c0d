"""Activity Stream pings: the columns of a valid ping."""

from __future__ import annotations

from typing import Any

import pytest
from activity_stream_pings import (
    EVENT,
    EXAMPLE_EVENT,
    EXAMPLE_PERFORMANCE,
    EXAMPLE_SESSION,
    OTHER,
    PERFORMANCE,
    PERFORMANCE_EVENT,
    SESSION,
    USER_EVENT,
    file_records,
    mapped,
)


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
        "user_agent": "python-requests/2.9.1",
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
    (row,) = file_records(EXAMPLE_SESSION)
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


def test_a_sentinel_as_client_id_is_no_device() -> None:
    assert mapped(OTHER)["device_id"] is None


def test_what_a_page_load_was_like_is_read_of_session_pings_alone() -> None:
    row = mapped({**EVENT, "load_latency": 5, "max_scroll_depth": 5, "load_reason": "newtab", "unload_reason": "close"})
    assert [row[f"session_input.{name}"] for name in ("load_latency", "max_scroll_depth", "load_reason", "unload_reason")] == [None] * 4


@pytest.mark.parametrize(("sent", "format_version"), [("3", "3"), (3, "3"), (3.0, "3"), (1.5, "1.5"), (None, None)])
def test_the_version_is_text_however_it_was_sent(sent: Any, format_version: str | None) -> None:
    assert mapped({**USER_EVENT, "ver": sent})["format_version"] == format_version


def test_the_ip_address_reaches_no_column() -> None:
    (row,) = file_records({**EVENT, "ip": "203.0.113.9"})
    assert "203.0.113.9" not in str(row)

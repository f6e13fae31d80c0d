"""Contentsquare events: the columns of a valid event."""

from __future__ import annotations

from typing import Any

import pytest
from contentsquare_events import (
    ARRIVAL_MS,
    COMMON,
    DRAG,
    EVENTS,
    EXAMPLE_COMMON,
    EXAMPLE_HEADER,
    HEADER,
    INTEGER_VARIABLE,
    LONG_PRESS,
    SCREENVIEW,
    SENT_MS,
    STRING_VARIABLE,
    SWIPE,
    TAP,
    TRANSACTION,
    UNKNOWN,
    file_records,
    mapped,
    record,
)
from hypothesis import given
from hypothesis import strategies as st

from transforms.sources.contentsquare import SOURCE
from transforms.times import DAY_MS


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
        "os_version": "7.0",
        "device_class": "phone",
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
    (row,) = file_records({**EXAMPLE_HEADER, "pl": [{**EXAMPLE_COMMON, "ea": 0}]})
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
    rows = file_records({**HEADER, "pl": [{**TAP, "euid": "a", "sn": 1}, {**TAP, "euid": "b", "sn": 2.0}, {**TAP, "euid": "c", "sn": 2}]})
    assert [row["session_key"] for row in rows] == ["1", "2", "2"]
    assert rows[0]["session_input"]["key"] != rows[1]["session_input"]["key"] == rows[2]["session_input"]["key"] == '[8,"u",2]'


def test_integers_may_be_written_as_doubles() -> None:
    row = mapped({**SCREENVIEW, "ea": 4.0, "sl": 2e3, "t": 1.522155e12}, {**HEADER, "pid": 8.0})
    assert (row["event_name"], row["app_id"], row["duration_ms"], row["client_ms"]) == ("screenview", "8", 2000, 1522155000000)
    assert row["session_input.key"] == '[8,"u",1]'


def test_integers_beyond_what_a_column_holds_harm_nothing() -> None:
    huge = {"sn": 1e30, "t": 1e30, "ea": 4, "sl": 2**64 - 1}
    (row,) = file_records({**HEADER, "pid": 2**64 - 1, "pl": [{**COMMON, **huge}]})
    assert (row["status"], row["duration_ms"], row["client_time"]) == ("accepted", None, None)
    assert row["app_id"] == "18446744073709551615"
    assert row["session_input"]["key"] is not None


@pytest.mark.parametrize(("sent", "stored"), [(0, 0), (34543, 34543), (-1, None), (-7, None), (None, None)])
def test_a_load_time_below_nothing_is_none(sent: int | None, stored: int | None) -> None:
    row = mapped({**SCREENVIEW, "sl": sent})
    assert (row["duration_ms"], row["session_input.load_latency"]) == (stored, stored)


def test_only_a_screenview_says_how_long_its_session_took_to_load() -> None:
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
def test_the_phones_clock_is_compared_with_the_arrival(now: Any, happened: int, flags: list[str]) -> None:
    assert mapped({**TAP, "t": happened}, {**HEADER, "now": now})["flags"] == flags

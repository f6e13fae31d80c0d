"""Activity Stream pings: which are valid, which are refused and where, and that no document raises."""

from __future__ import annotations

from typing import Any

import pytest
from activity_stream_pings import (
    EVENT,
    EXAMPLE_EVENT,
    EXAMPLE_PERFORMANCE,
    EXAMPLE_SESSION,
    KINDS,
    OTHER,
    PERFORMANCE,
    PERFORMANCE_EVENT,
    SESSION,
    SESSION_OF_TAB,
    USER_EVENT,
    assert_refused_at,
    file_records,
    mapped,
    refusal,
)
from hypothesis import given
from hypothesis import strategies as st
from source_records import without

from transforms.documents.refusal import Refusal

# Required and optional fields


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
    assert_refused_at(f"/{name}", {**ping, name: None})


def test_a_session_id_replaces_the_tab_and_the_reasons() -> None:
    by_session_id = {"session_id": "a"}
    assert refusal(without(SESSION_OF_TAB, "tab_id", "load_reason", "unload_reason") | by_session_id) is None
    assert refusal(without(EVENT, "tab_id") | by_session_id) is None
    assert refusal(without(PERFORMANCE, "tab_id") | by_session_id) is None


@pytest.mark.parametrize("missing", ["", "n/a", None])
def test_a_sentinel_as_session_id_does_not(missing: str | None) -> None:
    assert refusal({**SESSION, "session_id": missing}) is not None
    assert refusal({**SESSION_OF_TAB, "session_id": missing}) is None
    assert refusal({**without(EVENT, "tab_id"), "session_id": missing}) is not None
    assert refusal({**EVENT, "session_id": missing}) is None


@pytest.mark.parametrize("missing", ["", "n/a"])
@pytest.mark.parametrize(
    ("ping", "name"),
    [(SESSION, "client_id"), (USER_EVENT, "client_id"), (EVENT, "tab_id"), (SESSION_OF_TAB, "tab_id"), (PERFORMANCE, "event_id")],
)
def test_a_sentinel_as_required_id_is_refused(ping: dict[str, Any], name: str, missing: str) -> None:
    assert_refused_at(f"/{name}", {**ping, name: missing})


@pytest.mark.parametrize("action", ["fetch_served", "activity", "xactivity_stream_session", "", 5, None, ["activity_stream_session"], {}])
def test_an_action_that_is_not_activity_streams_is_refused(action: Any) -> None:
    assert_refused_at("/action", {**SESSION, "action": action})


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
    assert_refused_at(f"/{name}", {**USER_EVENT, name: [1]})


@pytest.mark.parametrize("ping", KINDS, ids=lambda ping: ping["action"])
def test_fields_that_no_schema_names_are_accepted_and_kept(ping: dict[str, Any]) -> None:
    extended = {**ping, "new": {"a": [None]}, "shield_id": "x"}
    assert mapped(extended)["properties"] == extended


@pytest.mark.parametrize("position", [3, "3", "1-3", "-3-17"])
def test_positions_and_tabs_are_numbers_or_texts(position: Any) -> None:
    assert refusal({**EVENT, "action_position": position, "tab_id": position}) is None


# Bounds


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
        assert_refused_at(f"/{name}", {**ping, name: sent})


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
        assert_refused_at(f"/{name}", {**SESSION, name: sent})


# Any document

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
    rows = file_records(document)
    is_batch = document.get("batch-mode") is True and isinstance(document.get("payloads"), list)
    assert len(rows) == (len(document["payloads"]) if is_batch else 1)


@given(st.sampled_from(KINDS), st.dictionaries(names, json_values, max_size=6))
def test_an_odd_ping_is_refused_or_mapped_and_raises_nothing(kind: dict[str, Any], odd: dict[str, Any]) -> None:
    (row,) = file_records({**without({**kind, **odd}, "batch-mode", "payloads"), "action": kind["action"]})
    assert row["status"] in ("accepted", "rejected")


@given(
    st.dictionaries(names.filter(lambda name: name not in ("action", "impression_id", "batch-mode", "payloads")), json_values, max_size=8)
)
def test_a_ping_of_an_unnamed_action_is_never_refused_for_its_fields(odd: dict[str, Any]) -> None:
    (row,) = file_records({**odd, "action": "activity_stream_new", "impression_id": "i"})
    assert (row["status"], row["event_type"]) == ("accepted", "other")

"""Contentsquare events: which are valid, which are refused and where, and that no document raises."""

from __future__ import annotations

from typing import Any

import pytest
from contentsquare_events import (
    APP_START,
    COMMON,
    DRAG,
    EVENTS,
    EXAMPLE_COMMON,
    HEADER,
    INTEGER_VARIABLE,
    KINDS,
    LONG_PRESS,
    SCREENVIEW,
    STRING_VARIABLE,
    SWIPE,
    TAP,
    TRANSACTION,
    UNKNOWN,
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
def test_a_sentinel_as_event_id_is_refused(missing: str) -> None:
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
        assert file_records({**HEADER, "pl": [changed(value)]})[0]["status"] == "accepted"
    for value in refused:
        assert_refused_at(f"/{path}", changed(value))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"ea {event['ea']}")
def test_fields_that_no_schema_names_are_accepted_and_kept(event: dict[str, Any]) -> None:
    extended = {**event, "new": {"a": [None]}, "vo": {"new": 1}}
    assert mapped(extended)["properties"] == extended


def test_fields_of_one_action_are_not_checked_on_another() -> None:
    assert refusal({**UNKNOWN, "tr": 5, "k": 5, "v": [], "st": 5, "sl": "x", "tvp": 5, "tvid": 5, "fd": 9}) is None


# Any document

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
    rows = file_records(document)
    if not isinstance(document.get("pl"), list):
        assert len(rows) == 1


@given(
    st.dictionaries(header_names, json_values, max_size=6), st.sampled_from(EVENTS), st.dictionaries(event_names, json_values, max_size=6)
)
def test_an_odd_event_of_an_odd_batch_is_one_record_and_raises_nothing(
    header: dict[str, Any], event: dict[str, Any], odd: dict[str, Any]
) -> None:
    (row,) = file_records({**HEADER, **header, "pl": [{**event, **odd, "ea": event["ea"]}]})
    assert row["status"] in ("accepted", "rejected")


@given(st.integers(20, 2**64 - 1), st.dictionaries(event_names.filter(lambda name: name not in EXAMPLE_COMMON), json_values, max_size=8))
def test_an_unknown_action_is_never_refused_for_its_fields(action: int, odd: dict[str, Any]) -> None:
    (row,) = file_records({**HEADER, "pl": [{**COMMON, **odd, "ea": action}]})
    assert (row["status"], row["event_type"], row["event_name"]) == ("accepted", "other", f"ea_{action}")

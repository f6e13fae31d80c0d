"""Batches of Contentsquare events: which are opened, and which are refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from contentsquare_events import HEADER, SWIPE, TAP, file_records, mapped
from source_records import without

from transforms.documents.refusal import Refusal
from transforms.ingest.source import Batch
from transforms.sources.contentsquare import SOURCE


@pytest.mark.parametrize("extra", [{}, {"new": 1}, {"ea": 6}, {"to": 5, "r": "x", "now": "soon", "os": 7}])
def test_a_batch_is_opened_whatever_else_its_header_has(extra: dict[str, Any]) -> None:
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
    rows = file_records({"uid": "u", "pid": 8, "pl": [TAP, without(TAP, "t"), SWIPE]})
    assert [(row["status"], row["position"]) for row in rows] == [("accepted", 0), ("accepted", 2), ("rejected", 1)]
    assert rows[2]["raw"] == orjson.dumps({"pid": 8, "pl": [without(TAP, "t")], "uid": "u"}, option=orjson.OPT_SORT_KEYS)


def test_an_event_is_kept_as_landed_with_its_header() -> None:
    row = mapped(TAP)
    assert (row["properties"], row["context"]) == (TAP, {"batch": HEADER})


@pytest.mark.parametrize("line", [TAP, [TAP]])
def test_an_event_without_a_header_is_valid_and_has_no_device_and_no_session(line: Any) -> None:
    (row,) = file_records(line)
    assert (row["status"], row["event_id"], row["session_key"], row["context"]) == ("accepted", "e", "1", "{}")
    assert [row[name] for name in ("device_id", "app_id", "os", "device_model", "locale")] == [None] * 5
    assert row["session_input"]["key"] is None
    assert row["flags"] == []

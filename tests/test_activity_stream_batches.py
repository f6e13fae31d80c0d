"""Batches of Activity Stream pings: how they are opened, and how the fields of the batch join each ping."""

from __future__ import annotations

from typing import Any

import pytest
from activity_stream_pings import EVENT, USER_EVENT, file_records, mapped
from source_records import without

from transforms.documents.refusal import Refusal
from transforms.ingest.source import Batch
from transforms.sources.activity_stream import SOURCE

BATCH = {"batch-mode": True, "client_id": "outer", "addon_version": "9", "payloads": [EVENT, USER_EVENT]}


def test_a_batch_is_opened_and_keeps_its_header() -> None:
    assert SOURCE.open_batch(BATCH) == Batch(without(BATCH, "payloads"), [EVENT, USER_EVENT], "payloads")


def test_outer_keys_join_each_ping_and_win() -> None:
    header = without(BATCH, "payloads")
    row = mapped(EVENT, header)
    assert (row["device_id"], row["app_version"], row["event_name"]) == ("outer", "9", "CLICK")


def test_a_ping_of_a_batch_is_kept_as_landed_with_its_header() -> None:
    header = without(BATCH, "payloads")
    row = mapped(EVENT, header)
    assert row["properties"] == EVENT
    assert row["context"] == {"batch": header}
    assert mapped(EVENT)["context"] == {}


def test_a_ping_is_valid_or_not_with_the_outer_keys_joined() -> None:
    rows = file_records(
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
    alone, batched, other = file_records(EVENT, {"batch-mode": True, "payloads": [EVENT]}, {**EVENT, "event": "DELETE"})
    assert alone["event_id"] == batched["event_id"] != other["event_id"]

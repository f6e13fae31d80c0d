"""Pings of Activity Stream of every kind, and what the source makes of them."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from source_records import columns_of_record, records_of_file

from transforms.documents.refusal import Refusal
from transforms.ingest.records import FileLocation
from transforms.ingest.source import Record
from transforms.sources.activity_stream import SOURCE

ARRIVAL_MS = 1_457_395_200_000  # 2016-03-08 00:00 UTC

STORAGE_PATH = FileLocation("activity_stream", date(2016, 3, 8), 0, "activity_stream/date=2016-03-08/hour=00/a.jsonl")

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


def assert_refused_at(path: str, ping: dict[str, Any]) -> None:
    refused = refusal(ping)
    assert refused is not None, ping
    assert (refused.reason, refused.path) == ("schema_violation", path)


def mapped(ping: dict[str, Any], header: dict[str, Any] | None = None) -> dict[str, Any]:
    """The columns of one valid ping."""
    return columns_of_record(SOURCE, record(ping, header))


file_records = partial(records_of_file, SOURCE, STORAGE_PATH)

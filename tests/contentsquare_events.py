"""Events of Contentsquare of every action, and what the source makes of them."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from source_records import columns_of_record, records_of_file

from transforms.documents.refusal import Refusal
from transforms.ingest.records import FileLocation
from transforms.ingest.source import Record
from transforms.sources.contentsquare import SOURCE

ARRIVAL_MS = 1_522_152_000_000  # 2018-03-27 12:00 UTC
SENT_MS = ARRIVAL_MS + 60_000
STORAGE_PATH = FileLocation("contentsquare", date(2018, 3, 27), 12, "contentsquare/date=2018-03-27/hour=12/a.jsonl")

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


def assert_refused_at(path: str, event: dict[str, Any]) -> None:
    refused = refusal(event)
    assert refused is not None, event
    assert (refused.reason, refused.path) == ("schema_violation", path)


def mapped(event: dict[str, Any], header: dict[str, Any] | None = HEADER) -> dict[str, Any]:
    """The columns of one valid event."""
    return columns_of_record(SOURCE, record(event, header))


file_records = partial(records_of_file, SOURCE, STORAGE_PATH)

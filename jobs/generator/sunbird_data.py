"""Sunbird Telemetry V3: the event data of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jobs.generator.format import Document
from jobs.generator.sunbird_kinds import KindNumber

_PAGE_TYPES = ("view", "list", "detail", "workflow")
_TAPS = ("TOUCH", "CLICK", "SCROLL", "DRAG", "OTHER", "LISTEN", "touch", "SHOW")
_BUTTONS = ("btn-play", "card-0", "tab-library", "nav-back", "download", "சமர்ப்பிக்க", "filter-medium", "rate")
_TAPPED: tuple[Document, ...] = (
    {},
    {"subtype": "PLAY"},
    {"extra": {"pos": [{"x": 12.5, "y": 310}], "values": []}},
    {"target": {"id": "do_31279352288932659215822", "type": "Content", "ver": "1"}},
    {"plugin": {"id": "org.ekstep.navigation", "ver": "1.0"}},
    {"duration": 0.4},
    {},
    {},
)
# Scores above 1 happen, and are kept.
_SCORES = (0, 1, 0.5, 1.0, 0, 1, 0.25, 2)


class EventValues(NamedTuple):
    """What the data of an event is made of: where it happened, and what its visit has come to. Times in ms."""

    environment: str
    page: str
    workflow: str  # type of the outermost one
    detail: int  # some random bits
    start: int
    end: int
    active: int
    pageviews: int
    interactions: int


def event_data(kind: int, values: EventValues) -> Document:
    """The field `edata` of an event of this kind."""
    return _DATA[kind](values)


def _start(values: EventValues) -> Document:
    device = {"dspec": {"os": "Android 9", "make": "Xiaomi Redmi 6A", "scrn": "5.45", "sims": "-1"}} if values.detail & 32 else {}
    return {"type": values.workflow, "mode": "", "loc": "", **device, "pageid": values.page}


def _impression(values: EventValues) -> Document:
    visits = {"visits": [{"objid": "do_3125", "objtype": "Content", "index": 0}]} if values.detail & 48 == 48 else {}
    return {"type": _PAGE_TYPES[values.detail % 4], "pageid": values.page, "uri": f"/{values.environment}/{values.page}", **visits}


def _interact(values: EventValues) -> Document:
    detail = values.detail
    return {"type": _TAPS[detail & 7], "id": _BUTTONS[detail >> 3 & 7], "pageid": values.page, **_TAPPED[detail >> 6 & 7]}


def _assess(values: EventValues) -> Document:
    detail = values.detail
    score = _SCORES[detail & 7]
    question = {"id": f"do_31{detail % 997}", "maxscore": 1, "type": "mcq", "title": f"Q{detail % 31}: 7 × 8 = ?", "desc": ""}
    return {
        "item": {**question, "mc": [], "mmc": []},
        "index": detail % 20,
        "pass": "Yes" if score else "No",
        "score": score,
        "resvalues": [{f"{detail % 4}": "56"}],
        "duration": detail % 600 / 10,
    }


def _response(values: EventValues) -> Document:
    target = {"id": f"q{values.detail % 31}", "type": "plugin", "ver": "1.2"}
    return {"type": "CHOOSE", "target": target, "values": [{f"option{values.detail % 4}": "<p>56</p>"}]}


def _share(values: EventValues) -> Document:
    item = {"id": f"do_31{values.detail % 997}", "type": "CONTENT", "ver": "1", "params": [{"size": ""}]}
    return {"dir": "Out", "type": "File", "items": [item]}


def _error(values: EventValues) -> Document:
    trace = f"at line {values.detail % 400}\n\tat main"
    return {"err": f"ERR_{values.detail % 5}", "errtype": "SYSTEM", "stacktrace": trace, "pageid": values.page}


def _log(values: EventValues) -> Document:
    params = [{"rid": f"{values.detail:x}"}, {"duration": values.detail % 2_000}, {"status": 200}]
    return {"type": "api_call", "level": "INFO", "message": "GET /content/v1/read", "params": params}


def _search(values: EventValues) -> Document:
    return {
        "type": "content",
        "query": ("", "fractions", "भूगोल", "grade 7 science")[values.detail & 3],
        "filters": {"medium": ["English"]},
        "sort": {},
        "size": values.detail % 900,
        "topn": [{"identifier": "do_3128"}],
    }


def _end(values: EventValues) -> Document:
    # One phone in a hundred counts from the wrong moment.
    duration = -1564676673421 if values.detail % 100 == 7 else (values.end - values.start) / 1000
    return {
        "type": values.workflow,
        "mode": "",
        "duration": duration,
        "pageid": values.page,
        "summary": [{"progress": values.detail % 100}],
    }


def _summary(values: EventValues) -> Document:
    # One in five does not agree with the events.
    agrees = values.detail % 5 != 3
    seconds = values.active / 1000 if agrees else values.active / 1000 * 1.3 + 20
    visited = {"env": values.environment, "timespent": seconds, "visits": 1}
    return {
        "type": ("session", "app", "session", "tool")[values.detail >> 3 & 3],
        "mode": "",
        "starttime": values.start,
        "endtime": values.end,
        "timespent": str(seconds) if values.detail & 128 else seconds,
        "pageviews": values.pageviews if agrees else values.pageviews + 2,
        "interactions": values.interactions,
        "envsummary": [visited],
        "eventssummary": [{"id": "INTERACT", "count": values.interactions}],
        "pagesummary": [{"id": values.page, "type": "view", **visited}],
    }


def _player_end(values: EventValues) -> Document:
    progress = [{"progress": 100}]
    return {"type": "player", "mode": "play", "duration": values.detail % 900, "pageid": values.page, "summary": progress}


_DATA: dict[int, Callable[[EventValues], Document]] = {
    KindNumber.START: _start,
    KindNumber.IMPRESSION: _impression,
    KindNumber.INTERACT: _interact,
    KindNumber.ASSESS: _assess,
    KindNumber.RESPONSE: _response,
    KindNumber.BACKGROUND: lambda values: {"type": ("background", "m:background", "BACKGROUND")[values.detail % 3]},
    KindNumber.RESUME: lambda values: {"type": ("resume", "m:resume")[values.detail % 2], "pageid": values.page},
    KindNumber.FEEDBACK: lambda values: {"rating": (1, 3, 4.5, 5)[values.detail & 3], "comments": "बहुत अच्छा 👍"},
    KindNumber.SHARE: _share,
    KindNumber.SHARE_ITEM: _share,
    KindNumber.ERROR: _error,
    KindNumber.END: _end,
    KindNumber.HEARTBEAT: lambda _: {},
    KindNumber.LOG: _log,
    KindNumber.SEARCH: _search,
    KindNumber.SUMMARY: _summary,
    KindNumber.EXDATA: lambda values: {"type": "xapi", "data": f"{values.detail:x}"},
    KindNumber.AUDIT: lambda values: {
        "type": "Content",
        "props": ["status"],
        "state": "Live",
        "prevstate": "Review",
        "duration": values.detail % 400,
    },
    KindNumber.METRICS: lambda values: {"consumed": values.detail % 90, "failed": 0, "lag": values.detail % 7 + 0.5},
    KindNumber.JOB_START: lambda _: {"type": "publish-pipeline"},
    KindNumber.METRIC: lambda _: {"system": "druid", "metrics": [{"metric": "rows", "value": 1}]},
    KindNumber.PLAYER_START: lambda values: {"type": "player", "mode": "play", "duration": 0.8, "pageid": values.page},
    KindNumber.PLAYER_END: _player_end,
    KindNumber.EDITOR_START: lambda _: {"type": "editor", "mode": "content"},
    KindNumber.EDITOR_END: lambda values: {"type": "editor", "mode": "content", "duration": values.detail % 900},
    KindNumber.SERVICE_START: lambda _: {"type": "workflow", "mode": "publish"},
}

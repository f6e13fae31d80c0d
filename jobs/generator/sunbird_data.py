"""Sunbird Telemetry V3: the event data of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jobs.generator.format import Document
from jobs.generator.sunbird_kinds import Event

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


class Said(NamedTuple):
    """What the data of an event is made of: where it happened, and what its stay has come to. Times in ms."""

    environment: str
    page: str
    workflow: str  # type of the outermost one
    detail: int  # some random bits
    start: int
    end: int
    active: int
    pageviews: int
    interactions: int


def event_data(kind: int, said: Said) -> Document:
    """The field `edata` of an event of this kind."""
    return _DATA[kind](said)


def _start(said: Said) -> Document:
    device = {"dspec": {"os": "Android 9", "make": "Xiaomi Redmi 6A", "scrn": "5.45", "sims": "-1"}} if said.detail & 32 else {}
    return {"type": said.workflow, "mode": "", "loc": "", **device, "pageid": said.page}


def _impression(said: Said) -> Document:
    visits = {"visits": [{"objid": "do_3125", "objtype": "Content", "index": 0}]} if said.detail & 48 == 48 else {}
    return {"type": _PAGE_TYPES[said.detail % 4], "pageid": said.page, "uri": f"/{said.environment}/{said.page}", **visits}


def _interact(said: Said) -> Document:
    detail = said.detail
    return {"type": _TAPS[detail & 7], "id": _BUTTONS[detail >> 3 & 7], "pageid": said.page, **_TAPPED[detail >> 6 & 7]}


def _assess(said: Said) -> Document:
    detail = said.detail
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


def _response(said: Said) -> Document:
    target = {"id": f"q{said.detail % 31}", "type": "plugin", "ver": "1.2"}
    return {"type": "CHOOSE", "target": target, "values": [{f"option{said.detail % 4}": "<p>56</p>"}]}


def _share(said: Said) -> Document:
    item = {"id": f"do_31{said.detail % 997}", "type": "CONTENT", "ver": "1", "params": [{"size": ""}]}
    return {"dir": "Out", "type": "File", "items": [item]}


def _error(said: Said) -> Document:
    trace = f"at line {said.detail % 400}\n\tat main"
    return {"err": f"ERR_{said.detail % 5}", "errtype": "SYSTEM", "stacktrace": trace, "pageid": said.page}


def _log(said: Said) -> Document:
    params = [{"rid": f"{said.detail:x}"}, {"duration": said.detail % 2_000}, {"status": 200}]
    return {"type": "api_call", "level": "INFO", "message": "GET /content/v1/read", "params": params}


def _search(said: Said) -> Document:
    return {
        "type": "content",
        "query": ("", "fractions", "भूगोल", "grade 7 science")[said.detail & 3],
        "filters": {"medium": ["English"]},
        "sort": {},
        "size": said.detail % 900,
        "topn": [{"identifier": "do_3128"}],
    }


def _end(said: Said) -> Document:
    # One phone in a hundred counts from the wrong moment.
    duration = -1564676673421 if said.detail % 100 == 7 else (said.end - said.start) / 1000
    return {"type": said.workflow, "mode": "", "duration": duration, "pageid": said.page, "summary": [{"progress": said.detail % 100}]}


def _summary(said: Said) -> Document:
    # One in five does not agree with the events.
    agrees = said.detail % 5 != 3
    seconds = said.active / 1000 if agrees else said.active / 1000 * 1.3 + 20
    visited = {"env": said.environment, "timespent": seconds, "visits": 1}
    return {
        "type": ("session", "app", "session", "tool")[said.detail >> 3 & 3],
        "mode": "",
        "starttime": said.start,
        "endtime": said.end,
        "timespent": str(seconds) if said.detail & 128 else seconds,
        "pageviews": said.pageviews if agrees else said.pageviews + 2,
        "interactions": said.interactions,
        "envsummary": [visited],
        "eventssummary": [{"id": "INTERACT", "count": said.interactions}],
        "pagesummary": [{"id": said.page, "type": "view", **visited}],
    }


def _player_end(said: Said) -> Document:
    progress = [{"progress": 100}]
    return {"type": "player", "mode": "play", "duration": said.detail % 900, "pageid": said.page, "summary": progress}


_DATA: dict[int, Callable[[Said], Document]] = {
    Event.START: _start,
    Event.IMPRESSION: _impression,
    Event.INTERACT: _interact,
    Event.ASSESS: _assess,
    Event.RESPONSE: _response,
    Event.BACKGROUND: lambda said: {"type": ("background", "m:background", "BACKGROUND")[said.detail % 3]},
    Event.RESUME: lambda said: {"type": ("resume", "m:resume")[said.detail % 2], "pageid": said.page},
    Event.FEEDBACK: lambda said: {"rating": (1, 3, 4.5, 5)[said.detail & 3], "comments": "बहुत अच्छा 👍"},
    Event.SHARE: _share,
    Event.SHARE_ITEM: _share,
    Event.ERROR: _error,
    Event.END: _end,
    Event.HEARTBEAT: lambda _: {},
    Event.LOG: _log,
    Event.SEARCH: _search,
    Event.SUMMARY: _summary,
    Event.EXDATA: lambda said: {"type": "xapi", "data": f"{said.detail:x}"},
    Event.AUDIT: lambda said: {
        "type": "Content",
        "props": ["status"],
        "state": "Live",
        "prevstate": "Review",
        "duration": said.detail % 400,
    },
    Event.METRICS: lambda said: {"consumed": said.detail % 90, "failed": 0, "lag": said.detail % 7 + 0.5},
    Event.JOB_START: lambda _: {"type": "publish-pipeline"},
    Event.METRIC: lambda _: {"system": "druid", "metrics": [{"metric": "rows", "value": 1}]},
    Event.PLAYER_START: lambda said: {"type": "player", "mode": "play", "duration": 0.8, "pageid": said.page},
    Event.PLAYER_END: _player_end,
    Event.EDITOR_START: lambda _: {"type": "editor", "mode": "content"},
    Event.EDITOR_END: lambda said: {"type": "editor", "mode": "content", "duration": said.detail % 900},
    Event.SERVICE_START: lambda _: {"type": "workflow", "mode": "publish"},
}

"""Documents of the four sources, as clients send them.

Times are minutes from noon of 20 November 2026. `minutes` is the true time of an event, `clock_error` by how much the client's clock
differs from it, `received` when the server received the event.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

Row = dict[str, Any]

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
TODAY = NOON.date()
HOUR, DAY, YEAR = 60, 24 * 60, 365 * 24 * 60  # minutes
MINUTE_MS = 60_000
CLOCK_AT_1970 = -int(NOON.timestamp()) // 60  # the error of a clock that was never set
ALL_SOURCES = ("activity_stream", "contentsquare", "homepagevisit", "sunbird")
SOURCES_WITH_CLIENT_CLOCK = ("contentsquare", "homepagevisit", "sunbird")
SOURCES_WITH_CLIENT_KEY = ("contentsquare", "sunbird")


def time_at(minutes: float) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def epoch_ms_at(minutes: float) -> int:
    return round((NOON.timestamp() + minutes * 60) * 1000)


def sunbird_event(minutes: float, eid: str = "INTERACT", clock_error: float = 0, received: float | None = None, **context: Any) -> Row:
    context = {"channel": "c", "env": "home", "sid": "1", "did": "device"} | context
    edata = {"type": "TOUCH", "id": "button"} if eid == "INTERACT" else {"type": "app", "level": "INFO", "message": "", "duration": 1}
    return {
        "eid": eid,
        "ets": epoch_ms_at(minutes + clock_error),
        "ver": "3.0",
        "mid": f"{eid} {context['sid']} {minutes}",
        "actor": {"id": context.pop("actor", "person"), "type": "User"},
        "context": context,
        "edata": edata,
        "syncts": epoch_ms_at(minutes if received is None else received),
    }


def sunbird_event_without_sid(minutes: float, clock_error: float = 0) -> Row:
    return sunbird_event(minutes, clock_error=clock_error, sid=None)


def contentsquare_event(minutes: float, ea: int = 6, clock_error: float = 0, sn: Any = 1) -> Row:
    return {"ea": ea, "euid": f"{ea} {minutes}", "sn": sn, "t": epoch_ms_at(minutes + clock_error)}


def contentsquare_batch(*events: Row, now: float | None, uid: Any = "1") -> Row:
    """The batch that a phone sends when its clock shows `now`."""
    with_ids = [event | {"euid": f"{event['euid']} {uid}"} for event in events]
    return {"pid": 8, "uid": uid, "pl": with_ids, "now": None if now is None else epoch_ms_at(now)}


def homepage_visit(minutes: float, clock_error: float = 0, received: float | None = None, user_id: int = 456, wiki: str = "enwiki") -> Row:
    return {
        "$schema": "/analytics/legacy/homepagevisit/1.2.1",
        "client_dt": time_at(minutes + clock_error).isoformat(),
        "event": {
            "homepage_pageview_token": f"token {minutes}",
            "impact_module_state": "activated",
            "is_mobile": True,
            "start_email_state": "noemail",
            "user_editcount": 1,
            "user_id": user_id,
        },
        "meta": {
            "dt": time_at(minutes if received is None else received).isoformat(),
            "id": f"{wiki} {user_id} {minutes}",
            "stream": "eventlogging_HomepageVisit",
        },
        "wiki": wiki,
    }


def session_ping(minutes: float, duration_ms: Any = None, **fields: Any) -> Row:
    """The end of a session of the reported duration, at a time by the server's clock."""
    reasons = {"page": "newtab", "load_reason": "newtab", "unload_reason": "close"}
    return event_ping(minutes, action="activity_stream_session", session_duration=duration_ms, **(reasons | fields))


def event_ping(minutes: float, **fields: Any) -> Row:
    ping = {
        "action": "activity_stream_event",
        "event": "CLICK",
        "page": "newtab",
        "client_id": "browser",
        "addon_version": "1",
        "tab_id": 1,
    }
    return ping | {"timestamp": epoch_ms_at(minutes)} | fields


def client_documents(source: str, *minutes: float, clock_error: float = 0, received: float | None = None, client: int = 1) -> list[Row]:
    """The documents of one client for events at these minutes, one per line, each received at once or all at `received`.

    The last document of a browser is the ping that ends its session. Every client has a session key of its own.
    """
    if source == "activity_stream":
        session = session_ping(minutes[-1], (minutes[-1] - minutes[0]) * MINUTE_MS)
        return [ping | {"client_id": f"{client}"} for ping in (*map(event_ping, minutes[:-1]), session)]
    if source == "contentsquare":
        return [
            contentsquare_batch(
                contentsquare_event(time, clock_error=clock_error),
                now=clock_error + (time if received is None else received),
                uid=f"{client}",
            )
            for time in minutes
        ]
    if source == "homepagevisit":
        return [homepage_visit(minute, clock_error, received, user_id=client) for minute in minutes]
    return [sunbird_event(minute, clock_error=clock_error, received=received, sid=f"{client}") for minute in minutes]

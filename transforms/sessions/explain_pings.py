"""Explain a session that a session ping reports: which pings joined it, and how.

Rules: docs/rules/sessions.md, "Sessions from pings".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.sessions.explain import (
    Figure,
    Row,
    Sheet,
    Step,
    at_ms,
    clock,
    counts,
    doubts,
    epoch_ms,
    figure,
    flags,
    numbered,
    parts,
    robots,
)
from transforms.sessions.rules import SessionRules

NOT_JOINED = "does not belong to it"
_SESSION_PING = "the session ping: it marks the end"
_INTERACTIONS = ("interaction", "search", "share")


def sheet(session: Row, events: Sequence[Row], rules: SessionRules) -> Sheet:
    """The sheet of a row of `sessions` of kind reported.

    In: the session's pings in their order, the session ping among them, with transforms.sessions.explain.EVENT_COLUMNS.
    """
    steps = steps_of(events, rules)
    figures = [
        *_numbers(session, steps),
        *robots(session["is_robot"], [step for step in steps if step.note != NOT_JOINED]),
        *flags(session["flags"], _reasons(steps, rules)),
    ]
    return Sheet(steps, figures)


def steps_of(events: Sequence[Row], rules: SessionRules) -> list[Step]:
    """The pings in order, each with the time to the end of the session, and how it joined."""
    session_ping = next(event for event in events if event["event_type"] == "session")
    end = epoch_ms(session_ping["event_time"])
    return [
        Step(number, event, _how_joined(event, session_ping, rules), gap_ms=end - epoch_ms(event["event_time"]))
        for number, event in enumerate(events, 1)
    ]


def _how_joined(ping: Row, session_ping: Row, rules: SessionRules) -> str:
    if ping is session_ping:
        return _SESSION_PING
    end, time = epoch_ms(session_ping["event_time"]), epoch_ms(ping["event_time"])
    outside = max(end - (session_ping["duration_ms"] or 0) - time, time - end)
    where = "within the span" if outside <= 0 else f"{outside:,} ms {'after the end' if time > end else 'before the start'}"
    own, of_session = ping["session_input"], session_ping["session_input"]
    if own["link"]:
        return f"by session id, {where}" if own["link"] == of_session["link"] else NOT_JOINED
    same_tab = own["tab"] and own["tab"] == of_session["tab"]
    return f"by tab {own['tab']}, {where}" if same_tab and outside <= rules.tab_tolerance_ms else NOT_JOINED


def _numbers(session: Row, steps: Sequence[Step]) -> list[Figure]:
    ending = next(step for step in steps if step.note == _SESSION_PING)
    joined = [step for step in steps if step.note not in (_SESSION_PING, NOT_JOINED)]
    interactions = [step.number for step in joined if step.event["event_type"] in _INTERACTIONS]
    ping, facts, number = ending.event, ending.event["session_input"], ending.number
    end, duration, page = ping["event_time"], ping["duration_ms"], ping["page"]
    timespent = None if duration is None else duration / 1000
    from_ping = f"event {number}, as it says"
    subtracted = f"{clock(end)} − {duration or 0:,} ms"
    figures = [
        figure("end_time", session["end_time"], end, f"event {number}, the session ping"),
        figure("session_duration", session["session_duration"], duration, from_ping, "ms"),
        figure("start_time", session["start_time"], at_ms(epoch_ms(end) - (duration or 0)), subtracted),
        figure("timespent", session["timespent"], timespent, "session_duration / 1000", "s"),
        figure("pageviews", session["pageviews"], 1, "the page that the session ping is about"),
        figure(
            "interactions", session["interactions"], len(interactions), f"{numbered(interactions)} of type interaction, search or share"
        ),
        figure("events", session["events"], 1 + len(joined), f"the session ping and {len(joined):,} joined to it"),
        figure("entry_page, exit_page", (session["entry_page"], session["exit_page"]), (page, page), from_ping),
    ]
    figures += [
        figure(name, session[name], facts[name], from_ping, unit)
        for name, unit in (("max_scroll_depth", "px"), ("load_latency", "ms"))
        if session[name] is not None or facts[name] is not None
    ]
    loads, unloads = ([row[name] for row in (session, facts)] for name in ("load_reason", "unload_reason"))
    figures.append(figure("load_reason, unload_reason", (loads[0], unloads[0]), (loads[1], unloads[1]), from_ping))
    spent: dict[str, Any] = {"timespent": timespent, "visits": 1}
    figures += parts("envsummary", ["env"], session["envsummary"], [{"env": "", **spent}], ["all of timespent"])
    page_entry = {"id": page, "type": None, "env": "", **spent}
    figures += parts("pagesummary", ["id", "env"], session["pagesummary"], [page_entry], ["all of timespent"])
    return [*figures, counts(session["eventssummary"], steps)]


def _reasons(steps: Sequence[Step], rules: SessionRules) -> dict[str, str]:
    """The computed flags, each with its reason."""
    reasons = doubts(steps)
    duration = next(step.event["duration_ms"] for step in steps if step.note == _SESSION_PING)
    if duration == 0:
        reasons["zero_length"] = "its session_duration is 0"
    if duration is not None and duration > rules.overlong_ms:
        reasons["overlong"] = f"longer than {rules.overlong_ms:,} ms"
    return reasons

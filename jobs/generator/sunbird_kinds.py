"""The kinds of Sunbird events that the generator plans, and its special scenarios."""

from __future__ import annotations

from enum import IntEnum

from jobs.generator.format import EventKind


class Scenario(IntEnum):
    """What is special about a visit."""

    ORDINARY = 0
    CLOCK_AHEAD = 1  # three years: every event falls back to the server's time
    CLOCK_BEHIND = 2
    SECONDS = 3  # the client sends seconds where the format wants milliseconds
    SERVICE = 4  # a server process, not a user
    KEYLESS = 5  # neither session id, device nor actor
    REUSED = 6  # the session id of three days before


class KindNumber(IntEnum):
    """Index into KINDS."""

    START = 0
    IMPRESSION = 1
    INTERACT = 2
    ASSESS = 3
    RESPONSE = 4
    BACKGROUND = 5
    RESUME = 6
    FEEDBACK = 7
    SHARE = 8
    SHARE_ITEM = 9
    ERROR = 10
    END = 11
    HEARTBEAT = 12
    LOG = 13
    SEARCH = 14
    SUMMARY = 15
    EXDATA = 16
    AUDIT = 17
    METRICS = 18
    JOB_START = 19
    METRIC = 20
    PLAYER_START = 21
    PLAYER_END = 22
    EDITOR_START = 23
    EDITOR_END = 24
    SERVICE_START = 25


# Which kinds carry session time: docs/rules/sessions.md, "User events".
KINDS = (
    EventKind("START", "start"),
    EventKind("IMPRESSION", "page_view"),
    EventKind("INTERACT", "interaction"),
    EventKind("ASSESS", "assessment"),
    EventKind("RESPONSE", "response"),
    EventKind("INTERRUPT", "interrupt", pauses=True),
    EventKind("INTERRUPT", "interrupt"),
    EventKind("FEEDBACK", "feedback"),
    EventKind("SHARE", "share"),
    EventKind("SHARE_ITEM", "other"),
    EventKind("ERROR", "error"),
    EventKind("END", "end"),
    EventKind("HEARTBEAT", "heartbeat", user=False),
    EventKind("LOG", "log", user=False),
    EventKind("SEARCH", "search", user=False),
    EventKind("SUMMARY", "session", user=False),
    EventKind("EXDATA", "external_data", user=False),
    EventKind("AUDIT", "audit", user=False),
    EventKind("METRICS", "metrics", user=False),
    EventKind("JOB_START", "other", user=False),
    EventKind("METRIC", "other", user=False),
    EventKind("START", "start"),
    EventKind("END", "end"),
    EventKind("START", "start"),
    EventKind("END", "end"),
    EventKind("START", "start", user=False),
)

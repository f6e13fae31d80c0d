"""The kinds of Sunbird events that the generator plans, and its special scenarios."""

from __future__ import annotations

from enum import IntEnum

from jobs.generator.format import Kind


class Scenario(IntEnum):
    """What is special about a visit."""

    ORDINARY = 0
    CLOCK_AHEAD = 1  # three years: every event falls back to the server's time
    CLOCK_BEHIND = 2
    SECONDS = 3  # the client sends seconds where the format wants milliseconds
    SERVICE = 4  # a server process, not a user
    KEYLESS = 5  # neither session id, device nor actor
    REUSED = 6  # the session id of three days before


class Event(IntEnum):
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
    Kind("START", "start"),
    Kind("IMPRESSION", "page_view"),
    Kind("INTERACT", "interaction"),
    Kind("ASSESS", "assessment"),
    Kind("RESPONSE", "response"),
    Kind("INTERRUPT", "interrupt", pauses=True),
    Kind("INTERRUPT", "interrupt"),
    Kind("FEEDBACK", "feedback"),
    Kind("SHARE", "share"),
    Kind("SHARE_ITEM", "other"),
    Kind("ERROR", "error"),
    Kind("END", "end"),
    Kind("HEARTBEAT", "heartbeat", user=False),
    Kind("LOG", "log", user=False),
    Kind("SEARCH", "search", user=False),
    Kind("SUMMARY", "session", user=False),
    Kind("EXDATA", "external_data", user=False),
    Kind("AUDIT", "audit", user=False),
    Kind("METRICS", "metrics", user=False),
    Kind("JOB_START", "other", user=False),
    Kind("METRIC", "other", user=False),
    Kind("START", "start"),
    Kind("END", "end"),
    Kind("START", "start"),
    Kind("END", "end"),
    Kind("START", "start", user=False),
)

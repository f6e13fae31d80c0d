"""What the events of a workflow add up to: of one span of events, and of two spans that follow one another.

A tally of events that were added one by one equals that of their first part joined with that of the rest. So a workflow
need not be told of every event of the workflows within it: it takes over their tallies when they close, and the cost of
an event does not grow with the depth in which it happens.

Rules: the summaries' text, section 4; pages and environments as in its section 1. Time is in hundredths of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

# The types of interaction that count, in lower case.
_COUNTED = (
    "touch drag drop pinch zoom shake rotate speak listen write draw start end choose activate"
    " scroll click edit submit search dnd added removed selected"
)
_INTERACTIONS = frozenset(_COUNTED.split())


class Event(NamedTuple):
    """One event of a group, as transforms.workflows.INPUT has it."""

    key: str
    ets: int
    event_id: str
    event_type: str
    event_name: str
    environment: str | None
    page: str | None
    session_key: str | None
    landing_date: date
    uid: str | None
    object_id: str | None
    object_type: str | None
    type: str | None
    mode: str | None
    item: str | None


@dataclass(slots=True)
class Environment:
    """How long and how often an environment was the current one."""

    spent: int = 0
    entered: int = 0


@dataclass(slots=True)
class Page:
    """How long and how often a page was open, and the last type that it was said to have."""

    spent: int = 0
    opened: int = 0
    type: str | None = None


PageKey = tuple[str, str]  # id and environment
# What may be open in place of a page: nothing yet, since there was no page_view, or nothing since one had no page id.
_NOT_YET: PageKey = ("", "not yet")
_CLOSED: PageKey = ("", "closed")


class Tally:
    """What some events in a row add up to; `first` is None as long as there are none."""

    __slots__ = (
        "_first_env",
        "_last_env",
        "_loose",
        "_open",
        "environments",
        "events",
        "first",
        "interactions",
        "last_ms",
        "pages",
        "spent",
    )

    def __init__(self) -> None:
        self.first: Event | None = None
        self.last_ms = 0
        self.spent = 0
        self.interactions = 0
        self.events: dict[str, int] = {}
        self.environments: dict[str, Environment] = {}
        self.pages: dict[PageKey, Page] = {}
        self._first_env = ""
        self._last_env = ""
        self._open = _NOT_YET
        self._loose = 0  # spent before the first page_view, on whatever page may have been open before these events

    def spend(self, hundredths: int) -> None:
        """Count time to the last event's environment, and to the page that is open."""
        self.spent += hundredths
        self.environments[self._last_env].spent += hundredths
        self._spend_on_page(hundredths)

    def add(self, event: Event) -> None:
        """Count an event, which comes after all that were counted."""
        env = event.environment or ""
        if self.first is None:
            self.first, self._first_env = event, env
            self.environments[env] = Environment(entered=1)
        elif env != self._last_env:
            self.environments.setdefault(env, Environment()).entered += 1
        self._last_env = env
        self.last_ms = event.ets
        self.events[event.event_name] = self.events.get(event.event_name, 0) + 1
        if event.event_type == "interaction":
            self.interactions += (event.type or "").lower() in _INTERACTIONS
        elif event.event_type == "page_view":
            self._open = (event.page, env) if event.page else _CLOSED
            if event.page:
                page = self.pages.setdefault(self._open, Page())
                page.opened += 1
                page.type = page.type if event.type is None else event.type

    def join(self, later: Tally) -> None:
        """Count all that a tally of the events that come next holds; that one is of no use afterwards."""
        if later.first is None:
            return
        if self.first is None:
            self.first, self._first_env = later.first, later._first_env
        elif later._first_env == self._last_env:
            later.environments[later._first_env].entered -= 1
        self._last_env = later._last_env
        self.last_ms = later.last_ms
        self.spent += later.spent
        self.interactions += later.interactions
        self._spend_on_page(later._loose)
        if later._open is not _NOT_YET:
            self._open = later._open
        self._join_events(later)
        self._join_environments(later)
        self._join_pages(later)

    def _spend_on_page(self, hundredths: int) -> None:
        if self._open is _NOT_YET:
            self._loose += hundredths
        elif self._open is not _CLOSED:
            self.pages[self._open].spent += hundredths

    # The larger one takes up the smaller one: however deep workflows are nested, an entry rarely moves.

    def _join_events(self, later: Tally) -> None:
        smaller, larger = sorted((self.events, later.events), key=len)
        for name, count in smaller.items():
            larger[name] = larger.get(name, 0) + count
        self.events = larger

    def _join_environments(self, later: Tally) -> None:
        smaller, larger = sorted((self.environments, later.environments), key=len)
        for name, part in smaller.items():
            whole = larger.setdefault(name, part)
            if whole is not part:
                whole.spent += part.spent
                whole.entered += part.entered
        self.environments = larger

    def _join_pages(self, later: Tally) -> None:
        smaller, larger = sorted((self.pages, later.pages), key=len)
        for key, part in smaller.items():
            whole = larger.setdefault(key, part)
            if whole is not part:
                whole.spent += part.spent
                whole.opened += part.opened
                types = (part.type, whole.type) if smaller is later.pages else (whole.type, part.type)
                whole.type = types[1] if types[0] is None else types[0]
        self.pages = larger

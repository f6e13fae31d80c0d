"""The sums over the events of a workflow, for one span of events and for two consecutive spans.

The tally of a span equals the tally of its first part joined with that of the rest. So an event is added to the innermost
workflow alone, and the tally of a closed workflow is joined to that of its parent. An event costs the same at any depth.

Rules: docs/rules/workflows.md, "What an event adds" and "Time spent". Time is in hundredths of a second.
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


class WorkflowEvent(NamedTuple):
    """One event of a group, with the columns of transforms.workflows.summaries.INPUT."""

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
    """Time in an environment (hundredths of a second), and how often it was entered."""

    spent: int = 0
    entered: int = 0


@dataclass(slots=True)
class Page:
    """Time on a page (hundredths of a second), how often it was opened, and its last type that is not null."""

    spent: int = 0
    opened: int = 0
    type: str | None = None


PageKey = tuple[str, str]  # id and environment
# These mean "no page is open": there was no page_view yet, or the last one had no page id.
_NOT_YET: PageKey = ("", "not yet")
_CLOSED: PageKey = ("", "closed")


class Tally:
    """The sums over consecutive events. `first` is None as long as there are none."""

    __slots__ = (
        "_before_pages",
        "_first_env",
        "_last_env",
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
        self.first: WorkflowEvent | None = None
        self.last_ms = 0
        self.spent = 0
        self.interactions = 0
        self.events: dict[str, int] = {}
        self.environments: dict[str, Environment] = {}
        self.pages: dict[PageKey, Page] = {}
        self._first_env = ""
        self._last_env = ""
        self._open = _NOT_YET
        self._before_pages = 0  # time before the first page_view: it counts for the page that was open before these events, if any

    def spend(self, hundredths: int) -> None:
        """Add time to the environment of the last event and to the open page."""
        self.spent += hundredths
        self.environments[self._last_env].spent += hundredths
        self._spend_on_page(hundredths)

    def add(self, event: WorkflowEvent) -> None:
        """Add the next event."""
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
        """Add the tally of the events that follow. That tally must not be used afterwards."""
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
        self._spend_on_page(later._before_pages)
        if later._open is not _NOT_YET:
            self._open = later._open
        self._join_events(later)
        self._join_environments(later)
        self._join_pages(later)

    def _spend_on_page(self, hundredths: int) -> None:
        if self._open is _NOT_YET:
            self._before_pages += hundredths
        elif self._open is not _CLOSED:
            self.pages[self._open].spent += hundredths

    # The smaller mapping is added to the larger one, so few entries are copied at any depth of workflows.

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

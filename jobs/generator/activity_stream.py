"""Activity Stream pings, as Firefox's new-tab page sent them: a session ping at the end, and the pings of what was done in it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from jobs.generator import draws
from jobs.generator.clock import spaced
from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Document, EventKind, Format, Pings, Spoiler, Traits, styles
from jobs.generator.idle import drawn_gaps
from jobs.generator.rows import ARRAY, BATCH, NEVER, SECOND, SINGLE, GeneratedRows, distinct
from jobs.generator.visits import Crowd, Moments, Visits


class Scenario(IntEnum):
    """What is special about a visit."""

    ORDINARY = 0
    CRASHED = 1  # no session ping ever comes: the other pings are orphans
    TWICE = 2  # two session pings for one unloaded tab
    WITHOUT_DURATION = 3
    WITHOUT_TIME = 4  # neither timestamp nor receive_at: only the landing hour is known
    IMPRESSIONS = 5  # pings that count impressions, of no client
    IN_WORDS = 6  # receive_at as a text, to the second
    UNTIED = 7  # event pings that name neither tab nor session


KINDS = (
    EventKind("activity_stream_session", "session"),
    EventKind("CLICK", "interaction"),
    EventKind("SEARCH", "search"),
    EventKind("share", "share"),
    EventKind("previewCacheHit", "performance"),
    EventKind("DELETE", "interaction"),
    EventKind("domain_affinity", "performance"),
    EventKind("activity_stream_impression_stats", "other"),
)
SESSION, CLICK, SEARCH, SHARE, PERFORMANCE, USER_EVENT, USER_PERFORMANCE, OTHER = range(len(KINDS))
_MIDDLE = np.repeat([CLICK, SEARCH, SHARE, PERFORMANCE, USER_EVENT, USER_PERFORMANCE], [45, 12, 4, 20, 15, 4])

_ACTIONS = {
    SESSION: "activity_stream_session",
    CLICK: "activity_stream_event",
    SEARCH: "activity_stream_event",
    SHARE: "activity_stream_event",
    PERFORMANCE: "activity_stream_performance",
    USER_EVENT: "activity_stream_user_event",
    USER_PERFORMANCE: "activity_stream_performance_event",
}
_EVENTS = {
    CLICK: ("CLICK", "click", "BLOCK", "more_items"),
    SEARCH: ("SEARCH", "search"),
    SHARE: ("share", "SHARE"),
    USER_EVENT: ("DELETE", "PREF_CHANGED"),
}
_SOURCES = ("TOP_SITES", "top_sites", "HIGHLIGHTS", "recent_links", "spotlight", "CARDGRID", "sidebar", "frecent_links")
_PAGES = ("newtab", "about:newtab", "timeline", "NEW_TAB", "HOME", "TIMELINE_ALL")
_LOADED = ("newtab", "refocus", "restore", "focus", "refresh", "none")
_UNLOADED = ("navigation", "unfocus", "close", "click", "search", "refresh", "route_change")
_LOCALES = ("en-US", "de", "fr", "zh-CN", "pt-BR", "ru")
_VERSIONS = ("1.0.0", "1.14.3", "2017.09.11.1306-373d9fc", "20190520130859")
# The release that is slower than those before: its times, in hundredths of theirs.
_SLOWER = {"20190520130859": 140}
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; rv:57.0) Gecko/20100101 Firefox/57.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:67.0) Gecko/20100101 Firefox/67.0",
    "python-requests/2.9.1",
)


def _traits(visits: Visits) -> Traits:
    return Traits(
        key=draws.draw(visits.bits, "session") | np.uint64(1),
        keyed=np.ones(len(visits), dtype=np.bool_),
        style=styles(visits, (SINGLE, SINGLE, BATCH, SINGLE, ARRAY, SINGLE, SINGLE, ARRAY, SINGLE, BATCH)),
        batch_size=2 + visits.index % 7,
        tick=np.where(visits.scenario == Scenario.IN_WORDS, SECOND, 1),
    )


def _script(moment: Moments) -> tuple[Whole, Whole]:
    scenario = moment.of(moment.visits.scenario)
    kind = _MIDDLE[draws.below(moment.bits, "kind", 100)]
    at_end = (moment.left == 0) | ((scenario == Scenario.TWICE) & (moment.left == 1))
    kind = np.select(
        [scenario == Scenario.IMPRESSIONS, (scenario == Scenario.CRASHED) & at_end, scenario == Scenario.UNTIED, at_end],
        [OTHER, CLICK, np.where(moment.left == 0, SESSION, USER_EVENT), SESSION],
        kind,
    )
    gap = drawn_gaps(moment.bits, 9 * SECOND, moment.of(moment.visits.long))
    return kind, np.where((scenario == Scenario.TWICE) & (moment.left == 0), SECOND, gap)


def _client_times(_moment: Moments, time: Whole) -> Whole:
    return np.full(len(time), NEVER)


def _received_times(rows: GeneratedRows) -> Whole:
    return np.where(rows.scenario == Scenario.WITHOUT_TIME, NEVER, rows.time)


def durations(rows: GeneratedRows) -> Whole:
    """What the session pings say of their length, ms; NEVER where they say nothing, and for all other pings."""
    # The tab had the focus for a while before the first ping: for long when that is the only one.
    lead = draws.share(rows.visit, "lead")
    before = np.where(rows.elapsed == 0, 400 / (1.001 - lead), 3000 * lead).astype(np.int64)
    says = (rows.kind == SESSION) & (rows.scenario != Scenario.WITHOUT_DURATION)
    return np.where(says, rows.elapsed + before, NEVER)


def linked(rows: GeneratedRows) -> Flags:
    """Whether pings name their session (Firefox 57 and later), not only their tab."""
    by_session: Flags = (draws.share(rows.software, "firefox") < 0.65) | (rows.scenario == Scenario.WITHOUT_TIME)
    return by_session


def untied(rows: GeneratedRows) -> Flags:
    """Whether pings name neither session nor tab."""
    loose: Flags = (rows.scenario == Scenario.UNTIED) & (rows.kind == USER_EVENT)
    return loose


class Client(NamedTuple):
    """What all pings of a visit have in common."""

    common: Document
    tie: Document  # what ties them together
    flow: str  # id that its performance pings share


class Ping(NamedTuple):
    """What one document is made of."""

    kind: int
    client: Client
    untied: bool
    time: Document
    duration: int
    number: int
    page: str
    detail: int  # some random bits
    fraction: bool
    address: int


def _documents(rows: GeneratedRows) -> list[Document]:
    first, client_of = distinct(rows.visit)
    clients = _clients(rows.take(first))
    columns = zip(
        rows.kind.tolist(),
        [clients[client] for client in client_of.tolist()],
        untied(rows).tolist(),
        _times(rows),
        durations(rows).tolist(),
        rows.number.tolist(),
        draws.chosen(rows.visit, "page", _PAGES),
        draws.picks(rows.bits, "detail", 1 << 30),
        (draws.share(rows.visit, "fraction") < 0.1).tolist(),
        # The same ping sent again may come from another address: it is the same ping.
        draws.picks(rows.upload, "address", 250),
        strict=True,
    )
    return [_document(Ping(*values)) for values in columns]


def _clients(rows: GeneratedRows) -> list[Client]:
    columns = zip(
        draws.uuids(rows.device, "client"),
        draws.chosen(rows.device, "version", _VERSIONS),
        draws.chosen(rows.device, "locale", _LOCALES),
        draws.chosen(rows.device, "browser", _BROWSERS),
        _ties(rows),
        draws.hexes(rows.visit, "flow"),
        strict=True,
    )
    return [
        Client({"addon_version": version, "client_id": client, "locale": locale, "ua": browser}, tie, flow)
        for client, version, locale, browser, tie, flow in columns
    ]


def _ties(rows: GeneratedRows) -> list[Document]:
    """The id that the pings of a visit have in common, in its different spellings."""
    ties: list[Document] = []
    columns = zip(linked(rows).tolist(), draws.uuids(rows.visit, "session"), draws.picks(rows.visit, "tab", 80), strict=True)
    for by_session, session, tab in columns:
        if by_session:
            ties.append({"session_id": f"{{{session}}}" if tab % 2 else session})
        else:
            ties.append({"tab_id": f"-3-{tab}" if tab % 2 else tab})
    return ties


def _times(rows: GeneratedRows) -> list[Document]:
    """The server's time, in the field that the ping has for it."""
    by_timestamp = draws.share(rows.visit, "timestamp") < 0.6
    times: list[Document] = []
    for scenario, time, timestamp in zip(rows.scenario.tolist(), rows.time.tolist(), by_timestamp.tolist(), strict=True):
        if scenario == Scenario.WITHOUT_TIME:
            times.append({})
        elif scenario == Scenario.IN_WORDS:
            times.append({"receive_at": spaced(time)})
        else:
            times.append({"timestamp": time} if timestamp else {"receive_at": time, "date": spaced(time)[:10]})
    return times


def _document(ping: Ping) -> Document:
    landed = {**ping.time, "page": ping.page, "ip": f"203.0.113.{ping.address}"}
    if ping.kind == OTHER:
        tiles = [{"id": ping.detail % 5000, "pos": ping.number}]
        impression = f"{{{ping.detail:08x}-ffff}}"
        return {"action": KINDS[OTHER].name, "impression_id": impression, **landed, "source": "CARDGRID", "tiles": tiles}
    tie = {} if ping.untied else ping.client.tie
    own = _session(ping) if ping.kind == SESSION else _event(ping)
    return {"action": _ACTIONS[ping.kind], **ping.client.common, **tie, **landed, **own}


def _session(ping: Ping) -> Document:
    detail = ping.detail
    duration = {"session_duration": float(ping.duration) if ping.fraction else ping.duration}
    return {
        "load_reason": _LOADED[detail % len(_LOADED)],
        "unload_reason": _UNLOADED[detail % len(_UNLOADED)],
        **({} if ping.duration == NEVER else duration),
        "load_latency": (80 + detail % 1900) * _slowness(ping) // 100,
        "max_scroll_depth": -1 if detail & 7 == 0 else detail % 4000,
        "total_bookmarks": detail % 300,
        "total_history_size": detail % 9000,
        "ver": "3",
    }


def _event(ping: Ping) -> Document:
    """What event and performance pings have; `place` makes any two of a visit differ, as they have no id of their own."""
    kind, detail = ping.kind, ping.detail
    common = {"source": _SOURCES[detail & 7], "place": ping.number}
    if kind in (PERFORMANCE, USER_PERFORMANCE):
        slowness = _slowness(ping)
        value = detail % 7000 * slowness // 100 / 10 if ping.fraction else detail % 700 * slowness // 100
        return {"event": KINDS[kind].name, "event_id": ping.client.flow, "value": value, **common}
    names = _EVENTS[kind]
    return {
        "event": names[detail % len(names)],
        "action_position": str(ping.number) if ping.fraction else ping.number,
        "url": f"https://www.example.com/{detail % 97}",
        **({"value": {"card_type": "pinned"}} if detail & 31 == 31 else {}),
        **common,
    }


def _slowness(ping: Ping) -> int:
    """How long its release takes, in hundredths of the time of others."""
    version: str = ping.client.common["addon_version"]
    return _SLOWER.get(version, 100)


def _batches(_rows: GeneratedRows, groups: Sequence[Sequence[Any]]) -> list[Document]:
    return [{"batch-mode": True, "ver": "3", "payloads": group} for group in groups]


def _session_ping(document: Document, **fields: object) -> Document:
    """A session ping of the document's client, with these fields."""
    ping: Document = {"action": "activity_stream_session", "client_id": "c", "addon_version": "1.0.0", "page": "newtab", "session_id": "s"}
    kept: Document = {name: document[name] for name in ("client_id", "addon_version", "timestamp") if name in document}
    return {**ping, **kept, **fields}


ACTIVITY_STREAM = Format(
    name="activity_stream",
    weight=2,
    crowd=Crowd(
        hours=(11, 10, 9, 8, 8, 8, 9, 12, 15, 18, 19, 19, 20, 21, 22, 22, 22, 21, 20, 20, 20, 18, 16, 13),
        scale=5.0,
        tail=2.4,
        longest=120,
        scenarios={
            Scenario.CRASHED: (1, 41, 81, 121),
            Scenario.TWICE: (3, 83),
            Scenario.WITHOUT_DURATION: (5, 45, 85, 125),
            Scenario.WITHOUT_TIME: (7, 87),
            Scenario.IMPRESSIONS: (9, 49, 89, 129),
            Scenario.IN_WORDS: (11, 51, 91, 131),
            Scenario.UNTIED: (13, 93),
        },
    ),
    kinds=KINDS,
    reused=-1,
    traits=_traits,
    script=_script,
    client_times=_client_times,
    received_times=_received_times,
    documents=_documents,
    batches=_batches,
    empty=({"batch-mode": True, "payloads": []}, []),
    spoilers=(
        Spoiler("a session on no page", lambda document: {n: v for n, v in _session_ping(document).items() if n != "page"}),
        Spoiler("a duration in words", lambda document: _session_ping(document, session_duration="long")),
        Spoiler("a ping of another product", lambda document: {**document, "action": "fetch_served"}),
        Spoiler("a duration below 0", lambda document: _session_ping(document, session_duration=-1)),
    ),
    pings=Pings(durations, linked, untied),
)

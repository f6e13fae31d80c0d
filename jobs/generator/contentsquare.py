"""Contentsquare mobile SDK batches, as phones send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any
from urllib.parse import quote

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Whole
from jobs.generator.format import Document, EventKind, Format, Spoiler, Traits, uniform
from jobs.generator.idle import drawn_gaps
from jobs.generator.rows import BATCH, DAY, MINUTE, NEVER, SECOND, GeneratedRows
from jobs.generator.visits import Crowd, Moments, Visits


class Scenario(IntEnum):
    """What is special about a visit."""

    ORDINARY = 0
    CLOCK_AHEAD = 1  # as far as in the format's own example, which is of the year 2378
    CLOCK_BEHIND = 2
    REUSED = 3  # the session number of three days before
    SENT_AHEAD = 4  # `now` of the batch is in the future
    SENT_BEHIND = 5  # days ago
    SENT_NEVER = 6  # missing


KINDS = (
    EventKind("app_start", "start"),
    EventKind("app_show", "foreground"),
    EventKind("app_hide", "background", pauses=True),
    EventKind("screenview", "page_view"),
    EventKind("tap", "interaction"),
    EventKind("long_press", "interaction"),
    EventKind("drag", "interaction"),
    EventKind("swipe", "interaction"),
    EventKind("transaction", "transaction"),
    EventKind("string_variable", "variable"),
    EventKind("integer_variable", "variable"),
    EventKind("ea_21", "other"),
)
START, SHOW, HIDE, SCREEN, TAP, PRESS, DRAG, SWIPE, TRANSACTION, TEXT, NUMBER, OTHER = range(len(KINDS))
_ACTIONS = (0, 1, 2, 4, 6, 8, 9, 10, 16, 18, 19, 21)
# How often each kind comes in the middle of a session, in hundredths.
_MIDDLE = np.repeat([HIDE, SCREEN, TAP, PRESS, DRAG, SWIPE, TRANSACTION, TEXT, NUMBER, OTHER], [2, 23, 41, 3, 6, 14, 3, 4, 3, 1])

_PROJECTS = (8, 41, 1234)
_PHONES = (
    ("SDK-android", {"dt": 4, "dma": "Samsung", "dmo": "SM-G991B", "os": "13"}, {"d": 2.75, "w": 1080, "h": 2400}),
    ("SDK-android", {"dt": 4, "dma": "Google", "dmo": "Pixel 7", "os": "14"}, {"d": 2.625, "w": 1080, "h": 2400}),
    ("SDK-android", {"dt": 5, "dma": "Lenovo", "dmo": "Tab M10", "os": "10"}, {"d": 1.5, "w": 1200, "h": 1920}),
    ("SDK-ios", {"dt": 4, "dma": "Apple", "dmo": "iPhone14,5", "os": "17.1.2"}, {"d": 3, "w": 1170, "h": 2532}),
    ("SDK-ios", {"dt": 5, "dma": "Apple", "os": "16.6"}, {"d": 2, "w": 1620, "h": 2160}),
    ("SDK-android", {"dt": 4, "dmo": "Redmi Note 8", "os": "9.0"}, {"d": 2.75, "w": 1080, "h": 2340}),
)
_LANGUAGES = (
    ("fr_FR", "Europe/Paris"),
    ("en_US", "America/New_York"),
    ("de_DE", "Europe/Berlin"),
    ("ja_JP", "Asia/Tokyo"),
    ("pt_BR", "America/Sao_Paulo"),
)
_VERSIONS = (
    {"sv": "4.12.0", "sb": 412, "av": "7.3.1", "af": "release", "ab": 731},
    {"sv": "4.13.2", "sb": 413, "av": "7.4.0", "af": "release", "ab": 740},
    {"sv": "4.15.0", "sb": 415, "av": "8.0.0-beta2", "af": "debug", "ab": 800},
)


@dataclass(frozen=True)
class Screen:
    """A screen of the app."""

    path: str
    title: str
    load_time: int  # ms

    @cached_property
    def url(self) -> str:
        """Its address as the SDK spells it."""
        return f"app-and://com.example.shop{self.path}?title={quote(self.title)}"


_SCREENS = (
    Screen("/home/start", "Home", 180),
    Screen("/catalogue/list", "Tous les modèles", 420),
    Screen("/catalogue/product", "Product détail 🛍", 640),
    Screen("/search/results", "Résultats de recherche", 510),
    Screen("/basket/overview", "Panier", 230),
    Screen("/checkout/payment", "Payment & delivery", 880),
    Screen("/account/orders", "注文履歴", 350),
    Screen("/help/faq", "100% help?", 150),
)
HOME, CATALOGUE, PRODUCT, SEARCH, BASKET, CHECKOUT, ORDERS, HELP = range(len(_SCREENS))
_ELSEWHERE = (HOME, SEARCH, ORDERS, HELP, SEARCH, CATALOGUE, HOME, SEARCH)
# How long a screen takes to load in a release that is slower than the others, in hundredths.
_SLOWER = {"8.0.0-beta2": 145}
_NETWORKS = ({"c": -1}, {"c": 0}, {"c": 1}, {"c": 1}, {"c": 3, "ci": "Orange F"}, {"c": 4, "ci": "Orange F"}, {"c": 5, "ci": "verizon"})
_TARGETS = ("btn_ok", "btn_add_to_basket", "img_product", "lnk_more", "tab_account", "")
_CURRENCIES = (978, 840, 826, 36, 392, 756, -1, 1)
_PRICES = tuple(float(np.float32(price)) for price in (9.99, 19.99, 0.5, 129.0, 1249.95, 4.2, 64.1, 0.0))
_TEXTS = (
    ("plan", "premium"),
    ("plan", "basic"),
    ("campaign", "été 2026"),
    ("cs-empty", "cs-empty"),
    ("store", "Zürich"),
    ("voucher", 'say "10%"'),
)
_NUMBERS = (("items", 1_000), ("age", 90), ("points", 2**32))


def _traits(visits: Visits) -> Traits:
    return Traits(
        key=draws.draw(visits.session, "session number") | np.uint64(1),
        keyed=np.ones(len(visits), dtype=np.bool_),
        style=uniform(visits, BATCH),
        batch_size=np.array([50, 10, 25])[visits.index % 3],
        tick=uniform(visits, 1),
    )


def _script(moment: Moments) -> tuple[Whole, Whole]:
    kind = _MIDDLE[draws.below(moment.bits, "kind", 100)]
    hidden_before = np.append(False, kind[:-1] == HIDE) & (moment.number > 2)
    kind = np.where(hidden_before, SHOW, kind)
    hides_at_last = moment.of(draws.share(moment.visits.bits, "hides") < 0.7)
    kind = np.select([moment.number == 0, moment.number == 1, (moment.left == 0) & hides_at_last], [START, SHOW, HIDE], kind)
    gap = drawn_gaps(moment.bits, 7 * SECOND, moment.of(moment.visits.long))
    back = np.append(False, kind[:-1] == HIDE)
    away = 5 * SECOND + draws.below(moment.bits, "away", 9 * MINUTE)
    return kind, np.where(back, away, gap)


def _client_times(moment: Moments, time: Whole) -> Whole:
    scenario = moment.of(moment.visits.scenario)
    return np.select(
        [scenario == Scenario.CLOCK_AHEAD, scenario == Scenario.CLOCK_BEHIND], [time + 128_600 * DAY, time % (100 * DAY)], time
    )


def _received_times(rows: GeneratedRows) -> Whole:
    # `now` is the phone's clock: a batch has no server time.
    return np.full(len(rows), NEVER)


def _documents(rows: GeneratedRows) -> list[Document]:
    bits = rows.bits
    columns = zip(
        rows.kind.tolist(),
        draws.uuids(bits, "id"),
        _screens(rows),
        rows.pageviews.tolist(),
        draws.chosen(rows.visit, "network", _NETWORKS),
        draws.picks(rows.visit, "orientation", 2),
        draws.chosen(rows.device, "version", _VERSIONS),
        _session_numbers(rows),
        rows.client.tolist(),
        draws.picks(bits, "uptime", 10**7),
        draws.picks(bits, "detail", 1 << 30),
        strict=True,
    )
    return [
        {
            "ea": _ACTIONS[kind],
            "upt": uptime,
            "euid": event_id,
            "url": screen.url,
            "scn": seen,
            **network,
            "o": orientation,
            "vo": version,
            "sn": session,
            "t": time,
            **_detail(kind, screen, version["av"], detail),
        }
        for kind, event_id, screen, seen, network, orientation, version, session, time, uptime, detail in columns
    ]


def _session_numbers(rows: GeneratedRows) -> list[int]:
    numbers: list[int] = (1 + (rows.key >> np.uint64(56)).astype(np.int64)).tolist()
    return numbers


def _screens(rows: GeneratedRows) -> list[Screen]:
    """The screen of each event. Visits begin at home; fewer and fewer get to a product, the basket and the checkout."""
    bits = draws.draw(rows.visit, "screens") ^ rows.pageviews.astype(np.uint64)
    turn, reach, seen = draws.below(bits, "screen", 8), draws.share(rows.visit, "reach"), rows.pageviews
    chosen = np.select(
        [
            seen <= 1,
            (reach > 0.3) & (turn < 3),
            (reach > 0.6) & (seen > 2) & (turn == 3),
            (reach > 0.75) & (seen > 3) & (turn == 4),
        ],
        [np.full(len(turn), HOME), np.where(turn == 0, CATALOGUE, PRODUCT), np.full(len(turn), BASKET), np.full(len(turn), CHECKOUT)],
        np.array(_ELSEWHERE)[turn],
    )
    return [_SCREENS[screen] for screen in chosen.tolist()]


def _detail(kind: int, screen: Screen, version: str, detail: int) -> Document:
    """The fields of events of this kind that are not common to all kinds. `detail` has random bits."""
    if kind == SCREEN:
        load_time = screen.load_time * _SLOWER.get(version, 100) // 100
        return {"st": screen.title, "sl": load_time + detail % 97}
    if kind in (TAP, PRESS, DRAG, SWIPE):
        return _gesture(kind, detail)
    if kind == TRANSACTION:
        order = {"id": f"order-{detail}"} if detail & 64 else {}
        return {"tr": {"vl": _PRICES[detail % 8], "cu": _CURRENCIES[detail // 8 % 8], **order}}
    if kind == TEXT:
        key, text = _TEXTS[detail % len(_TEXTS)]
        return {"k": key, "v": text}
    if kind == NUMBER:
        key, limit = _NUMBERS[detail % len(_NUMBERS)]
        return {"k": key, "v": detail * 3 % limit}
    return {"beta": {"probe": [1, 2.5, None]}} if kind == OTHER else {}


def _gesture(kind: int, detail: int) -> Document:
    view = detail % len(_TARGETS)
    gesture = {"tvp": f"[root]>view#{view}>button>", "tvid": _TARGETS[view]}
    if kind == TAP:
        return {**gesture, "ur": detail & 64 == 0}
    if kind == PRESS:
        return gesture
    # What is faster than 100 dp/s is a swipe.
    return {**gesture, "fd": 1 + detail % 5, "tvd": detail % 900, "tvv": detail % 99 + (101 if kind == SWIPE else 0)}


def _batches(rows: GeneratedRows, groups: Sequence[Sequence[Any]]) -> list[Document]:
    now = np.select(
        [rows.scenario == Scenario.SENT_AHEAD, rows.scenario == Scenario.SENT_BEHIND, rows.scenario == Scenario.CLOCK_BEHIND],
        [rows.arrival + 400 * DAY, rows.arrival - 3 * DAY, rows.arrival % (100 * DAY)],
        rows.arrival - 2 * SECOND,
    )
    columns = zip(
        draws.chosen(rows.device, "project", _PROJECTS),
        draws.uuids(rows.device, "uid"),
        draws.chosen(rows.device, "phone", _PHONES),
        draws.chosen(rows.device, "language", _LANGUAGES),
        now.tolist(),
        (rows.scenario != Scenario.SENT_NEVER).tolist(),
        groups,
        strict=True,
    )
    return [
        {
            "pid": project,
            "uid": uid,
            **model,
            "l": language,
            "tz": zone,
            **({"now": sent} if says_when else {}),
            "to": {"an": "shop", "st": platform, "sf": "release"},
            "r": resolution,
            "pl": group,
        }
        for project, uid, (platform, model, resolution), (language, zone), sent, says_when, group in columns
    ]


def _without_id(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "euid"}


CONTENTSQUARE = Format(
    name="contentsquare",
    weight=3,
    crowd=Crowd(
        hours=(4, 3, 2, 2, 2, 3, 5, 8, 11, 13, 14, 15, 17, 16, 15, 15, 16, 18, 21, 24, 25, 22, 15, 8),
        scale=29.0,
        tail=2.2,
        longest=400,
        scenarios={
            Scenario.CLOCK_AHEAD: (5, 81),
            Scenario.REUSED: (3, 63),
            Scenario.SENT_AHEAD: (1,),
            Scenario.CLOCK_BEHIND: (7,),
            Scenario.SENT_BEHIND: (9, 90),
            Scenario.SENT_NEVER: (11, 100),
        },
        # Of two days, the sessions of a device may have the same number: they are more than 24 h apart.
        returns={3: 34, 4: 14, 5: 9, 6: 9, 7: 24, 14: 7, 28: 3},
    ),
    kinds=KINDS,
    reused=Scenario.REUSED,
    traits=_traits,
    script=_script,
    client_times=_client_times,
    received_times=_received_times,
    documents=_documents,
    batches=_batches,
    empty=({"pid": 8, "uid": "ac1529a7-59f6-49d9-b254-6f0a22f57284", "pl": []}, []),
    spoilers=(
        Spoiler("no euid", _without_id),
        Spoiler("a time in words", lambda document: {**document, "t": "yesterday"}),
        Spoiler("an event of another product", lambda document: {"action": "activity_stream_event", "t": document["t"]}),
        Spoiler("a session number below 1", lambda document: {**document, "sn": 0}),
    ),
)

"""Contentsquare mobile SDK batches, as phones send them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Whole
from jobs.generator.format import Document, Format, Kind, Spoiler, Traits, uniform
from jobs.generator.idle import drawn_gaps
from jobs.generator.rows import BATCH, DAY, HOUR, MINUTE, NEVER, SECOND, Rows
from jobs.generator.stays import Crowd, Moments, Stays

# Scenarios. A clock far ahead says what the format's own example does: the year 2378.
ORDINARY, CLOCK_AHEAD, CLOCK_BEHIND, REUSED, SENT_AHEAD, SENT_BEHIND, SENT_NEVER = range(7)

KINDS = (
    Kind("app_start", "start"),
    Kind("app_show", "foreground"),
    Kind("app_hide", "background", pauses=True),
    Kind("screenview", "page_view"),
    Kind("tap", "interaction"),
    Kind("long_press", "interaction"),
    Kind("drag", "interaction"),
    Kind("swipe", "interaction"),
    Kind("transaction", "transaction"),
    Kind("string_variable", "variable"),
    Kind("integer_variable", "variable"),
    Kind("ea_21", "other"),
)
START, SHOW, HIDE, SCREEN, TAP, PRESS, DRAG, SWIPE, TRANSACTION, TEXT, NUMBER, OTHER = range(len(KINDS))
_ACTIONS = (0, 1, 2, 4, 6, 8, 9, 10, 16, 18, 19, 21)
# How often each kind comes in the middle of a session, in hundredths.
_MIDDLE = np.repeat([HIDE, SCREEN, TAP, PRESS, DRAG, SWIPE, TRANSACTION, TEXT, NUMBER, OTHER], [2, 23, 41, 3, 6, 14, 3, 4, 3, 1])

_PROJECTS = (8, 41, 1234)
_PHONES = (
    ("SDK-android", 4, '"dma":"Samsung","dmo":"SM-G991B","os":"13"', '{"d":2.75,"w":1080,"h":2400}'),
    ("SDK-android", 4, '"dma":"Google","dmo":"Pixel 7","os":"14"', '{"d":2.625,"w":1080,"h":2400}'),
    ("SDK-android", 5, '"dma":"Lenovo","dmo":"Tab M10","os":"10"', '{"d":1.5,"w":1200,"h":1920}'),
    ("SDK-ios", 4, '"dma":"Apple","dmo":"iPhone14,5","os":"17.1.2"', '{"d":3,"w":1170,"h":2532}'),
    ("SDK-ios", 5, '"dma":"Apple","os":"16.6"', '{"d":2,"w":1620,"h":2160}'),
    ("SDK-android", 4, '"dmo":"Redmi Note 8","os":"9.0"', '{"d":2.75,"w":1080,"h":2340}'),
)
_LANGUAGES = (("fr_FR", "Europe/Paris"), ("en_US", "America/New_York"), ("de_DE", "Europe/Berlin"), ("ja_JP", "Asia/Tokyo"), ("pt_BR", "America/Sao_Paulo"))
_VERSIONS = (("4.12.0", 412, "7.3.1", 731), ("4.13.2", 413, "7.4.0", 740), ("4.15.0", 415, "8.0.0-beta2", 800))
_SCREENS = (
    ("/home/start", "Home", 180),
    ("/catalogue/list", "Tous les modèles", 420),
    ("/catalogue/product", "Product détail 🛍", 640),
    ("/search/results", "Résultats de recherche", 510),
    ("/basket/overview", "Panier", 230),
    ("/checkout/payment", "Payment & delivery", 880),
    ("/account/orders", "注文履歴", 350),
    ("/help/faq", "100% help?", 150),
)
_TARGETS = ("btn_ok", "btn_add_to_basket", "img_product", "lnk_more", "tab_account", "")
_CURRENCIES = (978, 840, 826, 36, 392, 756, -1, 1)
_PRICES = tuple(float(np.float32(price)) for price in (9.99, 19.99, 0.5, 129.0, 1249.95, 4.2, 64.1, 0.0))
_TEXTS = (("plan", "premium"), ("plan", "basic"), ("campaign", "été 2026"), ("cs-empty", "cs-empty"), ("store", "Zürich"), ("voucher", 'say "10%"'))
_NUMBERS = (("items", 1_000), ("age", 90), ("points", 2**32))


def _traits(stays: Stays) -> Traits:
    return Traits(
        key=draws.draw(stays.session, "session number") | np.uint64(1),
        keyed=np.ones(len(stays), dtype=np.bool_),
        style=uniform(stays, BATCH),
        batch_size=np.array([50, 10, 25])[stays.index % 3],
        tick=uniform(stays, 1),
    )


def _script(moment: Moments) -> tuple[Whole, Whole]:
    kind = _MIDDLE[draws.below(moment.bits, "kind", 100)]
    hidden_before = np.append(False, kind[:-1] == HIDE) & (moment.number > 2)
    kind = np.where(hidden_before, SHOW, kind)
    hides_at_last = moment.of(draws.share(moment.stays.bits, "hides") < 0.7)
    kind = np.select([moment.number == 0, moment.number == 1, (moment.left == 0) & hides_at_last], [START, SHOW, HIDE], kind)
    gap = drawn_gaps(moment.bits, 7 * SECOND, moment.of(moment.stays.long))
    back = np.append(False, kind[:-1] == HIDE)
    away = 5 * SECOND + draws.below(moment.bits, "away", 9 * MINUTE)
    return kind, np.where(back, away, gap)


def _client_times(moment: Moments, time: Whole) -> Whole:
    scenario = moment.of(moment.stays.scenario)
    return np.select([scenario == CLOCK_AHEAD, scenario == CLOCK_BEHIND], [time + 128_600 * DAY, time % (100 * DAY)], time)


def _received_times(rows: Rows) -> Whole:
    # `now` is the phone's clock: a batch has no server time.
    return np.full(len(rows), NEVER)


def _documents(rows: Rows) -> list[str]:
    bits = rows.bits
    screen_of = draws.draw(rows.stay, "screens") ^ rows.pageviews.astype(np.uint64)
    version = draws.chosen(rows.device, "version", _VERSIONS)
    network = draws.below(rows.stay, "network", 7) - 1
    columns = zip(
        rows.kind.tolist(),
        draws.uuids(bits, "id"),
        draws.picks(screen_of, "screen", len(_SCREENS)),
        rows.pageviews.tolist(),
        network.tolist(),
        draws.picks(rows.stay, "orientation", 2),
        version,
        _session_numbers(rows),
        rows.client.tolist(),
        draws.below(bits, "uptime", 10**7).tolist(),
        draws.below(bits, "detail", 1 << 30).tolist(),
        strict=True,
    )
    documents = []
    for kind, event_id, screen, seen, connection, orientation, (sdk, build, app, app_build), session, time, uptime, detail in columns:
        carrier = ',"ci":"Orange F"' if connection > 1 else ""
        documents.append(
            f'{{"ea":{_ACTIONS[kind]},"upt":{uptime},"euid":"{event_id}","url":"{_URLS[screen]}","scn":{seen},"c":{connection}{carrier},"o":{orientation},'
            f'"vo":{{"sv":"{sdk}","sb":{build},"av":"{app}","af":"release","ab":{app_build}}},"sn":{session},"t":{time}{_detail(kind, screen, detail)}}}'
        )
    return documents


_URLS = tuple(f"app-and://com.example.shop{path}?title={quote(title)}" for path, title, _ in _SCREENS)


def _session_numbers(rows: Rows) -> list[int]:
    return (1 + (rows.key >> np.uint64(48)).astype(np.int64)).tolist()


def _detail(kind: int, screen: int, detail: int) -> str:
    """What events of the kind have beside the common fields."""
    if kind == SCREEN:
        return f',"st":"{_SCREENS[screen][1]}","sl":{_SCREENS[screen][2] + detail % 97}'
    if kind in (TAP, PRESS, DRAG, SWIPE):
        view = detail % 6
        target = f',"tvp":"[root]>view#{view}>button>","tvid":"{_TARGETS[view]}"'
        if kind == TAP:
            return f'{target},"ur":{"true" if detail & 64 else "false"}'
        return target if kind == PRESS else f'{target},"fd":{1 + detail % 5},"tvd":{detail % 900},"tvv":{detail % 99 + (100 if kind == SWIPE else 0)}'
    if kind == TRANSACTION:
        order = f',"id":"order-{detail}"' if detail & 64 else ""
        return f',"tr":{{"vl":{_PRICES[detail % 8]!r},"cu":{_CURRENCIES[detail // 8 % 8]}{order}}}'
    if kind == TEXT:
        key, text = _TEXTS[detail % 6]
        return f',"k":"{key}","v":"{text.replace(chr(34), chr(92) + chr(34))}"'
    if kind == NUMBER:
        key, limit = _NUMBERS[detail % 3]
        return f',"k":"{key}","v":{detail * 3 % limit}'
    return ',"beta":{"probe":[1,2.5,null]}' if kind == OTHER else ""


def _batches(rows: Rows, groups: Sequence[Sequence[str]]) -> list[str]:
    now = np.select(
        [rows.scenario == SENT_AHEAD, rows.scenario == SENT_BEHIND, rows.scenario == CLOCK_BEHIND],
        [rows.arrival + 400 * DAY, rows.arrival - 3 * DAY, rows.arrival % (100 * DAY)],
        rows.arrival - 2 * SECOND,
    )
    columns = zip(
        draws.chosen(rows.device, "project", _PROJECTS),
        draws.uuids(rows.device, "uid"),
        draws.chosen(rows.device, "phone", _PHONES),
        draws.chosen(rows.device, "language", _LANGUAGES),
        (now).tolist(),
        (rows.scenario != SENT_NEVER).tolist(),
        groups,
        strict=True,
    )
    return [
        f'{{"pid":{project},"uid":"{uid}","dt":{device_type},{model},"l":"{language}","tz":"{zone}",{f"{chr(34)}now{chr(34)}:{said}," if says else ""}'
        f'"to":{{"an":"shop","st":"{platform}","sf":"release"}},"r":{resolution},"pl":[{",".join(documents)}]}}'
        for project, uid, (platform, device_type, model, resolution), (language, zone), said, says, documents in columns
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
        scenarios={CLOCK_AHEAD: (1, 81), REUSED: (3, 63), SENT_AHEAD: (5,), CLOCK_BEHIND: (7,), SENT_BEHIND: (9, 90), SENT_NEVER: (11, 100)},
    ),
    kinds=KINDS,
    reused=REUSED,
    silence=(30 * MINUTE, 24 * HOUR),
    traits=_traits,
    script=_script,
    client_times=_client_times,
    received_times=_received_times,
    documents=_documents,
    batch=_batches,
    empty=('{"pid":8,"uid":"ac1529a7-59f6-49d9-b254-6f0a22f57284","pl":[]}', "[]"),
    spoilers=(
        Spoiler("no euid", _without_id),
        Spoiler("a time in words", lambda document: {**document, "t": "yesterday"}),
        Spoiler("an event of another product", lambda document: {"action": "activity_stream_event", "t": document["t"]}),
        Spoiler("a session number below 1", lambda document: {**document, "sn": 0}),
    ),
)

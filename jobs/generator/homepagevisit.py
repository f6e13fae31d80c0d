"""Visits to Special:Homepage (Wikimedia analytics/legacy/homepagevisit), as the wikis' servers send them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from jobs.generator import draws
from jobs.generator.clock import iso, iso_second
from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Document, EventKind, Format, Spoiler, Traits, styles, uniform
from jobs.generator.rows import ARRAY, DAY, HOUR, MINUTE, NEVER, SECOND, SINGLE, GeneratedRows
from jobs.generator.visits import Crowd, Moments, Visits


class Scenario(IntEnum):
    """What is special about a visit."""

    ORDINARY = 0
    CANARY = 1  # test events: accepted, and in no session
    CLOCK_AHEAD = 2
    USER_ZERO = 3
    WITHOUT_ID = 4  # the content of its records is their id
    OLD_ID = 5  # `uuid` in place of `meta.id`


KINDS = (EventKind("HomepageVisit", "page_view"), EventKind("HomepageVisit", "other"))
VISIT, CANARY_VISIT = range(len(KINDS))

_WIKIS = (
    ("enwiki", "en.wikipedia.org", "Special:Homepage"),
    ("frwiki", "fr.wikipedia.org", "Spécial:Page_d'accueil"),
    ("cswiki", "cs.wikipedia.org", "Speciální:Domovská_stránka"),
    ("kowiki", "ko.wikipedia.org", "특수:홈페이지"),
    ("arwiki", "ar.wikipedia.org", "خاص:الصفحة_الرئيسية"),
    ("ptwiki", "pt.wikipedia.org", "Special:Homepage?source=personaltoolslink"),
)
_ROUTES = (
    "userpagetab",
    "usertalkpagetab",
    "personaltoolslink",
    "direct",
    "specialconfirmemail",
    "specialcontributions",
    "postedit-panel",
    "other",
)
_VERSIONS = ("1.2.1", "1.2.1", "1.2.1", "1.2.1", "1.5.2", "1.6.0", "1.2.1", "1.99.0")
_IMPACT = ("activated", "unactivated", "notrendered")
_EMAIL = ("noemail", "unconfirmed", "confirmed")
_REFERRED: tuple[Document, ...] = (
    {},
    {"referer_action": "view", "referer_namespace": 0},
    {"referer_action": "edit", "referer_namespace": 2},
    {"start_tutorial_state": "complete", "start_userpage_state": "incomplete"},
    {"start_startediting_state": "incomplete", "variant": "linkrecommendation"},
)
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:78.0) Gecko/20100101 Firefox/78.0",
    "Mozilla/5.0 (Linux; Android 11; Pixel 4a) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.4430.91 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 14_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0.3 Safari/604.1",
)


class HomepageView(NamedTuple):
    """What one document is made of."""

    scenario: int
    user: int
    wiki: tuple[str, str, str]
    version: str
    record: str
    token: str
    client: int
    received: str
    detail: int  # some random bits
    edits: int
    address: int


def _users(of: Visits | GeneratedRows) -> Whole:
    # Ids are numbers per wiki; some are negative.
    signed = np.where(of.person % 50 == 21, -1, 1) * (90_000 + of.person)
    return np.where(of.scenario == Scenario.USER_ZERO, 0, signed)


def _traits(visits: Visits) -> Traits:
    wiki = draws.below(visits.device, "wiki", len(_WIKIS))
    # The key is the fields themselves: user 0 of a wiki is one user.
    key = draws.children(draws.root("wiki and user"), (_users(visits) << 3) + wiki) | np.uint64(1)
    return Traits(
        key=np.where(visits.scenario == Scenario.CANARY, np.uint64(0), key),
        keyed=np.zeros(len(visits), dtype=np.bool_),
        style=styles(visits, (SINGLE, SINGLE, ARRAY, SINGLE)),
        batch_size=uniform(visits, 1),
        tick=uniform(visits, 1),
    )


def _script(moment: Moments) -> tuple[Whole, Whole]:
    canary = moment.of(moment.visits.scenario == Scenario.CANARY)
    soon = 2 * SECOND + (-np.log1p(-draws.share(moment.bits, "gap")) * 7 * MINUTE).astype(np.int64)
    turn = draws.share(moment.bits, "pause")
    gap = np.select(
        [turn < 0.06, turn < 0.10, turn < 0.14, turn < 0.26],
        [
            np.full(len(turn), 30 * MINUTE),
            np.full(len(turn), 30 * MINUTE + 1),
            np.full(len(turn), 10 * MINUTE),
            31 * MINUTE + draws.below(moment.bits, "return", HOUR),
        ],
        np.minimum(soon, 29 * MINUTE),
    )
    return np.where(canary, CANARY_VISIT, VISIT), gap


def _client_times(moment: Moments, time: Whole) -> Whole:
    says = moment.of(draws.share(moment.visits.bits, "client_dt") < 0.8)
    ahead = moment.of(moment.visits.scenario == Scenario.CLOCK_AHEAD)
    return np.select([ahead, says], [time + 900 * DAY, time], np.full(len(time), NEVER))


def _to_the_second(rows: GeneratedRows) -> Flags:
    return draws.share(rows.visit, "precision") < 0.2


def _received_times(rows: GeneratedRows) -> Whole:
    received = rows.time + 40
    return np.where(_to_the_second(rows), received // SECOND * SECOND, received)


def _documents(rows: GeneratedRows) -> list[Document]:
    bits = rows.bits
    columns = zip(
        rows.scenario.tolist(),
        _users(rows).tolist(),
        draws.chosen(rows.device, "wiki", _WIKIS),
        draws.chosen(rows.device, "version", _VERSIONS),
        draws.uuids(bits, "id"),
        draws.hexes(bits, "token"),
        rows.client.tolist(),
        [
            iso_second(time) if whole else iso(time)
            for time, whole in zip(_received_times(rows).tolist(), _to_the_second(rows).tolist(), strict=True)
        ],
        draws.picks(bits, "detail", 1 << 30),
        draws.picks(rows.device, "edits", 3000),
        draws.picks(rows.upload, "address", 250),
        strict=True,
    )
    return [_document(HomepageView(*values)) for values in columns]


def _document(view: HomepageView) -> Document:
    name, domain, page = view.wiki
    detail, address = view.detail, f"198.51.100.{view.address}"
    return {
        "$schema": f"/analytics/legacy/homepagevisit/{view.version}",
        **({} if view.client == NEVER else {"client_dt": iso(view.client)}),
        "dt": view.received,
        **({"uuid": view.record} if view.scenario == Scenario.OLD_ID else {}),
        "event": {
            "homepage_pageview_token": view.token,
            "impact_module_state": _IMPACT[detail % 3],
            "is_mobile": detail & 8 == 0,
            "referer_route": _ROUTES[detail >> 4 & 7],
            "start_email_state": _EMAIL[detail >> 7 & 1],
            **_REFERRED[detail % 5],
            "user_editcount": view.edits,
            "user_id": view.user,
        },
        "http": {
            "client_ip": address,
            "has_cookies": True,
            "method": "GET",
            "request_headers": {"user-agent": _BROWSERS[view.edits % 3], "cookie": f"s={view.token[:8]}", "x-forwarded-for": address},
            "status_code": 200,
        },
        "ip": address,
        "meta": {
            "domain": "canary" if view.scenario == Scenario.CANARY else domain,
            "dt": view.received,
            **({} if view.scenario in (Scenario.WITHOUT_ID, Scenario.OLD_ID) else {"id": view.record}),
            "stream": "eventlogging_HomepageVisit",
            "uri": f"https://{domain}/wiki/{page}",
        },
        "schema": "HomepageVisit",
        "webHost": domain,
        "wiki": name,
    }


def _no_batches(_rows: GeneratedRows, _groups: Sequence[Sequence[Any]]) -> list[Document]:
    raise NotImplementedError("homepagevisit has no batch of its own")


def _with_event(document: Document, **fields: object) -> Document:
    return {**document, "event": {**document["event"], **fields}}


HOMEPAGEVISIT = Format(
    name="homepagevisit",
    weight=1,
    crowd=Crowd(
        hours=(11, 10, 9, 9, 9, 10, 11, 13, 15, 16, 16, 17, 18, 19, 20, 20, 20, 20, 21, 21, 20, 18, 15, 13),
        scale=1.1,
        tail=2.5,
        longest=25,
        scenarios={
            Scenario.CANARY: (1, 27, 53, 79, 105, 131),
            Scenario.WITHOUT_ID: (3, 43, 83, 123),
            Scenario.OLD_ID: (5, 65),
            Scenario.CLOCK_AHEAD: (7,),
            Scenario.USER_ZERO: (9, 109),
        },
    ),
    kinds=KINDS,
    reused=-1,
    traits=_traits,
    script=_script,
    client_times=_client_times,
    received_times=_received_times,
    documents=_documents,
    batches=_no_batches,
    empty=([],),
    spoilers=(
        Spoiler("no stream", lambda document: {**document, "meta": {"dt": document["meta"]["dt"]}}),
        Spoiler("a user id in words", lambda document: _with_event(document, user_id="12")),
        Spoiler("an event of another schema", lambda document: {**document, "$schema": "/analytics/legacy/helppanel/1.0.0"}),
        Spoiler("a state that is none", lambda document: _with_event(document, impact_module_state="maybe")),
    ),
)

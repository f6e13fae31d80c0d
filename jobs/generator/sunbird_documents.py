"""Sunbird Telemetry V3: the events and batches as documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from jobs.generator import draws
from jobs.generator.clock import iso
from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Document
from jobs.generator.rows import BATCH, NEVER, GeneratedRows, distinct
from jobs.generator.sunbird_data import EventValues, event_data
from jobs.generator.sunbird_kinds import KINDS, KindNumber, Scenario

_CHANNELS = ("505c7c48ac6dc1edc9b08f21db5a571d", "0123221758376673287017", "01250894314817126443", "sunbird-staging")
_APPS: tuple[Document, ...] = (
    {"pdata": {"id": "prod.diksha.app", "pid": "sunbird.app", "ver": "2.2.123"}},
    {"pdata": {"id": "prod.diksha.app", "pid": "sunbird.app", "ver": "2.3.162"}},
    {"pdata": {"id": "prod.diksha.app", "pid": "sunbird.app.contentplayer", "ver": "2.2.123"}},
    {"pdata": {"id": "prod.diksha.portal", "pid": "sunbird-portal", "ver": "2.4.0"}},
    {"pdata": {"id": "prod.diksha.portal", "ver": "2.5.1"}},
    {},
)
_CORRELATIONS: tuple[Document, ...] = (
    {"cdata": [{"type": "ContentSession", "id": "ef7d9ce06af21d6e"}]},
    {"cData": None},
    {"cdata": [{"type": "DialCode", "id": ["P3SBX4"]}]},
    {"rollup": {}},
)
_OBJECTS: tuple[Document, ...] = (
    {"object": {"id": "do_31250273196059852811667", "type": "Content", "ver": "2", "rollup": {"l1": "do_312526581578375168240435"}}},
    {"object": {"id": "do_312831325580607488118810", "type": "TextBook", "version": "12"}},
    {"object": {}},
    {"object": {"id": "", "type": "", "rollup": {}}},
    {},
)
# The content that is played in a visit, and asks the questions.
_PLAYED: tuple[Document, ...] = tuple(
    {"object": {"id": f"do_3125{number}273196059852811667", "type": "Content", "ver": "2"}} for number in (0, 0, 0, 1, 1, 2)
)
_OF_CONTENT = (KindNumber.PLAYER_START, KindNumber.PLAYER_END, KindNumber.ASSESS)
_ENVIRONMENTS = ("app", "home", "contentplayer", "course", "user", "sdk")
_PAGES = ("home", "library", "content-detail", "course-toc", "profile", "search", "explore", "do_31250273196059852811667")
_SERVICES = ("org.ekstep.learning.platform", "search-service", "druid-ingest", "content-publisher")
# What pipelines and players add to the root.
_ADDED: tuple[Document, ...] = (
    {},
    {"tags": []},
    {"type": "events", "flags": {"tv_processed": True, "dd_processed": True}},
    {"tags": [{"p": ["a1"]}], "metadata": {"checksum": "5f3c"}},
    {"type": "events", "devicedata": {"country": "India", "devicespec": {"os": "Android 9", "make": "Xiaomi Redmi 6A"}}},
)


class Person(NamedTuple):
    """Who sends the events of a visit, and what these have in common."""

    actor: Document
    system: Document  # the actor of events that the system writes
    version: str  # of the format
    context: Document  # without the environment
    target: Document  # the field `object`, where there is one
    played: Document  # that field, of a content that is played


def received_times(rows: GeneratedRows) -> Whole:
    """The server's own time of each record, epoch ms: of its batch, else of the event; NEVER where neither has one."""
    return np.select([~_stamped(rows), rows.style == BATCH], [np.full(len(rows), NEVER), rows.arrival], rows.sent)


def _stamped(rows: GeneratedRows) -> Flags:
    return draws.share(rows.visit, "stamped") < 0.9


def documents(rows: GeneratedRows) -> list[Document]:
    """The events."""
    first, person_of = distinct(rows.visit)
    people = _people(rows.take(first))
    segment = draws.draw(rows.visit, "pages") ^ (rows.number // 5).astype(np.uint64)
    columns = zip(
        [people[person] for person in person_of.tolist()],
        rows.kind.tolist(),
        draws.uuids(rows.bits, "mid"),
        _times(rows),
        _event_values(rows, draws.chosen(segment, "environment", _ENVIRONMENTS), draws.chosen(segment, "page", _PAGES)),
        _stamps(rows),
        strict=True,
    )
    return [
        {
            "eid": KINDS[kind].name,
            "ets": time,
            "ver": person.version,
            "mid": message,
            "actor": person.system if kind == KindNumber.LOG else person.actor,
            "context": {**person.context, "env": values.environment},
            **(person.played if kind in _OF_CONTENT else person.target),
            "edata": event_data(kind, values),
            **_ADDED[values.detail % len(_ADDED)],
            **stamp,
        }
        for person, kind, message, time, values, stamp in columns
    ]


def _event_values(rows: GeneratedRows, environments: list[str], pages: list[str]) -> list[EventValues]:
    columns = zip(
        environments,
        pages,
        draws.chosen(rows.visit, "workflow", ("session", "session", "app")),
        draws.picks(rows.bits, "detail", 1 << 30),
        (rows.client - rows.elapsed).tolist(),
        rows.client.tolist(),
        rows.active.tolist(),
        rows.pageviews.tolist(),
        rows.interactions.tolist(),
        strict=True,
    )
    return [EventValues(*values) for values in columns]


def _people(rows: GeneratedRows) -> list[Person]:
    columns = zip(
        rows.scenario.tolist(),
        rows.keyed.tolist(),
        draws.uuids(rows.key, "sid"),
        draws.hexes(rows.device, "did"),
        draws.uuids(rows.device, "user"),
        draws.share(rows.device, "actor").tolist(),
        draws.chosen(rows.device, "channel", _CHANNELS),
        draws.chosen(rows.device, "app", _APPS),
        draws.chosen(rows.visit, "correlation", _CORRELATIONS),
        draws.chosen(rows.visit, "object", _OBJECTS),
        draws.chosen(rows.visit, "played", _PLAYED),
        draws.chosen(rows.visit, "service", _SERVICES),
        strict=True,
    )
    people = []
    for scenario, keyed, session, device, user, trait, channel, app, correlation, target, played, service in columns:
        context = {"channel": channel, **app, **correlation}
        actor = {"id": _actor_id(user, device, trait), "type": "user" if trait < 0.05 else "User"}
        if scenario == Scenario.SERVICE:
            actor = {"id": service, "type": "System"}
        elif scenario == Scenario.KEYLESS:
            actor = {"id": "", "type": "User"}
        else:
            context["did"] = device
        if keyed:
            context["sid"] = session
        # Without a session id the actor is part of the key: there the system writes under the user's id.
        system = {"id": "telemetry-service" if keyed else actor["id"], "type": "System"}
        people.append(Person(actor, system, "3.1" if trait > 0.97 else "3.0", context, target, played))
    return people


def _actor_id(user: str, device: str, trait: float) -> str:
    """A user, a user of a federated realm, or, for who has not signed in, what the SDKs send."""
    if trait < 0.65:
        return user
    if trait < 0.75:
        return f"f:{user[::-1]}:{user}"
    if trait < 0.92:
        return device
    return "anonymous" if trait < 0.96 else ""


def _times(rows: GeneratedRows) -> list[Any]:
    """`ets` as the device spells it: whole, with an exponent, with a fraction, or in seconds."""
    in_seconds = (rows.scenario == Scenario.SECONDS).tolist()
    times: list[Any] = []
    for time, seconds, trait in zip(rows.client.tolist(), in_seconds, draws.share(rows.device, "ets").tolist(), strict=True):
        if seconds:
            times.append(time // 1000)
        elif trait < 0.6:
            times.append(time)
        elif trait < 0.9:
            digits = str(time)
            times.append(orjson.Fragment(f"{digits[0]}.{digits[1:]}E{len(digits) - 1}"))
        else:
            times.append(time + time % 4 / 4)
    return times


def _stamps(rows: GeneratedRows) -> list[Document]:
    """The server's stamp on each event that travels outside a batch."""
    by_name = draws.share(rows.visit, "stamp") < 0.5
    alone = _stamped(rows) & (rows.style != BATCH)
    return [
        {} if not stamped else {"@timestamp": iso(sent)} if named else {"syncts": sent}
        for sent, stamped, named in zip(rows.sent.tolist(), alone.tolist(), by_name.tolist(), strict=True)
    ]


def batches(rows: GeneratedRows, groups: Sequence[Sequence[Any]]) -> list[Document]:
    """The events of each group in a batch."""
    columns = zip(draws.uuids(rows.upload, "msgid"), rows.arrival.tolist(), _stamped(rows).tolist(), groups, strict=True)
    return [
        {
            "id": "api.sunbird.telemetry",
            "ver": "3.0",
            "ets": arrival - 900,
            "params": {"msgid": message, "x-real-ip": f"10.1.{arrival % 256}.7"},
            "events": group,
            **({"syncts": arrival} if stamped else {}),
        }
        for message, arrival, stamped, group in columns
    ]

"""Landed files of all sources with a marker in every place where something personal may stand, each marker once."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NIGHT = dt.date(2026, 11, 20)
MS = 1795132800000
Row = dict[str, Any]

EVENTS: dict[str, Row] = {
    "activity_stream": {
        "action": "activity_stream_event",
        "client_id": "c-1",
        "addon_version": "1.2.3.4",
        "page": "newtab",
        "event": "click",
        "tab_id": "1",
        "url": "https://www.example.com/",
        "timestamp": MS,
    },
    "homepagevisit": {
        "$schema": "/analytics/legacy/homepagevisit/1.2.1",
        "event": {
            "homepage_pageview_token": "t",
            "impact_module_state": "activated",
            "is_mobile": False,
            "start_email_state": "noemail",
            "user_editcount": 1,
            "user_id": 5,
        },
        "meta": {"dt": "2026-11-20T00:00:00Z", "stream": "s", "domain": "en.wikipedia.org"},
        "http": {"request_headers": {}},
        "wiki": "enwiki",
    },
    "sunbird": {
        "eid": "LOG",
        "ets": MS,
        "ver": "3.0",
        "actor": {"id": "u-1", "type": "User"},
        "context": {"channel": "ch", "env": "e", "did": "d-1"},
        "edata": {"type": "x", "level": "INFO", "message": "m", "pageid": "p"},
    },
    "contentsquare": {"ea": 6, "t": MS, "sn": 1, "url": "app-and://id/main", "tvid": "t"},
}
LISTS = {"activity_stream": "payloads", "sunbird": "events", "contentsquare": "pl"}
# Where an event of each source may have fields of any name.
OPEN: dict[str, list[tuple[str, ...]]] = {
    "activity_stream": [(), ("extra",)],
    "homepagevisit": [("event",), ("meta",), ("http",), ("meta", "more")],
    "sunbird": [(), ("edata",), ("context",), ("context", "pdata"), ("edata", "extra")],
    "contentsquare": [(), ("more",)],
}
SPELLINGS = (
    "client_ip clientIp Client-IP x_forwarded_for X-Forwarded-For cf-connecting-ip remote_addr REMOTE_ADDR uip ip IPAddress set-cookie"
    " cookie Proxy-Authorization authorization x-api-key apiKey password token access_token sessionToken e-mail email phone true-client-ip"
    " X-Real-IP fastly_client_ip csrf-token secret client_secret jwt"
)
NAMES = SPELLINGS.split()


@dataclass
class Planting:
    """The markers, by where they stand."""

    markers: dict[str, str] = field(default_factory=dict)  # per marker, what it is
    number: int = 0

    def word(self, what: str) -> str:
        self.number += 1
        word = f"mk{self.number:05d}qz"
        self.markers[word] = what
        return word

    def address(self, what: str) -> str:
        self.number += 1
        address = f"10.{self.number // 200 + 11}.{self.number % 200 + 11}.237"
        self.markers[address] = what
        return address

    def ipv6(self, what: str) -> str:
        self.number += 1
        address = f"2001:db8:{self.number:x}::a7:{self.number:x}"
        self.markers[address] = what
        return address

    def email(self, what: str) -> str:
        return f"{self.word(what)}@mail.example.org"


def parts_of(plant: Planting) -> Iterator[tuple[str, Row]]:
    """Fields that hold markers, by what they are."""
    for name in NAMES:
        yield f"name {name}", {name: plant.word(f"name {name}")}
    yield "object", {"clientIp": {"v4": [plant.word("object of a name"), {"x": plant.word("deep in a name")}]}}
    yield "pair", {"headers": [{"name": "Cookie", "value": plant.word("pair name")}, {"key": "ip", "value": {"a": plant.word("pair key")}}]}
    yield (
        "pair k",
        {"vars": [{"k": "X-Forwarded-For", "v": plant.word("pair k")}, {"header": "set-cookie", "values": [plant.word("pair header")]}]},
    )
    yield "pair in a list", {"headers": [["Cookie", plant.word("pair in a list")], ["x-api-key", plant.word("pair in a list")]]}
    yield "xml", {"note": f"<password>{plant.word('xml')}</password>"}
    yield "encoded", {"link": f"https://example.com/?q=%7B%22token%22%3A%22{plant.word('encoded json')}%22%7D"}
    yield "json", {"log": json.dumps({"ip": plant.word("json in text"), "b": json.dumps({"token": plant.word("json twice")})})}
    yield "json text", {"log": json.dumps({"note": f"from {plant.address('address in json in text')}"})}
    yield "ip", {"note": f"seen at {plant.address('address')} twice, then {plant.address('address')}:8080"}
    yield "ipv6", {"note": f"[{plant.ipv6('ipv6')}]:443 and {plant.ipv6('ipv6')}/64"}
    yield "email", {"note": f"mail {plant.email('email')}, or <{plant.email('email')}>"}
    yield "email in url", {"link": f"https://example.com/?to={plant.email('email in url').replace('@', '%40')}&x=1"}
    yield "bearer", {"note": f"Authorization: Bearer {plant.word('bearer')}.abc"}
    payload = base64.urlsafe_b64encode(json.dumps({"sub": plant.word("none")}).encode()).decode().rstrip("=")
    plant.markers.popitem()
    plant.markers[payload] = "json web token"
    yield "jwt", {"note": f"got eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl"}
    yield "query", {"link": f"https://example.com/a?page=1&access_token={plant.word('query')}&api_key={plant.word('query')}#x"}
    yield "userinfo", {"link": f"ftp://joe:{plant.word('userinfo')}@example.com/"}
    yield "text", {"note": f"password={plant.word('text')} Cookie: a={plant.word('cookie line')}; b={plant.word('cookie line')}"}
    yield "key", {"by_user": {plant.email("name of a field"): 1, plant.address("name of a field"): {"n": 2}}}
    yield "agent", {"User-Agent": f"Mozilla/5.0 {plant.word('user agent')}", "ua": plant.word("user agent")}
    yield "list", {"ips": [plant.address("list"), plant.address("list")], "tags": [plant.email("list")]}


def planted_event(source: str, path: tuple[str, ...], fields: Row, number: int) -> Row:
    event = copy.deepcopy(EVENTS[source])
    event |= {"sunbird": {"mid": f"m{number}"}, "contentsquare": {"euid": f"e{number}"}}.get(source, {})
    if source == "homepagevisit":
        event["meta"]["id"] = f"id{number}"
    node = event
    for step in path:
        node = node.setdefault(step, {})
    node |= fields
    return event


def lines_of(source: str, plant: Planting) -> Iterator[bytes]:
    """Accepted events, batches, and records that are refused, as JSON and as anything else."""
    number = 0
    for path in OPEN[source]:
        for _, fields in parts_of(plant):
            number += 1
            yield json.dumps(planted_event(source, path, fields, number), ensure_ascii=number % 2 == 0).encode()
    yield from _columns(source, plant)
    yield from _refused(source, plant)
    yield from _batches(source, plant)


def _columns(source: str, plant: Planting) -> Iterator[bytes]:
    """Markers in the fields of which columns are made."""
    if source == "activity_stream":
        fields = {"url": f"https://x.example/?token={plant.word('column')}", "page": plant.email("column"), "client_id": plant.email("id")}
        yield json.dumps(planted_event(source, (), fields, 9001)).encode()
    if source == "contentsquare":
        url = f"app-and://id/{plant.email('column')}/x?title=a%20{plant.address('column')}"
        yield json.dumps(planted_event(source, (), {"url": url, "tvid": plant.address("column")}, 9002)).encode()
        variable = {"ea": 18, "k": "ip", "v": plant.word("variable")}
        yield json.dumps(planted_event(source, (), variable, 9003)).encode()
    if source == "sunbird":
        yield json.dumps(planted_event(source, ("edata",), {"pageid": plant.email("column"), "id": plant.address("column")}, 9004)).encode()
        yield json.dumps(planted_event(source, (), {"actor": {"id": plant.email("id"), "type": "User"}}, 9005)).encode()
        feedback = {
            "eid": "FEEDBACK",
            "edata": {"rating": 3, "comments": f"call me: {plant.email('comment')} or +49 30 1234{plant.number:05d}"},
        }
        plant.markers[f"1234{plant.number:05d}"] = "telephone number in a comment"
        yield json.dumps(planted_event(source, (), feedback, 9006)).encode()
    if source == "homepagevisit":
        yield json.dumps(planted_event(source, ("event",), {"homepage_pageview_token": plant.email("column")}, 9007)).encode()


def _refused(source: str, plant: Planting) -> Iterator[bytes]:
    wrong = {
        "activity_stream": {"page": 1, "tab_id": []},
        "homepagevisit": {"meta": 1},
        "sunbird": {"ets": "x"},
        "contentsquare": {"sn": "x"},
    }
    for _, fields in parts_of(plant):
        yield json.dumps(planted_event(source, (), {"extra": fields} | wrong[source], 1)).encode()
    for _, fields in parts_of(plant):
        yield json.dumps(planted_event(source, (), {"extra": fields}, 2)).encode()[:-2]  # cut
    yield f"GET /?token={plant.word('log line')} from {plant.address('log line')} by {plant.email('log line')}".encode()
    yield b"\xff\xfe password=" + plant.word("bad bytes").encode() + b" \xff"
    yield f"{{'ip': '{plant.word('single quotes')}', 'cookie': 'a={plant.word('single quotes')}'".encode()
    if source == "homepagevisit":  # whose root is closed: the path names the field
        yield json.dumps(planted_event(source, (), {plant.email("path"): 1}, 3)).encode()


def _batches(source: str, plant: Planting) -> Iterator[bytes]:
    name = LISTS.get(source)
    if name is None:
        return
    headers = {"activity_stream": {"batch-mode": True}, "sunbird": {"id": "b", "ver": "3.0"}, "contentsquare": {"pid": 1, "uid": "u"}}
    for number, (_, fields) in enumerate(parts_of(plant)):
        wrong = {"activity_stream": {"page": 1, "tab_id": []}, "sunbird": {"ets": "x"}, "contentsquare": {"sn": "x"}}[source]
        events = [planted_event(source, (), {}, 20_000 + number), planted_event(source, (), wrong, 30_000 + number)]
        yield json.dumps({**headers[source], "header": fields, name: events}).encode()


def land(root: Path) -> Planting:
    """Land the files; gives the markers."""
    plant = Planting()
    for source in EVENTS:
        folder = root / source / f"date={NIGHT}" / "hour=05"
        folder.mkdir(parents=True)
        lines = list(lines_of(source, plant))
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        named = folder / f"of-{plant.email('name of a file')}.jsonl.gz"
        named.write_bytes(gzip.compress(json.dumps(planted_event(source, (), {}, 77)).encode()))
        (folder / f"{plant.address('name of a file')}.txt").write_bytes(b"not read")
    (root / plant.email("name of a folder")).mkdir()
    return plant

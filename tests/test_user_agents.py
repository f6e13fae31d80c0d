"""User agents: what is known of browsers, systems and devices, and robots, which averages leave out."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from one_batch import to_records
from planted_markers import EVENTS

from jobs import settings as configuration
from jobs.rules import privacy_rules
from schemas.events import DEVICE_CLASSES
from transforms.documents.json_documents import canonical
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules
from transforms.sources.registry import SOURCES
from transforms.user_agents import UserAgent, parse

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; rv:57.0) Gecko/20100101 Firefox/57.0"
IPAD = "Mozilla/5.0 (iPad; CPU OS 14_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0.3 Safari/604.1"
PIXEL = "Mozilla/5.0 (Linux; Android 11; Pixel 4a) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.4430.91 Mobile Safari/537.36"
SHIPPED = privacy_rules(configuration.load())
Row = dict[str, Any]


def row_of(source: str, event: Row, rules: PrivacyRules = SHIPPED_PRIVACY) -> Row:
    location = FileLocation(source, dt.date(2026, 11, 20), 6, "a.jsonl")
    batch, _ = to_records(SOURCES[source], list(split_lines([canonical(event)])), location, TimeRules(), rules)
    [row] = batch.to_pylist()
    assert row["status"] == "accepted", row["detail"]
    return dict(row)


def parts(row: Row) -> UserAgent:
    return UserAgent(*(row[name] for name in UserAgent._fields))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FIREFOX, UserAgent("Firefox", "57.0", "Windows", "10", "desktop", False)),
        (IPAD, UserAgent("Mobile Safari", "14.0", "iOS", "14.4", "tablet", False)),
        (PIXEL, UserAgent("Chrome Mobile", "90.0", "Android", "11", "phone", False)),
        (PIXEL.replace(" Mobile", "").replace("Pixel 4a", "SM-T510"), UserAgent("Chrome", "90.0", "Android", "11", "tablet", False)),
        ("python-requests/2.9.1", UserAgent("Python Requests", "2.9", None, None, "robot", True)),
        ("", UserAgent()),
        (None, UserAgent()),
    ],
)
def test_a_user_agent_is_parsed(text: str | None, expected: UserAgent) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/90.0.4430.91 Safari/537.36",
        *("curl/8.1.2", "Wget/1.21", "Java/17.0.1", "Go-http-client/2.0", "Apache-HttpClient/4.5", "node-fetch/1.0", "Scrapy/2.5"),
    ],
)
def test_a_robot_or_a_program_is_one(text: str) -> None:
    assert (parse(text).is_robot, parse(text).device_class) == (True, "robot")


@pytest.mark.parametrize(
    "text", [FIREFOX, IPAD, PIXEL, "Dalvik/2.1.0 (Linux; U; Android 9; Redmi Note 7 Pro)", "okhttp/4.9", "Cubot/1", "x" * 9000]
)
def test_what_people_use_is_no_robot(text: str) -> None:
    assert parse(text).is_robot == ("bot" in text.lower().split("/")[0])
    assert parse(text).device_class in DEVICE_CLASSES


@pytest.mark.parametrize("rules", [SHIPPED_PRIVACY, SHIPPED])
@pytest.mark.parametrize(
    ("source", "with_agent"),
    [
        ("activity_stream", {"ua": FIREFOX}),
        ("homepagevisit", {"http": {"request_headers": {"User-Agent": FIREFOX}}}),
        ("sunbird", {"mid": "m", "devicedata": {"uaspec": {"raw": FIREFOX}}}),
        ("sunbird", {"mid": "m", "edata": EVENTS["sunbird"]["edata"] | {"uaspec": {"raw": FIREFOX}}}),
    ],
)
def test_every_source_gives_the_parts_of_its_user_agent(source: str, with_agent: Row, rules: PrivacyRules) -> None:
    assert parts(row_of(source, EVENTS[source] | with_agent, rules)) == parse(FIREFOX)


def test_the_user_agent_itself_is_not_stored_and_its_parts_stay_beside_an_address() -> None:
    event = EVENTS["activity_stream"] | {"ua": PIXEL.replace("90.0.4430.91", "120.0.0.0"), "url": "https://x.example/?mail=a@b.example"}
    row = row_of("activity_stream", event, SHIPPED)
    assert "Mozilla" not in repr(row)
    assert "@" not in repr(row)
    assert (row["browser_version"], row["device_class"]) == ("120.0", "phone")


def test_fields_of_the_source_come_before_the_user_agent() -> None:
    batch = {"pid": 1, "uid": "u", "dt": 5, "os": "16.6", "to": {"st": "SDK-ios"}, "pl": [EVENTS["contentsquare"] | {"euid": "e"}]}
    row = row_of("contentsquare", batch)
    assert (row["os"], row["os_version"], row["device_class"]) == ("ios 16.6", "16.6", "tablet")
    spec = {"uaspec": {"raw": FIREFOX}, "dspec": {"os": "Android 9.0.1"}}
    row = row_of("sunbird", EVENTS["sunbird"] | {"mid": "m", "edata": EVENTS["sunbird"]["edata"] | spec})
    assert (row["browser"], row["os"], row["os_version"], row["device_class"]) == ("Firefox", "Android 9.0.1", "9.0", "phone")
    refined = {"browser_family": "Chrome", "browser_major": "90", "os_family": "Other", "is_bot": True}
    row = row_of("homepagevisit", EVENTS["homepagevisit"] | {"useragent": refined, "http": {"request_headers": {"user-agent": FIREFOX}}})
    assert (row["browser"], row["browser_version"], row["os"], row["is_robot"]) == ("Chrome", "90", "Other", True)
    assert "useragent" not in json.loads(row_of("homepagevisit", EVENTS["homepagevisit"] | {"useragent": refined}, SHIPPED)["context"])


def test_an_event_of_a_robot_says_so_and_is_not_doubtful() -> None:
    row = row_of("activity_stream", EVENTS["activity_stream"] | {"ua": "python-requests/2.9.1"})
    assert (row["is_robot"], row["device_class"], row["flags"]) == (True, "robot", [])

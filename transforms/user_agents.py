"""Parse user agents into browser, operating system and kind of device, with ua-parser and the data of its package.

Rules: docs/rules/sources.md, "User agents".
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from operator import attrgetter
from typing import NamedTuple

from ua_parser import Parser
from ua_parser.loaders import load_lazy_builtins

_CACHED = 65_536
_SPIDER = "Spider"  # ua-parser's device of a robot
_family = attrgetter("family")  # of the expressions of ua-parser
_LONGEST = 1_000  # characters; what follows says nothing about a browser
# ua-parser knows robots of search engines. Programs and libraries that send requests call themselves by these words.
_ROBOT = re.compile(
    r"bot\b|crawl|spider|slurp|scrap|headless|phantomjs|selenium|puppeteer|playwright|lighthouse|monitor|uptime|pingdom|facebookexternalhit"
    r"|preview|validator|\bcurl\b|\bwget\b|libwww|python|\bjava/|\bperl\b|\bphp\b|\bruby\b|go-http-client|httpclient|http-client|http_request"
    r"|\baxios\b|node-fetch|\bgot\b|scrapy|postman|insomnia|httpie|feedfetcher|apachebench|jmeter|k6/|locust",
    re.IGNORECASE,
)
_DESKTOPS = ("Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "Debian", "FreeBSD", "OpenBSD", "NetBSD", "Solaris")
_TABLET = re.compile(r"ipad|tablet|kindle|silk|playbook|\bsm-[tx]\d", re.IGNORECASE)
_PHONE = re.compile(r"mobi|iphone|ipod|phone|opera mini", re.IGNORECASE)


class UserAgent(NamedTuple):
    """What a user agent says; None for what it does not say."""

    browser: str | None = None
    browser_version: str | None = None  # its first two numbers
    os: str | None = None
    os_version: str | None = None  # its first two numbers
    device_class: str | None = None  # one of schemas.events.DEVICE_CLASSES
    is_robot: bool = False


_NOTHING = UserAgent()


@lru_cache(maxsize=_CACHED)
def parse(text: str | None) -> UserAgent:
    """The parts of a user agent. Without one, nothing is known; what is not recognised is `other`."""
    if not text:
        return _NOTHING
    text = text[:_LONGEST]
    parsed = _parser().parse(text)
    browser, os = parsed.user_agent, parsed.os
    is_robot = _ROBOT.search(text) is not None or (parsed.device is not None and _is_spider(text))
    return UserAgent(
        browser=None if browser is None else browser.family,
        browser_version=None if browser is None else version(browser.major, browser.minor),
        os=None if os is None else os.family,
        os_version=None if os is None else version(os.major, os.minor),
        device_class="robot" if is_robot else device_class(text, None if os is None else os.family),
        is_robot=is_robot,
    )


@cache
def _parser() -> Parser:
    """Finds browser, system, and as device only what may be a robot. To compile the expressions of all devices takes most of the time."""
    browsers, systems, devices = load_lazy_builtins()
    return Parser.from_matchers((browsers, systems, [device for device in devices if _family(device) == _SPIDER]))


@cache
def _devices() -> Parser:
    _, _, devices = load_lazy_builtins()
    return Parser.from_matchers(([], [], devices))


def _is_spider(text: str) -> bool:
    """Whether the first device that matches is a robot. Some expressions of robots match devices, too, such as tablets with Silk."""
    device = _devices().parse_device(text)
    return device is not None and device.family == _SPIDER


def device_class(text: str, os: str | None) -> str:
    """The kind of device of a text that is no robot's."""
    if _TABLET.search(text) or (os == "Android" and not _PHONE.search(text)):
        return "tablet"
    if _PHONE.search(text) or os in ("Android", "iOS"):
        return "phone"
    return "desktop" if os is not None and os.startswith(_DESKTOPS) else "other"


def version(major: str | None, minor: str | None) -> str | None:
    """The first two numbers of a version, joined by a point."""
    return ".".join(part for part in (major, minor) if part) or None

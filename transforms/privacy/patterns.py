"""Find addresses and keys within text: IP addresses, e-mail addresses, bearer tokens, and secrets of query strings.

Text is anything: a URL, a line of a log, a message, the bytes of a record that is no JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from transforms.privacy.quick_search import QuickSearch
from transforms.privacy.secret_names import SecretNames

KINDS = ("ip", "email", "secret", "number")
# The kinds that are looked for in every text. A `number` is a telephone number or the like: only texts of people are searched for it.
EVERYWHERE = frozenset(("ip", "email", "secret"))


class Match(NamedTuple):
    """A part of a text that says something about a person."""

    start: int
    end: int
    kind: str  # one of KINDS


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|0?\d?\d)"
_IPV4 = re.compile(rf"(?:(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<![\d.]))(?:{_OCTET}\.){{3}}{_OCTET}(?!\d|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f:]{2,39}(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])", re.ASCII)
# From the at sign on. The part before it is read backwards from there: a search for it would take time by the square of the length.
_DOMAIN = re.compile(r"(?:@|%(?:25)?40)(?=[\w-])([\w-]{1,63}(?:\.[\w-]{1,63})+)")
_LOCAL_PART = frozenset("_.+'~!#$*^`{|}%-")
_LONGEST_LOCAL_PART = 64
_NUMBER = re.compile(r"(?<![\w.])\+?\(?\d(?:[\s./()-]{0,2}\d){6,17}(?![\w])")
# The same for QuickSearch, in a text without a backslash.
NUMBER_SEARCH = r"[0-9](?:[ ./()-]{0,2}[0-9]){6}"
_KEYS = re.compile(
    r"\bbearer[\s+:=]+(?:%20)?([^\s\"',;]{4,})"  # also "Authorization: Bearer …"
    r"|\bbasic[\s+]+((?-i:[A-Za-z0-9+/]*[A-Z0-9=][A-Za-z0-9+/]*={0,2}))(?![\w])"
    r"|(?-i:\b(eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?))"  # a JSON Web Token
    r"|://([^\s/?#@]{1,200})@"  # the user of a URL, with the password
    r"|(?-i:\b((?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}"
    r"|[rs]k_(?:live|test)_\w{10,}|glpat-[\w-]{15,}))\b"
    r"|(-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END|\Z))",
    re.IGNORECASE | re.DOTALL,
)
# A name and what separates it from its value, with quotes and brackets, also in percent escapes; in XML the end of the tag.
_NAMED = re.compile(
    r"(?:(?<=%[0-9A-F][0-9A-F])|(?<![\w.-]))([A-Za-z](?:[\w.-]|\[|\]){0,60}?)(?:['\"\]]|%22|%27|%5D){0,3}\s{0,3}"
    r"(?:=>?|:(?!//)|%3D|%3A|>)\s{0,3}",
    re.IGNORECASE,
)
_NAMED_VALUE = re.compile(
    r"(?:(?:bearer|basic|digest)\s+)?(?:['\"]|%22|%27)?([^\s&;,'\"<>#(){}\[\]\\][^\s&;,'\"<>#)}\]\\]*)", re.IGNORECASE
)
# What follows such a name goes on to the end of the line.
_WHOLE_LINE = frozenset(("cookie", "cookies", "setcookie", "authorization", "proxyauthorization", "forwarded", "xforwardedfor"))
_LINE = re.compile(r"[^\r\n\"\\]*")
# A text without these characters has nothing that the expressions find.
_CANDIDATE = re.compile(r"[@=:>]|%(?:25)?40|%3[DA]|\d\.\d|eyJ|bearer|basic|akia|asia|gh[a-z]_|github_|xox|AIza|k_|glpat|---", re.I)


class TextPatterns:
    """The expressions of some kinds, and the names after which a secret stands in a text."""

    def __init__(self, names: SecretNames, kinds: Collection[str] = EVERYWHERE) -> None:
        self._names = names
        self.kinds = frozenset(kinds)

    def matches(self, text: str) -> list[Match]:
        """The parts of a text that are personal, in order, none within another."""
        if not _CANDIDATE.search(text) and "number" not in self.kinds:
            return []
        found: list[Match] = []
        if "secret" in self.kinds:
            found += _keys(text)
            found += self._named(text)
        if "email" in self.kinds and ("@" in text or "40" in text):
            found += _addresses(text)
        if "ip" in self.kinds:
            found += (Match(match.start(), match.end(), "ip") for match in _IPV4.finditer(text))
            if ":" in text:
                found += _ipv6(text)
        if "number" in self.kinds:
            found += (Match(match.start(), match.end(), "number") for match in _NUMBER.finditer(text))
        return _apart(found)

    def redacted(self, text: str) -> str:
        """The text with the kind in brackets, such as `[ip]`, in place of each match; the same object without a match."""
        return _replaced(text, self.matches(text), lambda match: f"[{match.kind}]")

    def truncated(self, text: str) -> str:
        """The text with the network in place of each IP address: of IPv4 the first 24 bits, of IPv6 the first 48. The rest is redacted."""
        return _replaced(
            text, self.matches(text), lambda match: _network(text[match.start : match.end]) if match.kind == "ip" else f"[{match.kind}]"
        )

    def _named(self, text: str) -> Iterator[Match]:
        """Values after a secret name, as in `password=…` and `Cookie: …`."""
        at = 0
        while (match := _NAMED.search(text, at)) is not None:
            at = match.end(1)
            if not self._names.is_secret(match[1].rpartition(".")[2]) and not self._names.is_secret(match[1]):
                continue
            value = _NAMED_VALUE.match(text, match.end())
            if value is None:
                continue
            start, at = value.span(1)
            is_header = ":" in text[match.end(1) : match.end()] and self._names.compared(match[1]) in _WHOLE_LINE
            line = _LINE.match(text, start) if is_header else None
            at = at if line is None else max(at, line.end())
            yield Match(start, at, "secret")

    @cached_property
    def search(self) -> QuickSearch:
        """Finds canonical JSON in which a text or name may have a match."""
        other = r"[\[\]_.-]*"
        names = "|".join(other.join(name) for name in self._names.names if name.isascii())
        return QuickSearch(
            r"[^\" ]@[a-z0-9_\x80-\xff-]|%(?:25)?40|(?:[^0-9.]|%[0-9a-f]{2})[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[^0-9]"
            r"|[^a-z0-9_](?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?::[0-9a-f]{0,4}|(?:[0-9a-f]{1,4}:){6}|bearer[ +:=]|basic[ +]"
            r"|eyj[a-z0-9_-]{8}|://[^/?# \"@]*@|(?:akia|asia)[0-9a-z]{16}|gh[pousr]_[a-z0-9]{20}|github_pat_|xox[a-z]-|aiza[a-z0-9_-]{30}"
            r"|[rs]k_(?:live|test)_|glpat-|private key-"
            rf"|(?:[^a-z0-9]|%[0-9a-f]{{2}})(?:{names})(?:[\]'_.)-]|%22|%27|%5d){{0,3}} {{0,3}}(?:[=:>]|%3d|%3a)"
            r"|\\"
        )


def _keys(text: str) -> Iterator[Match]:
    for match in _KEYS.finditer(text):
        group = match.lastindex or 0
        yield Match(*match.span(group), "secret")


def _addresses(text: str) -> Iterator[Match]:
    """E-mail addresses, with an at sign or with one in percent escapes."""
    for match in _DOMAIN.finditer(text):
        start = match.start()
        while start > max(0, match.start() - _LONGEST_LOCAL_PART) and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_PART):
            start -= 1
        if start < match.start():
            yield Match(start, match.end(), "email")


def _ipv6(text: str) -> Iterator[Match]:
    for match in _IPV6.finditer(text):
        candidate = match[0]
        for start, end in (
            (0, len(candidate)),
            (0, len(candidate.rstrip(":"))),
            (len(candidate) - len(candidate.lstrip(":")), len(candidate)),
        ):
            if _is_ipv6(candidate[start:end]):
                yield Match(match.start() + start, match.start() + end, "ip")
                break


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2 or text.strip(":") == "":
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _network(address: str) -> str:
    if ":" in address:
        return str(IPv6Network((address, 48), strict=False).network_address)
    plain = ".".join(str(int(octet)) for octet in address.split("."))
    return str(IPv4Network((plain, 24), strict=False).network_address)


def _apart(found: list[Match]) -> list[Match]:
    """The matches in order; of two that overlap, the wider one."""
    apart: list[Match] = []
    for match in sorted(found, key=lambda one: (one.start, -one.end)):
        if not apart or match.start >= apart[-1].end:
            apart.append(match)
        elif match.end > apart[-1].end:
            apart[-1] = Match(apart[-1].start, match.end, apart[-1].kind)
    return apart


def _replaced(text: str, matches: list[Match], replacement: Callable[[Match], str]) -> str:
    if not matches:
        return text
    parts, at = [], 0
    for match in matches:
        parts += [text[at : match.start], replacement(match)]
        at = match.end
    return "".join([*parts, text[at:]])

"""Drop secrets of people: fields whose name says that they hold an address, a cookie, a key or the like.

Names are compared in lower case and by letters and digits alone, so `clientIp`, `client_ip` and `Client-IP` are the same name.
Three things are dropped at any depth: a field with a secret name; the `value`, `values` or `v` of an object whose `name`, `key`,
`k` or `header` is a secret name, and the second of two items of an array whose first is one; and all of these in text that is
JSON. Everything else is kept verbatim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import islice
from typing import Any, NamedTuple

import orjson

from transforms.documents.json_documents import canonical, text_hash
from transforms.privacy.quick_search import QuickSearch

# The first of the names in conf/privacy.yaml. The id of a record without an id is a hash of the record without these
# fields, so a change here changes ids.
_SHIPPED = (
    "ip ipaddress ipaddr clientip clientipaddress xclientip uip userip remoteip remoteaddr remoteaddress sourceip"
    " forwarded forwardedfor xforwardedfor xrealip trueclientip cfconnectingip fastlyclientip xclusterclientip xwikimediaip"
    " cookie cookies setcookie authorization proxyauthorization apikey xapikey password passwd secret"
    " token accesstoken refreshtoken idtoken sessiontoken csrftoken xcsrftoken bearer email emailaddress phone phonenumber"
)
SHIPPED = frozenset(_SHIPPED.split())
PAIR_NAMES = frozenset(("name", "key", "k", "header"))
PAIR_VALUES = frozenset(("value", "values", "v"))
# Limits of the set of names that are known to be harmless. Documents repeat a few names, so for most objects one comparison with
# that set is enough.
_MOST_HARMLESS, _LONGEST_HARMLESS = 10_000, 100  # names, characters
_EXACT_DIGITS = 18
# JSON that has a field begins with one of these characters.
_OPENING = ("{", "[", '"')
MAY_OPEN = frozenset('{[" \t\r\n')


def normalised(name: str) -> str:
    """A name as it is compared: its letters and digits, in lower case."""
    return "".join(filter(str.isalnum, name.lower()))


class Cleaned(NamedTuple):
    """A value without its secrets."""

    value: Any  # the same object if nothing was dropped
    names: Set[str] = frozenset()  # of the fields that were dropped, as they are compared
    beyond_fields: bool = False  # whether more than fields was dropped: the value of a pair, or a part of a text


class SecretNames:
    """The names of secret fields: the shipped ones and those that the configuration adds."""

    def __init__(self, additional: Iterable[str] = ()) -> None:
        self._added = frozenset(map(normalised, additional)) - SHIPPED - {""}
        self._all = SHIPPED | self._added
        self._known: dict[str, str] = {}
        self._harmless: set[str] = set()
        self._harmless_fields: set[str] = set()
        self.search = QuickSearch(_expression(self._all))

    @property
    def names(self) -> list[str]:
        """All names as they are compared, sorted."""
        return sorted(self._all)

    @property
    def added(self) -> list[str]:
        """The names that the configuration adds to the shipped ones, as they are compared, sorted."""
        return sorted(self._added)

    def __reduce__(self) -> tuple[Any, ...]:
        """Only the names are sent to another process."""
        return SecretNames, (self.added,)

    def compared(self, name: str) -> str:
        """A name as it is compared."""
        return self._compared(name)

    def is_secret(self, name: str) -> bool:
        """Whether a field of this name is secret."""
        return self._compared(name) in self._all

    def dropped_fields(self, fields: Mapping[str, Any]) -> list[str]:
        """The names of those fields of an object that are dropped: secret ones, and the value of a pair whose name is secret."""
        return [] if fields.keys() <= self._harmless else self._dropped(fields)

    def is_pair(self, items: list[Any]) -> bool:
        """Whether an array is a pair of a secret name and its value."""
        return len(items) == 2 and type(items[0]) is str and self._compared(items[0]) in self._all

    def without_fields(self, value: Any) -> Any:
        """The value without the fields of shipped names, at any depth; the same object if it has none."""
        if _is_harmless(value, self._harmless_fields):
            return value
        has_dropped = False
        root: list[Any] = [value]
        # Objects and arrays that are still to be searched. They are copies, so their parts can be replaced.
        pending: list[Any] = [root]
        while pending:
            node = pending.pop()
            if type(node) is dict:
                if not node.keys() <= self._harmless_fields:
                    for name in self._shipped_fields(node):
                        del node[name]
                        has_dropped = True
                parts: Iterable[tuple[Any, Any]] = node.items()
            else:
                parts = enumerate(node)
            for position, part in parts:
                if type(part) is dict or type(part) is list:
                    node[position] = copied = part.copy()
                    pending.append(copied)
        return root[0] if has_dropped else value

    def without_secrets(self, value: Any) -> Cleaned:
        """The value without its secrets; the same object if it has none. The given value is not changed."""
        beyond = False
        dropped: set[str] = set()
        root: list[Any] = [value]
        # Objects and arrays that are still to be searched. They are copies, so their parts can be replaced.
        pending: list[Any] = [root]
        while pending:
            node = pending.pop()
            if type(node) is dict:
                if not node.keys() <= self._harmless:
                    for name in self._dropped(node):
                        del node[name]
                        compared = self._compared(name)
                        if compared in self._all:
                            dropped.add(compared)
                        else:
                            beyond = True
                parts: Iterable[tuple[Any, Any]] = node.items()
            else:
                if self.is_pair(node):
                    del node[1]
                    beyond = True
                parts = enumerate(node)
            for position, part in parts:
                kind = type(part)
                if kind is dict or kind is list:
                    node[position] = copied = part.copy()
                    pending.append(copied)
                elif kind is str and part[:1] in MAY_OPEN:
                    text = self._text_without(part)
                    if text is not None:
                        node[position] = text
                        beyond = True
        return Cleaned(root[0] if dropped or beyond else value, dropped, beyond)

    def _shipped_fields(self, node: Mapping[str, Any]) -> list[str]:
        """The names of the fields of this object that are shipped names."""
        names = node.keys() - self._harmless_fields
        shipped = [name for name in names if self._compared(name) in SHIPPED]
        _add(self._harmless_fields, names.difference(shipped))
        return shipped

    def _dropped(self, node: Mapping[str, Any]) -> list[str]:
        """The names of the fields of this object to be dropped."""
        names = node.keys() - self._harmless
        dropped = [name for name in names if self._compared(name) in self._all]
        if len(dropped) == len(names):
            return dropped
        marks = [name for name in names if self._compared(name) in PAIR_NAMES]
        if any(type(node[name]) is str and self._compared(node[name]) in self._all for name in marks):
            dropped += [name for name in node if name not in dropped and self._compared(name) in PAIR_VALUES]
        _add(self._harmless, names.difference(dropped, marks))
        return dropped

    def _compared(self, name: str) -> str:
        """A name as it is compared. Short names are cached."""
        compared = self._known.get(name)
        if compared is None:
            compared = normalised(name)
            if len(self._known) < _MOST_HARMLESS and len(name) <= _LONGEST_HARMLESS:
                self._known[name] = compared
        return compared

    def _text_without(self, text: str) -> str | None:
        """Text that is JSON without its secrets; None if the text is no JSON or has no secret."""
        parsed = json_in_text(text)
        if parsed is None:
            return None
        document, write = parsed
        cleaned = self.without_secrets(document).value
        return None if cleaned is document else write(cleaned).decode()


def content_hash(source: str, document: Any) -> str:
    """The id of a record that has none of its own: a hash of the document without the fields of shipped names."""
    return text_hash(source, canonical(SHIPPED_NAMES.without_fields(document)))


def json_in_text(text: str) -> tuple[Any, Callable[[Any], bytes]] | None:
    """The value of a text that is JSON with fields, and the function that writes such a value; None for any other text."""
    stripped = text.strip()
    if not stripped.startswith(_OPENING):
        return None
    try:
        return orjson.loads(stripped), canonical
    except ValueError:
        try:
            return lenient_json(stripped), ascii_json
        except (ValueError, RecursionError):
            return None


def lenient_json(text: str) -> Any:
    """Parse JSON that is not valid as a record: with halves of surrogate pairs (as in cut texts), NaN, or numbers that are too large."""

    def number(digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else digits

    return json.loads(text, parse_float=number, parse_int=lambda digits: number(digits) if len(digits) > _EXACT_DIGITS else int(digits))


def ascii_json(value: Any) -> bytes:
    """JSON of a value that `lenient_json` has parsed, with halves of surrogate pairs as escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _is_harmless(value: Any, harmless: set[str]) -> bool:
    """Whether all names of fields are known to be harmless. This copies nothing."""
    pending = [value]
    while pending:
        node = pending.pop()
        if type(node) is dict:
            if not node.keys() <= harmless:
                return False
            pending += [part for part in node.values() if type(part) is dict or type(part) is list]
        elif type(node) is list:
            pending += [part for part in node if type(part) is dict or type(part) is list]
    return True


def _add(harmless: set[str], names: set[str]) -> None:
    """Remember harmless names, as long as they are few and short."""
    if names and len(harmless) < _MOST_HARMLESS:
        harmless.update(islice((name for name in names if len(name) <= _LONGEST_HARMLESS), _MOST_HARMLESS))


def _expression(names: Iterable[str]) -> str:
    """An expression for QuickSearch that matches canonical JSON wherever `without_secrets` would drop something.

    It also matches some harmless JSON: a secret name as a value, names with a character that is not ASCII, a `name`, `key`, `k` or `header`
    with a text, and a backslash, which every JSON text with a field has. The names stand in it once: RE2 compiles them in tens of ms.
    """
    other = r'[^a-z0-9"]*'
    fields = "|".join(other.join(name) for name in sorted(names) if name.isascii())
    marks = "|".join(other.join(name) for name in sorted(PAIR_NAMES))
    return rf'"{other}(?:{fields}){other}"[:,]|"{other}(?:{marks}){other}":"|"[^"]*[\x80-\xff][^"]*":|\\'


SHIPPED_NAMES = SecretNames()

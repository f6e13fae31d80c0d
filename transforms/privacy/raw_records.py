"""The bytes of refused records by the rules about personal data: masked in place, encrypted, or dropped.

A refused record may be anything, so nothing here needs valid JSON. What looks like JSON is read for names, pairs and pointers; texts, and
all of a record that is no JSON, are searched for addresses and keys. What matches becomes asterisks, one per byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nacl.public import PublicKey, SealedBox

from transforms.documents.json_documents import InvalidJsonError, parse
from transforms.privacy.documents import DocumentRules
from transforms.privacy.patterns import Match, TextPatterns
from transforms.privacy.pointer_rules import Action, Nodes, action_of, below
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.privacy.secret_names import PAIR_NAMES, PAIR_VALUES, SecretNames

_TOKEN = re.compile(r'"(?P<text>[^"\\]*(?:\\.[^"\\]*)*)(?P<end>"?)(?P<name>\s*:)?|(?P<mark>[{}\[\]])|(?P<bare>[^\s"{}\[\]:,]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)|([^\\]+|\\)", re.DOTALL)
_ESCAPED: Mapping[str, str] = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_OPENING = ("{", "[", '"')
_HEADER = "batch"
# JSON within a text within a text: so deep at most. Every level doubles the backslashes.
_DEEPEST_TEXT = 16

Span = tuple[int, int]


def stored(raw: bytes, rules: PrivacyRules, documents: DocumentRules, list_name: str | None) -> bytes | None:
    """The bytes of a refused record as they are stored: kept, masked, encrypted, or None.

    `list_name` is the field of a batch of the source with its events. Encryption is libsodium's sealed box, to `rules.raw_key`.
    """
    if rules.raw == "drop":
        return None
    if rules.raw == "encrypt" and rules.raw_key is not None:
        return bytes(SealedBox(PublicKey(rules.raw_key)).encrypt(raw))
    return raw if rules.raw == "keep" else masked(raw, rules, documents, list_name)


def masked(raw: bytes, rules: PrivacyRules, documents: DocumentRules, list_name: str | None) -> bytes:
    """The bytes with an asterisk for each byte that a rule matches, and all others as they are."""
    is_json, document = _parsed(raw)
    if is_json and documents.are_harmless(raw, document):
        return raw
    text = raw.decode("utf-8", "surrogateescape")
    spans = list(_Scan(text, rules, documents).spans(_root(documents, list_name)))
    if not is_json:
        spans += [(match.start, match.end) for match in rules.texts.matches(text)]
    return _with_asterisks(text, spans)


def masked_text(text: str, rules: PrivacyRules) -> str:
    """A text, such as a path, with asterisks for what is personal in it."""
    return _with_asterisks(text, [(match.start, match.end) for match in rules.texts.matches(text)]).decode("utf-8", "surrogateescape")


def _parsed(raw: bytes) -> tuple[bool, Any]:
    """Whether the bytes are JSON, and their value."""
    try:
        return True, parse(raw)
    except InvalidJsonError:
        return False, None


def _with_asterisks(text: str, spans: list[Span]) -> bytes:
    parts, at = [], 0
    for start, end in sorted(spans):
        first = max(start, at)
        if end > first:
            size = len(text[first:end].encode("utf-8", "surrogateescape"))
            parts += [text[at:first], "*" * size]
            at = end
    return "".join([*parts, text[at:]]).encode("utf-8", "surrogateescape")


def _root(documents: DocumentRules, list_name: str | None) -> _Frame:
    """The frame of a line: an event, an array of events, or a batch."""
    return _Frame(is_object=False, nodes=(documents.tree,), is_line=True, list_name=list_name)


@dataclass
class _Frame:
    """An object or array that is open."""

    is_object: bool
    nodes: Nodes
    inherited: Action | None = None
    start: int = 0
    name: str | None = None  # of the field whose value comes next
    index: int = 0
    is_line: bool = False  # the line itself
    is_record: bool = False  # an event, or a batch with its header
    list_name: str | None = None  # of a line: the field with the events of a batch
    has_secret_mark: bool = False  # the name of a pair is secret
    pair_values: list[Span] = field(default_factory=list)


class _Scan:
    """One search of a text."""

    def __init__(self, text: str, rules: PrivacyRules, documents: DocumentRules, depth: int = 0) -> None:
        self._text = text
        self._rules = rules
        self._names: SecretNames = rules.names
        self._documents = documents
        self._depth = depth
        self._frames: list[_Frame] = []
        self._leaves: list[Span] = []  # texts and numbers, names too
        self._regions: list[Span] = []  # whole values to mask
        self._spans: list[Span] = []  # parts of texts to mask

    def spans(self, root: _Frame) -> Iterator[Span]:
        """What the rules match, as spans of characters."""
        self._frames = [root]
        for token in _TOKEN.finditer(self._text):
            if token["mark"] is not None:
                self._bracket(token)
            elif token["bare"] is not None:
                self._scalar(token.span("bare"), None)
            elif token["name"] is not None and self._frames[-1].is_object:
                self._name(token)
            else:
                self._scalar(token.span("text"), token["text"])
        while len(self._frames) > 1:
            self._close(len(self._text))
        yield from self._spans
        yield from _inside(sorted(self._leaves), sorted(self._regions))

    def _name(self, token: re.Match[str]) -> None:
        span = token.span("text")
        name, _ = _unescaped(token["text"])
        self._frames[-1].name = name
        self._leaves.append(span)
        self._search(span, token["text"], self._rules.texts)

    def _bracket(self, token: re.Match[str]) -> None:
        mark, start = token["mark"], token.start()
        if mark in "}]":
            if len(self._frames) > 1:
                self._close(token.end())
            return
        top = self._frames[-1]
        nodes, rule, is_masked = self._rule(top, is_container=True)
        if is_masked:
            self._regions.append((start, start))  # its end follows when it closes
        frame = _Frame(mark == "{", nodes, rule, start, list_name=top.list_name)
        frame.is_record = top.is_line and frame.is_object
        frame.is_line = (top.is_line and not frame.is_object) or self._is_list_of_events(top)
        if frame.is_record:
            frame.nodes = (*nodes, *below(nodes, _HEADER))
        if self._is_list_of_events(top):
            frame.nodes = (self._documents.tree,)
        self._frames.append(frame)

    def _is_list_of_events(self, top: _Frame) -> bool:
        return top.is_record and top.name is not None and top.name == top.list_name

    def _close(self, end: int) -> None:
        closed = self._frames.pop()
        for at in range(len(self._regions) - 1, -1, -1):
            if self._regions[at] == (closed.start, closed.start):
                self._regions[at] = (closed.start, end)
                break
        if closed.has_secret_mark and (closed.is_object or closed.index == 2):
            self._regions += closed.pair_values
        self._value_ended((closed.start, end))

    def _scalar(self, span: Span, text: str | None) -> None:
        top = self._frames[-1]
        nodes, rule, is_masked = self._rule(top, is_container=False)
        is_kept = action_of(nodes) == "keep" and not top.is_line
        if text is not None or self._text[slice(*span)] != "null":
            self._leaves.append(span)
        if is_masked:
            self._regions.append(span)
        elif text is not None and not is_kept:
            self._search(span, text, self._rules.texts_of_people if rule == "redact" else self._rules.texts)
        if text is not None and not top.is_object and top.index == 0:
            top.has_secret_mark = self._names.is_secret(_unescaped(text)[0])
        if text is not None and top.name is not None and self._names.compared(top.name) in PAIR_NAMES:
            top.has_secret_mark = top.has_secret_mark or self._names.is_secret(_unescaped(text)[0])
        self._value_ended(span)

    def _value_ended(self, span: Span) -> None:
        top = self._frames[-1]
        is_value = self._names.compared(top.name) in PAIR_VALUES if top.name is not None else not top.is_object and top.index == 1
        if is_value:
            top.pair_values.append(span)
        top.name = None
        top.index += 1

    def _rule(self, top: _Frame, *, is_container: bool) -> tuple[Nodes, Action | None, bool]:
        """The rules of the value that comes next, the one that holds for it, and whether it is masked as a whole."""
        step = top.name if top.is_object else str(top.index)
        if top.is_line:
            return top.nodes, None, False
        if step is None or self._is_list_of_events(top):
            return (), top.inherited, False
        nodes = below(top.nodes, step) if top.nodes else ()
        action = action_of(nodes)
        if action == "keep":
            return nodes, "keep", False
        rule = action or top.inherited
        is_secret = action is None and top.is_object and self._names.is_secret(step)
        is_unnamed = action is None and self._documents.drops_by_default(nodes, top.inherited, {} if is_container else None)
        return nodes, rule, is_secret or is_unnamed or rule in ("drop", "hash")

    def _search(self, span: Span, text: str, patterns: TextPatterns) -> None:
        """Find addresses and keys in a text that stands at this span, and in JSON within it."""
        decoded, starts = _unescaped(text)
        found: list[Span] = []
        if decoded.lstrip().startswith(_OPENING) and self._depth < _DEEPEST_TEXT:
            inner = _Scan(decoded, self._rules, self._documents, self._depth + 1)
            found += inner.spans(_Frame(is_object=False, nodes=(), inherited="keep"))
        found += [_span(match) for match in patterns.matches(decoded)]
        if starts is None:
            self._spans += [(span[0] + start, span[0] + end) for start, end in found]
        else:
            self._spans += [(span[0] + starts[start], span[0] + starts[end]) for start, end in found]


def _span(match: Match) -> Span:
    return match.start, match.end


def json_text(text: str) -> str:
    """The text of a JSON string, without its escapes. It may be the string of no valid JSON."""
    return _unescaped(text)[0]


def _unescaped(text: str) -> tuple[str, list[int] | None]:
    """The text of a JSON string, and for each of its characters where it begins in the string; None if these are the same."""
    if "\\" not in text:
        return text, None
    parts: list[str] = []
    starts: list[int] = []
    for piece in _ESCAPE.finditer(text):
        code, char, plain = piece.groups()
        if plain is not None:
            parts.append(plain)
            starts += range(piece.start(), piece.end())
        else:
            parts.append(chr(int(code, 16)) if code else _ESCAPED.get(char, char))
            starts.append(piece.start())
    return "".join(parts), [*starts, len(text)]


def _inside(leaves: list[Span], regions: list[Span]) -> Iterator[Span]:
    """The leaves that are within a region."""
    reach, at = 0, 0
    for start, end in leaves:
        while at < len(regions) and regions[at][0] <= start:
            reach = max(reach, regions[at][1])
            at += 1
        if end <= reach:
            yield start, end

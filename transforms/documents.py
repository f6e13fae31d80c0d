"""JSON documents: parsed strictly, serialised canonically, freed of secrets, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson

# Wherever they stand in a record, in any case of letters.
SECRETS = frozenset(
    (
        "ip",
        "client_ip",
        "x-client-ip",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cookie",
        "set-cookie",
        "authorization",
    )
)
# Where canonical JSON holds a secret field: it writes letters as they are, and no space behind a name.
SECRET_FIELD = '(?i)"(?:' + "|".join(sorted(SECRETS)) + ')":'


class InvalidJsonError(ValueError):
    """The bytes are not one JSON document by the strict rules."""


def parse(content: bytes) -> Any:
    """The JSON document that these bytes are.

    Strict: no NaN or Infinity, no trailing commas, no comments, no lone surrogates, UTF-8 alone. Integers stay integers
    to 64 bits (signed or unsigned), larger ones become doubles; of duplicate keys the last one wins.
    Raises InvalidJsonError, also for a number that overflows a double and for nesting deeper than 1,024.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # orjson's error holds the whole document: it must not travel on.
        raise InvalidJsonError(error.msg) from None


def canonical(value: Any) -> bytes:
    """The canonical JSON of a parsed value: keys sorted, no spaces, UTF-8, numbers as parsed."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than orjson writes, though not than it reads
        return _canonical_of_any_depth(value)


def _canonical_of_any_depth(value: Any) -> bytes:
    """As `canonical`, without recursion."""
    written: list[bytes] = []
    pending: list[Any] = [value]  # values still to write, and bytes that stand between them, last one first
    while pending:
        node = pending.pop()
        if type(node) is bytes:
            written.append(node)
        elif type(node) is dict:
            pending.append(b"}")
            for place, key in reversed(list(enumerate(sorted(node)))):
                pending += (node[key], (b"," if place else b"") + orjson.dumps(key) + b":")
            pending.append(b"{")
        elif type(node) is list:
            pending.append(b"]")
            for place, item in reversed(list(enumerate(node))):
                pending += (item, b",") if place else (item,)
            pending.append(b"[")
        else:
            written.append(orjson.dumps(node))
    return b"".join(written)


def without_secrets(value: Any) -> Any:
    """The value without the fields that `SECRETS` names, at any depth; the same object where there is none.

    The value itself is left as it is. Rule: the sources' text, "Secrets".
    """
    if not _holds_secrets(value):
        return value
    cleaned = value.copy()
    pending = [cleaned]
    while pending:
        node = pending.pop()
        is_object = type(node) is dict
        if is_object:
            for name in _secrets_of(node):
                del node[name]
        for place, child in node.items() if is_object else enumerate(node):
            if type(child) is dict or type(child) is list:
                node[place] = child.copy()
                pending.append(node[place])
    return cleaned


def _holds_secrets(value: Any) -> bool:
    pending = [value]
    while pending:
        node = pending.pop()
        if type(node) is dict:
            if _secrets_of(node):
                return True
            pending.extend(node.values())
        elif type(node) is list:
            pending.extend(node)
    return False


# Names of fields that were looked at before and are no secrets: documents repeat a few names for ever, so that most objects are
# settled by one comparison of sets.
_HARMLESS: set[str] = set()
_MOST_HARMLESS, _LONGEST_HARMLESS = 10_000, 100  # names, characters


def _secrets_of(node: Mapping[str, Any]) -> list[str]:
    """The names of secret fields that an object has itself."""
    unknown = node.keys() - _HARMLESS if not node.keys() <= _HARMLESS else ()
    # ASCII alone: a Kelvin sign lower-cases to k.
    secrets = [name for name in unknown if name.lower() in SECRETS and name.isascii()]
    if len(unknown) > len(secrets) and len(_HARMLESS) < _MOST_HARMLESS:
        harmless = (name for name in unknown if name not in secrets and len(name) <= _LONGEST_HARMLESS)
        _HARMLESS.update(islice(harmless, _MOST_HARMLESS))
    return secrets


def with_batch(rest: Mapping[str, Any], header: Mapping[str, Any] | None) -> dict[str, Any]:
    """The context of a record: the rest of it, and its batch's header under "batch" where there is one.

    Where the rest has a field of that name, the header's gets underscores in front until it is free.
    """
    context = dict(rest)
    if header is not None:
        name = "batch"
        while name in context:
            name = "_" + name
        context[name] = header
    return context


def content_hash(source: str, document: Any) -> str:
    """The id of a record that has none: SHA-256, hexadecimal, over source and canonical JSON without the secrets."""
    return text_hash(source, canonical(without_secrets(document)))


def text_hash(source: str, text: bytes) -> str:
    """The same of a document whose canonical JSON without the secrets is known."""
    return hashlib.sha256(source.encode() + b"\n" + text).hexdigest()


def short_hash(text: str) -> int:
    """A signed 64-bit hash of an event_id or a key, by which those that may be equal are found."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)

"""JSON documents: parsed strictly, serialised canonically, freed of secrets, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
        for key, child in list(node.items() if type(node) is dict else enumerate(node)):
            if type(key) is str and _is_secret(key):
                del node[key]
            elif type(child) is dict or type(child) is list:
                node[key] = child.copy()
                pending.append(node[key])
    return cleaned


def _holds_secrets(value: Any) -> bool:
    pending = [value]
    while pending:
        node = pending.pop()
        if type(node) is dict:
            if any(map(_is_secret, node)):
                return True
            pending.extend(node.values())
        elif type(node) is list:
            pending.extend(node)
    return False


def _is_secret(key: str) -> bool:
    # ASCII alone: a Kelvin sign lower-cases to k.
    return key.lower() in SECRETS and key.isascii()


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
    return hashlib.sha256(source.encode() + b"\n" + canonical(without_secrets(document))).hexdigest()


def short_hash(text: str) -> int:
    """A signed 64-bit hash of an event_id or a key, by which those that may be equal are found."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)

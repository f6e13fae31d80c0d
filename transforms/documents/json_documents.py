"""JSON documents: parsed strictly, serialised canonically, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson


class InvalidJsonError(ValueError):
    """The bytes are not one JSON document by the rules of `parse`."""


def parse(content: bytes) -> Any:
    """Parse the bytes of one JSON document.

    Strict: no NaN or Infinity, no trailing commas, no comments, no lone surrogates, UTF-8 alone. Integers stay integers
    to 64 bits (signed or unsigned), larger ones become doubles; of duplicate keys the last one wins.
    Raises InvalidJsonError, also for a number that overflows a double and for nesting deeper than 1,024.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # orjson's error holds the whole document, which must not appear in messages.
        raise InvalidJsonError(error.msg) from None


def canonical(value: Any) -> bytes:
    """The canonical JSON of a parsed value: keys sorted, no spaces, UTF-8, numbers as parsed."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # orjson reads deeper nesting than it writes
        return _canonical_of_any_depth(value)


def _canonical_of_any_depth(value: Any) -> bytes:
    """As `canonical`, without recursion."""
    written: list[bytes] = []
    pending: list[Any] = [value]  # values to write and the bytes between them, in reverse order
    while pending:
        node = pending.pop()
        if type(node) is bytes:
            written.append(node)
        elif type(node) is dict:
            pending.append(b"}")
            for index, key in reversed(list(enumerate(sorted(node)))):
                pending += (node[key], (b"," if index else b"") + orjson.dumps(key) + b":")
            pending.append(b"{")
        elif type(node) is list:
            pending.append(b"]")
            for index, item in reversed(list(enumerate(node))):
                pending += (item, b",") if index else (item,)
            pending.append(b"[")
        else:
            written.append(orjson.dumps(node))
    return b"".join(written)


def with_batch(rest: Mapping[str, Any], header: Mapping[str, Any] | None) -> dict[str, Any]:
    """The context of a record: the rest of its fields, and under "batch" the header of its batch, if any.

    If the rest has a field of that name, underscores are put before "batch" until the name is unused.
    """
    context = dict(rest)
    if header is not None:
        name = "batch"
        while name in context:
            name = "_" + name
        context[name] = header
    return context


def text_hash(source: str, text: bytes) -> str:
    """The id of a record that has none of its own: SHA-256, hexadecimal, of the source and the record without secret fields.

    `text` is the canonical JSON of the record without secret fields.
    """
    return hashlib.sha256(source.encode() + b"\n" + text).hexdigest()


def short_hash(text: str) -> int:
    """A signed 64-bit hash of an event_id or a session key. Different texts may have the same hash."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)

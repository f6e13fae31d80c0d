"""Which records a landed line holds: a second reader, on Python's json module alone, to compare the product's reader with."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from broken_documents import written

Row = dict[str, Any]

MAX_DOCUMENT_BYTES = 300_000
MAX_DEPTH = 1024
BOM = b"\xef\xbb\xbf"
BATCH_FIELDS = {"activity_stream": "payloads", "sunbird": "events", "contentsquare": "pl"}


class InvalidJsonError(Exception):
    """The strict rules of JSON refuse the text."""


@dataclass(frozen=True)
class ExpectedRecord:
    """One record of a line.

    `kind` is "event" for an object, which is valid or violates the schema of its source; else the reason of its refusal.
    """

    kind: str
    raw: Any  # the bytes of the line; of an item of an array or batch the parsed value of its `raw`
    document: Any = None  # the document into which the path of a schema violation leads
    envelope: str = "line"  # "line", "array" or "batch"


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a file, without their line ends."""
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def expected_records(source: str, line: bytes, *, is_first_line: bool) -> list[ExpectedRecord] | None:
    """The records of a line in order; None for a blank line."""
    if is_blank(line) or (is_first_line and is_blank(line.removeprefix(BOM))):
        return None
    if len(line) > MAX_DOCUMENT_BYTES:
        return [ExpectedRecord("too_large", line)]
    try:
        document = parse_json(line.removeprefix(BOM) if is_first_line else line)
    except InvalidJsonError:
        return [ExpectedRecord("invalid_json", line)]
    if isinstance(document, list):
        return [ExpectedRecord(_kind(item), item, item, "array") for item in document]
    if not isinstance(document, dict):
        return [ExpectedRecord("not_an_object", line)]
    if _is_batch(source, document):
        return _records_of_batch(source, line, document)
    return [ExpectedRecord("event", line, document)]


def is_blank(line: bytes) -> bool:
    return not line.strip(b" \t\r")


def _records_of_batch(source: str, line: bytes, batch: Row) -> list[ExpectedRecord]:
    """One record per item; a batch that repeats a long header too often is one refused record."""
    name = BATCH_FIELDS[source]
    items = batch[name]
    header = {key: value for key, value in batch.items() if key != name}
    with deep_recursion():
        header_length = len(written(header))
    if header_length * len(items) > 100 * len(line):
        return [ExpectedRecord("too_large", line)]
    records = []
    for item in items:
        has_header_fields = source == "activity_stream" and isinstance(item, dict)
        document = {**item, **header} if has_header_fields else item
        records.append(ExpectedRecord(_kind(item), {**header, name: [item]}, document, "batch"))
    return records


def _is_batch(source: str, document: Row) -> bool:
    if not isinstance(document.get(BATCH_FIELDS.get(source, "")), list):
        return False
    if source == "activity_stream":
        return document.get("batch-mode") is True
    if source == "sunbird":
        return "eid" not in document
    project, user = document.get("pid"), document.get("uid")
    is_whole = isinstance(project, (int, float)) and not isinstance(project, bool) and project == math.floor(project)
    return is_whole and isinstance(user, str) and user not in ("", "n/a", "N/A")


def _kind(item: Any) -> str:
    return "event" if isinstance(item, dict) else "not_an_object"


# --- JSON by the strict rules


def parse_json(content: bytes) -> Any:
    """The value of a JSON text that is UTF-8, at most MAX_DEPTH deep, without NaN, infinite numbers and lone surrogates."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJsonError from None
    if _depth(text) > MAX_DEPTH:
        raise InvalidJsonError
    with deep_recursion():
        try:
            value = json.loads(text, parse_constant=_refuse_constant, parse_int=_integer, parse_float=_double)
            json.dumps(value, ensure_ascii=False).encode()  # fails for a lone surrogate
        except ValueError:
            raise InvalidJsonError from None
    return value


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Python's json module recurses once per level: this is room for the deepest legal document."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _depth(text: str) -> int:
    deepest = level = 0
    for bracket in re.findall(r'[\[\]{}]|"(?:[^"\\]|\\.)*+"', text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def _refuse_constant(_: str) -> None:
    raise InvalidJsonError


def _integer(digits: str) -> float:
    if len(digits) > 25 or not -(2**63) <= int(digits) < 2**64:
        return _double(digits)
    return int(digits)


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise InvalidJsonError
    return number


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are equal, where 1 equals neither 1.0 nor true."""
    with deep_recursion():
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def is_canonical(content: bytes) -> bool:
    """Whether a JSON text has sorted keys and no spaces; one with an exponent, which Python formats differently, passes."""
    if re.search(rb"[0-9][eE][-+]?[0-9]", content):
        return True
    with deep_recursion():
        return content == canonical(parse_json(content))


def canonical(value: Any) -> bytes:
    """A value as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def value_at(document: Any, pointer: str) -> Any:
    """The value that a JSON Pointer leads to; fails if there is none."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document[int(name) if isinstance(document, list) else name]
    return document

"""Broken documents: seeded mutations of valid ones, as bytes of lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

# Stands in values alone, so that it may never come to stand in the detail of a refusal.
VALUE = "a-value-of-the-document"
# Stands in secret fields alone, so that it may never come to stand in an accepted row.
SECRET = "10.99.98.97-is-a-secret"
SECRET_NAMES = (
    "ip",
    "IP",
    "client_ip",
    "X-Client-IP",
    "x-forwarded-for",
    "Forwarded",
    "Cookie",
    "set-cookie",
    "AUTHORIZATION",
    "uip",
    "clientIp",
    "X_Forwarded_For",
    "e-mail",
)
LONGEST = 200_000  # bytes of what is put into a document

_HOLE = "the-hole-in-the-document"
_NUMBERS = (
    *(b"1e400", b"-1e400", b"1e308", b"-1e308", b"1e-400", b"5e-324", b"NaN", b"Infinity", b"-Infinity", b"-0", b"-0.0", b"0e0"),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809"),
    *(b"18446744073709551615", b"18446744073709551616", b"2147483648", b"2147483647.5", b"-0.5", b"-1", b"-1.0", b"0.5"),
    *(b"1" * 300, b"1" * 400, b"9" * 5_000, b"0." + b"0" * 400 + b"1", b"1e18", b"1e17", b"253402300800000", b"-62135596800001"),
    *(b"1E+2", b"1.0e2", b"01", b"+1", b".5", b"1.", b"1e", b"0x10", b"1_000", b"--1", b"99999999999.999"),
)
_BAD_BYTES = (
    *(b"\xff", b"\xfe\xff", b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"),  # never, alone, overlong
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"),  # surrogates
    *(b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),  # beyond U+10FFFF
    *(b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3"),  # cut short
    *("é".encode("latin-1"), "é".encode("utf-16"), "é".encode("utf-32")),
)
_ODD_TEXT = (
    *(b"\\ud800", b"\\udfff", b"\\ud800\\ud800", b"\\udc00\\ud800", b"\\ud83d", b"\\ud83d\\ude00", b"\\u0000", b"\\u001f"),
    *(b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\t", b"\r", b"\x1b[31m", b"\x1f", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8"),
    *(b"\xef\xbb\xbf", b"\xef\xbf\xbe", b"\xf4\x8f\xbf\xbf", b"\\x41", b"\\u12", b"\\", b"\\/", b"\\q", b"'", b'"', b"\\u0130"),
)
_NAMES = (
    *("", " ", "__proto__", "constructor", "toString", "$ref", "$schema", "a/b~c", "~1", "\u0000", "\U0001f600", "é", "e\u0301"),
    *("0", "-1", "batch", "_batch", "events", "payloads", "pl", "batch-mode", "eid", "ea", "action", "n" * 10_000),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 1e308, -1e308, 1e20, "", "n/a", "N/A", "-1"),
    *(VALUE, [], {}, [[]], [{}], [None], {"": ""}, [VALUE], {"id": VALUE}, [{"id": 1}, {"id": "1"}], "1" * 5_000, "1e400", "null"),
    *("2020-02-30T00:00:00Z", "2016-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2016-03-08 12:00:00"),
    *(
        "\u0000",
        "\ufeff",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "%ff%00?title=%",
        "app://x/y?title=%C3%28&title=",
    ),
    *("f:::", "f:a:n/a", "ACTIVITY_STREAM_", "activity_stream_", "Ⅷ", "١٢٣", " 1", "1 ", "+.5e-3", "\u212a", "İ"),
)
Mutate = Callable[[Random, Any], bytes]


def mutated(random: Random, document: Any) -> bytes:
    """What one of the mutations makes of a document, which is left as it is; mostly one line, without its line feed."""
    return random.choice(MUTATIONS)(random, document)


def written(document: Any) -> bytes:
    """A document as JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


# --- the value of a field, and the name of one


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or array in a document with each of its keys or indices."""
    pending = [document]
    while pending:
        node = pending.pop()
        for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
            yield node, key
            if isinstance(child, (dict, list)):
                pending.append(child)


def _changed(random: Random, document: Any, change: Callable[[Any, Any], None]) -> Any:
    """A copy of which one place, drawn at random, has been changed."""
    copy = json.loads(json.dumps(document))
    places = list(_places(copy))
    if places:
        # The first few are those at the root, which most rules speak of.
        change(*random.choice(places[: random.choice([12, len(places)])]))
    return copy


def _with_value(random: Random, document: Any, token: bytes) -> bytes:
    """A document in which some value is this text."""

    def fill(node: Any, key: Any) -> None:
        node[key] = _HOLE

    return written(_changed(random, document, fill)).replace(b'"' + _HOLE.encode() + b'"', token)


def dropped(random: Random, document: Any) -> bytes:
    def drop(node: Any, key: Any) -> None:
        del node[key]

    return written(_changed(random, document, drop))


def retyped(random: Random, document: Any) -> bytes:
    return _with_value(random, document, written(random.choice(_VALUES)))


def nulled(random: Random, document: Any) -> bytes:
    return _with_value(random, document, b"null")


def nested(random: Random, document: Any) -> bytes:
    def nest(node: Any, key: Any) -> None:
        node[key] = random.choice([[node[key]], {"": node[key]}, {str(key): node[key]}, [node[key]] * 3, {"id": [node[key]]}])

    return written(_changed(random, document, nest))


def with_a_number(random: Random, document: Any) -> bytes:
    return _with_value(random, document, random.choice(_NUMBERS))


def with_bad_bytes(random: Random, document: Any) -> bytes:
    return _with_value(random, document, b'"' + VALUE.encode() + random.choice(_BAD_BYTES) + b'"')


def with_odd_text(random: Random, document: Any) -> bytes:
    return _with_value(random, document, b'"' + VALUE.encode() + random.choice(_ODD_TEXT) * random.randint(1, 3) + b'"')


def with_a_long_text(random: Random, document: Any) -> bytes:
    return _with_value(
        random, document, b'"' + random.choice([b"x", b"\\u0000", b"%41", "é".encode(), b"/", b"1"]) * (LONGEST // 10) + b'"'
    )


def with_a_twin(random: Random, document: Any) -> bytes:
    """A name that an object has twice."""

    def repeat(node: Any, key: Any) -> None:
        if isinstance(node, dict):
            node[_HOLE] = [key]

    text = written(_changed(random, document, repeat))
    before, hole, after = text.partition(b'"' + _HOLE.encode() + b'":[')
    if not hole:
        return text
    name, _, rest = after.partition(b"]")
    return before + name + b":" + written(random.choice(_VALUES)) + rest


def with_an_odd_name(random: Random, document: Any) -> bytes:
    def name(node: Any, key: Any) -> None:
        if isinstance(node, dict):
            node[random.choice(_NAMES)] = node.pop(key) if random.random() < 0.5 else random.choice(_VALUES)

    return written(_changed(random, document, name))


def with_a_broken_name(random: Random, document: Any) -> bytes:
    def name(node: Any, key: Any) -> None:
        if isinstance(node, dict):
            node[_HOLE] = VALUE

    broken = random.choice([*_BAD_BYTES, *_ODD_TEXT])
    return written(_changed(random, document, name)).replace(_HOLE.encode(), broken)


def with_a_secret(random: Random, document: Any) -> bytes:
    def hide(node: Any, key: Any) -> None:
        secret = {random.choice(SECRET_NAMES): random.choice([SECRET, [SECRET], {"a": SECRET}])}
        if isinstance(node, dict):
            node |= random.choice([secret, {"headers": secret}, {"log": [0, [secret]]}])

    return written(_changed(random, document, hide)).replace(b'"ip"', random.choice([b'"ip"', b'"\\u0069p"', b'"i\\u0070"']))


def with_depth(random: Random, document: Any) -> bytes:
    levels = random.choice([200, 255, 256, 1000, 1015, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 3_000, 20_000, 100_000])
    opened, closed = random.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")])
    levels //= opened.count(b"[") + opened.count(b"{")
    return _with_value(random, document, opened * levels + b"1" + closed * random.choice([levels, levels, levels, levels - 1]))


def with_a_long_list(random: Random, document: Any) -> bytes:
    item = random.choice([b"1", b"{}", b"[]", b"null", b'""', b'{"id":"' + VALUE.encode() + b'"}'])
    return _with_value(random, document, b"[" + b",".join([item] * random.choice([0, 1, 50, 1_500])) + b"]")


# --- the line


def truncated(random: Random, document: Any) -> bytes:
    text = written(document)
    return text[: random.randrange(len(text))]


def beheaded(random: Random, document: Any) -> bytes:
    text = written(document)
    return text[random.randrange(1, len(text)) :]


def doubled(random: Random, document: Any) -> bytes:
    return random.choice([b"", b" ", b",", b"\r", b"\x00", b"\x1e", b"\n\r", b"\xe2\x80\xa8"]).join([written(document)] * 2)


def with_syntax_of_others(random: Random, document: Any) -> bytes:
    text = written(document)
    return random.choice(
        [
            text[:-1] + b"," + text[-1:],
            text + b" // " + VALUE.encode(),
            b"/* " + VALUE.encode() + b" */" + text,
            text.replace(b'"', b"'"),
            text.replace(b":", b"=", 1),
            text.replace(b",", b";", 1),
            text.replace(b'"', b"", 2),
            text.replace(b"true", b"True").replace(b"null", b"None") + b"#",
            b"callback(" + text + b");",
            b"data: " + text,
            b'"' + text + b'"',
            written(text.decode()),
            text + b"\x00" * 100,
            b"\xef\xbb\xbf" + text,
            text.decode().encode("utf-16"),
            text.decode().encode("utf-16-le"),
            text.decode().encode("utf-32-be"),
        ]
    )


def with_white_space(random: Random, document: Any) -> bytes:
    """Legal white space, some of it that splits lines, and some that is none."""
    blank = random.choice([b" ", b"\t", b"\r", b"\r\r", b" \t\r", b"\n", b"\r\n", b"\x0b", b"\x0c", b"\xc2\xa0"])
    text = written(document)
    return random.choice([blank + text, text + blank, text.replace(b":", b":" + blank), text.replace(b",", blank + b",", 1)])


def bits_flipped(random: Random, document: Any) -> bytes:
    return with_flipped_bits(random, written(document))


def in_other_lists(random: Random, document: Any) -> bytes:
    scalars = [0, "", None, VALUE, [], {}, [document], [[document]]]
    batch = {
        "batch-mode": True,
        "payloads": [document, 1],
        "events": [document, []],
        "pl": [document, None],
        "pid": 1,
        "uid": "u",
        "k": VALUE,
    }
    return written(
        random.choice(
            [
                [],
                [[]],
                [[document]],
                [document, *random.sample(scalars, 3), document],
                {"events": []},
                {"events": [[document], {"events": [document]}]},
                {"batch-mode": True, "payloads": [], "client_id": "c"},
                {"batch-mode": True, "payloads": [{"batch-mode": True, "payloads": [document]}]},
                {"pid": 1, "uid": "u", "pl": []},
                {"pid": 1, "uid": "u", "pl": [{"pid": 1, "uid": "u", "pl": [document]}]},
                batch,
                {"events": [batch]},
                {**batch, random.choice(["pid", "uid", "pl", "events", "payloads", "batch-mode"]): random.choice(_VALUES)},
                {"events": [document] + [1] * 300, "header": VALUE * random.choice([1, 400])},
                [1] * random.choice([1, 2_000]),
            ]
        )
    )


def no_object(random: Random, document: Any) -> bytes:
    return random.choice(
        [b"1", b"null", b"true", b'"' + VALUE.encode() + b'"', b"-0.0", b"{", b"}", b"]", b"[,]", b"{,}", b"\x00", b"\xff", b"--"]
    )


def too_long(random: Random, document: Any) -> bytes:
    return written([document, random.choice(["x", "é", " "]) * LONGEST * 2])


MUTATIONS: tuple[Mutate, ...] = (
    *(dropped, dropped, retyped, retyped, retyped, nulled, nested, with_a_number, with_a_number),
    *(with_bad_bytes, with_odd_text, with_a_twin, with_an_odd_name, with_a_broken_name, with_a_secret),
    *(truncated, beheaded, doubled, with_syntax_of_others, with_white_space, bits_flipped, in_other_lists, no_object),
)
# Those whose documents are large: a few of them go a long way.
LARGE_MUTATIONS: tuple[Mutate, ...] = (with_depth, with_a_long_text, with_a_long_list, too_long)


# --- the bytes of a file


def with_flipped_bits(random: Random, content: bytes) -> bytes:
    flipped = bytearray(content)
    for _ in range(random.choice([1, 1, 3, 20])):
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def with_a_range_moved(random: Random, content: bytes) -> bytes:
    """A range deleted, overwritten or put somewhere else."""
    start, length, target = random.randrange(len(content)), random.choice([1, 7, 500, 5_000]), random.randrange(len(content))
    taken, rest = content[start : start + length], content[:start] + content[start + length :]
    filling = random.choice([b"", taken, random.randbytes(length), bytes(length), b"\n" * length, b"\r" * length, b"[" * length])
    return rest[:target] + filling + rest[target:]

"""JSON documents: strict parsing, canonical text, hashes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.documents.json_documents import (
    InvalidJsonError,
    canonical,
    parse,
    short_hash,
    with_batch,
)

documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "ip", "Cookie", "é"]) | st.text(), inner),
    max_leaves=20,
)


def nested(levels: int) -> bytes:
    return b'[{"a":' * (levels // 2) + b"1" + b"}]" * (levels // 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b"[1,]",
        b'{"a":1,}',
        b"{} // comment",
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"1e999",
        b"-1e999",
        b"1" * 400,
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"'a'",
        b"01",
        nested(1026),
    ],
)
def test_what_is_not_strict_json_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        parse(content)


def test_a_refusal_contains_nothing_of_the_document() -> None:
    with pytest.raises(InvalidJsonError) as raised:
        parse(b'{"password": "hunter2" oops}')
    assert "hunter2" not in repr(raised.value)
    assert raised.value.__cause__ is None


def test_integers_are_kept_to_64_bits_and_are_doubles_beyond() -> None:
    assert canonical(parse(b"[-9223372036854775808,18446744073709551615]")) == b"[-9223372036854775808,18446744073709551615]"
    assert canonical(parse(b"[18446744073709551616]")) == b"[1.8446744073709552e+19]"


def test_of_duplicate_keys_the_last_one_wins() -> None:
    assert parse(b'{"a":1,"a":2}') == {"a": 2}


def test_canonical_json_has_sorted_keys_no_spaces_and_letters_as_they_are() -> None:
    assert canonical(parse(b'{ "b" : [1, 2.0], "\\u0061" : "\\u00e9\\/" }')) == '{"a":"é/","b":[1,2.0]}'.encode()


@pytest.mark.parametrize("levels", [2, 254, 256, 1022, 1024])
def test_a_document_of_any_legal_depth_has_canonical_json(levels: int) -> None:
    assert canonical(parse(nested(levels))) == nested(levels)


@given(documents)
def test_canonical_json_is_the_same_at_any_depth(document: Any) -> None:
    deep = document
    for _ in range(300):
        deep = [deep]
    assert canonical(deep) == b"[" * 300 + canonical(document) + b"]" * 300


@given(documents)
def test_canonical_json_reads_back_as_the_same_document(document: Any) -> None:
    again = parse(canonical(document))
    assert canonical(again) == canonical(document)
    assert json.loads(canonical(document)) == document


def test_the_context_of_a_batch_is_kept_with_the_rest() -> None:
    assert with_batch({"a": 1}, {"id": 2}) == {"a": 1, "batch": {"id": 2}}
    assert with_batch({"a": 1}, None) == {"a": 1}


def test_a_field_of_the_name_batch_is_kept() -> None:
    rest = {"batch": 1, "_batch": 2}
    assert with_batch(rest, {"id": 3}) == {"batch": 1, "_batch": 2, "__batch": {"id": 3}}
    assert rest == {"batch": 1, "_batch": 2}


def test_an_event_hash_is_a_signed_64_bit_number_that_never_changes() -> None:
    assert short_hash("INTERACT:54a90de8646416c1cf8b21b8d4c3128a") == int.from_bytes(
        hashlib.blake2b(b"INTERACT:54a90de8646416c1cf8b21b8d4c3128a", digest_size=8).digest(), "little", signed=True
    )
    hashes = [short_hash(str(number)) for number in range(1000)]
    assert len(set(hashes)) == 1000
    assert min(hashes) < 0 < max(hashes)
    assert all(-(2**63) <= hashed < 2**63 for hashed in hashes)

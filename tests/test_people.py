"""The rows of a person: which texts hold an id, and which only look so."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.privacy.erased_ids import ErasedIds, hash_of
from transforms.privacy.people import People, TextSearch, is_distinctive
from transforms.privacy.pseudonyms import Pseudonyms, Salt, pseudonym

ID = "user-4711abc"
NAMES = ("id", "did")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("42", False), ("guest", False), ("20261120", False), ("123456789", True), (ID, True), ("a@b.c", True), ("x" * 20, True)],
)
def test_an_id_is_sought_everywhere_if_it_is_neither_a_word_nor_a_small_number(text: str, expected: bool) -> None:
    assert is_distinctive(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        ID,
        f'{{"a":"{ID}"}}',
        f"https://x.org/{ID}?y=1",
        f"line\\n{ID}\\n",
        f"({ID})",
        f"x{ID} {ID}",  # the first is part of a longer word
    ],
)
def test_an_id_is_found_within_a_text(text: str) -> None:
    assert TextSearch([ID]).is_in(text.encode())


@pytest.mark.parametrize("text", ["", f"x{ID}", f"{ID}d", f"{ID}1", ID[:-1], ID.upper()])
def test_a_longer_or_another_word_is_no_id(text: str) -> None:
    assert not TextSearch([ID]).is_in(text.encode())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("zoë/1 👩", "zoë\\/1 👩"),
        ("zoë/1 👩", "zo\\u00eb/1 \\ud83d\\udc69"),
        ("zoë/1 👩", "zo%C3%AB%2F1%20%F0%9F%91%A9"),
        ('a"b1', 'a\\"b1'),
        ("a&b<1", "a&amp;b&lt;1"),
    ],
)
def test_an_id_is_found_as_json_html_and_urls_write_it(text: str, written: str) -> None:
    assert TextSearch([text]).is_in(f'{{"id":"{written}"}}'.encode())


def test_texts_that_stand_next_to_each_other_in_memory_are_apart() -> None:
    column = pa.array(["x", ID[:4], ID[4:], None, "", ID, "y"])
    assert TextSearch([ID]).rows(column).tolist() == [False, False, False, False, False, True, False]
    assert TextSearch([ID]).rows(column.slice(5)).tolist() == [True, False]


def test_lists_and_structs_are_searched() -> None:
    kind = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
    column = pa.array([[], None, [{"key": "a", "value": "b"}, {"key": "c", "value": ID}], [{"key": ID, "value": None}]], kind)
    assert TextSearch([ID]).rows(column).tolist() == [False, False, True, True]


def rows(**columns: list[object]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.binary() if name == "raw" else pa.string()) for name, values in columns.items()})


def test_a_short_id_counts_in_columns_of_ids_keys_and_fields_of_ids_alone() -> None:
    people = People({"user": frozenset(["42"])}, names=NAMES)
    assert people.rows(rows(user_id=["42", "421", None], device_id=["1", "42", "2"])).tolist() == [True, False, False]
    assert people.rows(rows(properties=['{"n":42}', "42"])).tolist() == [False, False]
    assert people.rows(rows(key=['["enwiki","42"]', '["enwiki",42]', '["421"]'])).tolist() == [True, True, False]
    raw = [b'{"id":"42"}', b'{"id" : 42', b'{"n":42}', b'\\"did\\":\\"42\\"', b'{"id":"421"}']
    assert people.rows(rows(raw=raw)).tolist() == [True, True, False, True, False]  # type: ignore[arg-type]


def test_a_person_is_found_by_the_pseudonyms_of_every_period() -> None:
    salts = tuple(
        Salt(day, secret) for day, secret in ((np.datetime64("2026-01-01").item(), "a"), (np.datetime64("2026-07-01").item(), "b"))
    )
    people = People({"device": frozenset([ID])}, Pseudonyms(salts))
    found = people.rows(rows(device_id=[pseudonym(ID, "a"), pseudonym(ID, "b"), pseudonym(ID, "c"), ID, "x"]))
    assert found.tolist() == [True, True, False, True, False]


def test_one_call_finds_a_thousand_people() -> None:
    ids = [f"person-{number}" for number in range(1_000)]
    people = People({"user": frozenset(ids[::2])})
    found = people.rows(rows(user_id=ids, properties=[f'{{"by":"{other}"}}' for other in reversed(ids)]))
    assert found.tolist() == [number % 2 == 0 or (999 - number) % 2 == 0 for number in range(1_000)]


# --- recognised by their hashes


def erased(*ids: str) -> ErasedIds:
    everywhere = frozenset(hash_of("s", "sunbird", text) for text in ids if is_distinctive(text))
    in_fields = frozenset(hash_of("s", "sunbird", text) for text in ids if not is_distinctive(text))
    lengths = frozenset(len(text.encode()) for text in ids if is_distinctive(text))
    return ErasedIds("sunbird", "s", {"user": everywhere}, {"user": in_fields}, lengths, NAMES)


def test_records_that_name_erased_people_in_a_text_of_their_documents_are_recognised() -> None:
    other, longer = "other-4711ab", "person-0815-0000"
    documents = [f'{{"a":"{ID}"}}', '{"a":"42"}', f'{{"n":123456789012,"b":["{other}","{ID}"]}}', "{}", f'{{"{longer}":1,"x":"{ID}1"}}']
    documents.append(f'{{"a":"{{\\"b\\":\\"{ID}\\"}}"}}')  # JSON within a text
    assert erased(ID, "42").mentions([document.encode() for document in documents]) == [0, 2, 5]
    assert erased(ID, longer).mentions([document.encode() for document in documents]) == [0, 2, 4, 5]
    assert erased("42").mentions([document.encode() for document in documents]) == []


def test_the_hash_of_an_id_depends_on_the_source_and_the_salt() -> None:
    assert len({hash_of("s", "a", "x"), hash_of("s", "b", "x"), hash_of("s", "a", "y"), hash_of("t", "a", "x")}) == 4


def test_records_of_erased_people_are_recognised_by_their_ids() -> None:
    assert erased(ID, "42").are_erased({"user": [ID, "42", "x", None], "device": [None, None, "42", ID]}, 4) == [True, True, False, True]


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"actor":{{"id":"{ID}"}}',
        f"no json at all {ID}",
        f"GET /profile/{ID}?x",
        f'{{"a":"{{\\"uid\\":\\"{ID}\\"}}"}}',
        f"\\n{ID}:",
        '{"id":"42","x":1}',
        "id=42&b",
    ],
)
def test_refused_records_of_erased_people_are_recognised_whatever_they_are(raw: str) -> None:
    assert erased(ID, "42").is_refused_record_erased(raw.encode())


def test_an_id_is_recognised_as_json_escapes_it_and_no_escape_is_an_error() -> None:
    assert erased("zoë-1234👩").is_refused_record_erased(rb'{"a":"zo\u00eb-1234\ud83d\udc69"')
    assert not erased("zoë-1234👩").is_refused_record_erased(rb'{"a":"\ud83d","b":"\udc69\u12","c":"\xff')


@pytest.mark.parametrize("raw", ["", "{", f'{{"id":"{ID}x"}}', '{"n":42}', "\udcff42".encode("utf-8", "surrogateescape").decode("latin-1")])
def test_refused_records_of_others_are_not(raw: str) -> None:
    assert not erased(ID, "42").is_refused_record_erased(raw.encode())

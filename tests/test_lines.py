"""Bytes into lines."""

from __future__ import annotations

import hashlib
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.ingest.lines import KEPT_OF_TOO_LARGE, Line, split_lines

BOM = b"\xef\xbb\xbf"


def lines_of(*chunks: bytes, limit: int = 1000) -> list[Line]:
    return list(split_lines(chunks, limit))


def contents(*chunks: bytes) -> list[bytes]:
    return [line.content for line in lines_of(*chunks)]


def test_lines_split_at_the_line_feed_alone() -> None:
    assert contents(b"a\rb\x0bc\x0cd\x85e\xe2\x80\xa8f\ng\n") == [b"a\rb\x0bc\x0cd\x85e\xe2\x80\xa8f", b"g"]


def test_one_carriage_return_at_the_end_is_dropped() -> None:
    assert contents(b"a\r\nb\r\r\nc\r") == [b"a", b"b\r", b"c"]


def test_a_last_line_without_a_line_feed_counts() -> None:
    assert contents(b"a\nb") == [b"a", b"b"]


def test_nothing_after_the_last_line_feed_is_no_line() -> None:
    assert contents(b"a\n") == [b"a"]
    assert contents(b"") == []
    assert contents() == []


def test_blank_lines_are_numbered_and_counted() -> None:
    lines = lines_of(b"a\n\n \t\r\r\nb\n")
    assert [(line.number, line.blank) for line in lines] == [(1, False), (2, True), (3, True), (4, False)]


def test_other_white_space_is_not_blank() -> None:
    assert [line.blank for line in lines_of(b"\x0c\n\xc2\xa0\n\x00\n")] == [False, False, False]


def test_a_byte_order_mark_at_the_start_of_the_file_is_no_part_of_the_document() -> None:
    first, second = lines_of(BOM + b"{}\n" + BOM + b"{}\n")
    assert (first.content, first.document) == (BOM + b"{}", b"{}")
    assert second.document == BOM + b"{}"


def test_a_first_line_of_a_byte_order_mark_alone_is_blank() -> None:
    assert [line.blank for line in lines_of(BOM + b"\r\n" + BOM + b"\n")] == [True, False]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_line_of_exactly_the_limit_is_allowed(ending: bytes) -> None:
    (line,) = lines_of(b"x" * 1000 + ending)
    assert (line.too_large, line.length) == (False, 1000)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1002, 1003, 1004, 5002])
def test_a_line_over_the_limit_is_given_with_its_whole_length_and_hash(size: int, ending: bytes) -> None:
    content = b"\rxyz" * size
    line, following = lines_of(content[:size] + ending, b"z" if ending.endswith(b"\n") else b"\nz")
    assert line == Line(1, content[:size], size, hashlib.sha256(content[:size]).hexdigest(), True, False)
    assert following.content == b"z"


def test_of_a_line_over_the_limit_the_first_64_kib_are_kept() -> None:
    content = bytes(range(1, 10)) * 20_000 + b"\r\r"
    (line,) = split_lines((content[i : i + 999] for i in range(0, len(content), 999)), limit=100)
    assert line.content == content[:KEPT_OF_TOO_LARGE]
    assert line.length == len(content) - 1
    assert line.sha256 == hashlib.sha256(content[:-1]).hexdigest()


def test_a_blank_line_over_the_limit_is_blank() -> None:
    spaces = [b" " * 600] * 4
    assert [(line.blank, line.too_large) for line in lines_of(*spaces, b"\na\n")] == [(True, False), (False, False)]


def test_a_line_of_a_hundred_megabytes_never_fills_the_memory() -> None:
    chunk = b"x" * 2**20
    tracemalloc.start()
    try:
        (line,) = split_lines((chunk for _ in range(100)), limit=2**20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert line.length == 100 * 2**20
    assert peak < 8 * 2**20


@given(
    pieces=st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"a", b"bc" * 9, BOM, b"\t"]), max_size=40),
    cuts=st.lists(st.integers(0, 100), max_size=8),
)
def test_lines_do_not_depend_on_how_the_file_is_read(pieces: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(pieces)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    chunks = [whole[start:end] for start, end in pairwise(edges)]
    assert list(split_lines(chunks, 20)) == list(split_lines([whole], 20))


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"\x00", b"\n")))
def test_no_byte_is_lost(raw: bytes) -> None:
    expected = raw.split(b"\n")
    if not expected[-1]:
        expected.pop()
    lines = list(split_lines([raw]))
    assert [line.content for line in lines] == [content.removesuffix(b"\r") for content in expected]
    assert [line.number for line in lines] == list(range(1, len(expected) + 1))

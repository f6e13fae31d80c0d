"""Damaged files: a file is read with every undamaged line, or refused as a whole; the files around it are read."""

from __future__ import annotations

import bz2
import gzip
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from broken_documents import with_a_range_moved, with_flipped_bits
from ingested_files import Outcomes, ValidDocuments, assert_accounted_for, compress_as_named, ingest_files, land_files
from seeds import for_each_seed

from jobs.generator.formats import FORMATS
from jobs.ingest import FileCounts

UNREADABLE = {"truncated", "not valid gzip", "not valid bzip2", "compressed, which its name does not say"}
GZIP_OR_BZIP2 = (b"\x1f\x8b", b"BZh")


@pytest.mark.parametrize("source", FORMATS)
def test_a_text_file_with_damaged_bytes_loses_the_damaged_lines_and_no_other(
    source: str, tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    outcomes = Outcomes()
    valid = valid_documents[source]

    def ingest_damaged_text(seed: int) -> None:
        random = Random(seed)
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        contents = {}
        for number in range(3):
            damage = random.choice([with_flipped_bits, with_a_range_moved])
            contents[f"{number}.jsonl"] = damage(random, valid_text(random, valid))

        ingested = ingest_files(root, land_files(root, source, contents))

        for name, content in contents.items():
            if not content.startswith(GZIP_OR_BZIP2):
                assert_accounted_for(source, content, ingested.rows[name], ingested.counts[name], valid, outcomes)

    for_each_seed(5, ingest_damaged_text)

    assert outcomes.refused_lines
    assert outcomes.accepted_records


@pytest.mark.parametrize("ending", [".gz", ".bz2"])
def test_a_damaged_compressed_file_loses_no_record_in_silence_and_the_other_files_are_read(
    ending: str, tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    """It is refused, or read with all its records, whichever of its compressed parts is damaged."""
    outcomes = Outcomes()
    unreadable = []

    def ingest_damaged_archives(seed: int) -> None:
        random = Random(seed)
        source = random.choice(list(FORMATS))
        valid = valid_documents[source]
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        contents, landed_bytes = {}, {}
        for number in range(8):
            name = f"{number}.jsonl{ending}"
            contents[name], landed_bytes[name] = damaged_archive(random, name, valid)
        contents["whole.jsonl"] = landed_bytes["whole.jsonl"] = valid_text(random, valid)

        ingested = ingest_files(root, land_files(root, source, landed_bytes))

        for name, account in ingested.counts.items():
            if account.error is None:
                assert_accounted_for(source, contents[name], ingested.rows[name], account, valid, outcomes)
            else:
                assert account == FileCounts(account.number, error=account.error)
                assert account.error in UNREADABLE
                unreadable.append(name)
        assert ingested.counts["whole.jsonl"].records

    for_each_seed(15, ingest_damaged_archives)

    assert len(unreadable) > 60
    assert not outcomes.refused_lines


def test_a_file_in_another_codec_than_its_name_says_is_unreadable_and_the_other_files_are_read(
    tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    text = valid_text(Random(1), valid_documents["sunbird"])
    unreadable = {
        "gzip.jsonl": gzip.compress(text),
        "bzip2.json": bz2.compress(text),
        "text.json.gz": text,
        "text.json.bz2": text,
        "bzip2.json.gz": bz2.compress(text),
        "gzip.json.bz2": gzip.compress(text),
        "twice.json.gz": gzip.compress(gzip.compress(text)),
        "trailing.json.gz": gzip.compress(text) + b"trailing",
        "trailing.json.bz2": bz2.compress(text) + b"trailing",
        "cut.json.gz": gzip.compress(text)[:-1],
        "cut.json.bz2": bz2.compress(text)[:-1],
        "nothing.json.bz2": b"",
        "text.csv": text,
    }
    without_lines = {
        "nothing.json": b"",
        "no-lines.json.gz": gzip.compress(b""),
        "no-lines.json.bz2": bz2.compress(b""),
    }
    readable = {
        "padded.json.gz": gzip.compress(text) + bytes(100),
        "parts.json.gz": gzip.compress(text[:100]) + gzip.compress(b"") + gzip.compress(text[100:]),
        "parts.json.bz2": bz2.compress(text[:100]) + bz2.compress(b"") + bz2.compress(text[100:]),
        "whole.json": text,
    }

    ingested = ingest_files(tmp_path, land_files(tmp_path, "sunbird", unreadable | without_lines | readable))

    counts = ingested.counts
    assert {name for name, account in counts.items() if account.error} == set(unreadable)
    for name in unreadable:
        assert (counts[name].records, counts[name].sha256) == (None, None)
        assert name not in ingested.rows
    assert {counts[name].records for name in without_lines} == {0}
    (records,) = {counts[name].records for name in readable}
    assert records


@pytest.mark.parametrize("place", ["magic", "middle"])
def test_damage_to_the_second_part_of_a_bzip2_file_is_not_taken_for_the_end_of_the_file(place: str, tmp_path: Path) -> None:
    first, second = bz2.compress(b'{"a":1}\n' * 50), bytearray(bz2.compress(b'{"b":1}\n' * 50))
    second[0 if place == "magic" else len(second) // 2] ^= 0xFF

    ingested = ingest_files(tmp_path, land_files(tmp_path, "sunbird", {"a.json.bz2": first + second}))

    assert ingested.counts["a.json.bz2"].error in {"not valid bzip2", "truncated"}
    assert not ingested.rows


# --- given


def valid_text(random: Random, valid: ValidDocuments, lines: int = 60) -> bytes:
    return b"".join(line + b"\n" for line in random.choices(valid.lines, k=lines))


def damaged_archive(random: Random, name: str, valid: ValidDocuments) -> tuple[bytes, bytes]:
    """A text, and the file of one to three compressed parts that holds it, with damage to one part."""
    texts = [valid_text(random, valid, random.choice([1, 30])) for _ in range(random.choice([1, 2, 3]))]
    parts = [compress_as_named(name, text) for text in texts]
    damaged = random.randrange(len(parts))
    damage = random.choice([with_flipped_bits, with_a_range_moved, cut_off])
    parts[damaged] = damage(random, parts[damaged])
    return b"".join(texts), b"".join(parts)


def cut_off(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(1, len(content))]

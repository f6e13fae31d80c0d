"""Broken documents in quantity: every record is accepted or refused by itself, and the valid lines around it are read unharmed.

Files of seeded mutations are read by the ingest task and compared with a second reader (expected_records.py). A failure names the
seed and the bytes of the line.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from broken_documents import LARGE_MUTATIONS, mutated, written
from expected_records import BOM, canonical, value_at
from ingested_files import (
    Outcomes,
    ValidDocuments,
    assert_accounted_for,
    compress_as_named,
    first_event,
    ingest_files,
    land_files,
    rows_of_lines,
)
from seeds import for_each_seed

from jobs.generator.formats import FORMATS

FILE_NAMES = ("{}.jsonl", "{}.json", "{}.ndjson", "{}.jsonl.gz", "{}.json.bz2")
FILES = 4
BLANK_OR_ODD_LINES = [b"", b" ", b"\t \r", b"\r", b"\x0b", b"\x0c ", b"\xc2\xa0", b"\x00", BOM]
REQUIRED_FIELDS = {
    "activity_stream": ("action",),
    "homepagevisit": ("$schema", "event", "meta", "event/user_id", "event/is_mobile", "meta/dt", "meta/stream"),
    "sunbird": ("eid", "ets", "ver", "mid", "actor", "context", "edata", "actor/id", "actor/type", "context/channel", "context/env"),
    "contentsquare": ("ea", "euid", "sn", "t"),
}


@pytest.mark.parametrize("source", FORMATS)
def test_broken_documents_are_refused_one_by_one_and_harm_no_other(
    source: str, tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    outcomes = Outcomes()
    valid = valid_documents[source]

    for_each_seed(5, lambda seed: ingest_broken_documents(source, Random(seed), tmp_path, valid, outcomes, broken=200, large=6))

    assert len(outcomes.refused_lines) >= 500
    assert outcomes.accepted_records >= 250
    assert outcomes.reasons == {"invalid_json", "not_an_object", "schema_violation", "too_large"}


@pytest.mark.slow
def test_a_hundred_thousand_broken_documents_are_refused_one_by_one_and_harm_no_other(
    tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    outcomes = Outcomes()

    def ingest_all_sources(seed: int) -> None:
        for source in FORMATS:
            ingest_broken_documents(source, Random(seed + 1), tmp_path, valid_documents[source], outcomes, broken=400, large=2)

    for_each_seed(110, ingest_all_sources)

    print(f"{len(outcomes.refused_lines):,} lines refused, {outcomes.accepted_records:,} records accepted")  # noqa: T201 - pytest -rP
    assert len(outcomes.refused_lines) >= 100_000


@pytest.mark.parametrize("source", FORMATS)
def test_a_document_without_a_required_field_is_refused_and_the_field_is_named(
    source: str, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    for field, document in documents_without_a_required_field(source, valid_documents[source]):
        *parents, name = field.split("/")
        parent = "/".join(["", *parents])

        (row,) = rows_of_lines(source, written([document]))

        assert (row["status"], row["reason"]) == ("rejected", "schema_violation"), (field, document)
        assert row["raw"] == canonical(document)
        if source != "activity_stream":  # where a ping without an action matches none of several schemas
            assert (row["path"], row["detail"]) == (parent, f'required: "{name}" is missing')


# --- given


def ingest_broken_documents(
    source: str, random: Random, folder: Path, valid: ValidDocuments, outcomes: Outcomes, *, broken: int, large: int
) -> None:
    """Land so many broken documents in four files, the large ones in the first, read them, and account for every record."""
    root = Path(tempfile.mkdtemp(dir=folder))
    names = [random.choice(FILE_NAMES).format(number) for number in range(FILES)]
    contents = {
        name: content_with_broken_documents(random, valid, broken // FILES, large if number == 0 else 0)
        for number, name in enumerate(names)
    }
    landed_bytes = {name: compress_as_named(name, content) for name, content in contents.items()}

    ingested = ingest_files(root, land_files(root, source, landed_bytes))

    for name, content in contents.items():
        counts = ingested.counts[name]
        assert counts.sha256 == hashlib.sha256(landed_bytes[name]).hexdigest()
        assert_accounted_for(source, content, ingested.rows[name], counts, valid, outcomes)
    shutil.rmtree(root)


def content_with_broken_documents(random: Random, valid: ValidDocuments, broken: int, large: int) -> bytes:
    """Broken documents, valid ones and odd lines, with line ends of every kind."""
    lines = [mutated(random, random.choice(valid.documents)) for _ in range(broken)]
    lines += [random.choice(LARGE_MUTATIONS)(random, random.choice(valid.documents)) for _ in range(large)]
    lines += random.choices(valid.lines, k=broken // 3)
    lines += random.choices(BLANK_OR_ODD_LINES, k=broken // 20)
    random.shuffle(lines)
    text = b"".join(line + random.choice([b"\n", b"\n", b"\r\n", b"\r\r\n"]) for line in lines)
    return random.choice([b"", b"", BOM, b"\n"]) + random.choice([text, text[:-1], text + b"\x1a", text + b"\n\n"])


def documents_without_a_required_field(source: str, valid: ValidDocuments) -> Iterator[tuple[str, Any]]:
    """For each required field, the path of the field and up to 30 events without it."""
    fields = REQUIRED_FIELDS[source]
    events = [event for event in map(first_event, valid.documents) if isinstance(event, dict) and fields[0] in event]
    for field in fields:
        *parents, name = field.split("/")
        for event in events[:30]:
            incomplete = copy.deepcopy(event)
            del value_at(incomplete, "/".join(["", *parents]))[name]
            yield field, incomplete

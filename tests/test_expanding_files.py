"""Files that are small when they land and large when they are read: every record is accounted for, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from broken_documents import written
from ingested_files import (
    ValidDocuments,
    assert_meets_contracts,
    first_event,
    land_files,
    read_batches,
    read_rules,
    rows_of_lines,
    without_place,
)

from jobs import ingest
from jobs.generator.formats import FORMATS
from jobs.ingest import FileCounts
from transforms.ingest.records import RecordCounts

MIB = 1 << 20
needs_peak_memory = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system reports no peak memory of a process")


def test_a_line_of_very_many_records_is_read_in_small_batches() -> None:
    batches = read_batches("sunbird", b"[" + b",".join([b"1"] * 50_000) + b"]\n" + b"[1]\n")

    sizes = [batch.num_rows for batch, _ in batches]
    assert sum(sizes) == 50_001
    assert max(sizes) <= 20_000
    assert sum((counts for _, counts in batches), RecordCounts()) == RecordCounts(records=50_001, rejected=50_001)
    places = [(row["record"], row["position"]) for batch, _ in batches for row in batch.select(["record", "position"]).to_pylist()]
    assert places == [(1, position) for position in range(50_000)] + [(2, 0)]


def test_a_batch_with_a_long_header_is_read_in_small_batches() -> None:
    # A header of any length is allowed for 99 events: each of them repeats 250,000 bytes.
    line = batch_line("x" * 250_000, b",".join([b"1"] * 99))

    batches = read_batches("sunbird", line + b"\n" + line)

    assert sum(batch.num_rows for batch, _ in batches) == 198
    assert max(batch.nbytes for batch, _ in batches) < 20 * MIB


def test_a_batch_that_repeats_a_long_header_too_often_is_one_refused_record(valid_documents: Mapping[str, ValidDocuments]) -> None:
    bomb = batch_line("x" * 100_000, b",".join([b"1"] * 10_000))
    valid_line = valid_documents["sunbird"].lines[0]

    rows = rows_of_lines("sunbird", bomb + b"\r\n" + valid_line)

    accepted = [without_place(row) for row in rows if row["status"] == "accepted"]
    (refused,) = [row for row in rows if row["status"] == "rejected"]
    assert accepted == valid_documents["sunbird"].rows[valid_line]
    assert (refused["reason"], refused["path"], refused["position"]) == ("too_large", "", 0)
    assert refused["detail"] == "the header, repeated for each event, is longer than 100 times the line"
    assert (refused["raw"], refused["raw_length"]) == (bomb[:65536], len(bomb))
    assert refused["raw_sha256"] == hashlib.sha256(bomb).hexdigest()


@needs_peak_memory
@pytest.mark.parametrize("name", ["line.json.gz", "line.json.bz2"])
def test_a_few_kilobytes_that_expand_to_one_endless_line_are_one_refused_record(name: str, tmp_path: Path) -> None:
    content = compressed_repeats(name, b"x" * MIB, 100)
    assert len(content) < 300_000

    account, mebibytes = ingest_in_a_process(tmp_path, name, content)

    assert (account.records, account.rejected, account.blank) == (1, 1, 0)
    assert mebibytes < 150


@needs_peak_memory
def test_a_few_kilobytes_that_expand_to_very_many_items_of_a_line_are_read_in_bounded_memory(tmp_path: Path) -> None:
    content = gzip.compress(b"[" + b",".join([b"1"] * 200_000) + b"]")

    account, mebibytes = ingest_in_a_process(tmp_path, "items.json.gz", content)

    assert (account.records, account.rejected) == (200_000, 200_000)
    assert mebibytes < 400


def batch_line(header: str, items: bytes) -> bytes:
    return b'{"h":"' + header.encode() + b'","events":[' + items + b"]}"


@needs_peak_memory
@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "repeats", "records", "blank", "most_mebibytes"),
    [
        pytest.param(b" " * MIB, 1_000, 0, 1, 150, id="one line of blanks"),
        pytest.param(b"\n" * MIB, 10, 0, 10 * MIB, 250, id="blank lines"),
        pytest.param(b"1\n" * (MIB // 2), 1, MIB // 2, 0, 700, id="lines of a byte"),
        pytest.param(b"[" + b"1," * (5 * MIB - 2) + b"1]\n", 1, 5 * MIB - 1, 0, 900, id="items of a byte"),
        pytest.param(b"[" + b"[]," * MIB + b"[]]\n", 1, MIB + 1, 0, 900, id="items that are lists"),
        pytest.param(b'{"a":' * 1024 + b"1" + b"}" * 1024 + b"\n", 1_000, 1_000, 0, 300, id="documents of the greatest depth"),
        pytest.param(b"[" * (9 * MIB) + b"\n", 3, 3, 0, 300, id="documents of a greater depth"),
        pytest.param(batch_line("x" * (5 * MIB), b"1," * (2 * MIB) + b"1") + b"\n", 5, 5, 0, 400, id="a header for millions"),
        pytest.param(batch_line("x" * (5 * MIB), b"1," * 90 + b"1") + b"\n", 3, 273, 0, 1100, id="a header for a hundred"),
    ],
)
def test_a_decompression_bomb_is_read_in_bounded_memory(
    piece: bytes, repeats: int, records: int, blank: int, most_mebibytes: int, tmp_path: Path
) -> None:
    content = compressed_repeats("bomb.json.gz", piece, repeats)

    account, mebibytes = ingest_in_a_process(tmp_path, "bomb.json.gz", content)

    assert (account.records, account.rejected, account.blank) == (records, records, blank)
    assert mebibytes < most_mebibytes


@pytest.mark.slow
@pytest.mark.parametrize("source", FORMATS)
def test_a_list_of_a_hundred_thousand_items_is_accounted_for_item_by_item(
    source: str, tmp_path: Path, valid_documents: Mapping[str, ValidDocuments]
) -> None:
    event = written(first_event(valid_documents[source].documents[0]))
    invalid = Random(7).choices([b"1", b"{}", b"null", b"[]", b'{"eid":"START"}'], k=99_000)
    root, stage = tmp_path / "landing", tmp_path / "stage"
    stage.mkdir()
    (file,) = land_files(root, source, {"list.json": b"[" + b",".join(invalid + [event] * 1_000) + b"]"})

    report = ingest.read_into_stage(root, [(0, file)], stage, read_rules(max_document_bytes=10 * MIB))

    (account,), staged = ingest.from_reports(pa.Table.from_batches([report]), [file])
    table = pa.concat_tables(pq.read_table(stage / one.stage) for one in staged)
    assert (account.records, account.blank, account.empty) == (100_000, 0, 0)
    assert_meets_contracts(table)
    assert sorted(table["position"].to_pylist()) == list(range(100_000))
    assert account.rejected == pc.sum(pc.equal(table["status"], "rejected")).as_py() == 99_000


# --- given, and read in a process of its own


def compressed_repeats(name: str, piece: bytes, repeats: int) -> bytes:
    """The piece so many times, compressed, without the whole in memory."""
    compressor = bz2.BZ2Compressor(1) if name.endswith(".bz2") else zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(compressor.compress(piece) for _ in range(repeats)), compressor.flush()])


INGEST = """
    import json, re, sys
    from pathlib import Path
    import datetime as dt
    import pyarrow as pa
    from jobs import ingest
    from jobs.ingest import ReadRules
    from jobs.landing import zone
    from transforms.ingest.records import TimeRules

    def peak():
        # ru_maxrss would include the peak of the parent process.
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

    root = Path(sys.argv[1])
    files = zone.landed(root, "sunbird", dt.date(2026, 11, 20))
    stage = root / "_stage"
    stage.mkdir()
    before = peak()
    report = ingest.read_into_stage(root, list(enumerate(files)), stage, ReadRules({"sunbird": TimeRules()}, 10 << 20, 128))
    growth = peak() - before
    counts, _ = ingest.from_reports(pa.Table.from_batches([report]), files)
    print(json.dumps({"counts": [vars(one) for one in counts], "mebibytes": growth >> 10}))
"""


def ingest_in_a_process(root: Path, name: str, content: bytes) -> tuple[FileCounts, int]:
    """The account of this one file, and by how many MiB the memory of the process grew at most."""
    land_files(root, "sunbird", {name: content})
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(INGEST), str(root)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    output = json.loads(process.stdout)
    print(f"{name}: {len(content):,} bytes landed, {output['mebibytes']} MiB")  # noqa: T201 - pytest -rP
    (account,) = [FileCounts(**body) for body in output["counts"]]
    return account, output["mebibytes"]

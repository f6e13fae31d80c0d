"""Bad input in quantity: whatever lands, every record is accounted for, and one bad thing harms nothing else.

Files of broken documents among valid ones are read just as a worker reads them at night. What has to come of them is worked out
by a reader of this module's own, on the json module of Python alone. A failure names the seed and the bytes of the line.
"""

from __future__ import annotations

import bz2
import contextlib
import datetime as dt
import gzip
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from broken_documents import LARGE_MUTATIONS, SECRET, VALUE, mutated, with_a_range_moved, with_flipped_bits, written
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import ingest, landing
from jobs.generator.formats import FORMATS
from jobs.generator.generate import generate
from jobs.ingest import FileAccount, ReadRules
from jobs.landing import LandedFile
from schemas.events import EVENTS, REJECTED_EVENTS
from schemas.table import Table
from transforms.lines import split_lines
from transforms.records import Counts, Place, TimeRules, record_batches
from transforms.sources import SOURCES

Row = dict[str, Any]

DATE = dt.date(2026, 11, 20)
HOUR = 6
LIMIT = 300_000  # bytes of a document
RULES = ReadRules(TimeRules(), max_document_bytes=LIMIT, chunk_lines=128)
BOM = b"\xef\xbb\xbf"
POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
SEEDS = st.integers(0, 2**63)


def quietly(examples: int) -> hypothesis_settings:
    """So many seeds, always the same ones. A seed does not shrink: the line that a failure names is what tells."""
    return hypothesis_settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


# --- valid documents, and the rows of each when it stands alone


@dataclass(frozen=True)
class Valid:
    """Lines of which every record is valid."""

    lines: tuple[bytes, ...]
    documents: tuple[Any, ...]
    alone: Mapping[bytes, list[Row]]


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Valid]:
    root = tmp_path_factory.mktemp("valid")
    generate(root, DATE, events=1_500, seed=11, faults=0, workers=1)
    found = {}
    for source in FORMATS:
        lines: dict[bytes, list[Row]] = {}
        for file in landing.landed(root, source, DATE):
            content = b"".join(landing.chunks(root, file, hashlib.sha256()))
            for line in split(content.removeprefix(BOM)):
                if line.strip(b" \t\r") and line not in lines and len(line) < 20_000:
                    rows = [row for batch, _ in batches(source, line) for row in batch.to_pylist()]
                    assert {row["status"] for row in rows} <= {"accepted"}
                    lines[line] = list(map(told, rows))
        documents = [json.loads(line) for line in lines]
        found[source] = Valid(tuple(lines), tuple(documents + list(map(an_event, documents)) * 2), lines)
    return found


def an_event(document: Any) -> Any:
    """The first of a batch or an array; what is an event already, or holds none, as it is."""
    lists = [document] if isinstance(document, list) else [document[name] for name in ("payloads", "events", "pl") if name in document]
    return next((items[0] for items in lists if items), document)


def batches(source: str, content: bytes, limit: int = LIMIT) -> list[tuple[pa.RecordBatch, Counts]]:
    place = Place(source, DATE, HOUR, "alone.jsonl")
    return list(record_batches(SOURCES[source], list(split_lines([content], limit)), place, TimeRules()))


def told(row: Row) -> Row:
    """What a row says of its record, wherever that stands."""
    return {name: value for name, value in row.items() if name not in ("file", "record", "stage", "row")}


# --- what has to come of a line, worked out anew


class NoJsonError(Exception):
    """What the strict rules refuse."""


@dataclass(frozen=True)
class Expected:
    """One record of a line."""

    kind: str  # a reason of refusal that is certain, or "event": valid or a violation of the schema
    raw: Any  # bytes of the line, or parsed: what the raw of an item has to be
    document: Any = None  # where the path of a violation leads
    form: str = "line"  # in which it stands: "line", "array" or "batch"


def read_json(content: bytes) -> Any:
    """Python's own reader, held to the strict rules."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise NoJsonError from None
    if _levels(text) > 1024:
        raise NoJsonError
    with deep_recursion():
        try:
            value = json.loads(text, parse_constant=_refused, parse_int=_whole, parse_float=_double)
            json.dumps(value, ensure_ascii=False).encode()
        except ValueError:  # also of a lone surrogate
            raise NoJsonError from None
    return value


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for the deepest legal document, which Python's json module walks by recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _levels(text: str) -> int:
    deepest = level = 0
    for bracket in re.findall(r'[\[\]{}]|"(?:[^"\\]|\\.)*+"', text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def _refused(_: str) -> None:
    raise NoJsonError


def _whole(digits: str) -> float:
    if len(digits) > 25 or not -(2**63) <= int(digits) < 2**64:
        return _double(digits)
    return int(digits)


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NoJsonError
    return number


def expected(source: str, line: bytes, is_first: bool) -> list[Expected] | None:
    """The records of a line in order; None for a blank one."""
    if not line.strip(b" \t\r") or (is_first and not line.removeprefix(BOM).strip(b" \t\r")):
        return None
    if len(line) > LIMIT:
        return [Expected("too_large", line)]
    try:
        document = read_json(line.removeprefix(BOM) if is_first else line)
    except NoJsonError:
        return [Expected("invalid_json", line)]
    if isinstance(document, list):
        return [Expected(_kind(item), item, item, "array") for item in document]
    if not isinstance(document, dict):
        return [Expected("not_an_object", line)]
    name = {"activity_stream": "payloads", "sunbird": "events", "contentsquare": "pl"}.get(source, "")
    items = document.get(name)
    if not _is_batch(source, document, items):
        return [Expected("event", line, document)]
    header = {key: value for key, value in document.items() if key != name}
    with deep_recursion():
        header_length = len(written(header))
    if header_length * len(items) > 100 * len(line):
        return [Expected("too_large", line)]
    return [
        Expected(
            _kind(item),
            {**header, name: [item]},
            {**item, **header} if source == "activity_stream" and isinstance(item, dict) else item,
            "batch",
        )
        for item in items
    ]


def _is_batch(source: str, document: Row, items: Any) -> bool:
    if not isinstance(items, list):
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


# --- holding what was read against it


@dataclass
class Held:
    """What a test has held so far."""

    bad: set[int] = field(default_factory=set)  # hashes of the lines of which something was refused
    accepted: int = 0
    reasons: set[str] = field(default_factory=set)


def split(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def hold(source: str, content: bytes, rows: Sequence[Row], account: FileAccount, valid: Valid, held: Held) -> None:
    """All that has to be true of one file that could be read."""
    lines = split(content)
    wanted = [expected(source, line, number == 0) for number, line in enumerate(lines)]
    records = [record for record in wanted if record is not None]
    rejected = sum(row["status"] == "rejected" for row in rows)
    assert account.error is None
    assert account.records == sum(map(len, records)) == len(rows)
    assert account.rejected == rejected
    assert account.blank == wanted.count(None)
    assert account.empty == records.count([])
    by_line: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        by_line[row["record"]][row["position"]] = row
    again: list[Row] = []
    for number, (line, wanted_here) in enumerate(zip(lines, wanted, strict=True), 1):
        here = by_line.pop(number, {})
        try:
            assert sorted(here) == list(range(len(wanted_here or ())))
            for position, record in enumerate(wanted_here or ()):
                _hold_record(record, here[position])
            if line in valid.alone:
                assert [told(here[position]) for position in sorted(here)] == sorted(valid.alone[line], key=lambda row: row["position"])
        except AssertionError as error:
            raise AssertionError(f"{source}, line {number}: {line[:2000]!r}\n{error}") from error
        again += [row for position, row in list(here.items())[:20] if row["reason"] and wanted_here[position].form == "batch"]
    assert not by_line
    _hold_landed_again(source, again)
    held.bad.update(hash(lines[row["record"] - 1]) for row in rows if row["reason"])
    held.accepted += len(rows) - rejected
    held.reasons |= {row["reason"] for row in rows if row["reason"]}


def _hold_record(record: Expected, row: Row) -> None:
    if row["status"] == "accepted":
        assert record.kind == "event"
        return
    assert row["reason"] == ("schema_violation" if record.kind == "event" else record.kind)
    assert row["detail"]
    assert VALUE not in row["detail"]
    assert SECRET not in row["detail"]
    assert POINTER.fullmatch(row["path"])
    if record.kind == "event":
        _followed(record.document, row["path"])
    else:
        assert row["path"] == ""
    if record.form == "line":
        assert row["raw"] == (record.raw[:65536] if record.kind == "too_large" else record.raw)
        assert row["raw_length"] == len(record.raw)
        assert row["raw_sha256"] == hashlib.sha256(record.raw).hexdigest()
        return
    assert _same(read_json(row["raw"]), record.raw)
    assert _is_canonical(row["raw"])
    assert row["raw_length"] == len(row["raw"])
    assert row["raw_sha256"] == hashlib.sha256(row["raw"]).hexdigest()


def _followed(document: Any, path: str) -> Any:
    """What a JSON Pointer leads to; fails where that is nothing."""
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document[int(name) if isinstance(document, list) else name]
    return document


def _same(one: Any, other: Any) -> bool:
    """Equal, and 1 is neither 1.0 nor true."""
    with deep_recursion():
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_canonical(raw: bytes) -> bool:
    if re.search(rb"[0-9][eE][-+]?[0-9]", raw):  # which Python spells in a way of its own
        return True
    with deep_recursion():
        return raw == json.dumps(read_json(raw), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _hold_landed_again(source: str, refused: Sequence[Row]) -> None:
    """The raw of refused items of batches, landed again, is refused again, for the same reason."""
    if not refused:
        return
    read = batches(source, b"\n".join(row["raw"] for row in refused), limit=100 * LIMIT)
    names = ("status", "reason", "path", "detail", "raw", "raw_length", "raw_sha256")
    again = [{name: row[name] for name in names} for batch, _ in read for row in batch.to_pylist()]
    assert again == [{name: row[name] for name in names} for row in refused]


def hold_contract(table: pa.Table) -> None:
    """Every value fits the contract of the table that it goes to."""
    table.validate(full=True)
    for contract, status in ((EVENTS, "accepted"), (REJECTED_EVENTS, "rejected")):
        _hold_columns(contract, table.filter(pc.equal(table["status"], status)))
    accepted = table.filter(pc.equal(table["status"], "accepted"))
    assert pc.all(pc.equal(accepted["event_date"], accepted["event_time"].cast(pa.date32())), min_count=0).as_py()
    by_client = pc.equal(accepted["time_source"], "client")
    believed = pc.if_else(by_client, accepted["client_time"], accepted["received_time"])
    assert pc.all(pc.equal(accepted["event_time"], believed), min_count=0).as_py()
    for name in ("properties", "context"):
        assert not pc.any(pc.match_substring(accepted[name], SECRET), min_count=0).as_py()


def _hold_columns(contract: Table, rows: pa.Table) -> None:
    for column in contract.columns:
        if column.name == "run_id":
            continue
        values = rows[column.name]
        assert values.type == column.type, column.name
        assert not column.required or not values.null_count, column.name
        if column.minimum is not None:
            assert pc.all(pc.greater_equal(values, column.minimum), min_count=0).as_py(), column.name
        if column.maximum is not None:
            assert pc.all(pc.less_equal(values, column.maximum), min_count=0).as_py(), column.name
        if column.values:
            assert set(values.unique().to_pylist()) <= {*column.values, None}, column.name


# --- landing files, and reading them as a worker does


def land(root: Path, source: str, files: Mapping[str, bytes]) -> list[LandedFile]:
    folder = root / source / f"date={DATE}" / f"hour={HOUR:02}"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return landing.landed(root, source, DATE)


def read(root: Path, files: Sequence[LandedFile]) -> tuple[dict[str, FileAccount], dict[str, list[Row]]]:
    """The account and the rows of each file, by its name; the rows of one that could not be read are left out, as they are at night."""
    stage = root / "_stage"
    stage.mkdir()
    accounts: dict[str, FileAccount] = {}
    staged = []
    for kind, body in ingest._read_task(root, list(enumerate(files)), stage, RULES):
        if kind == "file":
            account = FileAccount(**json.loads(json.dumps(body)))
            accounts[Path(files[account.index].file).name] = account
        else:
            staged.append(body)
    rows: dict[str, list[Row]] = defaultdict(list)
    assert sorted(path.name for path in stage.iterdir()) == sorted(body["stage"] for body in staged)
    for body in staged:
        table = pq.read_table(stage / body["stage"])
        assert table.num_rows == body["rows"]
        hold_contract(table)
        for row in table.to_pylist():
            name = Path(row["file"]).name
            if accounts[name].error is None:
                rows[name].append(row)
    return accounts, rows


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content, 1, mtime=0)
    return bz2.compress(content, 1) if name.endswith(".bz2") else content


def content_of(draw: Random, valid: Valid, broken: int, large: int = 0) -> bytes:
    """A file of so many broken documents, valid ones among them, with lines that end in every way."""
    lines = [mutated(draw, draw.choice(valid.documents)) for _ in range(broken)]
    lines += [draw.choice(LARGE_MUTATIONS)(draw, draw.choice(valid.documents)) for _ in range(large)]
    lines += draw.choices(valid.lines, k=broken // 3)
    lines += draw.choices([b"", b" ", b"\t \r", b"\r", b"\x0b", b"\x0c ", b"\xc2\xa0", b"\x00", BOM], k=broken // 20)
    draw.shuffle(lines)
    text = b"".join(line + draw.choice([b"\n", b"\n", b"\r\n", b"\r\r\n"]) for line in lines)
    return draw.choice([b"", b"", BOM, b"\n"]) + draw.choice([text, text[:-1], text + b"\x1a", text + b"\n\n"])


NAMES = ("{}.jsonl", "{}.json", "{}.ndjson", "{}.jsonl.gz", "{}.json.bz2")


def hold_files_of_broken_documents(source: str, seed: int, broken: int, large: int, tmp: Path, valid: Valid, held: Held) -> None:
    draw = Random(seed)
    names = [draw.choice(NAMES).format(number) for number in range(4)]
    contents = {name: content_of(draw, valid, broken // 4, large if number == 0 else 0) for number, name in enumerate(names)}
    root = Path(tempfile.mkdtemp(dir=tmp))
    files = land(root, source, {name: packed(name, content) for name, content in contents.items()})
    accounts, rows = read(root, files)
    for name, content in contents.items():
        path = root / source / f"date={DATE}" / f"hour={HOUR:02}" / name
        assert accounts[name].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        hold(source, content, rows[name], accounts[name], valid, held)
    shutil.rmtree(root)


@contextlib.contextmanager
def seed_named(source: str, seed: int) -> Iterator[None]:
    """Any failure names the seed."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"source {source}, seed {seed}")
        raise


@pytest.mark.parametrize("source", FORMATS)
def test_broken_documents_are_refused_one_by_one_and_harm_no_other(source: str, tmp_path: Path, valid: Mapping[str, Valid]) -> None:
    held = Held()

    @quietly(5)
    @given(SEEDS)
    def hold_seed(seed: int) -> None:
        with seed_named(source, seed):
            hold_files_of_broken_documents(source, seed, 200, 6, tmp_path, valid[source], held)

    hold_seed()
    assert len(held.bad) >= 500
    assert held.accepted >= 250
    assert held.reasons == {"invalid_json", "not_an_object", "schema_violation", "too_large"}


@pytest.mark.slow
def test_a_hundred_thousand_broken_documents_are_refused_one_by_one_and_harm_no_other(tmp_path: Path, valid: Mapping[str, Valid]) -> None:
    held = Held()

    @quietly(110)
    @given(SEEDS)
    def hold_seed(seed: int) -> None:
        for source in FORMATS:
            with seed_named(source, seed):
                hold_files_of_broken_documents(source, seed + 1, 400, 2, tmp_path, valid[source], held)

    hold_seed()
    print(f"{len(held.bad):,} lines refused, {held.accepted:,} records accepted")  # noqa: T201 - shown with -rP
    assert len(held.bad) >= 100_000


REQUIRED = {
    "activity_stream": ("action",),
    "homepagevisit": ("$schema", "event", "meta", "event/user_id", "event/is_mobile", "meta/dt", "meta/stream"),
    "sunbird": ("eid", "ets", "ver", "mid", "actor", "context", "edata", "actor/id", "actor/type", "context/channel", "context/env"),
    "contentsquare": ("ea", "euid", "sn", "t"),
}


@pytest.mark.parametrize("source", FORMATS)
def test_a_document_without_a_required_field_is_refused_and_told_where_it_lacks(source: str, valid: Mapping[str, Valid]) -> None:
    events = [event for event in map(an_event, valid[source].documents) if isinstance(event, dict) and REQUIRED[source][0] in event]
    for path in REQUIRED[source]:
        *parents, name = path.split("/")
        for document in events[:30]:
            lacking = json.loads(json.dumps(document))
            del _followed(lacking, "/".join(["", *parents]))[name]
            [row] = [row for batch, _ in batches(source, written([lacking])) for row in batch.to_pylist()]
            assert (row["status"], row["reason"]) == ("rejected", "schema_violation"), (path, document)
            assert row["raw"] == json.dumps(lacking, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
            if source != "activity_stream":
                assert (row["path"], row["detail"]) == ("/".join(["", *parents]), f'required: "{name}" is missing')


# --- whole files


def a_file(draw: Random, valid: Valid, lines: int = 60) -> bytes:
    return b"".join(line + b"\n" for line in draw.choices(valid.lines, k=lines))


@pytest.mark.parametrize("source", FORMATS)
def test_a_file_with_damaged_bytes_loses_the_lines_that_they_hit_and_no_other(
    source: str, tmp_path: Path, valid: Mapping[str, Valid]
) -> None:
    held = Held()

    @quietly(5)
    @given(SEEDS)
    def hold_seed(seed: int) -> None:
        draw = Random(seed)
        contents = {}
        for number in range(3):
            damaged = draw.choice([with_flipped_bits, with_a_range_moved])(draw, a_file(draw, valid[source]))
            contents[f"{number}.jsonl"] = damaged
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        with seed_named(source, seed):
            accounts, rows = read(root, land(root, source, contents))
            for name, content in contents.items():
                if not content.startswith((b"\x1f\x8b", b"BZh")):
                    hold(source, content, rows[name], accounts[name], valid[source], held)

    hold_seed()
    assert held.bad
    assert held.accepted


@pytest.mark.parametrize("ending", [".gz", ".bz2"])
def test_a_damaged_compressed_file_is_unreadable_or_unharmed_and_the_others_are_read(
    ending: str, tmp_path: Path, valid: Mapping[str, Valid]
) -> None:
    """No flipped bit, cut or filling takes a record away in silence, in whichever of two compressed parts it lies."""
    held = Held()
    unreadable = []

    @quietly(15)
    @given(SEEDS)
    def hold_seed(seed: int) -> None:
        draw = Random(seed)
        source = draw.choice(list(FORMATS))
        contents, damaged = {}, {}
        for number in range(8):
            name = f"{number}.jsonl{ending}"
            parts = [a_file(draw, valid[source], draw.choice([1, 30])) for _ in range(draw.choice([1, 2, 3]))]
            contents[name] = b"".join(parts)
            wholes = [packed(name, part) for part in parts]
            broken = draw.randrange(len(wholes))
            wholes[broken] = draw.choice([with_flipped_bits, with_a_range_moved, _cut])(draw, wholes[broken])
            damaged[name] = b"".join(wholes)
        contents["whole.jsonl"] = damaged["whole.jsonl"] = a_file(draw, valid[source])
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        with seed_named(source, seed):
            accounts, rows = read(root, land(root, source, damaged))
            for name, account in accounts.items():
                if account.error is None:
                    hold(source, contents[name], rows[name], account, valid[source], held)
                else:
                    assert account == FileAccount(account.index, error=account.error)
                    assert account.error in {"truncated", "not valid gzip", "not valid bzip2", "compressed, which its name does not say"}
                    unreadable.append(name)
            assert accounts["whole.jsonl"].records

    hold_seed()
    assert len(unreadable) > 60
    assert not held.bad


def _cut(draw: Random, content: bytes) -> bytes:
    return content[: draw.randrange(1, len(content))]


def test_files_of_another_codec_than_their_ending_says_are_unreadable_and_the_others_are_read(
    tmp_path: Path, valid: Mapping[str, Valid]
) -> None:
    text = a_file(Random(1), valid["sunbird"])
    files = {
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
    readable = {
        "nothing.json": b"",
        "no-lines.json.gz": gzip.compress(b""),
        "no-lines.json.bz2": bz2.compress(b""),
        "padded.json.gz": gzip.compress(text) + bytes(100),
        "parts.json.gz": gzip.compress(text[:100]) + gzip.compress(b"") + gzip.compress(text[100:]),
        "parts.json.bz2": bz2.compress(text[:100]) + bz2.compress(b"") + bz2.compress(text[100:]),
        "whole.json": text,
    }
    accounts, rows = read(tmp_path, land(tmp_path, "sunbird", files | readable))
    assert {name for name, account in accounts.items() if account.error} == set(files)
    assert all(accounts[name].records is accounts[name].sha256 is None and name not in rows for name in files)
    records = {name: accounts[name].records for name in readable}
    of_text = records["whole.json"]
    assert of_text
    assert records == {name: 0 if name.startswith("no") else of_text for name in readable}


@pytest.mark.parametrize("place", ["magic", "middle"])
def test_a_damaged_second_part_of_a_bzip2_file_is_not_taken_for_its_end(place: str, tmp_path: Path) -> None:
    second = bytearray(bz2.compress(b'{"b":1}\n' * 50))
    second[{"magic": 0, "middle": len(second) // 2}[place]] ^= 0xFF
    files = land(tmp_path, "sunbird", {"a.json.bz2": bz2.compress(b'{"a":1}\n' * 50) + second})
    accounts, rows = read(tmp_path, files)
    assert accounts["a.json.bz2"].error in {"not valid bzip2", "truncated"}
    assert not rows


# --- what is small as it lands, and large when it is read


def batch_of(header: str, items: bytes) -> bytes:
    return b'{"h":"' + header.encode() + b'","events":[' + items + b"]}"


def test_a_line_of_very_many_records_comes_in_batches_that_stay_small() -> None:
    read_batches = batches("sunbird", b"[" + b",".join([b"1"] * 50_000) + b"]\n" + b"[1]\n")
    sizes = [batch.num_rows for batch, _ in read_batches]
    assert sum(sizes) == 50_001
    assert max(sizes) <= 20_000
    assert sum((counts for _, counts in read_batches), Counts()) == Counts(records=50_001, rejected=50_001)
    places = [(row["record"], row["position"]) for batch, _ in read_batches for row in batch.select(["record", "position"]).to_pylist()]
    assert places == [(1, position) for position in range(50_000)] + [(2, 0)]


def test_a_batch_with_a_long_header_comes_in_batches_that_stay_small() -> None:
    # 99 events that all bear 250,000 bytes; of so many the header may be of any length.
    line = batch_of("x" * 250_000, b",".join([b"1"] * 99))
    read_batches = batches("sunbird", line + b"\n" + line)
    assert sum(batch.num_rows for batch, _ in read_batches) == 198
    assert max(batch.nbytes for batch, _ in read_batches) < 20 << 20


def test_a_batch_that_repeats_its_header_beyond_all_measure_is_too_large_as_a_whole(valid: Mapping[str, Valid]) -> None:
    bomb = batch_of("x" * 100_000, b",".join([b"1"] * 10_000))
    good = valid["sunbird"].lines[0]
    rows = [row for batch, _ in batches("sunbird", bomb + b"\r\n" + good) for row in batch.to_pylist()]
    assert [row for row in map(told, rows) if row["status"] == "accepted"] == valid["sunbird"].alone[good]
    [row] = [row for row in rows if row["status"] == "rejected"]
    assert (row["reason"], row["path"], row["position"]) == ("too_large", "", 0)
    assert row["detail"] == "the header, repeated for each event, is longer than 100 times the line"
    assert (row["raw"], row["raw_length"]) == (bomb[:65536], len(bomb))
    assert row["raw_sha256"] == hashlib.sha256(bomb).hexdigest()


READ_IN_A_PROCESS = """
    import json, re, sys
    from pathlib import Path
    import datetime as dt
    from jobs import ingest, landing
    from jobs.ingest import ReadRules
    from transforms.records import TimeRules

    def peak():
        # Not ru_maxrss: a process has that from its parent.
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

    root = Path(sys.argv[1])
    files = landing.landed(root, "sunbird", dt.date(2026, 11, 20))
    stage = root / "_stage"
    stage.mkdir()
    before = peak()
    told = list(ingest._read_task(root, list(enumerate(files)), stage, ReadRules(TimeRules(), 10 << 20, 128)))
    grown = peak() - before
    print(json.dumps({"accounts": [body for kind, body in told if kind == "file"], "grown": grown >> 10}))
"""


def read_in_a_process(root: Path, name: str, content: bytes) -> tuple[FileAccount, int]:
    """The account of the only file, and by how many MiB the process that read it grew at most."""
    land(root, "sunbird", {name: content})
    command = [sys.executable, "-c", textwrap.dedent(READ_IN_A_PROCESS), str(root)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    print(f"{name}: {len(content):,} bytes landed, {answer['grown']} MiB")  # noqa: T201 - shown with -rP and where it fails
    [account] = [FileAccount(**body) for body in answer["accounts"]]
    return account, answer["grown"]


def compressed_stream(name: str, piece: bytes, times: int) -> bytes:
    """So many times the same piece, compressed, never held whole."""
    compressor = bz2.BZ2Compressor(1) if name.endswith(".bz2") else zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(compressor.compress(piece) for _ in range(times)), compressor.flush()])


MIB = 1 << 20
tells_its_memory = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of a process")


@tells_its_memory
@pytest.mark.parametrize("name", ["line.json.gz", "line.json.bz2"])
def test_a_few_kilobytes_that_expand_to_one_endless_line_are_one_refused_record(name: str, tmp_path: Path) -> None:
    content = compressed_stream(name, b"x" * MIB, 100)
    assert len(content) < 300_000
    account, grown = read_in_a_process(tmp_path, name, content)
    assert (account.records, account.rejected, account.blank) == (1, 1, 0)
    assert grown < 150


@tells_its_memory
def test_a_few_kilobytes_that_expand_to_very_many_items_of_a_line_stay_small(tmp_path: Path) -> None:
    account, grown = read_in_a_process(tmp_path, "items.json.gz", gzip.compress(b"[" + b",".join([b"1"] * 200_000) + b"]"))
    assert (account.records, account.rejected) == (200_000, 200_000)
    assert grown < 400


@tells_its_memory
@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "times", "records", "blank", "most"),
    [
        pytest.param(b" " * MIB, 1_000, 0, 1, 150, id="one line of blanks"),
        pytest.param(b"\n" * MIB, 10, 0, 10 * MIB, 250, id="blank lines"),
        pytest.param(b"1\n" * (MIB // 2), 1, MIB // 2, 0, 700, id="lines of a byte"),
        pytest.param(b"[" + b"1," * (5 * MIB - 2) + b"1]\n", 1, 5 * MIB - 1, 0, 900, id="items of a byte"),
        pytest.param(b"[" + b"[]," * MIB + b"[]]\n", 1, MIB + 1, 0, 900, id="items that are lists"),
        pytest.param(b'{"a":' * 1024 + b"1" + b"}" * 1024 + b"\n", 1_000, 1_000, 0, 300, id="the deepest documents"),
        pytest.param(b"[" * (9 * MIB) + b"\n", 3, 3, 0, 300, id="deeper ones"),
        pytest.param(batch_of("x" * (5 * MIB), b"1," * (2 * MIB) + b"1") + b"\n", 5, 5, 0, 400, id="a header for millions"),
        pytest.param(batch_of("x" * (5 * MIB), b"1," * 90 + b"1") + b"\n", 3, 273, 0, 1100, id="a header for a hundred"),
    ],
)
def test_what_expands_beyond_all_measure_is_read_in_bounded_memory(
    piece: bytes, times: int, records: int, blank: int, most: int, tmp_path: Path
) -> None:
    account, grown = read_in_a_process(tmp_path, "bomb.json.gz", compressed_stream("bomb.json.gz", piece, times))
    assert (account.records, account.rejected, account.blank) == (records, records, blank)
    assert grown < most


@pytest.mark.slow
@pytest.mark.parametrize("source", FORMATS)
def test_lists_of_a_hundred_thousand_items_are_accounted_for_item_by_item(source: str, tmp_path: Path, valid: Mapping[str, Valid]) -> None:
    draw = Random(7)
    event = written(an_event(valid[source].documents[0]))
    line = b"[" + b",".join(draw.choices([b"1", b"{}", b"null", b"[]", b'{"eid":"START"}'], k=99_000) + [event] * 1_000) + b"]"
    root = tmp_path / "landing"
    rules = ReadRules(TimeRules(), 10 << 20, 128)
    [file] = land(root, source, {"list.json": line})
    (tmp_path / "stage").mkdir()
    told_of = list(ingest._read_task(root, [(0, file)], tmp_path / "stage", rules))
    [account] = [FileAccount(**body) for kind, body in told_of if kind == "file"]
    assert (account.records, account.blank, account.empty) == (100_000, 0, 0)
    table = pa.concat_tables(pq.read_table(tmp_path / "stage" / body["stage"]) for kind, body in told_of if kind == "stage")
    hold_contract(table)
    assert sorted(table["position"].to_pylist()) == list(range(100_000))
    assert account.rejected == pc.sum(pc.equal(table["status"], "rejected")).as_py() == 99_000

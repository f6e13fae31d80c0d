"""The landed files: their names, their endings, and their bytes."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from jobs.generator import draws
from jobs.generator.bad_records import damaged_item, damaged_line, damages_line
from jobs.generator.format import Format
from jobs.generator.rows import ARRAY, BATCH, GeneratedRows, begins

# In turn, so that each is there in a small night too: most are compressed with gzip, as loggers do.
_ENDINGS = (
    ".jsonl.gz",
    ".json",
    ".json.gz",
    ".ndjson.gz",
    ".jsonl",
    ".json.gz",
    ".jsonl.bz2",
    ".jsonl.gz",
    ".ndjson",
    ".json.gz",
    ".jsonl.gz",
    ".json",
)
_BLANK_LINES = (b"", b"  ", b"\t", b"")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PACKED: dict[str, Callable[[bytes], bytes]] = {
    # Level 1: the data are made to be read, not kept. No time of packing, so that the same records are the same bytes.
    ".gz": lambda content: gzip.compress(content, compresslevel=1, mtime=0),
    ".bz2": lambda content: bz2.compress(content, compresslevel=1),
}


@dataclass(frozen=True)
class GeneratedFile:
    """How a file is written, apart from its records."""

    hour: int
    number: int
    bits: int  # random bits

    @property
    def name(self) -> str:
        """Its name, of which the order of bytes is that of the numbers."""
        return f"part-{self.number:05}{_ENDINGS[(self.hour + 5 * self.number + self.bits % 2) % len(_ENDINGS)]}"

    @property
    def blank(self) -> int:
        """How many of its lines hold nothing."""
        return max(0, (self.bits >> 8) % 5 - 2)

    @property
    def empty(self) -> int:
        """How many of its envelopes hold nothing."""
        return max(0, (self.bits >> 16) % 4 - 2)

    @property
    def line_end(self) -> bytes:
        """What ends its lines."""
        return b"\r\n" if (self.bits >> 24) % 9 == 0 else b"\n"

    @property
    def marked(self) -> bool:
        """Whether it begins with a byte-order mark."""
        return (self.bits >> 32) % 11 == 0

    @property
    def ends_line(self) -> bool:
        """Whether its last line is ended as the others."""
        return (self.bits >> 40) % 7 != 0


def landed_files(rows: GeneratedRows, seed_bits: int, day: int) -> list[GeneratedFile]:
    """The files of a source's night, in order."""
    first = begins(rows.hour, rows.file)
    of_day = draws.root(seed_bits, "files", day)
    hours, numbers = rows.hour[first], rows.file[first]
    bits = draws.children(of_day, hours * 100_000 + numbers)
    return [GeneratedFile(*values) for values in zip(hours.tolist(), numbers.tolist(), bits.tolist(), strict=True)]


def write(partition: Path, source: Format, rows: GeneratedRows, files: Sequence[GeneratedFile]) -> None:
    """Write the files of one hour, which hold these rows."""
    partition.mkdir(parents=True)
    for file in files:
        lines = _with_nothing(_lines(source, rows.take(rows.file == file.number)), file, source.empty)
        mark = _BYTE_ORDER_MARK if file.marked and lines[0].strip() else b""
        content = mark + file.line_end.join(lines) + (file.line_end if file.ends_line else b"")
        pack = _PACKED.get(Path(file.name).suffix)
        (partition / file.name).write_bytes(pack(content) if pack else content)


def _with_nothing(lines: list[bytes], file: GeneratedFile, empty: tuple[Any, ...]) -> list[bytes]:
    """The lines, and before some of them blank ones and envelopes without records."""
    nothing = [_BLANK_LINES[(file.bits >> index) % len(_BLANK_LINES)] for index in range(file.blank)]
    nothing += [orjson.dumps(empty[(file.bits >> index) % len(empty)]) for index in range(file.empty)]
    for index, line in enumerate(nothing):
        lines.insert((file.bits >> 8 * index) % len(lines), line)
    return lines


def _lines(source: Format, rows: GeneratedRows) -> list[bytes]:
    """The lines that hold the rows of one file, in order."""
    chance = draws.picks(rows.bits, "damage", 1 << 30)
    items: list[Any] = list(source.documents(rows))
    for row in np.flatnonzero((rows.bad > 0) & ~damages_line(rows.bad)).tolist():
        items[row] = damaged_item(int(rows.bad[row]), items[row], chance[row], source.spoilers)
    starts = np.flatnonzero(begins(rows.line))
    groups = [items[start:end] for start, end in pairwise([*starts.tolist(), len(rows)])]
    lines = [orjson.dumps(envelope) for envelope in _envelopes(source, rows.take(starts), groups)]
    damaged = np.where(damages_line(rows.bad[starts]), rows.bad[starts], 0)
    for line in np.flatnonzero(damaged).tolist():
        lines[line] = damaged_line(int(damaged[line]), lines[line], chance[starts[line]])
    return lines


def _envelopes(source: Format, rows: GeneratedRows, groups: Sequence[list[Any]]) -> list[Any]:
    """Each group of items as it travels; a row of each."""
    in_batch = np.flatnonzero(rows.style == BATCH).tolist()
    batches = dict(zip(in_batch, source.batches(rows.take(in_batch), [groups[line] for line in in_batch]), strict=True)) if in_batch else {}
    return [
        batches[line] if style == BATCH else group if style == ARRAY else group[0]
        for line, (style, group) in enumerate(zip(rows.style.tolist(), groups, strict=True))
    ]

"""Every byte that a lake has: of files as they are, of Parquet files also each value and the footer."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq


def stored(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Per file below a folder its bytes, and again decompressed; the names of files are part of them."""
    for path in sorted(root.rglob("*")):
        yield path, str(path.relative_to(root)).encode()
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield path, content
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                yield path, repr(file.metadata.to_dict()).encode()
                for group in range(file.num_row_groups):
                    for column in file.read_row_group(group).to_pydict().items():
                        yield path, _text(column)
        elif path.suffix == ".gz":
            yield path, gzip.decompress(content)
        elif path.suffix == ".bz2":
            yield path, bz2.decompress(content)


def _text(column: tuple[str, list[object]]) -> bytes:
    name, values = column
    parts = [value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass") for value in values]
    return b"\n".join([name.encode(), *parts])


def found(root: Path, texts: Iterable[str]) -> dict[str, str]:
    """Per text that is anywhere in the lake, a file with it."""
    sought = {text: text.encode() for text in texts}
    files: dict[str, str] = {}
    for path, content in stored(root):
        for text, written in sought.items():
            if text not in files and written in content:
                files[text] = str(path.relative_to(root))
    return files

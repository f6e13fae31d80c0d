"""Polars on the parse step alone: the landed files to leaf columns, one row per record that is an object.

    python -m bench.polars_parse LANDING

Lines that are not JSON are left out, and so is a line's validation beyond that; a value of another type than its column is null. Polars
reads one form of line at a time, so arrays are made batches first. Prints the seconds and the rows as JSON.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

_TEXT, _NUMBER = pl.String, pl.Float64


def _fields(names: str, kind: Any = _TEXT) -> dict[str, Any]:
    return dict.fromkeys(names.split(), kind)


# Per source the key of a batch's list, the leaves of a record, and those of a batch's header.
_SOURCES: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "activity_stream": (
        "payloads",
        _fields("action addon_version client_id session_id tab_id page event event_id source url locale ver load_reason unload_reason")
        | _fields("timestamp receive_at impression_id")
        | _fields("value session_duration load_latency max_scroll_depth", _NUMBER),
        {},
    ),
    "contentsquare": (
        "pl",
        _fields("euid url st tvid tvp k v")
        | _fields("ea sn t sl", _NUMBER)
        | {"tr": pl.Struct(_fields("vl cu", _NUMBER)), "vo": pl.Struct(_fields("sv av"))},
        _fields("uid l os dma dmo") | _fields("pid now", _NUMBER) | {"to": pl.Struct(_fields("st"))},
    ),
    "homepagevisit": (
        "none",
        _fields("$schema client_dt uuid schema wiki")
        | {"meta": pl.Struct(_fields("id dt domain stream"))}
        | {
            "event": pl.Struct(
                _fields("homepage_pageview_token referer_route impact_module_state start_email_state") | _fields("user_id", _NUMBER)
            )
        },
        {},
    ),
    "sunbird": (
        "events",
        _fields("eid ver mid @timestamp")
        | _fields("ets syncts", _NUMBER)
        | {
            "actor": pl.Struct(_fields("id type")),
            "context": pl.Struct(_fields("channel env sid did") | {"pdata": pl.Struct(_fields("id ver"))}),
            "object": pl.Struct(_fields("id type")),
            "edata": pl.Struct(
                _fields("type mode pageid id")
                | _fields("duration score rating", _NUMBER)
                | {"target": pl.Struct(_fields("id type")), "dspec": pl.Struct(_fields("os make"))}
            ),
        },
        {},
    ),
}
_UNPACKED: Mapping[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".bz2": bz2.decompress}


def parse(landing: Path, source: str) -> pl.DataFrame:
    """The leaf columns of all records of a source."""
    list_name, leaves, header = _SOURCES[source]
    frames = [_lines(path, list_name) for path in sorted((landing / source).rglob("*")) if path.is_file()]
    if not frames:
        return pl.DataFrame(schema=leaves | header)
    lines = pl.concat(frames).filter(pl.col("line").str.json_path_match("$").is_not_null())["line"]
    schema = leaves | header | {list_name: pl.List(pl.Struct(leaves))}
    read = pl.read_ndjson(io.BytesIO("\n".join(lines.to_list()).encode()), schema=schema, ignore_errors=True)
    single = read.filter(pl.col(list_name).is_null()).drop(list_name)
    listed = read.filter(pl.col(list_name).list.len() > 0).select(*header, list_name).explode(list_name).drop_nulls(list_name)
    return pl.concat([single, listed.unnest(list_name).select(single.columns)])


def _lines(path: Path, list_name: str) -> pl.DataFrame:
    """The lines of a file that look like an object or a list; a list as the batch that it could have been."""
    content = path.read_bytes()
    unpack = _UNPACKED.get(path.suffix)
    text = (unpack(content) if unpack else content).decode("utf-8-sig", "replace")
    line = pl.col("line").str.strip_chars()
    return (
        pl.DataFrame({"line": text.split("\n")})
        .select(line)
        .filter(pl.col("line").str.contains(r"^[\[{]"))
        .select(
            pl.when(pl.col("line").str.starts_with("["))
            .then(f'{{"{list_name}":' + pl.col("line") + "}")
            .otherwise(pl.col("line"))
            .alias("line")
        )
    )


if __name__ == "__main__":
    started = time.perf_counter()
    rows = {source: parse(Path(sys.argv[1]), source).height for source in _SOURCES}
    print(json.dumps({"parse and validate": round(time.perf_counter() - started, 3), "rows": rows}))

"""Whether the DuckDB peer made of a landing zone what a lake holds: table by table, row by row, column by column.

    python -m bench.compare LAKE PEER

Exit code 1 when anything differs, with an example of each difference. Columns of JSON are compared as parsed; left out are
what only the lake has (`run_id`, `event_hash`, parts of user agents, what the next steps read), and of refused records the bytes
and the wording.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.dataset as ds

from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from schemas.catalog import TABLES

_PLACE = ("source", "file", "record", "position")
# By what the rows of a table are matched: records by their place, so that ids are compared too.
_KEYS = {name: TABLES[name].key for name in ("sessions", "session_events", "workflow_summaries", "daily_metrics")}
_KEYS |= {"events": _PLACE, "duplicate_events": _PLACE, "rejected_events": _PLACE}
_LEFT_OUT = {"run_id", "event_hash", "session_input", "workflow_input", "path", "detail", "raw", "raw_form", "raw_length", "raw_sha256"}
# The peer parses no user agents; it knows the generated robots alone.
_LEFT_OUT |= {"os", "os_version", "browser", "browser_version", "device_class", "is_robot"}
_JSON = {"properties", "context", "item_responses"}
# Of texts that are not the same byte for byte, so many are parsed.
_PARSED = 20_000


@dataclass(frozen=True)
class Difference:
    """One way in which the two sides differ."""

    table: str
    what: str  # a column, or which side alone has the rows
    rows: int
    example: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.table}: {self.what}: {self.rows:,} rows, such as {self.example}"


def differences(lake: Path, peer: Path) -> list[Difference]:
    """In what the lake and the peer's folder differ; empty when they hold the same."""
    tables = connect(Lake.open(lake))
    for name in _KEYS:
        tables.register(f"peer_{name}", ds.dataset(peer / name, format="parquet", partitioning="hive"))
    return [difference for name in _KEYS for difference in _of_table(tables, name)]


def counts(lake: Path) -> dict[str, int]:
    """How many rows of each compared table the lake holds."""
    opened = Lake.open(lake)
    return {name: sum(file.rows for file in opened.files(name)) for name in _KEYS}


def _of_table(tables: duckdb.DuckDBPyConnection, name: str) -> Iterator[Difference]:
    key = _KEYS[name]
    columns = [column for column in TABLES[name].names if column not in _LEFT_OUT and column not in key]
    types = dict(tables.execute(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall())
    cast = ", ".join(f'CAST("{column}" AS {types[column]}) AS "{column}"' for column in (*key, *columns))
    both = f"{name} AS ours FULL JOIN (SELECT {cast} FROM peer_{name}) AS theirs USING ({', '.join(key)})"
    alone = {"only in the lake": f"theirs.{key[0]} IS NULL", "only at the peer's": f"ours.{key[0]} IS NULL"}
    matched = " AND ".join(f"NOT ({condition})" for condition in alone.values())
    differing = {column: f'{matched} AND ours."{column}" IS DISTINCT FROM theirs."{column}"' for column in columns}
    conditions = alone | differing
    counts_sql = ", ".join(f"count(*) FILTER ({condition})" for condition in conditions.values())
    row = tables.execute(f"SELECT {counts_sql} FROM {both}").fetchone()
    assert row is not None
    for (what, condition), rows in zip(conditions.items(), row, strict=True):
        if not rows:
            continue
        shown = f'ours."{what}", theirs."{what}"' if what in differing else "ours, theirs"
        examples = tables.execute(
            f"SELECT {{{', '.join(f'{part!r}: {part}' for part in key)}}}, {shown} FROM {both} WHERE {condition} LIMIT {_PARSED}"
        ).fetchall()
        unequal = [example for example in examples if what not in _JSON or _parsed(example[1]) != _parsed(example[2])]
        if unequal:
            yield Difference(name, what, len(unequal) if what in _JSON else rows, _told(unequal[0]))


def _parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _told(example: tuple[Any, ...]) -> str:
    key, ours, theirs = example
    of = ", ".join(f"{name} {value}" for name, value in key.items())
    return f"{of}: {str(ours)[:400]} in the lake, {str(theirs)[:400]} at the peer's"


def main(lake: Path, peer: Path) -> int:
    """Print what differs; gives the exit code."""
    different = differences(lake, peer)
    for difference in different:
        print(difference)
    print(f"{len(different)} differences in {', '.join(f'{rows:,} {name}' for name, rows in counts(lake).items())}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

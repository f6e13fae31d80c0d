"""What is made of landed lines, without Spark: the rows of `events`, and of the tables of sessions; and a lake of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import tiny_lake
from session_rows import Sessions, rows_of

from transforms.lines import split_lines
from transforms.records import Place, TimeRules, to_records
from transforms.sessions import SessionRules, as_input, build
from transforms.sources import SOURCES

Row = dict[str, Any]


class Made(NamedTuple):
    """Rows of the tables."""

    events: list[Row]
    rejected: list[Row]
    built: Sessions


def place(file: str) -> Place:
    """Where a file of this path below the landing root landed."""
    source, date, *hour, _ = file.split("/")
    return Place(source, dt.date.fromisoformat(date.removeprefix("date=")), int(hour[0].removeprefix("hour=")) if hour else None, file)


def made_of(landed: Iterable[tuple[str, bytes]]) -> Made:
    """The rows that files make, given as path and content; of an event that came twice the first is kept."""
    batches = []
    for file, content in landed:
        where = place(file)
        records, _ = to_records(SOURCES[where.source], list(split_lines([content])), where, TimeRules())
        batches.append(records)
    rows = pa.Table.from_batches(batches)
    accepted = rows.filter(pc.equal(rows["status"], "accepted")).to_pylist()
    events = list({(row["source"], row["event_id"]): row for row in reversed(accepted)}.values())[::-1]
    read = as_input(pa.RecordBatch.from_pylist(events, schema=rows.schema))
    built = rows_of(list(build([read], SessionRules())))
    built.members.sort(key=lambda row: (row["session_id"], row["sequence"]))
    return Made(events, rows.filter(pc.equal(rows["status"], "rejected")).to_pylist(), built)


def publish(root: Path, made: Made) -> None:
    """A lake that holds these rows."""
    tables = {"events": made.events, "sessions": made.built.sessions, "session_events": made.built.members}
    tiny_lake.publish(root, tables)

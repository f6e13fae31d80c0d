"""Landed lines to rows of events, sessions and workflow summaries, without Spark; and a lake that holds these rows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import tiny_lake
from one_batch import to_records
from session_rows import rows_of

from schemas.events import SESSION_KINDS
from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.sessions.rules import SessionQueries
from transforms.sessions.sessions import SessionRules, as_input, build
from transforms.sources.registry import SOURCES
from transforms.workflows.summaries import INPUT, WorkflowRules, summarise

Row = dict[str, Any]


class LandedTables(NamedTuple):
    """Rows of the tables."""

    events: list[Row]
    rejected: list[Row]
    sessions: list[Row]  # by their start
    members: list[Row]  # of `session_events`: session by session, in order
    chains: list[Row]

    def events_of(self, session: Row) -> list[Row]:
        """The events of a session, in order."""
        key = itemgetter("source", "event_id", "landing_date")
        by_key = {key(event): event for event in self.events}
        return [by_key[key(member)] for member in self.members if member["session_id"] == session["session_id"]]

    def unassigned(self, kinds: Sequence[str] = SESSION_KINDS) -> int:
        """How many events with a key of these kinds are in no session."""
        return sum(day["count"] for chain in self.chains if chain["kind"] in kinds for day in chain["unassigned"])


def records_of(file: str, content: bytes) -> pa.RecordBatch:
    """The records of a file, which is named by its path below the landing root."""
    source, date, *hour, _ = file.split("/")
    landing_hour = int(hour[0].removeprefix("hour=")) if hour else None
    location = FileLocation(source, dt.date.fromisoformat(date.removeprefix("date=")), landing_hour, file)
    records, _ = to_records(SOURCES[source], list(split_lines([content])), location, TimeRules())
    return records


def without_duplicates(files: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The records without those that repeat the id of an earlier one."""
    records = pa.Table.from_batches(files)
    firsts: dict[tuple[str, str] | int, int] = {}
    for number, (source, event_id) in enumerate(zip(records["source"].to_pylist(), records["event_id"].to_pylist(), strict=True)):
        firsts.setdefault(number if event_id is None else (source, event_id), number)
    kept: list[pa.RecordBatch] = records.take(list(firsts.values())).to_batches()
    return kept


def tables_of(files: Sequence[pa.RecordBatch]) -> LandedTables:
    """The rows that the records of these files give; duplicates are not removed."""
    accepted, rejected = ([records.filter(pc.equal(records["status"], status)) for records in files] for status in ("accepted", "rejected"))
    built = rows_of(list(build(map(as_input, accepted), SessionRules())))
    return LandedTables(
        [event for records in accepted for event in records.to_pylist()],
        [record for records in rejected for record in records.to_pylist()],
        sorted(built.sessions, key=lambda row: (row["start_time"], row["session_id"])),
        sorted(built.members, key=lambda row: (row["session_id"], row["sequence"])),
        built.chains,
    )


def workflow_summaries(tables: LandedTables) -> list[Row]:
    """The rows of `workflow_summaries`, by their start; of those that start together the outer ones first."""
    parts = [event | event["workflow_input"] for event in tables.events if event["workflow_input"] is not None]
    parts.sort(key=lambda row: (row["key"], row["ets"], *_landing_order(row)))
    steps = pa.RecordBatch.from_pylist([{name: row[name] for name in INPUT.names} for row in parts], schema=INPUT)
    built = [row["summary"] for batch in summarise([steps], WorkflowRules()) for row in batch.to_pylist()]
    summaries = [row for row in built if row is not None]
    return sorted(summaries, key=lambda row: (row["start_time"], row["parent_type"] is not None, -row["time_diff"]))


def _landing_order(event: Row) -> tuple[Any, ...]:
    """As transforms.workflows.chains has it, whose columns are not made here."""
    hour = event["landing_hour"]
    return event["landing_date"], -1 if hour is None else hour, event["file"], event["record"], event["position"]


def flags_of(queries: SessionQueries) -> list[str]:
    """The flags that the sessions of these queries can have."""
    return re.findall(r"'(\w+)'", queries.sessions.split("list_where(")[1].split("]")[0])


def publish(root: Path, tables: LandedTables) -> None:
    """A lake that holds these rows."""
    tiny_lake.publish(root, {"events": tables.events, "sessions": tables.sessions, "session_events": tables.members})

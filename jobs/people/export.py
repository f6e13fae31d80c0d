"""Write all that the lake holds of a person, as JSON lines per table.

millrace export --source sunbird --user ID --output answer
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.console.paths import shown
from jobs.console.printing import print_message, print_text
from jobs.errors import UsageError
from jobs.lake import table_rows
from jobs.lake.tables import Lake
from jobs.settings import Settings
from schemas.events import DUPLICATE_EVENTS, EVENTS, REJECTED_EVENTS
from schemas.marts import VISITOR_DAYS
from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS, WORKFLOW_CHAINS, WORKFLOW_SUMMARIES
from transforms.privacy.people import People

# In this order, so that the ids of sessions are known when their events and chains are read.
_EXPORTED = (
    *(EVENTS, DUPLICATE_EVENTS, REJECTED_EVENTS, SESSIONS, SESSION_EVENTS, SESSION_CHAINS, WORKFLOW_SUMMARIES, WORKFLOW_CHAINS),
    VISITOR_DAYS,
)
_NOTHING_FOUND = 3
_MODE = 0o600


def run(settings: Settings, people: Mapping[str, People], output: Path | None) -> int:
    """Write the rows of these people; gives the exit code: 3 if there are none.

    Raises LakeError when there is no lake, UsageError when the folder cannot be written.
    """
    lake = Lake.open(settings.paths.lake)
    counts = dict.fromkeys((table.name for table in _EXPORTED), 0)
    with ExitStack() as stack:
        files = {name: _open(output / f"{name}.jsonl", stack) for name in counts} if output is not None else {}
        for name, row in rows_of(lake, people):
            counts[name] += 1
            line = json.dumps({"table": name, **row} if output is None else row, ensure_ascii=False)
            if output is None:
                print_text(line + "\n")
            else:
                files[name].write(line + "\n")
    for name, number in counts.items():
        if number:
            print_message(f"{name}: {number:,} {'row' if number == 1 else 'rows'}")
    if not any(counts.values()):
        print_message("nothing is stored of them: is the id as the source sends it?")
        return _NOTHING_FOUND
    return 0


def rows_of(lake: Lake, people: Mapping[str, People]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of these people: the name of the table, and the columns as JSON."""
    ids: dict[str, set[str]] = {"session_id": set(), "summary_id": set()}
    for source, of_source in people.items():
        for table in _EXPORTED:
            for file in lake.files(table.name):
                if file.partition.get("source", source) != source:
                    continue
                for part in table_rows.parts(table.arrow, [(lake.root / table.name / file.path, file.partition)], table.names):
                    rows = part.select(table.names)
                    found = rows.filter(pa.array(of_source.rows(rows) | _belongs_to(rows, ids)))
                    for name, known in ids.items():
                        if name in found.column_names:
                            known.update(found[name].to_pylist())
                    yield from ((table.name, _as_json(row)) for row in found.to_pylist())


def _belongs_to(rows: pa.Table, ids: Mapping[str, set[str]]) -> Any:
    """Which rows are of one of these sessions or workflow summaries."""
    found = np.zeros(rows.num_rows, bool)
    for name, of_rows in (("session_id", "sessions"), ("summary_id", "summaries")):
        known = pa.array(sorted(ids[name]), pa.string())
        if name in rows.column_names:
            found |= pc.is_in(rows[name], value_set=known).to_numpy(zero_copy_only=False)
        if of_rows in rows.column_names:
            lists = rows[of_rows].combine_chunks()
            is_known = pc.is_in(pc.struct_field(pc.list_flatten(lists), name), value_set=known)
            found[pc.list_parent_indices(lists).filter(is_known).to_numpy(zero_copy_only=False)] = True
    return found


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with dates and times as text. Bytes are text where they are UTF-8, else base64 in a field with the ending _base64."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            try:
                values[name] = value.decode()
            except UnicodeDecodeError:
                values[f"{name}_base64"] = base64.b64encode(value).decode()
        else:
            values[name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _open(path: Path, stack: ExitStack) -> TextIO:
    """A file that only this user may read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(_MODE)
        path.chmod(_MODE)
        return stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
    except OSError as error:
        raise UsageError(f"{shown(path)} cannot be written ({error.strerror}): name another folder with --output") from None

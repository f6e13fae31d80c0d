"""The record of erasures: hashes of the ids of people who were removed, by which a later run recognises them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from jobs.lake.run_output import RunOutput
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from schemas.bookkeeping import ERASURES
from transforms.privacy.erased_ids import ErasedIds, hash_of
from transforms.privacy.people import Kind, People, is_distinctive
from transforms.sources.registry import SOURCES

_KINDS: tuple[Kind, ...] = ("user", "device")
_SALT_BYTES = 32


def recorded(lake: Lake) -> dict[str, ErasedIds]:
    """The erased ids of each source that has any."""
    if not lake.files(ERASURES.name):
        return {}
    rows = lake.arrow(ERASURES.name).to_pylist()
    return {
        source: _of_source(source, [row for row in rows if row["source"] == source]) for source in sorted({row["source"] for row in rows})
    }


def names_of(source: str) -> tuple[str, ...]:
    """The names of the fields of users and devices in records of a source."""
    pointers = (pointer for column in ("user_id", "device_id") for pointer in SOURCES[source].ids.get(column, ()))
    return tuple(sorted({pointer.rpartition("/")[2] for pointer in pointers}))


def record(lake: Lake, people: Mapping[str, People], output: RunOutput) -> Change:
    """The change of the table for people of some sources. Who is recorded already is left out."""
    before = lake.arrow(ERASURES.name).to_pylist() if lake.files(ERASURES.name) else []
    salt = before[0]["salt"] if before else secrets.token_hex(_SALT_BYTES)
    known = {(row["source"], row["kind"], row["id_hash"]) for row in before}
    rows: list[dict[str, Any]] = []
    for source, of_source in sorted(people.items()):
        for kind in _KINDS:
            for text in sorted(of_source.ids.get(kind, ())):
                hashed = hash_of(salt, source, text)
                if (source, kind, hashed) not in known:
                    length = len(text.encode("utf-8", "surrogatepass")) if is_distinctive(text) else None
                    row = {"source": source, "kind": kind, "id_hash": hashed, "length": length, "salt": salt}
                    rows.append(row | {"run_id": output.run_id})
    # Not in the order in which they were given.
    rows.sort(key=lambda row: (row["source"], row["id_hash"]))
    return Change(write_partitioned(ERASURES, pa.Table.from_pylist(rows, schema=ERASURES.arrow.remove_metadata()), output))


def _of_source(source: str, rows: list[dict[str, Any]]) -> ErasedIds:
    def hashes(*, everywhere: bool) -> dict[Kind, frozenset[str]]:
        of_form = [row for row in rows if (row["length"] is not None) == everywhere]
        return {kind: frozenset(row["id_hash"] for row in of_form if row["kind"] == kind) for kind in _KINDS}

    lengths = frozenset(row["length"] for row in rows if row["length"] is not None)
    return ErasedIds(source, rows[0]["salt"], hashes(everywhere=True), hashes(everywhere=False), lengths, names_of(source))

"""Columns that a lake of an earlier version lacks. Readers see nulls; the first command that writes such a lake adds the columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
from deltalake import PostCommitHookProperties
from deltalake.schema import Field, Schema

from jobs.lake.delta_tables import open_delta
from jobs.storage.storage_paths import StoragePath
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES
from schemas.table import Table

# Per table the columns that it did not have from the beginning.
ADDED: Mapping[str, tuple[str, ...]] = {RUNS.name: ("rules", "seconds", "peak_memory")}


def are_known(table: Table, columns: Collection[str]) -> bool:
    """Whether these are the columns of the table in this version, or in an earlier one without the added columns."""
    return set(columns) | set(ADDED.get(table.name, ())) == set(table.names)


def add(root: StoragePath) -> bool:
    """Add missing columns to the tables of the lake, as nulls. True if any was missing."""
    added = False
    for name, columns in ADDED.items():
        table = open_delta(root / name)
        known = {field.name for field in table.schema().fields}
        missing = [column for column in columns if column not in known]
        # A table with other unknown columns is refused when it is opened.
        if missing and are_known(TABLES[name], known):
            hooks = PostCommitHookProperties(cleanup_expired_logs=False)
            table.alter.add_columns(_fields(TABLES[name], missing), post_commithook_properties=hooks)
            added = True
    return added


def with_nulls(table: Table, rows: pa.Table) -> pa.Table:
    """The rows of a file of this table with the added columns, which a file of an earlier version lacks."""
    for name in ADDED.get(table.name, ()):
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, table[name].type))
    return rows


def _fields(table: Table, columns: Collection[str]) -> list[Field]:
    schema = pa.schema([table.arrow.field(name) for name in columns])
    return list(Schema.from_arrow(schema).fields)

"""Read the lake's tables in SQL, without Spark. `millrace sql`, the report and `open_lake` use this.

tables = connect(Lake.open(Path("lake")))
tables.sql("SELECT source, count(*) AS sessions FROM sessions GROUP BY source").df()
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from jobs.errors import LakeError
from jobs.lake import added_columns, failed_run
from jobs.lake.tables import Lake
from jobs.storage import storage_paths
from jobs.storage.parquet_files import file_system_of
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES
from schemas.table import BIGINT, DOUBLE, STRING, Table


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with one view per table of the lake, all at the state at which `lake` was opened.

    Nothing is copied: a query reads the columns and row groups that it needs from the tables' Parquet files. It still works after
    a later night has been published, as long as vacuum keeps the state (at least 7 days). Timestamps are instants, shown in UTC.
    The connection reads those files and no others, and writes none. To join a data frame, call `tables.register(name, frame)`.
    The view of `runs` is its latest version, because `runs` records the states.
    """
    return _connect(lake.root, {name: [file.path for file in lake.files(name)] for name in TABLES})


def connect_to_failed_run(lake: Lake, run_id: str) -> duckdb.DuckDBPyConnection:
    """A connection as `connect` gives it, with the tables that a run would have published if no check had failed.

    Raises LakeError when the lake has no such run, or no longer has its files.
    """
    run = failed_run.read(lake.root, run_id)
    before = lake.at(run.versions)
    paths: dict[str, list[str]] = {}
    for name in TABLES:
        kept = {file.path for file in before.files(name)} - set(run.removed.get(name, ()))
        paths[name] = [*sorted(kept), *(file.path for file in run.added.get(name, ()))]
    if any(len(storage_paths.sizes_of(lake.root / name, of_table)) < len(set(of_table)) for name, of_table in paths.items()):
        raise LakeError(f"the files of the run {run_id} have been deleted: maintenance keeps them for retention.failed_runs days")
    return _connect(lake.root, paths)


def _connect(root: StoragePath, files: Mapping[str, Sequence[str]]) -> duckdb.DuckDBPyConnection:
    """A connection with one view per table of the lake, of these files: paths from the table's folder."""
    # All extensions that are used are built in, so DuckDB need not download any.
    offline: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(config=offline)
    connection.execute("SET TimeZone = 'UTC'")
    readable: list[str] = []
    for name, table in TABLES.items():
        if not files[name]:
            connection.register(name, table.arrow.empty_table())
        elif isinstance(root, Path):
            paths = [(root / name / path).absolute() for path in files[name]]
            connection.execute(_view(table, paths))
            readable += [*map(str, paths), *map(_pattern, paths)]
        else:
            # DuckDB's own access to buckets is an extension, which would have to be downloaded.
            connection.register(name, _dataset(table, root / name, files[name]))
    connection.execute(f"SET allowed_paths = {_list(readable)}")
    connection.execute("SET enable_external_access = false")
    return connection


def _dataset(table: Table, folder: StoragePath, paths: Sequence[str]) -> ds.Dataset:
    """The files of a table as an Arrow dataset, of which a query reads the columns and row groups that it needs."""
    partitions = pa.schema([table.arrow.field(name) for name in table.partitioned_by])
    hive = ds.partitioning(partitions, flavor="hive")
    return ds.dataset(list(paths), table.arrow, format="parquet", filesystem=file_system_of(folder), partitioning=hive)


def _view(table: Table, paths: Sequence[Path]) -> str:
    """The SQL that creates the view: the contract's columns in their order. Partition columns are read from the paths."""
    types = ", ".join(f"{_name(name)}: {'DATE' if pa.types.is_date(table[name].type) else 'VARCHAR'}" for name in table.partitioned_by)
    partitions = f", hive_partitioning = true, hive_types = {{{types}}}" if types else ", hive_partitioning = false"
    columns = ", ".join(_name(name) for name in table.names)
    added = added_columns.ADDED.get(table.name, ())
    by_name = ", union_by_name = true" if added else ""
    rows = f"FROM read_parquet({_list(map(_pattern, paths))}{partitions}{by_name})"
    if added:
        # Perhaps no file has an added column.
        nulls = ", ".join(f"CAST(NULL AS {_sql_type(table[name].type)}) AS {_name(name)}" for name in added)
        rows = f"FROM (SELECT * {rows} UNION ALL BY NAME SELECT {nulls} WHERE false)"
    return f"CREATE VIEW {_name(table.name)} AS SELECT {columns} {rows}"


_SQL_TYPES = {STRING: "VARCHAR", BIGINT: "BIGINT", DOUBLE: "DOUBLE"}


def _sql_type(kind: pa.DataType) -> str:
    """The DuckDB type of an added column."""
    return f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})" if pa.types.is_map(kind) else _SQL_TYPES[kind]


def _name(name: str) -> str:
    return f'"{name}"'


def _pattern(path: Path) -> str:
    """The glob pattern that matches this path and no other. DuckDB reads every path as a pattern."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def _list(paths: Iterable[str]) -> str:
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"

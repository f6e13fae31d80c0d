"""Read the tables of a lake with pandas, Polars, DuckDB, Arrow or Spark, at one recorded state: `jobs.open_lake`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import duckdb
import pyarrow as pa

from jobs.console import paths
from jobs.console.home import at_home
from jobs.console.nearest_names import no_table
from jobs.errors import LakeError, SetupError, UsageError
from jobs.lake import query_errors, table_log
from jobs.lake.duckdb_views import connect
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.storage.bucket import BucketPath
from jobs.storage.object_store import raise_store_failure
from jobs.storage.storage_paths import StoragePath, storage_path
from schemas.bookkeeping import RUNS
from schemas.catalog import TABLES
from schemas.table import Table, sql_type

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession


def open_lake(lake: str | os.PathLike[str]) -> LakeReader:
    """The reader of a lake: see `jobs.open_lake`."""
    root = _root_of(os.fspath(lake))
    paths.check_lake(root)
    if not table_log.exists(root / RUNS.name):
        shown = paths.shown(root.absolute() if isinstance(root, Path) else root)
        raise LakeError(f"no lake at {shown}: give open_lake the folder or the s3:// URL of one, or make one with `millrace demo`")
    return LakeReader(open_to_read(root))


def _root_of(text: str) -> StoragePath:
    """The path of a lake. Raises UsageError when the text is empty, or a URL of anything but a folder in a bucket."""
    if not text:
        raise UsageError("the path of the lake is empty: give open_lake a folder or an s3:// URL")
    try:
        root = storage_path(text)
    except ValueError as error:
        raise UsageError(paths.shown(str(error))) from None
    return at_home(root) if isinstance(root, Path) else root


class LakeReader:
    """A lake at the state that was recorded when it was opened; later nights do not change what it reads. Open it again to see them.

    `lake.sessions` and `lake.table("sessions")` are the same table. `lake.sql` queries all tables.
    """

    def __init__(self, lake: Lake) -> None:
        # `runs` records the state and has no recorded version: it is read as it was when the lake was opened.
        self.versions: Mapping[str, int] = dict(sorted({**lake.versions, RUNS.name: lake.version(RUNS.name)}.items()))
        self._lake = lake.at(self.versions)

    @property
    def state(self) -> int:
        """The number of the recorded state, counted up with each publication."""
        return self._lake.state

    @property
    def root(self) -> StoragePath:
        """The folder or the URL of the lake."""
        return self._lake.root

    @property
    def tables(self) -> list[str]:
        """The names of the tables."""
        return list(TABLES)

    def table(self, name: str) -> LakeTable:
        """The table of this name. Raises UsageError, with the nearest name, when there is none."""
        if name not in TABLES:
            raise UsageError(no_table(name))
        return LakeTable(self, TABLES[name])

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """What a query gives, as a DuckDB relation: `.df()`, `.pl()` and `.to_arrow_table()` compute it.

        The tables are views of their names. Raises UsageError, with the nearest name, when the query is wrong.
        """
        try:
            return self.connection.sql(query)
        except duckdb.Error as error:
            self.raise_query_error(error, query)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection on which the tables are views. It reads the files of this state and no others, and writes none."""
        return connect(self._lake)

    def raise_query_error(self, error: duckdb.Error, query: str) -> NoReturn:
        """Raise the error of a query as one line: UsageError if the query is wrong, LakeError if a file cannot be read."""
        if isinstance(error, query_errors.QUERY_ERRORS):
            raise UsageError(query_errors.describe(error, query, self.connection)) from None
        raise_store_failure(error, self.root)
        if isinstance(error, duckdb.IOException):
            raise LakeError(
                f"files of state {self.state} cannot be read: open the lake again; `millrace verify` names what is damaged, if anything is"
            ) from error
        raise error

    def __getattr__(self, name: str) -> LakeTable:
        # Without this, copying and displaying an object would look like tables of unknown names.
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in TABLES:
            raise AttributeError(no_table(name))
        return LakeTable(self, TABLES[name])

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *TABLES]

    def __repr__(self) -> str:
        return f"lake {paths.shown(self.root)} at state {self.state}: {', '.join(TABLES)}"


class LakeTable:
    """One table of an opened lake.

    `columns` are the columns to read, by default all, and `where` is a condition in SQL on the rows: what neither names is not read from
    the files. A wrong name in either raises UsageError with the nearest one. Timestamps are instants in UTC, integers are integers.
    """

    def __init__(self, lake: LakeReader, table: Table) -> None:
        self._lake = lake
        self._table = table

    @property
    def name(self) -> str:
        """The name of the table."""
        return self._table.name

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return self._table.names

    def describe(self) -> pd.DataFrame:
        """The data dictionary of the table: one row per column, with its type, unit and meaning."""
        import pandas as pd

        rows = [(column.name, sql_type(column.type), column.unit or "", column.comment) for column in self._table.columns]
        return pd.DataFrame(rows, columns=["column", "type", "unit", "meaning"]).set_index("column")

    def to_duckdb(self, columns: Sequence[str] | None = None, where: str | None = None) -> duckdb.DuckDBPyRelation:
        """The rows as a DuckDB relation, which reads them when it is computed."""
        return self._lake.sql(self._query(columns, where))

    def to_arrow(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows as an Arrow table, with the types of the data dictionary; the metadata of each field has its meaning."""
        query = self._query(columns, where)
        try:
            rows = self._lake.sql(query).to_arrow_table()
        except duckdb.Error as error:
            self._lake.raise_query_error(error, query)
        return rows.cast(pa.schema([self._table.arrow.field(name) for name in rows.column_names]))

    def to_pandas(self, columns: Sequence[str] | None = None, where: str | None = None) -> pd.DataFrame:
        """The rows as a pandas frame.

        Integers are `Int64` or `Int32` and booleans `boolean`, also beside nulls. Timestamps are `datetime64[us, UTC]`, dates are
        `datetime64` without a zone. Arrays, structs and maps are arrays and dicts.
        """
        import pandas as pd

        nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame: pd.DataFrame = self.to_arrow(columns, where).to_pandas(
            types_mapper=nullable.get, date_as_object=False, maps_as_pydicts="strict"
        )
        return frame

    def to_polars(self, columns: Sequence[str] | None = None, where: str | None = None) -> pl.DataFrame:
        """The rows as a Polars frame. Raises SetupError when Polars is not installed."""
        try:
            import polars as pl
        except ImportError:
            raise SetupError(
                'Polars is not installed: call `pip install "millrace[notebooks]"`, or `make notebooks` in a checkout'
            ) from None
        return pl.DataFrame(self.to_arrow(columns, where))

    def to_spark(self, spark: SparkSession | None = None, columns: Sequence[str] | None = None, where: str | None = None) -> DataFrame:
        """The rows as a Spark frame, at the version of this state; `where` is in Spark's SQL.

        Without `spark`, the session that is running is used, or one is started that reads Delta; only this needs Java. Raises SetupError
        when it cannot be started, or cannot read the table, as without `hadoop-aws` for a lake in a bucket.
        """
        self._check(columns)
        session = spark or _spark_session()
        version, location = self._lake.versions[self.name], _spark_location(self._lake.root / self.name)
        try:
            frame = session.read.format("delta").option("versionAsOf", version).load(location)
        except Exception as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise SetupError(
                f"Spark cannot read {location} ({why}): it needs the packages delta-spark and, for s3://, hadoop-aws"
            ) from error
        if where is not None:
            frame = _where(frame, where)
        return frame.select(*(columns or self.columns))

    def _query(self, columns: Sequence[str] | None, where: str | None) -> str:
        self._check(columns)
        names = ", ".join(f'"{name}"' for name in (self.columns if columns is None else columns))
        # A comment at the end of the condition must not hide the parenthesis.
        return f'SELECT {names} FROM "{self.name}"' + ("" if where is None else f" WHERE (\n{where}\n)")

    def _check(self, columns: Sequence[str] | None) -> None:
        """Raises UsageError when a column is not one of the table."""
        if isinstance(columns, str):
            raise UsageError(f"columns is one text: give a list, such as [{columns!r}]")
        if columns is not None and not columns:
            raise UsageError("columns names no column: leave it out to read all")
        for name in columns or ():
            if name not in self.columns:
                raise UsageError(query_errors.no_column(name, [self.name]))

    def __repr__(self) -> str:
        return f"{self.name}: one row per {self._table.one_row_per}; columns: {', '.join(self.columns)}"


def _spark_session() -> SparkSession:
    """The session that is running, else one of Spark on this machine."""
    from pyspark.sql import SparkSession

    if running := SparkSession.getActiveSession():
        return running
    from jobs import settings
    from jobs.engine import spark_session

    return spark_session.start(settings.load("spark"))


def _spark_location(folder: StoragePath) -> str:
    """The path as Spark names it: Hadoop's file system for S3 is `s3a`."""
    return str(folder).replace("s3://", "s3a://", 1) if isinstance(folder, BucketPath) else str(folder.absolute())


def _where(frame: DataFrame, condition: str) -> DataFrame:
    from pyspark.errors import PySparkException

    try:
        return frame.where(condition)
    except PySparkException as error:
        raise UsageError(f"the condition is wrong: {next(iter(str(error).splitlines()), type(error).__name__)}") from None

"""Register the tables in the catalog of a Spark session, as views of one state of the lake.

    millrace catalog --env spark

A catalog shows a Delta table at its latest version, and while a night is published the latest versions do not belong together. So
what is registered is a view of each table at its recorded version, with the comments of its columns. Needs a session with a metastore,
such as `spark.sql.catalogImplementation: hive` in `spark.options`.

A catalog that has no views, such as those of earlier connectors of Unity Catalog, gets the tables themselves, which show their latest
versions: `millrace state --format json` has the versions that belong together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.console.printing import print_line
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine
from jobs.errors import SetupError, UsageError
from jobs.lake.half_published import open_to_read
from jobs.lake.tables import Lake
from jobs.settings import Settings
from jobs.storage.bucket import BucketPath
from jobs.storage.storage_paths import StoragePath
from schemas.catalog import TABLES
from schemas.table import Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Spark's condition when a catalog cannot have views.
_NO_VIEWS = "MISSING_CATALOG_ABILITY.VIEWS"


def run(settings: Settings) -> int:
    """Register the recorded state of the lake, and print its tables. Raises UsageError when no schema is configured."""
    schema = settings.catalog.schema_name
    if schema is None:
        raise UsageError("no schema is configured: set catalog.schema, and a metastore in spark.options, as conf/base.yaml says")
    lake = open_to_read(settings.paths.lake)
    with Engine(settings, Progress()) as engine:
        has_views = register(engine, lake, schema)
    names = ", ".join(f"{schema}.{name}" for name in TABLES)
    if has_views:
        print_line(f"registered at state {lake.state}: {names}")
    else:
        print_line(
            f"registered as tables, since the catalog has no views: {names}; `millrace state --format json` has the versions of a state"
        )
    return 0


def update(engine: Engine, settings: Settings) -> None:
    """Register the recorded state of the lake, if the settings name a schema. Raises SetupError as `register` does."""
    if settings.catalog.schema_name is not None:
        register(engine, Lake.open(settings.paths.lake), settings.catalog.schema_name)


def register(engine: Engine, lake: Lake, schema: str) -> bool:
    """Create or replace a view per table of the lake, in this schema of the catalog; gives whether the catalog has views.

    Where it has none, the tables are created that are not there. A schema of another catalog is named with it: `unity.millrace`.
    Raises SetupError when the engine has no catalog that outlives it, Spark refuses a view or a table, or a table is one of another lake.
    """
    if engine.processes:
        raise SetupError("Sail has no catalog that outlives it: call with --env spark, or let catalog.schema be null")
    spark = engine.spark
    try:
        # Hive logs an error when a schema is created that is there.
        if not spark.catalog.databaseExists(_schema(schema)):
            spark.sql(f"CREATE SCHEMA {_schema(schema)} COMMENT 'Tables of Millrace'")
        has_views = _create_views(spark, schema, lake)
        if not has_views:
            _create_tables(spark, schema, lake.root)
    except SetupError:
        raise
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SetupError(f"the tables cannot be registered as {schema}.… ({why}): see catalog in conf/base.yaml") from error

    return has_views


def _create_views(spark: SparkSession, schema: str, lake: Lake) -> bool:
    """Create or replace the views. False if the catalog has none."""
    from pyspark.errors import AnalysisException

    try:
        for table in TABLES.values():
            spark.sql(_view(schema, table, lake.root, lake.version(table.name)))
    except AnalysisException as error:
        if error.getCondition() != _NO_VIEWS:
            raise
        return False
    return True


def _create_tables(spark: SparkSession, schema: str, root: StoragePath) -> None:
    """Create the tables that are not there. Raises SetupError when there is one of another lake."""
    for table in TABLES.values():
        name, location = f"{_schema(schema)}.{_name(table.name)}", _location(root / table.name)
        spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {_text(location)}")
        registered = spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]["location"]
        if registered.removeprefix("file:").rstrip("/") != location:
            raise SetupError(f"{name} is the table at {registered}, not at {location}: drop it, or name another catalog.schema")


def _view(schema: str, table: Table, root: StoragePath, version: int) -> str:
    columns = ", ".join(f"{_name(column.name)} COMMENT {_text(column.description)}" for column in table.columns)
    names = ", ".join(_name(name) for name in table.names)
    return (
        f"CREATE OR REPLACE VIEW {_schema(schema)}.{_name(table.name)} ({columns}) COMMENT {_text(f'One row per {table.one_row_per}')}"
        f" AS SELECT {names} FROM delta.{_name(_location(root / table.name))} VERSION AS OF {version}"
    )


def _location(path: StoragePath) -> str:
    """The path as Spark names it: Hadoop's file system for S3 is `s3a`."""
    return str(path).replace("s3://", "s3a://", 1) if isinstance(path, BucketPath) else str(path.absolute())


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _schema(name: str) -> str:
    """The name of a schema, and of its catalog if it has one."""
    return ".".join(map(_name, name.split(".")))


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""The Spark session of a process, on Spark or on Sail. It is made from the settings alone and needs no network."""

from __future__ import annotations

import importlib.resources
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobs.console.progress import Progress
from jobs.engine import class_archive, parquet, processes
from jobs.engine.delta_jars import delta_jars
from jobs.engine.java import require_java
from jobs.engine.processes import ArrowFunction
from jobs.errors import SetupError
from jobs.settings import Settings
from jobs.storage.object_store import VARIABLE_PREFIXES
from schemas.table import spark_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from jobs.engine.packed_rows import Packing

_CONNECT_PORT = 15002
_PATIENCE_SECONDS = 10
# A value of packed rows has up to some megabytes.
_VALUES_OF_A_GROUP = 8
# Spark's own expression for the names of settings with secrets, and the variables of object stores.
_REDACTED = "(?i)secret|password|token|access[.]?key|executorEnv[.](AWS|GOOGLE|AZURE)_"
# Set by spark-submit for the Python program that it runs.
_SUBMITTED = "PYSPARK_GATEWAY_PORT"


class Engine:
    """The Spark session of a process, and what differs between Spark and Sail. The session is started on first use."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._session: SparkSession | None = None
        self._is_ours = False
        self._starting: Future[SparkSession] | None = None
        self._job_description: str | None = None

    @property
    def processes(self) -> int | None:
        """The number of our own processes that run tasks; None if the session has Python workers of its own."""
        session = self._running()
        if session is not None:
            return int(session.conf.get(processes.OPTION, "") or 0) or None
        if engine_of(self._settings) != "sail":
            return None
        from jobs.engine import sail

        return sail.processes_of(self._settings)

    @property
    def spark(self) -> SparkSession:
        """The session. A session that is already running, as in a notebook, is used.

        Raises SetupError when Java, a jar or a package that the engine needs is missing.
        """
        session = self._running()
        if session is None:
            with self._progress.step(f"start {engine_of(self._settings).capitalize()}"):
                session = self._session = self._starting.result() if self._starting else start(self._settings)
            self._is_ours = True
        self._describe(session)
        return session

    @contextmanager
    def describing_jobs(self, description: str) -> Iterator[None]:
        """Name the jobs that the block runs, for Spark's pages and its event log. On Sail and Spark Connect they have no names."""
        self._job_description = description
        self._describe(self._running())
        try:
            yield
        finally:
            self._job_description = None
            self._describe(self._running())

    def _describe(self, session: SparkSession | None) -> None:
        if session is not None:
            from pyspark.sql import SparkSession

            # Those of Sail and Spark Connect are of another class.
            if isinstance(session, SparkSession):
                session.sparkContext.setJobDescription(self._job_description)  # type: ignore[arg-type]

    def in_processes(self, function: ArrowFunction) -> ArrowFunction:
        """The Arrow function as `mapInArrow` should get it, so that tasks run in parallel.

        Spark gives every task a process. Sail runs all tasks in threads of one process, so there they run in processes of our own.
        """
        count = self.processes
        return processes.in_processes(function, count) if count else function

    def map_by_key(self, rows: DataFrame, packing: Packing, function: ArrowFunction, schema: pa.Schema, folder: Path) -> DataFrame:
        """Apply an Arrow function to packed rows, a task per part. All rows of a key are in one task. `schema` is that of the result.

        Spark's shuffle writes to disk. Sail's shuffle keeps all rows in memory and runs all tasks at once. There the engine first
        writes the rows into files below `folder`, divided by part, and each task reads its own files.
        """
        from pyspark.sql import functions as F

        result, function = spark_schema(schema), packing.unpack_input_of(function)
        if packing.parts == 1:
            return rows.coalesce(1).mapInArrow(self.in_processes(function), result)
        if not self.processes:
            return rows.repartitionById(packing.parts, "part").mapInArrow(function, result)
        parquet.write_parquet(rows, folder, on_sail=True, partitioned_by="part", rows_of_a_group=_VALUES_OF_A_GROUP)
        parts = [(str(one),) for one in sorted(folder.glob("part=*"))]
        folders = self.spark.createDataFrame(parts, "part string").coalesce(1).withColumn("turn", F.monotonically_increasing_id())
        return folders.repartition(max(1, len(parts))).mapInArrow(self.in_processes(processes.of_folders(function)), result)

    def hold(self, frame: DataFrame, folder: Path) -> DataFrame:
        """Compute once a frame that is read more than once. Call `release` when it is no longer needed.

        Spark persists its rows. Sail ignores `persist`, so there they are written into the folder.
        """
        if not self.processes:
            return frame.persist()
        parquet.write_parquet(frame, folder, on_sail=True)
        # Sail writes no file for a frame without rows.
        files = sorted(folder.glob("*.parquet"))
        return (
            parquet.read_parquet(self.spark, frame.schema, files, on_sail=True) if files else self.spark.createDataFrame([], frame.schema)
        )

    def release(self, frame: DataFrame) -> None:
        """Free the memory of a frame from `hold`."""
        if not self.processes:
            frame.unpersist()

    def warm_up(self) -> None:
        """Start Sail and the processes in the background: the imports of Sail's client take a second."""
        if self._running() is None and self._starting is None and (count := self.processes):
            from jobs.engine import sail

            sail.serve()
            self._starting = Future()
            threading.Thread(target=self._start_in_background, daemon=True).start()
            # Last, because it waits until the processes have imported their modules.
            processes.pool(count)

    def _start_in_background(self) -> None:
        assert self._starting is not None
        try:
            self._starting.set_result(start(self._settings))
        except BaseException as error:  # noqa: BLE001 - `spark` raises it
            self._starting.set_exception(error)

    def _running(self) -> SparkSession | None:
        # Without PySpark imported there is no session, so the import can wait.
        if self._session is None and self._starting is None and "pyspark.sql" in sys.modules:
            from pyspark.sql import SparkSession

            self._session = SparkSession.getActiveSession()
        return self._session

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an interrupt nothing is stopped here: the session ends with this process.
        if kind is not None and (self._starting is not None or issubclass(kind, KeyboardInterrupt)):
            return
        if self._starting is not None and self._session is None and self._starting.exception() is None:
            self._session, self._is_ours = self._starting.result(), True
        if self._session is not None and self._is_ours:
            self._session.stop()


def start(settings: Settings) -> SparkSession:
    """Start a session on the engine of the settings; under spark-submit, always on Spark.

    Raises SetupError when Java, a jar or a package that the engine needs is missing.
    """
    if engine_of(settings) == "sail":
        from jobs.engine import sail

        return sail.start(settings)
    if settings.spark.remote is not None and _SUBMITTED not in os.environ:
        return _connect(settings, settings.spark.remote)
    return _start_spark(settings)


def engine_of(settings: Settings) -> str:
    """The engine of the settings; under spark-submit, always Spark."""
    return "spark" if _SUBMITTED in os.environ else settings.engine


def _start_spark(settings: Settings) -> SparkSession:
    """Start a Spark session with Delta. Under spark-submit, it keeps the master, the memory and the jars of that call.

    Raises SetupError when Java or the Delta jars are missing.
    """
    from pyspark.sql import SparkSession

    # The workers run the same Python with the same packages as the driver.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("millrace")
    # Under spark-submit the JVM is already running, and its options are those of the call. The night needs no Delta jar: it
    # reads and writes Parquet files in tasks and commits with delta-rs.
    if _SUBMITTED not in os.environ:
        require_java()
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        if settings.spark.master:
            builder = builder.master(settings.spark.master)
        builder = (
            builder.config("spark.driver.memory", settings.spark.driver_memory)
            .config("spark.driver.extraJavaOptions", _java_options(settings))
            .config("spark.python.daemon.module", "jobs.engine.python_daemon")
            .config("spark.jars", ",".join(str(jar) for jar in delta_jars()))
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        )
    # Executors on other machines. Outside of spark-submit, settings are words of the JVM's command line, where everyone can read them.
    variables = _store_variables() if _SUBMITTED in os.environ else {}
    for key, value in {**variables, **settings.spark.options}.items():
        builder = builder.config(key, str(value).lower() if isinstance(value, bool) else str(value))
    # py4j also logs the errors that it raises, and interrupts; some of them with the root logger.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_of_py4j)
    try:
        # A JVM whose start is interrupted would never end.
        with processes.interrupts_deferred():
            return builder.getOrCreate()
    except Exception as error:
        raise SetupError(
            f"Spark does not start ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}): see the message above"
        ) from error


def _connect(settings: Settings, remote: str) -> SparkSession:
    """Open a session of a Spark Connect server. Raises SetupError when it does not answer."""
    from pyspark.sql import SparkSession

    address = urlsplit(remote)
    try:
        # The client itself would try for ten minutes.
        socket.create_connection((address.hostname or "", address.port or _CONNECT_PORT), timeout=_PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the Spark Connect server {address.hostname}:{address.port or _CONNECT_PORT} does not answer ({error}):"
            " start it, or name another in spark.remote"
        ) from error
    session = SparkSession.builder.appName("millrace").remote(remote).getOrCreate()
    for key, value in settings.spark.options.items():
        if session.conf.isModifiable(key):
            session.conf.set(key, str(value).lower() if isinstance(value, bool) else str(value))
    return session


def _store_variables() -> dict[str, str]:
    """The settings by which executors on other machines get this process's variables of object stores. Spark shows no value of them."""
    variables = {f"spark.executorEnv.{name}": value for name, value in os.environ.items() if name.startswith(VARIABLE_PREFIXES)}
    return variables | ({"spark.redaction.regex": _REDACTED} if variables else {})


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def _java_options(settings: Settings) -> str:
    log_settings = importlib.resources.files("conf") / "log4j2.properties"
    options = settings.spark.java_options
    archive = "" if "ArchiveClassesAtExit" in options else class_archive.options()
    return f"-Dlog4j2.configurationFile={log_settings} {archive} {options}"

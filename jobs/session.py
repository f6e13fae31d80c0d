"""The session that a process computes with, on Spark or on Sail: from the settings alone, without network, without noise."""

from __future__ import annotations

import importlib.resources
import logging
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import class_archive, processes
from jobs.delta_jars import delta_jars
from jobs.errors import SetupError
from jobs.java import require_java
from jobs.progress import Progress
from jobs.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Set by spark-submit for the Python program that it runs.
_SUBMITTED = "PYSPARK_GATEWAY_PORT"


class Engine:
    """What a process computes with: a Spark session, started when it is first asked for, so that who asks nothing does not wait."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._session: SparkSession | None = None
        self._is_ours = False
        self._starting: Future[SparkSession] | None = None

    @property
    def processes(self) -> int | None:
        """How many processes of ours do the work of tasks; None where the session has workers of its own."""
        session = self._running()
        if session is not None:
            return int(session.conf.get(processes.OPTION, "") or 0) or None
        if engine_of(self._settings) != "sail":
            return None
        from jobs import sail

        return sail.processes_of(self._settings)

    @property
    def spark(self) -> SparkSession:
        """The session; one that runs already, as in a notebook or a test, is used.

        Raises SetupError when what the engine needs is missing.
        """
        session = self._running()
        if session is None:
            with self._progress.step(f"start {engine_of(self._settings).capitalize()}"):
                session = self._session = self._starting.result() if self._starting else start(self._settings)
            self._is_ours = True
        return session

    def warm_up(self) -> None:
        """Start what can start beside other work: a client of Sail takes a second of imports, and tasks need none."""
        if self._running() is None and self._starting is None and (count := self.processes):
            from jobs import sail

            sail.serve()
            self._starting = Future()
            threading.Thread(target=self._start_beside, daemon=True).start()
            # Last, for it waits until these have imported what they need.
            processes.pool(count)

    def _start_beside(self) -> None:
        assert self._starting is not None
        try:
            self._starting.set_result(start(self._settings))
        except BaseException as error:  # noqa: BLE001 - who waits for it raises it
            self._starting.set_exception(error)

    def _running(self) -> SparkSession | None:
        # Who has not imported PySpark has no session, and need not import it to learn that.
        if self._session is None and self._starting is None and "pyspark.sql" in sys.modules:
            from pyspark.sql import SparkSession

            self._session = SparkSession.getActiveSession()
        return self._session

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Whoever is interrupted does not wait: what is left ends with this process.
        if kind is not None and (self._starting is not None or issubclass(kind, KeyboardInterrupt)):
            return
        if self._starting is not None and self._session is None and self._starting.exception() is None:
            self._session, self._is_ours = self._starting.result(), True
        if self._session is not None and self._is_ours:
            self._session.stop()


def start(settings: Settings) -> SparkSession:
    """Start a session on the engine that the settings name; under spark-submit it is Spark, whatever they name.

    Raises SetupError when what the engine needs is missing.
    """
    if engine_of(settings) == "sail":
        from jobs import sail

        return sail.start(settings)
    return _start_spark(settings)


def engine_of(settings: Settings) -> str:
    """What computes: under spark-submit it is Spark, whatever the settings name."""
    return "spark" if _SUBMITTED in os.environ else settings.engine


def _start_spark(settings: Settings) -> SparkSession:
    """Start a Spark session with Delta; under spark-submit, with the master, the memory and the jars that it was given.

    Raises SetupError when Java or the Delta jars are missing.
    """
    from pyspark.sql import SparkSession

    # Workers run the same Python and find the same packages as the driver.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("millrace")
    # Under spark-submit the JVM runs already: what it was started with is not ours to choose. The night itself reads and
    # writes Parquet files and commits without Spark, so it needs no jar.
    if _SUBMITTED not in os.environ:
        require_java()
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        if settings.spark.master:
            builder = builder.master(settings.spark.master)
        builder = (
            builder.config("spark.driver.memory", settings.spark.driver_memory)
            .config("spark.driver.extraJavaOptions", _java_options(settings))
            .config("spark.jars", ",".join(str(jar) for jar in delta_jars()))
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        )
    for key, value in settings.spark.options.items():
        builder = builder.config(key, str(value).lower() if isinstance(value, bool) else str(value))
    # It tells twice what it raises, an interrupt too, some of it in the name of everybody.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_of_py4j)
    try:
        # A JVM whose start is given up would never end.
        with processes.interrupts_deferred():
            return builder.getOrCreate()
    except Exception as error:
        raise SetupError(
            f"Spark does not start ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}): see the message above"
        ) from error


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def _java_options(settings: Settings) -> str:
    log_settings = importlib.resources.files("conf") / "log4j2.properties"
    asked = settings.spark.java_options
    archive = "" if "ArchiveClassesAtExit" in asked else class_archive.options()
    return f"-Dlog4j2.configurationFile={log_settings} {archive} {asked}"

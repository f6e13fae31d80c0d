"""The tables in a Hive metastore: Spark SQL sees one state of the lake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_lake
from bucket_server import run_as_a_program
from conftest import plain_environment
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from jobs import catalog
from jobs.errors import SetupError
from jobs.lake.tables import Lake
from schemas.catalog import TABLES

# Run in a process of its own, because a session has one metastore: prints what it sees before and after the state is registered again.
LOOK = """
import json, sys
from pathlib import Path
from jobs import catalog, settings
from jobs.console.progress import Progress
from jobs.engine.spark_session import Engine

given = settings.load(file=Path(sys.argv[1])).at(lake=Path(sys.argv[2]))
with Engine(given, Progress(quiet=True)) as engine:
    look = lambda: sorted(row.event_id for row in engine.spark.sql("SELECT event_id FROM millrace.events").collect())
    seen = {"before": look()}
    catalog.update(engine, given)
    seen["after"] = look()
    columns = engine.spark.catalog.listColumns("millrace.events")
    seen["comments"] = {column.name: column.description for column in columns}
    seen["tables"] = sorted(table.name for table in engine.spark.catalog.listTables("millrace"))
print("SEEN", json.dumps(seen))
"""


def event(name: str) -> dict[str, object]:
    return {"event_id": name, "source": "sunbird", "landing_date": tiny_lake.NIGHT}


def conf_with_a_metastore(folder: Path) -> Path:
    conf = folder / "conf.yaml"
    options = {
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder / 'metastore'};create=true",
    }
    conf.write_text(json.dumps({"engine": "spark", "catalog": {"schema": "millrace"}, "spark": {"options": options}}))
    return conf


@pytest.mark.slow
def test_views_show_the_state_that_was_registered_last(tmp_path: Path) -> None:
    """Given a lake whose path holds a space, and a publication after it was registered."""
    lake, conf = tmp_path / "my lake", conf_with_a_metastore(tmp_path)
    tiny_lake.publish(lake, {"events": [event("a")]})
    registered = run_as_a_program(tmp_path / "landing", lake, conf, "catalog")
    assert (registered.exit_code, registered.stdout.startswith("registered at state 1: millrace.events")) == (0, True), registered.stderr

    tiny_lake.publish(lake, {"events": [event("b")]}, run_id="20261122T030000-abc002")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(conf), str(lake)], capture_output=True, text=True, cwd=tmp_path, env=plain_environment()
    )
    assert "SEEN" in done.stdout, done.stderr

    seen = json.loads(done.stdout.rpartition("SEEN ")[2])
    assert (seen["before"], seen["after"]) == (["a"], ["a", "b"])
    assert seen["comments"]["event_id"] == "the record's own id, else a hash of its content"
    assert {"events", "sessions", "daily_metrics", "runs"} <= set(seen["tables"])


class NoViewsError(AnalysisException):
    """What Spark raises when a catalog cannot have views."""

    def getCondition(self) -> str:  # noqa: N802 - Spark's name
        return "MISSING_CATALOG_ABILITY.VIEWS"


class SessionWithoutViews:
    """A Spark session whose catalog cannot have views."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self.spark, self.catalog, self.processes = self, spark.catalog, None

    def sql(self, statement: str) -> DataFrame:
        if "VIEW" in statement:
            raise NoViewsError("Catalog unity does not support views.")
        return self._spark.sql(statement)


def test_a_catalog_without_views_gets_the_tables(spark: SparkSession, tmp_path: Path) -> None:
    """Given a schema that is named with its catalog; then another lake."""
    lake, other, session = tmp_path / "my lake", tmp_path / "other", SessionWithoutViews(spark)
    for root in (lake, other):
        tiny_lake.publish(root, {"events": [event("a"), event("b")]})
    try:
        for _ in range(2):
            assert not catalog.register(session, Lake.open(lake), "spark_catalog.without_views")  # type: ignore[arg-type]
        assert spark.sql("SELECT count(*) AS events FROM spark_catalog.without_views.events").collect()[0].events == 2
        assert {table.name for table in spark.catalog.listTables("spark_catalog.without_views")} == set(TABLES)
        with pytest.raises(SetupError, match=r"is the table at file:.*/my lake/events, not at .*/other/events: drop it"):
            catalog.register(session, Lake.open(other), "spark_catalog.without_views")  # type: ignore[arg-type]
    finally:
        spark.sql("DROP SCHEMA IF EXISTS spark_catalog.without_views CASCADE")


@pytest.mark.parametrize(
    ("conf", "fault"),
    [("{engine: sail}", "no schema is configured: set catalog.schema"), ("{engine: sail, catalog: {schema: x}}", "Sail has no catalog")],
)
def test_without_a_catalog_the_fault_is_one_line(tmp_path: Path, conf: str, fault: str) -> None:
    tiny_lake.publish(tmp_path / "lake", {})
    (tmp_path / "conf.yaml").write_text(conf)
    result = run_as_a_program(tmp_path / "landing", tmp_path / "lake", tmp_path / "conf.yaml", "catalog")
    assert (result.exit_code, len(result.faults)) == (2, 1)
    assert fault in result.fault

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

from jobs import catalog
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
    """What Spark raises when a catalog is asked for a view and cannot have one."""

    def getCondition(self) -> str:  # noqa: N802 - Spark's name
        return "MISSING_CATALOG_ABILITY.VIEWS"


class SessionWithoutViews:
    """Stands in for a Spark session whose catalog cannot have views: it notes the statements."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.spark, self.catalog, self.processes = self, self, None

    def databaseExists(self, _name: str) -> bool:  # noqa: N802 - Spark's name
        return True

    def sql(self, statement: str) -> None:
        if "VIEW" in statement:
            raise NoViewsError("Catalog unity does not support views.")
        self.statements.append(statement)


def test_a_catalog_without_views_gets_the_tables(tmp_path: Path) -> None:
    """Given a schema of a catalog that is not the session's own."""
    lake, session = tmp_path / "lake", SessionWithoutViews()
    tiny_lake.publish(lake, {})
    assert not catalog.register(session, Lake.open(lake), "unity.millrace")  # type: ignore[arg-type]
    assert len(session.statements) == len(TABLES)
    assert f"CREATE TABLE IF NOT EXISTS `unity`.`millrace`.`events` USING delta LOCATION '{lake}/events'" in session.statements


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

"""Readers without Millrace open the recorded state by the lines of the README, each on every table, and see the same rows."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from command_line import call_millrace
from deltalake import DeltaTable
from killed_publication import kill_publication
from tiny_lake import NIGHT, Rows, frame, publish

from jobs import open_lake
from jobs.commands import delta_readers
from jobs.errors import UsageError
from jobs.lake.table_changes import Change
from jobs.lake.table_files import write_partitioned
from jobs.lake.tables import Lake
from jobs.lake_reader import LakeReader, LakeTable
from schemas.catalog import TABLES
from schemas.table import Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(BLOCK,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "_state.json" in block)
LINES = {reader: line for line, reader in re.findall(r"^(.+?)  # (\w+)$", BLOCK, re.MULTILINE)}
REST = "\n".join(line for line in BLOCK.splitlines() if not re.search(r"  # \w+$", line))

Checksums = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two publications, of which the second removes a row of every table, and of a third that was killed half-way."""
    root = tmp_path_factory.mktemp("opening") / "lake"
    names = [name for name in TABLES if name != "runs"]
    publish(root, {name: rows(TABLES[name], 0) for name in names})
    with Lake.writing(root, "a test") as lake:
        before = {name: lake.files(name)[:1] for name in names}
        changes = staged(lake, {name: rows(TABLES[name], 2) for name in names}, "second")
        for name, change in changes.items():
            change.removed = before[name]
        lake.publish(changes, [{"run_id": "second", "command": "run", "step": "publish", "started": TIME, "status": "done"}], "second")
    changes = staged(Lake.open(root), {name: rows(TABLES[name], 4) for name in names}, "third")
    kill_publication(root, changes, "third", ("commit", len(names) // 2, "after"))
    return root


TIME = dt.datetime(2026, 11, 20, 23, 59, 59, 999_999, dt.UTC)


def staged(lake: Lake, tables: dict[str, Rows], run_id: str) -> dict[str, Change]:
    output = lake.begin(run_id)
    return {name: Change(write_partitioned(TABLES[name], frame(TABLES[name], of), output)) for name, of in tables.items()}


def rows(table: Table, number: int) -> Rows:
    """One row with nulls wherever they may be, and one with values, in a partition of its own; a number tells rows apart."""
    values = {column.name: filled(column.type, number) for column in table.columns if not column.values}
    return [{}, values | ({"source": "sunbird"} if "source" in table.names else {})]


def filled(kind: pa.DataType, number: int) -> Any:
    """A value of a type."""
    if pa.types.is_struct(kind):
        return {field.name: filled(field.type, number) for field in kind}
    if pa.types.is_list(kind):
        return [filled(kind.value_type, number), filled(kind.value_type, number + 1)]
    values = (
        (pa.types.is_date, NIGHT - dt.timedelta(days=number + 1)),
        (pa.types.is_timestamp, TIME - dt.timedelta(days=number)),
        (pa.types.is_boolean, number % 2 == 0),
        (pa.types.is_int32, 2**31 - 1 - number),
        (pa.types.is_integer, 10**15 + number),  # pandas keeps integers beside nulls as doubles
        (pa.types.is_floating, 0.1 + number),
        (pa.types.is_decimal, Decimal(f"{number}.123456789")),
        (pa.types.is_binary, b"\x00\xff" + bytes([number])),
        (pa.types.is_string, f"é\N{DUCK}\n{number}"),
    )
    return next(value for holds, value in values if holds(kind))


def checksums(lake: Path, reader: str, to_arrow: Callable[[Any, Table], pa.Table], **known: Any) -> Checksums:
    """What a reader sees of every table by its line of the README."""
    found = {}
    for name, table in TABLES.items():
        names: dict[str, Any] = dict(known)
        exec(at(lake, REST), names)
        opened = to_arrow(eval(at(lake, LINES[reader]).replace("sessions", name), names), table)
        assert sorted(opened.column_names) == sorted(table.names)
        found[name] = checksum(opened)
    return found


def checksum(rows: pa.Table) -> tuple[int, str]:
    """How many rows there are, and a hash of all their values."""
    lines = sorted(json.dumps(plain(row), sort_keys=True) for row in rows.to_pylist())
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def at(lake: Path, code: str) -> str:
    """The README's code, for the lake of the test."""
    return code.replace('"lake/', f'"{lake}/')


def plain(value: Any) -> Any:
    """A value in JSON's terms, the same whichever reader gave it."""
    match value:
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
        case dt.date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case Decimal():
            return f"{value:.9f}"
        case list() | tuple():
            return [plain(inner) for inner in value]
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
    return value


@pytest.fixture(scope="module")
def recorded(lake: Path) -> Checksums:
    """What Millrace sees of the recorded state, read by delta-rs."""
    own = Lake.open(lake)
    return {name: checksum(own.arrow(name)) for name in TABLES}


def test_the_latest_versions_of_the_lake_are_a_mixture(lake: Path, recorded: Checksums) -> None:
    ahead = {name for name in TABLES if DeltaTable(str(lake / name)).count() != recorded[name][0]}
    assert 0 < len(ahead) < len(TABLES) - 1


def test_pandas_opens_the_same_rows(lake: Path, recorded: Checksums) -> None:
    def to_arrow(given: pd.DataFrame, table: Table) -> pa.Table:
        return pa.Table.from_pandas(given, table.arrow.remove_metadata(), preserve_index=False)

    assert checksums(lake, "pandas", to_arrow) == recorded


def test_polars_opens_the_same_rows(lake: Path, recorded: Checksums) -> None:
    assert checksums(lake, "Polars", lambda given, _: given.to_arrow()) == recorded


def test_duckdb_opens_the_same_rows(lake: Path, recorded: Checksums) -> None:
    assert checksums(lake, "DuckDB", lambda given, _: given.to_arrow_table()) == recorded


def test_spark_opens_the_same_rows(lake: Path, recorded: Checksums, spark: SparkSession) -> None:
    assert checksums(lake, "Spark", lambda given, _: given.toArrow(), spark=spark) == recorded


def read_by(of_table: Callable[[LakeTable], pa.Table], opened: LakeReader) -> Checksums:
    """What `open_lake` gives of every table."""
    return {name: checksum(of_table(opened.table(name))) for name in TABLES}


def test_open_lake_gives_the_same_rows_in_every_form(lake: Path, recorded: Checksums, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_lake(lake)
    assert "warning: a killed run has left tables half-published" in capsys.readouterr().err
    assert read_by(lambda table: table.to_arrow(), opened) == recorded
    assert read_by(lambda table: table.to_duckdb().to_arrow_table(), opened) == recorded
    assert read_by(lambda table: table.to_polars().to_arrow(), opened) == recorded
    assert {name: len(opened.table(name).to_pandas()) for name in TABLES} == {name: rows for name, (rows, _) in recorded.items()}


def test_the_lines_of_the_readme_open_a_lake(lake: Path, spark: SparkSession) -> None:
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "open_lake" in block)
    imports, opening, *lines = filter(None, block.splitlines())
    names: dict[str, Any] = {}
    exec(f"{imports}\n{opening}".replace('"lake"', repr(str(lake))), names)
    kinds = [type(eval(line, names)).__module__.split(".")[0] for line in lines]
    assert kinds == ["pandas", "polars", "pyarrow", "duckdb", "pyspark", "pandas"]


@pytest.mark.usefixtures("without_arguments")
def test_the_lines_of_describe_open_a_table(lake: Path, recorded: Checksums, capfd: pytest.CaptureFixture[str]) -> None:
    described = [line.strip() for line in call_millrace(capfd, "describe", "files").stdout.splitlines()]
    assert {delta_readers.MILLRACE, delta_readers.own_line("files")} <= set(described)
    names: dict[str, Any] = {}
    exec(delta_readers.MILLRACE.replace('"lake"', repr(str(lake))), names)
    assert len(eval(delta_readers.own_line("files"), names)) == recorded["files"][0]


def test_open_lake_gives_spark_the_same_rows(lake: Path, recorded: Checksums, spark: SparkSession) -> None:
    opened = open_lake(lake)
    assert read_by(lambda table: table.to_spark(spark).toArrow(), opened) == recorded
    selected = opened.sessions.to_spark(columns=["session_duration"], where="source = 'sunbird' AND session_duration IS NOT NULL")
    assert selected.schema.simpleString() == "struct<session_duration:bigint>"
    assert selected.count() == opened.sessions.to_duckdb(where="source = 'sunbird' AND session_duration IS NOT NULL").shape[0] > 0
    with pytest.raises(UsageError, match=r"the condition is wrong: .*sorce"):
        opened.sessions.to_spark(spark, where="sorce = 'sunbird'")


def test_the_line_that_starts_a_spark_gives_the_session(spark: SparkSession, request: pytest.FixtureRequest) -> None:
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "spark_session.start" in block)
    if request.config.getoption("engine") != "spark":
        pytest.skip("one process has one engine")
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["spark"].sql("SELECT 1 AS one").collect()[0].one == 1


@pytest.mark.usefixtures("without_arguments")
@pytest.mark.parametrize("table", ["sessions", "runs"])
def test_describe_prints_the_lines_of_the_readme(table: str, capfd: pytest.CaptureFixture[str]) -> None:
    described = [line.strip() for line in call_millrace(capfd, "describe", table).stdout.splitlines()]
    assert set(LINES) == {"pandas", "Polars", "DuckDB", "Spark"}
    assert delta_readers.VERSIONS in BLOCK.splitlines()
    assert delta_readers.IMPORTS in described
    names: dict[str, Any] = {}
    exec(delta_readers.IMPORTS, names)
    assert {"json", "duckdb", "pl", "DeltaTable"} <= names.keys()
    assert {delta_readers.VERSIONS, *(f"{line.replace('sessions', table)}  # {reader}" for reader, line in LINES.items())} <= set(described)
    assert f'pd.read_parquet("lake/{table}")' in described[-1]


def test_a_reader_of_parquet_files_gives_removed_rows(lake: Path, recorded: Checksums) -> None:
    (line,) = re.findall(r"`(pd\.read_parquet\(.*?\))`", README)
    given = eval(at(lake, line), {"pd": pd})
    assert len(given) == 6 > recorded["sessions"][0] == 3

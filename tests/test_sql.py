"""`millrace sql`: what it prints in each shape, and what it says of a query that is wrong."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import put_in_place
from tiny_lake import NIGHT, publish

from jobs.commands import sql
from jobs.errors import LakeError, UsageError
from jobs.settings import Settings


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A lake with two files and a record that was refused."""
    file = {"source": "sunbird", "landing_date": NIGHT, "status": "done"}
    publish(
        settings.paths.lake,
        {
            "files": [file | {"file": "a.json", "records": 12_345, "landing_hour": 7}, file | {"file": "b.json", "records": 2}],
            "rejected_events": [{"source": "sunbird", "landing_date": NIGHT, "file": "a.json", "raw": b"\x1b[31m\xff\xc3\xa9"}],
        },
    )
    return settings


def output(settings: Settings, query: str, shape: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert sql.show(settings, query, shape) == 0
    return capsys.readouterr().out


def test_a_table_has_its_numbers_on_the_right_with_thousands(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(filled, "SELECT file, records, landing_hour FROM files ORDER BY file", "table", capsys).splitlines()
    assert [line.split() for line in lines if "json" in line] == [["a.json", "12,345", "7"], ["b.json", "2"]]
    first, second = (line for line in lines if "json" in line)
    assert first.index("12,345") + len("12,345") == len(second)


def test_csv_has_a_header_and_nothing_else_than_the_rows(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT file, records, landing_hour, landing_date, true AS yes, ['a', 'b,c'] AS list FROM files ORDER BY file"
    rows = list(csv.reader(io.StringIO(output(filled, query, "csv", capsys))))
    assert rows == [
        ["file", "records", "landing_hour", "landing_date", "yes", "list"],
        ["a.json", "12345", "7", "2026-11-20", "true", '["a", "b,c"]'],
        ["b.json", "2", "", "2026-11-20", "true", '["a", "b,c"]'],
    ]


def test_json_is_a_list_of_objects_with_iso_times_and_nested_values_as_they_are(
    filled: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    query = """
        SELECT DATE '2026-11-20' AS day, TIMESTAMPTZ '2026-11-20 10:00:00.5+02' AS moment, NULL AS nothing, 0.1::DOUBLE AS share,
            {'env': 'home', 'seen': [1, NULL]} AS struct, MAP {'a': 1} AS map, 'nan'::DOUBLE AS nan, 1.50::DECIMAL(10, 2) AS price,
            sum(records) AS total, 'é' AS text, TIME '10:00' AS clock
        FROM files"""
    assert json.loads(output(filled, query, "json", capsys)) == [
        {
            "day": "2026-11-20",
            "moment": "2026-11-20T08:00:00.500000+00:00",
            "nothing": None,
            "share": 0.1,
            "struct": {"env": "home", "seen": [1, None]},
            "map": {"a": 1},
            "nan": None,
            "price": 1.5,
            "total": 12_347,
            "text": "é",
            "clock": "10:00:00",
        }
    ]


def test_columns_of_one_name_stay_apart_in_json(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(output(filled, "SELECT 1 AS a, 2 AS a, 3 AS a_1", "json", capsys)) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


@pytest.mark.parametrize(("shape", "nothing"), [("csv", "file\n"), ("json", "[]\n")])
def test_no_rows_are_an_empty_result_and_no_fault(shape: str, nothing: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(filled, "SELECT file FROM files WHERE false", shape, capsys) == nothing


def test_no_control_character_of_the_data_reaches_the_terminal(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(filled, "SELECT raw FROM rejected_events", "table", capsys)
    assert "\x1b" not in shown
    assert r"\x1b[31m\xffé" in shown


def test_rows_with_many_columns_are_shown_a_line_per_column_on_a_terminal(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_in_place(monkeypatch, 80)
    sql.show(filled, "SELECT * FROM files ORDER BY file", "table")
    lines = [line.split() for line in terminal.getvalue().splitlines()]
    assert [line[1] for line in lines if line[:1] == ["records"]] == ["12,345", "2"]


def test_a_table_of_very_many_rows_says_that_it_is_cut(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    whole = output(filled, f"SELECT 'row' FROM range({sql.ROWS_SHOWN})", "table", capsys)
    cut = output(filled, f"SELECT 'row' FROM range({sql.ROWS_SHOWN} + 1)", "table", capsys)
    assert cut == whole + "these are the first 1,000 rows: --format csv gives them all\n"
    assert output(filled, "SELECT 'row' FROM range(25000)", "csv", capsys).count("\nrow") == 25_000


@pytest.mark.parametrize(
    "query", ["SHOW TABLES", "DESCRIBE files", "SUMMARIZE files", "FROM files", "EXPLAIN ANALYZE FROM files", "PIVOT files ON status"]
)
def test_every_way_of_reading_is_taken(query: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(filled, query, "csv", capsys).count("\n") > 1


@pytest.mark.parametrize(
    "query",
    [
        "DROP VIEW files",
        "CREATE TABLE mine AS FROM files",
        "COPY files TO '{}' (USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY files TO '{}' (USE_TMP_FILE false)",
        "/* */ EXPLAIN ANALYZE COPY files TO '{}' (USE_TMP_FILE false)",
        "EXPLAIN /* */ ANALYZE COPY files TO '{}' (USE_TMP_FILE false)",
        "SET TimeZone = 'Asia/Kolkata'",
        "WITH gone AS (DELETE FROM files RETURNING 1) FROM gone",
    ],
)
def test_a_statement_that_writes_is_refused_in_one_line(query: str, filled: Settings) -> None:
    (file,) = (filled.paths.lake / "files").rglob("*.parquet")
    before = file.read_bytes()
    with pytest.raises(UsageError) as raised:
        sql.show(filled, query.format(file), "table")
    assert "\n" not in str(raised.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("SELECT * FROM session", "Table with name session does not exist"),
        ("SELECT nothing FROM files", 'Referenced column "nothing" not found'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT 'a'::INTEGER", "Could not convert string 'a'"),
    ],
)
def test_a_query_that_is_wrong_is_one_line_that_names_the_tables(query: str, wrong: str, filled: Settings) -> None:
    with pytest.raises(UsageError) as raised:
        sql.show(filled, query, "json")
    output = str(raised.value)
    assert wrong in output
    assert "(the tables are events, duplicate_events, " in output
    assert "\n" not in output


@pytest.mark.parametrize(("query", "count"), [("", "no"), ("-- nothing", "no"), ("SELECT 1; SELECT 2", "2")])
def test_one_statement_is_asked_for(query: str, count: str, filled: Settings) -> None:
    with pytest.raises(UsageError, match=f"^{count} statements were given: give one"):
        sql.show(filled, query, "table")


def test_no_lake_is_one_line_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(LakeError, match="no lake at"):
        sql.show(settings, "SELECT 1", "table")


def test_the_command_loads_nothing_that_takes_seconds(filled: Settings) -> None:
    heavy = "{'great_expectations', 'matplotlib', 'py4j', 'pyspark'}"
    imports = "import sys\nfrom jobs.commands import program\n"
    code = imports + f"try:\n    program.main()\nfinally:\n    print({heavy} & set(sys.modules), file=sys.stderr)"
    arguments = ["sql", "--lake", str(filled.paths.lake), "--format", "csv", "SELECT count(*) AS files FROM files"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "files\n2\n", "set()\n")


def test_output_that_nobody_reads_on_is_no_fault(filled: Settings) -> None:
    millrace = Path(sys.executable).with_name("millrace")
    query = "SELECT range FROM range(1000000)"
    done = subprocess.run(
        f"set -o pipefail; {millrace} sql --lake '{filled.paths.lake}' --format csv '{query}' | head -1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("range\n", "", 0)

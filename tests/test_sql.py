"""`millrace sql`: what it prints in each shape, and what it says of a query that is wrong."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call_millrace
from terminal import put_in_place
from tiny_lake import NIGHT, publish

from jobs import settings as configuration
from jobs.commands import sql
from jobs.errors import LakeError, UsageError
from jobs.settings import Settings


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with two files and a record that was refused. No test changes it."""
    root = tmp_path_factory.mktemp("sql")
    settings = configuration.load().at(root / "landing", root / "lake")
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
    assert [line.split() for line in lines if "json" in line] == [["a.json", "12,345", "7"], ["b.json", "2", "NULL"]]
    first, second = (line for line in lines if "json" in line)
    assert first.index("12,345") + len("12,345") == second.index(" 2 ") + len(" 2")


def test_csv_has_a_header_and_nothing_else_than_the_rows(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT file, records, landing_hour, landing_date, true AS yes, ['a', 'b,c'] AS list FROM files ORDER BY file"
    rows = list(csv.reader(io.StringIO(output(filled, query, "csv", capsys))))
    assert rows == [
        ["file", "records", "landing_hour", "landing_date", "yes", "list"],
        ["a.json", "12345", "7", "2026-11-20", "true", '["a", "b,c"]'],
        ["b.json", "2", "", "2026-11-20", "true", '["a", "b,c"]'],
    ]


def test_csv_tells_null_from_an_empty_text(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        output(filled, "SELECT NULL AS a, '' AS b, 'say \"a, b\"' AS c, e'x\\ny' AS d", "csv", capsys)
        == 'a,b,c,d\n,"","say ""a, b""","x\ny"\n'
    )


def test_a_table_tells_null_from_an_empty_text_and_from_zero(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(
        filled, "SELECT landing_hour, '|' || coalesce(error, '') AS error, error AS raw FROM files ORDER BY file", "table", capsys
    )
    assert [line.split() for line in lines.splitlines()[2:4]] == [["7", "|", "NULL"], ["NULL", "|", "NULL"]]
    assert "NULL" not in output(filled, "SELECT '' AS nothing, 0 AS zero", "table", capsys)


def test_only_columns_without_any_value_are_left_out_on_a_narrow_terminal(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_in_place(monkeypatch, 30)
    sql.show(filled, "SELECT file, status, '' AS nothing, 0 AS zero, error, sha256 FROM files", "table")
    assert " ".join(terminal.getvalue().split()).endswith(
        "left out, NULL in every row: error, sha256; a wider terminal or a pipe (| cat) shows them"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "year(DATE '2026-11-20') AS y",
        "max(year(DATE '2026-11-20')) AS latest",
        "date_part('year', DATE '2026-11-20') AS part",
        "extract(year FROM DATE '2026-11-20')",
        "year(DATE '2026-11-20') - 1 AS before",
        "(year(DATE '2026-11-20') * 100 + month(DATE '2026-11-20'))::INTEGER AS yyyymm",
        "CASE WHEN true THEN year(DATE '2026-11-20') END AS perhaps",
        "coalesce(NULL, (SELECT 2026 AS year)) AS year",
        "hash('a') AS h",
        "hash('a') % 1000000 AS bucket",
        "epoch_ms(TIMESTAMP '2026-11-20') AS moment",
        "12345 AS user_id",
        "12345 AS key_hash",
        "12345 AS record",  # a part of a key
        "12345 AS first_ets",  # a time since 1970
    ],
)
def test_numbers_that_name_something_have_no_separators(expression: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = output(filled, f"SELECT {expression}", "table", capsys).splitlines()[2:3]
    assert "," not in cell


@pytest.mark.parametrize(
    "expression",
    [
        "12345 AS records",
        "12345 AS sessions_per_day",
        "sum(records)",
        "max(records) AS most FROM files",
        "count(DISTINCT range) AS user_ids FROM range(12345)",
        "count(year) AS year FROM (SELECT 2026 AS year FROM range(12345))",
        "epoch(TIMESTAMP '2026-11-20' - TIMESTAMP '2026-11-19') AS seconds",
        "max(last_ets) - min(first_ets) AS duration FROM (SELECT 10000 AS first_ets, 20000 AS last_ets)",
        "12345 AS session_duration",
    ],
)
def test_numbers_that_measure_keep_their_separators(expression: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    of_files = "" if " FROM " in expression or "sum" not in expression else " FROM files"
    (cell,) = output(filled, f"SELECT {expression}{of_files}", "table", capsys).splitlines()[2:3]
    assert "," in cell


def test_a_computed_column_is_judged_through_a_subquery_and_beside_a_star(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = """
        WITH dated AS (SELECT records, year(landing_date) AS y FROM files)
        SELECT y * 10 AS "before", *, max(y) OVER () AS after, records + 1 AS more FROM dated ORDER BY records DESC LIMIT 1"""
    assert output(filled, query, "table", capsys).splitlines()[2].split() == ["20260", "12,345", "2026", "2026", "12,346"]


def test_a_union_is_judged_by_its_first_query(filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT year(landing_date) AS a, records AS b FROM files UNION SELECT 2025, 54321 ORDER BY ALL"
    assert output(filled, query, "table", capsys).splitlines()[2].split() == ["2025", "54,321"]


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


@pytest.mark.parametrize("shape", ["csv", "json"])
def test_a_decimal_keeps_its_digits(shape: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("12345678901234567890.123456789", "0.000000000", "0.000000100"):
        _is_shown_twice(number, shape, filled, capsys)


def _is_shown_twice(number: str, shape: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(filled, f"SELECT {number}::DECIMAL(38, 9) AS a, [{number}::DECIMAL(38, 9)] AS list", shape, capsys)
    assert shown.count(number) == 2


@pytest.mark.parametrize("shape", ["table", "csv", "json"])
def test_intervals_have_months_and_times_nanoseconds(shape: str, filled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = """
        SELECT age(TIMESTAMP '2026-11-20', TIMESTAMP '2025-11-20') AS a, [INTERVAL '1 month'] AS b, {'c': INTERVAL '2 days'} AS d,
            TIMESTAMP_NS '2020-01-01 00:00:00.123456789' AS a FROM range(2) ORDER BY range; -- the end"""
    shown = output(filled, query, shape, capsys)
    for value in ("1 year", "1 month", "2 days", "2020-01-01T00:00:00.123456789"):
        assert shown.count(value) == 2


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
    "query",
    [
        "SHOW TABLES",
        "DESCRIBE files",
        "SUMMARIZE files",
        "FROM files",
        "EXPLAIN ANALYZE FROM files",
        "EXPLAIN /* é */ ANALYZE FROM files",
        "-- é\nEXPLAIN (ANALYZE, FORMAT json) FROM files",
        "EXPLAIN (FROM files)",
        "PIVOT files ON status",
        "PRAGMA table_info('files')",
        "PRAGMA /* */ version",
        "CALL pragma_version()",
        "CALL duckdb_views()",
    ],
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
        "CALL enable_logging(storage = 'memory')",
        "CALL checkpoint()",
        "FROM enable_profiling()",
        "PRAGMA enable_verification",
        "EXPLAIN ANALYZE CALL enable_profiling()",
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
    ("query", "says"),
    [
        ("SELECT * FROM session", "no table is called 'session': did you mean sessions? `millrace describe` lists the tables"),
        ("SELECT * FROM zzz", "no table is called 'zzz': `millrace describe` lists the tables"),
        ("WITH mine AS (FROM files) FROM mien", "no table is called 'mien': did you mean mine? `millrace describe` lists the tables"),
        (
            "SELECT recrods FROM files",
            "no column is called 'recrods' in files: did you mean records? `millrace describe files` lists the columns",
        ),
        (
            "SELECT f.acepted FROM files f",
            "no column is called 'acepted' in files: did you mean accepted? `millrace describe files` lists the columns",
        ),
        (
            "SELECT duration FROM sessions",
            "no column is called 'duration' in sessions: did you mean session_duration? `millrace describe sessions` lists the columns",
        ),
        (
            "SELECT time FROM sessions",
            "no column is called 'time' in sessions: did you mean end_time or start_time? `millrace describe sessions` lists the columns",
        ),
        ("SELECT numerator FROM sessions", "no column is called 'numerator' in sessions: it is one of daily_metrics"),
        (
            "SELECT 1 FROM files JOIN runs USING (run_id) WHERE zzz",
            "no column is called 'zzz' in files or runs: `millrace describe files` and `millrace describe runs` list the columns",
        ),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT\n1,\nfrm files x y", 'line 3: Parser Error: syntax error at or near "x"'),
        ("SELECT yer(landing_date) FROM files", 'Catalog Error: Scalar Function with name yer does not exist! Did you mean "year"?'),
        ("SELECT 'a'::INTEGER", "Conversion Error: Could not convert string 'a' to INT32"),
    ],
)
def test_a_query_that_is_wrong_is_one_line_with_the_nearest_name(query: str, says: str, filled: Settings) -> None:
    with pytest.raises(UsageError) as raised:
        sql.show(filled, query, "json")
    assert str(raised.value) == says


def call_with_stdin(filled: Settings, stdin: bytes, *arguments: str) -> tuple[int, str, str]:
    code = "from jobs.commands import program; program.main()"
    call = [sys.executable, "-c", code, "sql", "--lake", str(filled.paths.lake), "--format", "csv", *arguments]
    done = subprocess.run(call, input=stdin, capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_query_comes_from_stdin_or_from_a_file(filled: Settings, tmp_path: Path) -> None:
    query = "-- how many\nSELECT count(*) AS files, 'é' AS text\nFROM files;\n".encode()
    (tmp_path / "my query.sql").write_bytes(b"\xef\xbb\xbf" + query)
    assert call_with_stdin(filled, query, "-") == (0, "files,text\n2,é\n", "")
    assert sql.read_query(None, tmp_path / "my query.sql") == query.decode()


@pytest.mark.usefixtures("without_arguments")
@pytest.mark.parametrize("query", ["-- how many\nSELECT 1 AS one", "--a=b\nSELECT 1 AS one", "/* */ SELECT 1 AS one"])
def test_a_query_may_begin_with_a_comment(query: str, filled: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = call_millrace(capfd, "sql", query, "--lake", filled.paths.lake, "--format", "csv")
    assert (code, shown) == (0, "one\n1\n")


@pytest.mark.parametrize(
    ("query", "file", "says"),
    [
        (None, None, "give one query: "),
        ("SELECT 1", "mine.sql", "give one query: "),
        (None, "nowhere.sql", "nowhere.sql cannot be read (No such file or directory): name another file with --file"),
        (None, "latin.sql", "latin.sql is not UTF-8: save it as UTF-8"),
        ("{tmp}/mine.sql", None, "mine.sql is a file: call `millrace sql --file "),
    ],
)
def test_a_query_that_cannot_be_read_is_one_line_with_the_remedy(query: str | None, file: str | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text("SELECT 1")
    (tmp_path / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        sql.read_query(query and query.replace("{tmp}", str(tmp_path)), tmp_path / file if file else None)
    assert says in str(raised.value)


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

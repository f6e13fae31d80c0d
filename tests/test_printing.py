"""Results on stdout: nothing is ever cut, and nothing of the data steers a terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from command_line import call_millrace
from conftest import without_pages
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal import WIDTHS, Terminal, put_in_place, stands_in
from tiny_lake import NIGHT, publish

from jobs import maintain
from jobs import settings as configuration
from jobs.commands import generate_data, quality, run_nights, sql, status
from jobs.console.printing import print_line, print_table
from jobs.console.progress import Progress
from jobs.console.table_layout import cells_wide, columns_of, lay_out
from jobs.errors import UsageError
from jobs.landing.zone import Partition
from jobs.night import Outcome, PartitionCounts
from jobs.quality.gate import Finding
from jobs.settings import Settings

# A path that tries to clear the screen, to begin another line and to turn the direction of writing.
ODD_NAME = "sunbird/date=2026-11-20/\x1b[2J\nall is well\u202e.json"
ODD_NAME_SHOWN = r"sunbird/date=2026-11-20/\x1b[2J\nall is well\u202e.json"

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.dates(),
    st.text(max_size=60),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]], list[str]]:
    names = draw(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8, unique=True))
    decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2)
    kinds = [draw(st.sampled_from([values, decimals, st.integers(0, 10**9), st.just(0), st.text(max_size=100)])) for _ in names]
    rows = draw(st.lists(st.tuples(*kinds).map(list), max_size=5))
    return names, rows, draw(st.lists(st.sampled_from(names)))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (0.5, "0.5"),
        (1234.5678, "1,234.568"),
        (2.0, "2"),
        (0.0004, "0.0004"),
        (0.0, "0"),
        (1.7e308, "1.7e+308"),
        (Decimal("12345678901234567890.10"), "12,345,678,901,234,567,890.10"),
        (None, ""),
        (True, "yes"),
    ],
)
def test_values_are_written_for_eyes(capsys: pytest.CaptureFixture[str], value: object, shown: str) -> None:
    print_table("", ["value", "end"], [[value, "|"]])
    assert capsys.readouterr().out.splitlines()[2].removesuffix("|").strip() == shown


def test_numbers_are_added_up_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("", ["name", "size"], [["a", 1_000], ["b", None], ["c", 2]], total=True)
    assert capsys.readouterr().out.split()[-2:] == ["all", "1,002"]


@settings(max_examples=40, deadline=None)
@given(tables(), st.one_of(st.none(), st.integers(1, 200)), st.booleans())
def test_every_cell_of_a_table_is_whole_at_every_width(
    made: tuple[list[str], list[list[Any]], list[str]], width: int | None, total: bool
) -> None:
    names, rows, prose = made
    columns = columns_of(names, rows, prose, total=total)
    layout = lay_out(columns, width, total=total)
    shown = "\n".join(layout.lines)
    assert all(character.isprintable() or character == "\n" for character in shown)
    for column in columns:
        if column.name in layout.left_out:
            assert not any(cell.strip("0.") for cell in column.cells)
        else:
            # Whatever is wrapped has its words; a name of blanks alone cannot be seen.
            assert stands_in(column.name, shown, is_prose=True)
            assert all(stands_in(cell, shown, is_prose=column.is_prose) for cell in column.cells)
    is_upright = not any(line.startswith("─") for line in layout.lines)
    assert width is None or is_upright or all(cells_wide(line) <= width for line in layout.lines)


def test_columns_without_content_are_left_out_first_and_a_line_says_how_to_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_in_place(monkeypatch, 40)
    print_table("", ["source", "records", "unreadable", "error"], [["homepagevisit", 1_234_567, 0, ""], ["sunbird", 12, 0, None]])
    assert terminal.getvalue().splitlines() == [
        "source           records",
        "────────────────────────",
        "homepagevisit  1,234,567",
        "sunbird               12",
        "",
        "left out, empty or 0 in every row:",
        "unreadable, error; a wider terminal or a",
        "pipe (| cat) shows them",
        "",
    ]


def test_rows_that_are_too_wide_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_in_place(monkeypatch, 30)
    rows = [["sunbird/date=2026-11-20/a.json", 1_321, "two words of a sentence"], ["b.json", 7, ""]]
    print_table("", ["file", "records", "why"], rows, prose=["why"])
    assert terminal.getvalue().splitlines() == [
        "file     sunbird/date=2026-11-20/a.json",
        "records  1,321",
        "why      two words of a",
        "         sentence",
        "",
        "file     b.json",
        "records  7",
        "why",
        "",
    ]


def test_sentences_are_wrapped_between_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_in_place(monkeypatch, 40)
    print_table("", ["column", "meaning"], [["session_id", "deterministic id of the session, which is whole"]], prose=["meaning"])
    assert [line.split("  ")[-1] for line in terminal.getvalue().splitlines()[2:4]] == [
        "deterministic id of the",
        "session, which is whole",
    ]


def test_a_pipe_gets_lines_as_long_as_they_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = put_in_place(monkeypatch, None)
    print_table("", ["a", "b"], [["x" * 300, "a long sentence " * 30]], prose=["b"])
    assert len(pipe.getvalue().splitlines()) == 4


# What each command prints, on a lake of a few rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake whose names are odd and whose numbers are long, with checks that failed."""
    root = tmp_path_factory.mktemp("printed")
    settings = without_pages(configuration.load()).at(root / "landing", root / "lake")
    (root / "landing").mkdir()
    counts = {"records": 1_234_567, "accepted": 1_234_566, "duplicates": 0, "rejected": 1, "erased": 0, "size": 123_456_789}
    file = {"source": "sunbird", "landing_date": NIGHT, "status": "done", "landing_hour": 7}
    check = {"table": "events", "date": NIGHT, "severity": "warning", "expectation": "a rule of some length that must hold"}
    publish(
        settings.paths.lake,
        {
            "files": [
                file | counts | {"file": ODD_NAME},
                file | {"file": "b\x07.json", "status": "unreadable", "size": 5, "error": "it holds \x1b]0;nothing\x07\n"},
            ],
            "rejected_events": [
                {
                    "source": "sunbird",
                    "landing_date": NIGHT,
                    "file": ODD_NAME,
                    "reason": "schema_violation",
                    "path": "/\x1b[0m",
                    "detail": "type",
                }
            ],
            "quality_results": [
                check | {"passed": False, "source": "sunbird", "observed": "0.217391", "threshold": "at most 0.2"},
                check | {"passed": False, "source": None},
                check | {"passed": True, "source": "contentsquare"},
            ],
        },
    )
    return settings


def show_a_run(_: Settings) -> None:
    partitions = {
        Partition(NIGHT, "activity_stream"): PartitionCounts(24, 1_234_567, 1_234_000, 500, 67),
        Partition(NIGHT, "sunbird"): PartitionCounts(1, unreadable=1),
    }
    failed = [Finding("events", "a rule", "warning", 0.28, maximum=0.2, passed=False)]
    run_nights.show(Outcome("20261121T021500-abc123", NIGHT, 25, True, partitions, [(ODD_NAME, "it is cut\n")], failed, 20))


def show_what_was_generated(made: Settings) -> None:
    generate_data.write(made.paths.landing, NIGHT, 40, ["sunbird"], 1, 0.03)
    generate_data.show_truth(made.paths.landing, NIGHT, NIGHT)


COMMANDS: dict[str, Callable[[Settings], object]] = {
    "run": show_a_run,
    "status": status.show,
    "quality": lambda made: quality.show(made, NIGHT),
    "sql": lambda made: sql.show(made, "SELECT * FROM files", "table"),
    "sql of one": lambda made: sql.show(made, "SELECT file, records, size FROM files", "table"),
    "sql explained": lambda made: sql.show(made, "EXPLAIN SELECT 1", "table"),
    "describe": lambda _: [describe_show(name) for name in (None, "runs", "daily_metrics")],
    "maintain": lambda made: maintain.run(made, dt.date(2026, 11, 21)),
    "generate": show_what_was_generated,
}


def describe_show(name: str | None) -> int:
    from jobs.commands import describe

    return describe.show(name)


@pytest.mark.parametrize("columns", [*WIDTHS, None])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_cuts_what_it_prints(lake: Settings, monkeypatch: pytest.MonkeyPatch, command: str, columns: int | None) -> None:
    terminal = put_in_place(monkeypatch, columns)
    COMMANDS[command](lake)
    shown = terminal.getvalue()
    assert shown
    terminal.assert_whole()
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\nall is well" not in shown
    if command in ("run", "sql", "sql of one", "quality"):
        assert ODD_NAME_SHOWN in shown


def test_names_are_data_in_messages_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    print_line(ODD_NAME)
    progress = Progress()
    progress.begin(ODD_NAME)
    progress.note(ODD_NAME)
    with progress.step(ODD_NAME):
        pass
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == (ODD_NAME_SHOWN + "\n", 2)
    assert "\x1b" not in output.err
    assert output.err.count(ODD_NAME_SHOWN) == 4


@pytest.mark.usefixtures("without_arguments")
@pytest.mark.parametrize("arguments", [["describe", ODD_NAME], ["status", "--lake", ODD_NAME], ["run", "--date", ODD_NAME]])
def test_names_are_data_in_a_fault(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    result = call_millrace(capfd, *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr[:-1].isprintable()


def test_csv_and_json_have_names_as_they_landed(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT file FROM files WHERE status = 'done'"
    sql.show(lake, query, "csv")
    assert ODD_NAME in capsys.readouterr().out


def test_checks_that_failed_are_counted_per_source(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    status.show(lake)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("2026-", "all "))]
    assert [(line[1], line[-1]) for line in lines[:-1]] == [("sunbird", "1"), ("(all", "1")]
    assert lines[-1][-1] == "2"


def test_a_terminal_has_the_width_that_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Terminal(None).isatty() is False
    put_in_place(monkeypatch, 123)
    from jobs.console.printing import terminal_width

    assert terminal_width() == 123


def test_the_report_shows_names_without_control_characters(lake: Settings) -> None:
    from jobs.commands import report

    report.write(lake, NIGHT, Path(lake.paths.lake / "night.html"))
    page = Path(lake.paths.lake / "night.html").read_text(encoding="utf-8")
    assert r"\x1b]0;nothing\x07\n" in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("night", "landed", "says"),
    [
        ("2026-11-21", False, "was run and nothing had landed"),
        ("2026-11-21", True, "was run before anything had landed"),
        ("2026-11-22", True, "was never run: `millrace run"),
        ("2026-11-22", False, "was never run, and nothing has landed"),
        ("2026-11-20", True, "was read and not checked"),
    ],
)
def test_a_night_without_checks_says_why(tmp_path: Path, night: str, landed: bool, says: str) -> None:
    given = configuration.load().at(tmp_path / "landing", tmp_path / "lake")
    publish(given.paths.lake, {"files": [{"source": "sunbird", "landing_date": NIGHT, "file": "a.json"}]})
    publish(given.paths.lake, {}, run_id="20261122T021500-abc123", night=dt.date(2026, 11, 21))
    if landed:
        folder = given.paths.landing / "sunbird" / f"date={night}"
        folder.mkdir(parents=True)
        (folder / "a.json").write_text("{}\n")
    with pytest.raises(UsageError, match=says):
        quality.show(given, dt.date.fromisoformat(night))


def test_refusals_beyond_the_most_frequent_ones_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = configuration.load().at(tmp_path / "landing", tmp_path / "lake")
    where = {"source": "sunbird", "landing_date": NIGHT, "file": "a.json", "reason": "schema_violation", "path": "/edata"}
    refused = [where | {"record": number, "detail": f"way {number % (quality.TOP + 3):02}"} for number in range(4 * (quality.TOP + 3))]
    checked = {"table": "events", "date": NIGHT, "expectation": "e", "severity": "critical", "passed": True}
    publish(given.paths.lake, {"rejected_events": refused, "quality_results": [checked]})
    quality.show(given, NIGHT)
    assert "and 12 more in 3 other ways: `millrace sql" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "quality", "describe", "sql", "describe runs", "--help", "status --help", "maintain"])
def test_a_reader_that_leaves_ends_no_command_with_a_fault(lake: Settings, command: str) -> None:
    paths = [] if command.startswith(("describe", "--")) or "--help" in command else ["--lake", str(lake.paths.lake)]
    query = ["SELECT * FROM files"] if command == "sql" else []
    reading, writing = os.pipe()
    os.close(reading)
    call = [sys.executable, "-c", "from jobs.commands.program import program; program()", *command.split(), *paths, *query]
    done = subprocess.run(call, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    faults = [line for line in done.stderr.splitlines() if not line.startswith("maintain ")]
    assert (done.returncode, faults) == (0, [])


def test_status_shows_the_nights_that_are_named_or_need_a_look(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    def nights_of(**only: Any) -> list[tuple[str, str | None, int | None]]:
        capsys.readouterr()
        status.show(lake, status.NightFilter(**only), "json")
        output = json.loads(capsys.readouterr().out)
        assert set(output) == {"lake", "state", "rules", "nights", "unreadable", "did_not_land", "no_file_left", "in_no_partition"}
        assert all(set(night) == set(status.FIELDS) for night in output["nights"])
        return [(night["date"], night["source"], night["failed_checks"]) for night in output["nights"]]

    whole = [("2026-11-20", "sunbird", 1), ("2026-11-20", None, 1)]
    assert nights_of() == nights_of(problems=True) == nights_of(first=NIGHT, last=NIGHT, sources=("sunbird",)) == whole
    assert nights_of(first=dt.date(2026, 11, 21)) == nights_of(last=dt.date(2026, 11, 19)) == []
    assert nights_of(sources=("contentsquare",)) == [("2026-11-20", None, 1)]

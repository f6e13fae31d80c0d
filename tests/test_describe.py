"""`millrace describe`: the data dictionary in a pager, as JSON and as one page with the lineage of the tables."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import call_millrace
from terminal import put_in_place

from jobs.commands import describe, lineage
from jobs.errors import UsageError
from schemas.catalog import TABLES
from schemas.metrics import METRICS
from schemas.table import ORIGINS, STRING, Table, column, sql_type

pytestmark = pytest.mark.usefixtures("without_arguments")


def test_every_table_says_what_it_is_computed_from() -> None:
    for table in TABLES.values():
        assert table.computed_from, table.name
        assert set(table.computed_from) <= {*TABLES, *ORIGINS} - {table.name}, table.name


# --- JSON


def test_json_has_the_contracts_of_all_tables_and_the_metrics(capfd: pytest.CaptureFixture[str]) -> None:
    described = json.loads(call_millrace(capfd, "describe", "--format", "json").stdout)
    assert [table["name"] for table in described["tables"]] == list(TABLES)
    for table in described["tables"]:
        contract = TABLES[table["name"]]
        assert (table["key"], table["computed_from"]) == (list(contract.key), list(contract.computed_from))
        assert [(one["name"], one["type"]) for one in table["columns"]] == [(one.name, sql_type(one.type)) for one in contract.columns]
        assert [check["condition"] for check in table["checks"]] == [check.condition for check in contract.checks]
    assert {metric["name"]: metric["definition"] for metric in described["metrics"]} == {
        metric.name: metric.definition for metric in METRICS.values()
    }


def test_json_of_one_table_has_units_bounds_and_allowed_values(capfd: pytest.CaptureFixture[str]) -> None:
    described = json.loads(call_millrace(capfd, "describe", "files", "--format", "json").stdout)
    (files,) = described["tables"]
    columns = {one["name"]: one for one in files["columns"]}
    assert "metrics" not in described
    assert columns["status"]["values"] == ["done", "unreadable"]
    assert (columns["size"]["unit"], columns["size"]["minimum"], columns["size"]["maximum"]) == ("bytes", 0, None)
    assert (columns["file"]["always_filled"], columns["error"]["always_filled"]) == (True, False)


def test_allowed_values_are_in_the_meaning(capfd: pytest.CaptureFixture[str]) -> None:
    assert "done or unreadable; one of done, unreadable" in call_millrace(capfd, "describe", "files").stdout


# --- the page


class Page(HTMLParser):
    """The ids, links, other files and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.loaded += [tag] if tag in ("script", "link", "img", "iframe", "object") or "src" in given else []

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture
def page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Page:
    out = tmp_path / "pages" / "dictionary.html"
    result = call_millrace(capfd, "describe", "--format", "html", "--out", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    return Page(out.read_text(encoding="utf-8"))


def test_the_page_has_every_table_column_and_metric_and_loads_nothing(page: Page) -> None:
    assert set(TABLES) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {one.name for table in TABLES.values() for one in table.columns} | set(METRICS) <= set(page.texts)
    assert page.loaded == []


def test_every_link_of_the_page_leads_to_a_place_on_it(page: Page) -> None:
    assert {link.removeprefix("#") for link in page.links} == set(TABLES)


def test_a_page_goes_to_a_pipe_and_not_to_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_millrace(capfd, "describe", "--format", "html").stdout.startswith("<!DOCTYPE html>")
    put_in_place(monkeypatch, 80)
    with pytest.raises(UsageError, match=r"name a file with --out dictionary\.html"):
        describe.show(None, "html")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sessions", "--format", "html"], "the page has all tables: leave the name of the table out"),
        (["sessions", "--out", "{tmp}/a.txt"], "--out takes --format html or --format json"),
        (["--format", "html", "--out", "{tmp}/file/a.html"], "the dictionary cannot be written to {tmp}/file/a.html"),
        (["session", "--format", "json"], "no table is called 'session': did you mean sessions? `millrace describe` lists the tables"),
    ],
)
def test_a_wrong_call_is_one_line(arguments: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    result = call_millrace(capfd, "describe", *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says.replace("{tmp}", str(tmp_path)) in result.fault


# --- the drawing


def table(name: str, *computed_from: str) -> Table:
    return Table(name=name, one_row_per=name, columns=(column("id", STRING, "its id"),), computed_from=computed_from)


def test_a_table_is_drawn_to_the_right_of_all_that_it_is_computed_from() -> None:
    drawing = lineage.draw(list(TABLES.values()))
    boxes = {box.name: box for box in drawing.boxes}
    assert set(TABLES) <= set(boxes)
    assert len(drawing.lines) == sum(len(one.computed_from) for one in TABLES.values())
    for one in TABLES.values():
        assert all(boxes[name].x + boxes[name].width < boxes[one.name].x for name in one.computed_from)


def test_boxes_are_apart_and_inside_the_drawing() -> None:
    drawing = lineage.draw(list(TABLES.values()))
    for number, box in enumerate(drawing.boxes):
        assert 0 <= box.x <= box.x + box.width <= drawing.width
        assert 0 <= box.y <= box.y + lineage.BOX_HEIGHT <= drawing.height
        for other in drawing.boxes[number + 1 :]:
            assert box.x != other.x or abs(box.y - other.y) > lineage.BOX_HEIGHT


def test_a_line_that_crosses_a_column_passes_between_its_boxes() -> None:
    """Given `last` from `first` two columns before it, and tables in the column between."""
    tables = [table("first", ORIGINS[0]), table("one", "first"), table("two", "first"), table("last", "first", "one")]
    drawing = lineage.draw(tables)
    boxes = {box.name: box for box in drawing.boxes}
    (crossing,) = (line for line in drawing.lines if "H" in line)
    height = float(crossing.partition("H")[0].split()[-1])
    assert all(abs(height - boxes[name].middle) > lineage.BOX_HEIGHT / 2 for name in ("one", "two"))


# --- the pager


def shown_on_a_terminal(pager: str, *arguments: str) -> tuple[int, str]:
    """How `millrace` ends on a terminal with this PAGER, and what the terminal shows."""
    terminal, stdout = pty.openpty()
    code = "from jobs.commands.program import program; program()"
    variables = {**os.environ, "PAGER": pager, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=stdout, stderr=stdout, env=variables)
    os.close(stdout)
    shown = b""
    try:
        while part := os.read(terminal, 65_536):
            shown += part
    except OSError:  # how Linux says that the last writer has closed a terminal
        pass
    os.close(terminal)
    return process.wait(), shown.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_dictionary_goes_through_the_pager() -> None:
    code, shown = shown_on_a_terminal("sed 's/^/> /'", "describe", "files")
    assert code == 0
    assert shown.startswith("> files: one row per landed file\n")
    assert all(line.startswith("> ") for line in shown.splitlines())


def test_a_pager_that_is_left_early_is_no_fault() -> None:
    assert shown_on_a_terminal("head -n 1", "describe", "events") == (0, "events: one row per accepted event, after deduplication\n")


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager", "open 'quote"])
def test_without_a_pager_the_dictionary_goes_to_the_terminal(pager: str) -> None:
    code, shown = shown_on_a_terminal(pager, "describe", "files")
    assert (code, shown.splitlines()[0]) == (0, "files: one row per landed file")


def test_a_fault_is_shown_when_the_pager_has_ended() -> None:
    code, shown = shown_on_a_terminal("sed 's/^/> /'", "describe", "session")
    assert (code, shown.splitlines()) == (
        2,
        ["millrace: no table is called 'session': did you mean sessions? `millrace describe` lists the tables"],
    )

"""The tour, the twenty questions and the notebooks: each is run on the lakes that the tour makes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import executed_notebooks
import nbformat
import pytest
import questions_page
from conftest import plain_environment
from executed_notebooks import NOTEBOOKS, PICTURES, ROOT
from questions_page import Question

from jobs import open_lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# --- the tour

STEPS = re.findall(r"```(sh|python)\n(.*?)```", (ROOT / "docs" / "tour.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def tour(demo_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all steps of the tour in the shell were taken, but for `make demo`: it has the lake of the demo."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "lake").symlink_to(demo_lake)
    (folder / "landing").symlink_to(demo_lake.with_name("landing"))
    variables = plain_environment()
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    for language, step in STEPS[1:]:
        if language == "sh":
            done = subprocess.run(["bash", "-euc", step], cwd=folder, env=variables, capture_output=True, text=True)
            assert done.returncode == 0, (step, done.stderr)
            assert done.stdout, step
            # A rebuild says how far it is, and warns of what the generated faults make fail.
            assert "rebuild" in step or not done.stderr, (step, done.stderr)
    return folder


@pytest.fixture(scope="module")
def weeks(tour: Path) -> Path:
    """The lake of four weeks."""
    return tour / "weeks" / "lake"


def test_the_tour_leads_from_the_demo_to_a_retention_curve(tour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STEPS[0] == ("sh", "make demo\n")
    monkeypatch.chdir(tour)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, Any] = {}
    for language, step in STEPS:
        if language == "python":
            exec(step, names)
    retention = names["retention"]
    assert set(retention["source"]) == {"activity_stream", "homepagevisit", "sunbird"}
    assert set(retention.loc[retention["period"] == 0, "rate"]) == {1.0}
    assert retention["period"].max() > 21
    made = {path.name: path for path in tour.iterdir() if path.is_file()}
    assert set(made) == {"dictionary.html", "pages.sql", "pages.csv", "retention.png"}
    assert made["pages.csv"].read_text(encoding="utf-8").startswith("source,page,views,seconds,exit_rate\n")
    assert made["retention.png"].read_bytes().startswith(b"\x89PNG")


def test_fewer_visitors_come_back_the_later_it_is(weeks: Path) -> None:
    rates = dict(
        open_lake(weeks)
        .sql(
            "SELECT period, sum(visitors) / sum(cohort_size) FROM retention"
            " WHERE grain = 'week' AND rate IS NOT NULL GROUP BY period ORDER BY period"
        )
        .fetchall()
    )
    assert list(rates) == [0, 1, 2, 3]
    assert rates[0] == 1 > rates[1] > rates[2] > 0


# --- the questions

QUESTIONS = questions_page.questions()
each_question = pytest.mark.parametrize("question", QUESTIONS, ids=[question.title.partition(".")[0] for question in QUESTIONS])
JSON = re.compile(r"->|json|from_json|variant_get", re.IGNORECASE)


@pytest.fixture(scope="module")
def answer(weeks: Path) -> Callable[[str], str]:
    """What a query gives on four weeks, by DuckDB, as a table of Markdown."""
    return questions_page.answers_of(weeks)


@pytest.fixture(scope="module")
def views(weeks: Path, spark: SparkSession) -> SparkSession:
    """A session that has the tables of four weeks as views."""
    lake = open_lake(weeks)
    for name in lake.tables:
        lake.table(name).to_spark(spark).createOrReplaceTempView(name)
    return spark


def test_there_are_twenty_questions() -> None:
    assert [question.title.partition(".")[0] for question in QUESTIONS] == [str(number) for number in range(1, 21)]


@each_question
def test_a_query_has_at_most_ten_lines_and_reads_plain_columns(question: Question) -> None:
    assert len(question.query.splitlines()) <= 10
    assert JSON.findall(question.query) == []


@each_question
def test_a_query_gives_the_rows_that_the_page_shows(question: Question, answer: Callable[[str], str]) -> None:
    assert len(question.rows.splitlines()) > 2
    assert answer(question.query) == question.rows, "call `make pages` if the rules or the generator have changed"


@each_question
def test_a_query_gives_the_same_rows_in_spark_sql(question: Question, views: SparkSession) -> None:
    given = views.sql(question.query)
    assert questions_page.markdown(given.columns, given.collect()) == question.rows


# --- the notebooks

# Printed when Spark starts: nothing in a notebook can keep it away.
SAID_BY_JAVA = "WARNING: Using incubator modules: jdk.incubator.vector"


@pytest.mark.parametrize("name", executed_notebooks.names())
def test_a_notebook_shows_its_tables_and_the_plots_that_the_docs_have(name: str, weeks: Path) -> None:
    outputs = executed_notebooks.execute(name, weeks)
    given = [output for of_cell in outputs.values() for output in of_cell]
    assert [output for output in given if output["output_type"] == "error"] == []
    printed = [output["text"].strip() for output in given if output["output_type"] == "stream"]
    assert [text for text in printed if text != SAID_BY_JAVA] == []
    given = [output for output in given if output["output_type"] != "stream"]
    tables = [output["data"]["text/html"] for output in given if "text/html" in output["data"]]
    assert tables
    assert [table for table in tables if "<td>" not in table] == []
    plots = executed_notebooks.pictures(name, outputs)
    assert len(plots) == len([cell for cell in outputs if cell.endswith("-plot")]) > 1
    assert set(plots) == {path.name for path in PICTURES.glob(f"{name}-*.png")}, "call `make pages`"


def test_every_picture_is_shown_on_the_page_of_the_notebooks() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(pictures/(.+?)\)", page)) == [path.name for path in sorted(PICTURES.glob("*.png"))]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stored_valid_and_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []

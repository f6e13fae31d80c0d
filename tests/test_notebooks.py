"""The notebooks: each runs from top to bottom on a lake, and is stored without what it gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def outputs(name: str, lake: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """All that the notebook's cells give, run where Jupyter would run it."""
    monkeypatch.setenv("MILLRACE_LAKE", str(lake))
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_first_look_answers_its_questions_with_two_plots(demo_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = outputs("01_first_look.ipynb", demo_lake, monkeypatch)
    assert [output for output in given if output["output_type"] in ("error", "stream")] == []
    shown = [output["data"] for output in given]
    assert sum("image/png" in data for data in shown) == 2
    tables = [data["text/plain"] for data in shown if "text/html" in data]
    assert len(tables) == 4
    assert all(source in tables[0] for source in ("activity_stream", "contentsquare", "homepagevisit", "sunbird"))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stored_valid_and_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []

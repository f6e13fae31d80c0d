"""The notebooks and the tour: each runs from top to bottom on a lake; a notebook is stored without what it gave."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"


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


# --- the tour

STEPS = re.findall(r"```(sh|python)\n(.*?)```", (ROOT / "docs" / "tour.md").read_text(encoding="utf-8"), re.DOTALL)


def run_the_tour(lake: Path, folder: Path) -> dict[str, Any]:
    """Run all steps but `make demo` in a folder that has the lake; gives the names that the steps in Python have defined."""
    (folder / "lake").symlink_to(lake)
    (folder / "landing").symlink_to(lake.with_name("landing"))
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    names: dict[str, Any] = {}
    for language, step in STEPS[1:]:
        if language == "python":
            exec(step, names)
        else:
            done = subprocess.run(["bash", "-euc", step], cwd=folder, env=variables, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, ""), step
            assert done.stdout, step
    return names


def test_the_tour_leads_from_the_demo_to_a_retention_curve(demo_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert STEPS[0] == ("sh", "make demo\n")
    retention = run_the_tour(demo_lake, tmp_path)["retention"]
    assert set(retention["source"]) == {"activity_stream", "contentsquare", "homepagevisit", "sunbird"}
    assert set(retention.loc[retention["age"] == 0, "rate"]) == {1.0}
    assert retention["rate"].between(0, 1).all()
    made = {path.name: path for path in tmp_path.iterdir() if path.is_file()}
    assert set(made) == {"dictionary.html", "pages.sql", "pages.csv", "retention.png"}
    assert made["pages.csv"].read_text(encoding="utf-8").startswith("source,page,visits,seconds\n")
    assert made["retention.png"].read_bytes().startswith(b"\x89PNG")

"""Execute the notebooks, and store their pictures in docs/pictures.

    PYTHONPATH=tests python -m executed_notebooks weeks/lake

`make pages` calls it.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from conftest import plain_environment
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
PICTURES = ROOT / "docs" / "pictures"


def names() -> list[str]:
    """The names of the notebooks, in order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def execute(name: str, lake: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Per id of a code cell what it gives, run where Jupyter would run it, on this lake."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    variables = {**plain_environment(), "MILLRACE_LAKE": str(lake)}
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute(env=variables)
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def pictures(name: str, outputs: Mapping[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    """The plots among these outputs, as PNG, by file name."""
    shown = [(cell, output["data"]) for cell, given in outputs.items() for output in given if "data" in output]
    return {f"{name}-{cell.removesuffix('-plot')}.png": base64.b64decode(data["image/png"]) for cell, data in shown if "image/png" in data}


def store_pictures(lake: Path) -> None:
    """Write the pictures of all notebooks in place of those that are there."""
    made = [picture for name in names() for picture in pictures(name, execute(name, lake)).items()]
    PICTURES.mkdir(exist_ok=True)
    for former in PICTURES.glob("*.png"):
        former.unlink()
    for file, content in made:
        # A palette of 64 colours makes a file a third as large, and looks the same.
        picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
        picture.save(PICTURES / file, optimize=True)


if __name__ == "__main__":
    store_pictures(Path(sys.argv[1]).resolve())

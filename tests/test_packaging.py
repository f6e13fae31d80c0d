"""What `pip install .` gives: the command, the four packages with their data, and nothing else."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("conf", "jobs", "schemas", "transforms")
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "landing", "lake", "spark-warehouse")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is checked out, to be built in without leaving anything in the real one."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("packaging") / "checkout", ignore=NOT_SOURCE)


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    folder = checkout.parent / "wheel"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(checkout)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_has_every_file_of_the_four_packages_and_no_other(checkout: Path, wheel: Path) -> None:
    expected = {path.relative_to(checkout).as_posix() for package in PACKAGES for path in (checkout / package).rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {Path(name).suffix for name in packed} >= {".json", ".py", ".yaml"}


def test_the_wheel_has_one_command_which_is_millrace(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        (entry_points,) = (name for name in content.namelist() if name.endswith(".dist-info/entry_points.txt"))
        scripts = configparser.ConfigParser()
        scripts.read_string(content.read(entry_points).decode())
    assert dict(scripts["console_scripts"]) == {"millrace": "jobs.commands.program:program"}


def test_the_installed_command_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # What stands on PYTHONPATH is found before the editable checkout that the tests themselves run from.
    described = subprocess.run(
        [installed / "bin" / "millrace", "describe", "events"],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert described.returncode == 0, described.stderr
    assert "event_id" in described.stdout

"""Every test that README and docs name exists: `tests/test_night.py -k late` selects at least one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CITED = re.compile(r"`([^`\n]*tests/test_[^`\n]*)`")


def citations() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for cited in CITED.findall(page.read_text()):
            yield str(page.relative_to(ROOT)), cited


@pytest.fixture(scope="module")
def all_tests() -> list[str]:
    """What `-k` is compared with, in lower case: the file, the function and the parameters of every test, slow ones too."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-m", "", "tests"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line.lower() for line in collected.splitlines() if "::" in line]


def selects(names: list[str], expression: str) -> bool:
    """Whether every alternative of an expression such as `late or cut and not slow` selects one of the names."""

    def matches(name: str, term: str) -> bool:
        return (term[4:] not in name) if term.startswith("not ") else term in name

    alternatives = [[term.strip("() ") for term in alternative.split(" and ")] for alternative in expression.lower().split(" or ")]
    return all(any(all(matches(name, term) for term in terms) for name in names) for terms in alternatives)


@pytest.mark.parametrize(("page", "cited"), sorted(set(citations())))
def test_a_cited_test_exists(all_tests: list[str], page: str, cited: str) -> None:
    words = shlex.split(cited)
    files = [word for word in words if word.startswith("tests/")]
    assert all((ROOT / file).is_file() for file in files), f"{page} names a file that does not exist"
    if "-k" in words:
        names = [name for name in all_tests if name.startswith(tuple(files))]
        assert selects(names, words[words.index("-k") + 1]), f"{page} names a test that does not exist"


def test_an_expression_that_selects_nothing_is_noticed() -> None:
    names = ["tests/test_a.py test_late_files", "tests/test_a.py test_cut"]
    assert selects(names, "late or cut")
    assert selects(names, "cut and not late")
    assert not selects(names, "late or gone")

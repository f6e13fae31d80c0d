"""Tables on stdout: numbers that read well, lines that stay whole."""

from __future__ import annotations

import pytest

from jobs.printing import table


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1,234,567"), (0.5, "0.5"), (1234.5678, "1,234.568"), (2.0, "2"), (0.0004, "0.0004"), (0.0, "0"), (None, ""), (True, "yes")],
)
def test_values_are_spelled_for_eyes(capsys: pytest.CaptureFixture[str], value: object, shown: str) -> None:
    table("", ["value", "end"], [[value, "|"]])
    assert capsys.readouterr().out.splitlines()[3].removesuffix("|").replace("|", "").strip() == shown


def test_numbers_are_added_up_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    table("", ["name", "size"], [["a", 1_000], ["b", None], ["c", 2]], total=True)
    assert capsys.readouterr().out.split()[-2:] == ["all", "1,002"]

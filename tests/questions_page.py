"""The page of questions, docs/questions.md: its queries, and the rows that it shows below each of them.

    PYTHONPATH=tests python -m questions_page weeks/lake

writes the rows again. `make pages` calls it.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "questions.md"
# A question, its query, and the table below it, if there is one already.
_QUESTION = re.compile(
    r"^## (?P<title>\d+\. [^\n]+)\n(?P<text>.*?)```sql\n(?P<query>.*?)```\s*(?P<rows>(?:\|[^\n]*\n)*)\s*", re.MULTILINE | re.DOTALL
)

Row = Sequence[Any]


@dataclass(frozen=True)
class Question:
    """One question of the page."""

    title: str
    query: str
    rows: str  # the table, as Markdown


def questions() -> list[Question]:
    """The questions of the page, in order."""
    found = _QUESTION.finditer(PAGE.read_text(encoding="utf-8"))
    return [Question(match["title"], match["query"], match["rows"].strip()) for match in found]


def markdown(names: Sequence[str], rows: Iterable[Row]) -> str:
    """Rows as a table of Markdown, in which a null is an empty cell."""
    rows = list(rows)
    # Numbers stand to the right.
    numbers = [any(_is_number(row[place]) for row in rows) for place in range(len(names))]
    lines = [names, ["--:" if number else "---" for number in numbers], *(list(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, float | Decimal):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if math.isfinite(value) else ""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(answer: Callable[[str], str]) -> None:
    """Write the page again, with the table that `answer` gives for each query."""
    page = PAGE.read_text(encoding="utf-8")

    def with_rows(match: re.Match[str]) -> str:
        return f"## {match['title']}\n{match['text']}```sql\n{match['query']}```\n\n{answer(match['query'])}\n\n"

    PAGE.write_text(_QUESTION.sub(with_rows, page).rstrip() + "\n", encoding="utf-8")


def answers_of(lake: str | Path) -> Callable[[str], str]:
    """What a query gives on a lake, by DuckDB, as a table of Markdown."""
    from jobs import open_lake

    reader = open_lake(lake)

    def answer(query: str) -> str:
        given = reader.sql(query)
        return markdown(given.columns, given.fetchall())

    return answer


if __name__ == "__main__":
    write(answers_of(sys.argv[1]))

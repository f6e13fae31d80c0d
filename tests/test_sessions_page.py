"""docs/sessions.md is executed: what it says of a session is what the landed lines on it make."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from landed_lines import Made, made_of, publish
from session_rows import members_of

from jobs import settings as configuration
from jobs.lake import Lake
from jobs.reading import connect
from schemas.sessions import SESSIONS
from transforms.session_rules import SessionRules
from transforms.sessions_from_events import FROM_EVENTS
from transforms.sessions_from_pings import FROM_PINGS
from transforms.sheet_from_events import steps_of
from transforms.sources import SOURCES

Row = dict[str, Any]

PAGE = Path(__file__).parents[1].joinpath("docs", "sessions.md").read_text(encoding="utf-8")
# A line before a block names where its lines landed. `jsonl` holds them as they are, `json` one line that is broken to be read.
LANDED = re.compile(r"[Ll]anded as `([^`]+)`:\n\n```(jsonl|json)\n(.*?)\n```", re.DOTALL)
ROWS = re.compile(r"```yaml\n(.*?)\n```", re.DOTALL)
TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{3}")
SUM = re.compile(r"((?:[\d,]+ \+ )+[\d,]+) = ([\d,]+) ms")
ONE_MS = dt.timedelta(milliseconds=1)
NONE = "—"


class Example(NamedTuple):
    """One worked example, as it stands on the page."""

    file: str
    content: bytes
    table: list[list[str]]
    expected: str  # YAML
    text: str  # all of its section but the block of lines

    @property
    def source(self) -> str:
        return self.file.split("/")[0]


def examples(page: str = PAGE) -> list[Example]:
    worked = page.split("## Worked examples")[1].split("\n## ", maxsplit=1)[0]
    return [example(section) for section in worked.split("\n### ")[1:]]


def example(section: str) -> Example:
    ((file, form, lines),) = LANDED.findall(section)
    content = lines if form == "jsonl" else lines.replace("\n", " ")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    (expected,) = ROWS.findall(section)
    return Example(file, content.encode(), cells[2:], expected, section.replace(lines, ""))


def ms(cell: str) -> int | None:
    return None if cell == NONE else int(cell.replace(",", "").replace("−", "-"))


def clock(time: dt.datetime) -> str:
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"


def in_order(made: Made) -> list[Row]:
    return sorted(made.built.sessions, key=lambda row: row["start_time"])


def events_of(made: Made, session: Row) -> list[Row]:
    by_id = {event["event_id"]: event for event in made.events}
    return [by_id[event_id] for event_id in members_of(made.built, session["session_id"])]


def unassigned(made: Made, *, pings: bool) -> int:
    return sum(day["count"] for chain in made.built.chains if (chain["kind"] == "reported") == pings for day in chain["unassigned"])


def check_rows(told: Example, made: Made) -> None:
    """The sessions are those that the page states, in every column that it states."""
    expected = yaml.safe_load(told.expected)
    assert made.rejected == []
    assert len(made.built.sessions) == len(expected["sessions"])
    for stated, row in zip(expected["sessions"], in_order(made), strict=True):
        assert stated.keys() >= {"start_time", "end_time", "session_duration", "timespent", "flags", "envsummary", "pagesummary"}
        assert {name: row[name] for name in stated} == stated
    assert unassigned(made, pings=True) == expected["orphan_events"]
    assert unassigned(made, pings=False) == expected["sessionless_events"]


def check_numbers(told: Example, made: Made) -> None:
    check_rows(told, made)
    if in_order(made)[0]["session_kind"] == "reported":
        check_pings(told, made)
    else:
        check_gaps(told, made)


def check_gaps(told: Example, made: Made) -> None:
    """The table has every event in its order, its gap and what of it counts, and their sums."""
    rows = iter(told.table)
    for session in in_order(made):
        for step in steps_of(events_of(made, session), SessionRules()):
            number, name, time, gap, counted, _ = next(rows)
            assert (int(number), name, time) == (step.number, step.event["event_name"], clock(step.event["event_time"]))
            assert (ms(gap), ms(counted)) == (step.gap_ms, step.counted_ms)
        sign, _, _, gaps, counts, _ = next(rows)
        assert (sign, ms(gaps), ms(counts)) == ("Σ", session["session_duration"], round(session["timespent"] * 1000))
    assert list(rows) == []


def check_pings(told: Example, made: Made) -> None:
    """The table has every ping, how long before the end it came, and whether it joined."""
    (session,) = made.built.sessions
    taken = members_of(made.built, session["session_id"])
    pings = sorted(made.events, key=lambda event: event["event_time"])
    for (number, name, time, before, joins, _), ping in zip(told.table, pings, strict=True):
        sequence = taken.index(ping["event_id"]) + 1 if ping["event_id"] in taken else None
        assert (ms(number), name, time) == (sequence, ping["event_name"], clock(ping["event_time"]))
        assert (ms(before), joins) == ((session["end_time"] - ping["event_time"]) // ONE_MS, "yes" if sequence else "no")


def check_words(told: Example, made: Made) -> None:
    """Times and sums in the words around them are those of the events and rows too."""
    sessions = made.built.sessions
    times = {event["event_time"] for event in made.events} | {row[name] for row in sessions for name in ("start_time", "end_time")}
    assert set(TIME.findall(told.text)) <= set(map(clock, times))
    entries = [part for row in sessions for part in (row, row["reported"] or {}, *row["envsummary"], *row["pagesummary"])]
    lengths = {round(part["timespent"] * 1000) for part in entries if "timespent" in part}
    lengths |= {row["session_duration"] for row in sessions}
    lengths |= {(after - before) // ONE_MS for before, after in pairwise(sorted(event["event_time"] for event in made.events))}
    assert {ms(length) for length in re.findall(r"(\d[\d,]*) ms\b", told.text)} <= lengths
    for terms, total in SUM.findall(told.text):
        assert sum(ms(term) or 0 for term in terms.split(" + ")) == ms(total)


@pytest.mark.parametrize("told", examples(), ids=lambda told: told.source)
def test_an_example_is_what_its_lines_make(told: Example) -> None:
    made = made_of([(told.file, told.content)])
    check_numbers(told, made)
    check_words(told, made)


def test_every_source_has_one_example_and_no_landed_line_is_left_out() -> None:
    assert sorted(told.source for told in examples()) == sorted(SOURCES)
    assert len(re.findall(r"^```jsonl?$", PAGE, re.MULTILINE)) == len(SOURCES)
    assert len(re.findall(r"^```yaml$", PAGE, re.MULTILINE)) == len(SOURCES)


def with_one_number_changed(told: Example) -> Iterator[Example]:
    """The example once for each number of its rows and tables, which is another one there."""
    for found in re.finditer(r"\d", told.expected):
        yield told._replace(expected=changed(told.expected, found.start()))
    for line, row in enumerate(told.table):
        for column, cell in enumerate(row[:-1]):
            for found in re.finditer(r"\d", cell):
                table = [list(cells) for cells in told.table]
                table[line][column] = changed(cell, found.start())
                yield told._replace(table=table)


def changed(text: str, place: int) -> str:
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


@pytest.mark.parametrize("told", examples(), ids=lambda told: told.source)
def test_no_digit_of_a_row_or_table_can_be_wrong(told: Example) -> None:
    made = made_of([(told.file, told.content)])
    wrong = list(with_one_number_changed(told))
    assert len(wrong) > 50
    for other in wrong:
        # A date may have become none that there is.
        with pytest.raises((AssertionError, ValueError)):
            check_numbers(other, made)


def test_the_page_explains_every_column() -> None:
    explained = {name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert {name for name in SESSIONS.names if name != "run_id"} - explained == set()


def test_the_page_explains_every_flag_and_no_other() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Flags")[1].split("\n## ")[0], re.MULTILINE)
    given = [re.findall(r"'(\w+)'", queries.sessions.split("list_where(")[1].split("]")[0]) for queries in (FROM_EVENTS, FROM_PINGS)]
    assert sorted(explained) == sorted({name for names in given for name in names})


def test_the_defaults_on_the_page_are_those_of_the_settings() -> None:
    told = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert {name: float(value) for name, value in told} == configuration.load().sessions.model_dump()


def test_the_queries_on_the_page_run(tmp_path: Path) -> None:
    made = made_of((told.file, told.content) for told in examples())
    publish(tmp_path / "lake", made)
    tables = connect(Lake.open(tmp_path / "lake"))
    queries = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)
    answers = [tables.sql(query).fetchall() for query in queries]
    assert [len(rows) for rows in answers] == [8, 6]
    assert [row[:2] for row in answers[1][:2]] == [("newtab", 90.0), ("/cart", 55.0)]

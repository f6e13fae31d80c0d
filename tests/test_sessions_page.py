"""docs/sessions.md is executed: what it says of a session or a workflow is what the landed lines on it make."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from landed_lines import LandedTables, flags_of, publish, records_of, tables_of, workflow_summaries

from jobs import settings as configuration
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from schemas.sessions import SESSIONS
from transforms.sessions.explain_events import steps_of
from transforms.sessions.from_events import FROM_EVENTS
from transforms.sessions.from_pings import FROM_PINGS
from transforms.sessions.rules import SessionRules
from transforms.sources.registry import SOURCES

Row = dict[str, Any]

PAGE = Path(__file__).parents[1].joinpath("docs", "sessions.md").read_text(encoding="utf-8")
# A line before a block names where its lines landed. `jsonl` holds them as they are, `json` one line that is broken to be read.
LANDED = re.compile(r"[Ll]anded as `([^`]+)`:\n\n```(jsonl|json)\n(.*?)\n```", re.DOTALL)
ROWS = re.compile(r"```yaml\n(.*?)\n```", re.DOTALL)
TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{3}")
SUM = re.compile(r"((?:[\d,]+ \+ )+[\d,]+) = ([\d,]+) ms")
SESSION_COLUMNS = {"start_time", "end_time", "session_duration", "timespent", "flags", "envsummary", "pagesummary"}
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


def examples_of_chapter(chapter: str) -> list[Example]:
    section_text = PAGE.split(f"## {chapter}")[1].split("\n## ", maxsplit=1)[0]
    return [example(section) for section in section_text.split("\n### ")[1:]]


def example(section: str) -> Example:
    ((file, form, lines),) = LANDED.findall(section)
    content = lines if form == "jsonl" else lines.replace("\n", " ")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    (expected,) = ROWS.findall(section)
    return Example(file, content.encode(), cells[2:], expected, section.replace(lines, ""))


def ms(cell: str) -> int | None:
    return None if cell == NONE else int(cell.replace(",", "").replace("−", "-"))


def hundredths(cell: str) -> int:
    return 0 if cell == NONE else round(float(cell) * 100)


def clock(time: dt.datetime) -> str:
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"


def made_by(*given: Example) -> LandedTables:
    return tables_of([records_of(each.file, each.content) for each in given])


def check_rows(stated: list[Row], rows: list[Row]) -> None:
    """The rows are those that the page states, in every column that it states."""
    assert [{name: row[name] for name in expected} for expected, row in zip(stated, rows, strict=True)] == stated


def check_sessions(case: Example, made: LandedTables) -> None:
    expected = yaml.safe_load(case.expected)
    assert all(stated.keys() >= SESSION_COLUMNS for stated in expected["sessions"])
    check_rows(expected["sessions"], made.sessions)
    assert made.unassigned(["reported"]) == expected["orphan_events"]
    assert made.unassigned(["keyed", "derived"]) == expected["sessionless_events"]
    if made.sessions[0]["session_kind"] == "reported":
        check_pings(case, made)
    else:
        check_gaps(case, made)


def check_gaps(case: Example, made: LandedTables) -> None:
    """The table has every event in its order, its gap and what of it counts, and their sums."""
    rows = iter(case.table)
    for session in made.sessions:
        for step in steps_of(made.events_of(session), SessionRules()):
            number, name, time, gap, counted, _ = next(rows)
            assert (int(number), name, time) == (step.number, step.event["event_name"], clock(step.event["event_time"]))
            assert (ms(gap), ms(counted)) == (step.gap_ms, step.counted_ms)
        sign, _, _, gaps, counts, _ = next(rows)
        assert (sign, ms(gaps), ms(counts)) == ("Σ", session["session_duration"], round(session["timespent"] * 1000))
    assert list(rows) == []


def check_pings(case: Example, made: LandedTables) -> None:
    """The table has every ping, how long before the end it came, and whether it joined."""
    (session,) = made.sessions
    taken = [ping["event_id"] for ping in made.events_of(session)]
    pings = sorted(made.events, key=lambda event: event["event_time"])
    for (number, name, time, before, joins, _), ping in zip(case.table, pings, strict=True):
        sequence = taken.index(ping["event_id"]) + 1 if ping["event_id"] in taken else None
        assert (ms(number), name, time) == (sequence, ping["event_name"], clock(ping["event_time"]))
        assert (ms(before), joins) == ((session["end_time"] - ping["event_time"]) // ONE_MS, "yes" if sequence else "no")


def check_workflows(case: Example, made: LandedTables) -> None:
    """The rows, and a table that has every event and gap; what counts of them adds up to the time of the outermost workflow."""
    rows = workflow_summaries(made)
    check_rows(yaml.safe_load(case.expected)["workflow_summaries"], rows)
    lines = iter(case.table)
    for root in (row for row in rows if row["parent_type"] is None):
        inside = [event for event in made.events if root["start_time"] <= event["workflow_input"]["ets"] <= root["end_time"]]
        gaps = [(after["event_time"] - before["event_time"]) // ONE_MS for before, after in pairwise(inside)]
        counted = 0
        for event, gap in zip(inside, [*gaps, None], strict=True):
            number, name, time, written_gap, counts, _ = next(lines)
            assert (int(number), name, time) == (event["record"], event["event_name"], clock(event["event_time"]))
            assert ms(written_gap) == gap
            counted += hundredths(counts)
        sign, _, _, whole, counts, _ = next(lines)
        assert (sign, ms(whole), hundredths(counts)) == ("Σ", root["end_time"] - root["start_time"], counted)
        assert counted == round(root["time_spent"] * 100)
    assert list(lines) == []


def check_words(case: Example, made: LandedTables) -> None:
    """Times and sums in the words around them are those of the events and rows too."""
    times = {event["event_time"] for event in made.events} | {row[name] for row in made.sessions for name in ("start_time", "end_time")}
    assert set(TIME.findall(case.text)) <= set(map(clock, times))
    entries = [part for row in made.sessions for part in (row, row["reported"] or {}, *row["envsummary"], *row["pagesummary"])]
    lengths = {round(part["timespent"] * 1000) for part in entries if "timespent" in part}
    lengths |= {row["session_duration"] for row in made.sessions}
    lengths |= {(after - before) // ONE_MS for before, after in pairwise(sorted(event["event_time"] for event in made.events))}
    assert {ms(length) for length in re.findall(r"(\d[\d,]*) ms\b", case.text)} <= lengths
    for terms, total in SUM.findall(case.text):
        assert sum(ms(term) or 0 for term in terms.split(" + ")) == ms(total)


SESSION_EXAMPLES = examples_of_chapter("Worked examples")
WORKFLOW_EXAMPLES = examples_of_chapter("Workflow summaries")
EXAMPLES = [pytest.param(case, check_sessions, id=case.source) for case in SESSION_EXAMPLES]
EXAMPLES += [pytest.param(case, check_workflows, id="workflows") for case in WORKFLOW_EXAMPLES]
Check = Callable[[Example, LandedTables], None]


@pytest.mark.parametrize(("case", "check"), EXAMPLES)
def test_an_example_is_what_its_lines_make(case: Example, check: Check) -> None:
    made = made_by(case)
    assert made.rejected == []
    check(case, made)
    check_words(case, made)


def test_every_source_and_the_workflows_have_one_example_and_no_landed_line_is_left_out() -> None:
    assert sorted(case.source for case in SESSION_EXAMPLES) == sorted(SOURCES)
    assert [case.source for case in WORKFLOW_EXAMPLES] == ["sunbird"]
    assert len(re.findall(r"^```jsonl?$", PAGE, re.MULTILINE)) == len(EXAMPLES)
    assert len(re.findall(r"^```yaml$", PAGE, re.MULTILINE)) == len(EXAMPLES)


def test_no_column_and_no_id_of_a_workflow_depends_on_where_its_lines_landed() -> None:
    (case,) = WORKFLOW_EXAMPLES
    backwards = enumerate(reversed(case.content.splitlines()), 1)
    made = tables_of([records_of(f"sunbird/date=2026-12-{day:02}/part.jsonl", line) for day, line in backwards])
    assert workflow_summaries(made) == workflow_summaries(made_by(case))


def with_one_number_changed(case: Example) -> Iterator[Example]:
    """The example once for each number of its rows and tables, which is another one there."""
    for found in re.finditer(r"\d", case.expected):
        yield case._replace(expected=changed(case.expected, found.start()))
    for line, row in enumerate(case.table):
        for column, cell in enumerate(row[:-1]):
            for found in re.finditer(r"\d", cell):
                table = [list(cells) for cells in case.table]
                table[line][column] = changed(cell, found.start())
                yield case._replace(table=table)


def changed(text: str, place: int) -> str:
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


@pytest.mark.parametrize(("case", "check"), EXAMPLES)
def test_no_digit_of_a_row_or_table_can_be_wrong(case: Example, check: Check) -> None:
    made = made_by(case)
    wrong = list(with_one_number_changed(case))
    assert len(wrong) > 50
    for other in wrong:
        # A date may have become none that there is.
        with pytest.raises((AssertionError, ValueError)):
            check(other, made)


def test_the_page_explains_every_column() -> None:
    explained = {name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert {name for name in SESSIONS.names if name != "run_id"} - explained == set()


def test_the_page_explains_every_flag_and_no_other() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Flags")[1].split("\n## ")[0], re.MULTILINE)
    assert sorted(explained) == sorted({*flags_of(FROM_EVENTS), *flags_of(FROM_PINGS)})


def test_the_defaults_on_the_page_are_those_of_the_settings() -> None:
    numbers = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert {name: float(value) for name, value in numbers} == configuration.load().sessions.model_dump()


def test_the_queries_on_the_page_run(tmp_path: Path) -> None:
    publish(tmp_path / "lake", made_by(*SESSION_EXAMPLES))
    tables = connect(Lake.open(tmp_path / "lake"))
    queries = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)
    answers = [tables.sql(query).fetchall() for query in queries]
    assert [len(rows) for rows in answers] == [8, 6]
    assert [row[:2] for row in answers[1][:2]] == [("newtab", 90.0), ("/cart", 55.0)]

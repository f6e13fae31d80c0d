"""The pages of rules and promises: what cites them finds them, and what their tables say is what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from landed_lines import flags_of
from workflows_reference import COUNTED

from schemas.events import EVENT_FLAGS, REASONS
from schemas.sessions import SESSION_FLAGS
from transforms.documents.validation import schema_document
from transforms.ingest.source import Record, Source
from transforms.sessions.from_events import FROM_EVENTS
from transforms.sessions.from_pings import FROM_PINGS
from transforms.sources import sunbird
from transforms.sources.registry import SOURCES

ROOT = Path(__file__).parents[1]
RULES = ROOT / "docs" / "rules"
TEXT = {".py", ".md", ".yaml", ".toml", ".json", ".ipynb", ".html"}
FOLDERS = ("jobs", "transforms", "schemas", "tests", "bench", "dags", "notebooks", "docs", "conf")

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# `docs/rules/sessions.md, "Flags" and "Ids"`: a page, and headings on it.
CITED = re.compile(r'(?<![\w/])(docs/[\w/.-]+\.md)((?:(?:,| and) "[^"]+")*)')
# Texts that a reader of the repository cannot open, and folders that only one machine has.
ELSEWHERE = re.compile(
    r"\bthe design\b|\bpromise \d|\bsections? \d|§|(?:sources|sessions|summaries)' text\b"
    r"|\bseed's\b|\bof the seed (?:is|are)\b|\bshared/[a-z]+(?:\.md|/)"
    # An absolute path to a checkout, on whatever machine.
    r"|(?<![\w.${}<>/-])/(?:[\w.-]+/)+(?:jobs|transforms|schemas|tests|shared|conf)/",
    re.IGNORECASE,
)
LINE_BREAK = re.compile(r"\s*\n\s*(?:# ?|- )?")


# An item of a list that stands within a line is no item when the page is shown.
JOINED_ITEM = re.compile(r"(?<=[.:;]) (?:\d{1,2}\.|-) (?=[A-Z`])")


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def texts() -> Iterator[tuple[Path, str]]:
    """Every file of the repository that is text, and what it says on one line, but for this one."""
    files = [ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml"]
    files += [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*")) if file.is_file() and file.suffix in TEXT]
    for file in files:
        if file != Path(__file__) and "__pycache__" not in file.parts:
            yield file.relative_to(ROOT), LINE_BREAK.sub(" ", file.read_text(encoding="utf-8"))


def headings(page: Path) -> list[str]:
    return HEADING.findall(page.read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """The name by which a link finds a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def lost_citations(text: str) -> list[str]:
    """The pages and headings that a text cites and that do not exist."""
    lost = []
    for page, cited in CITED.findall(text):
        if not (ROOT / page).is_file():
            lost.append(page)
        else:
            known = headings(ROOT / page)
            lost += [f'{page}, "{heading}"' for heading in re.findall(r'"([^"]+)"', cited) if heading not in known]
    return lost


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    below = (RULES / page).read_text(encoding="utf-8").split(f" {heading}\n")[1].split("\n#")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def marked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_page_and_heading_that_is_cited_exists() -> None:
    assert {str(file): lost for file, text in texts() if (lost := lost_citations(text))} == {}


def test_a_citation_of_a_page_or_heading_that_is_not_there_is_found() -> None:
    cited = 'docs/rules/sessions.md, "Flags" and "Idle"; docs/rules/none.md'
    assert lost_citations(cited) == ['docs/rules/sessions.md, "Idle"', "docs/rules/none.md"]


def test_nothing_cites_a_text_that_is_not_in_the_repository() -> None:
    assert {str(file): cited for file, text in texts() if (cited := ELSEWHERE.findall(text))} == {}


@pytest.mark.parametrize(
    "cited",
    [
        "Rule: the design, Lines and records.",
        "made in decimal(38, 9). Rule: promise 7.",
        "as the session rules say (sections 1 and 2)",
        "Rules: the summaries' text",
        "the seed's own name",
        "see ../shared/sources.md",
        "run /home/someone/millrace/jobs/night.py",
    ],
)
def test_a_citation_of_a_text_that_is_not_in_the_repository_is_found(cited: str) -> None:
    assert ELSEWHERE.search(cited)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, place = link.partition("#")
        if "://" in name:
            continue
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (place and place not in map(anchor, headings(target))):
            lost.append(link)
    assert lost == []


def test_the_readme_links_every_page_of_rules_and_the_promises() -> None:
    links = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    wanted = {f"docs/rules/{page.name}" for page in RULES.glob("*.md")} | {"docs/promises.md"}
    assert wanted - links == set()


def test_every_promise_names_tests_that_exist() -> None:
    promises = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(promises) == 8
    for promise in promises:
        named = re.findall(r"`(tests/\w+\.py)`", promise)
        assert named
        assert [name for name in named if not (ROOT / name).is_file()] == []


# What the tables say


def edata_fields(eid: str) -> tuple[set[str], set[str]]:
    """The required and the optional fields that the JSON Schema of a kind names in `edata`."""
    edata: dict[str, Any] = schema_document(f"sunbird/{eid.lower()}.json")["properties"]["edata"]
    required = set(edata.get("required", ()))
    return required, set(edata.get("properties", ())) - required


def test_the_kinds_of_sunbird_are_those_of_the_schemas() -> None:
    table = rows("sources.md", "Sunbird: what is valid")
    assert {eid: marked(verb) for eid, _, _, verb in table} == {eid: [verb] for eid, verb in sunbird.EVENT_TYPES.items()}
    for eid, required, optional, _ in table:
        if eid != "HEARTBEAT":
            assert (set(required.split()), set(optional.split())) == edata_fields(eid)


def verb_and_name(source: Source, document: dict[str, Any]) -> tuple[str, str]:
    """What the mapping of a source makes of one event."""
    mapped = source.columns([Record(document, document, None, 0)])
    return mapped["event_type"][0], mapped["event_name"][0]


def test_the_actions_of_contentsquare_are_those_of_the_mapping() -> None:
    told = {int(number): (marked(verb)[0], name) for number, name, verb, _ in rows("sources.md", "Contentsquare: what is valid")}
    event = {"euid": "e", "sn": 1, "t": 0, "tr": {"vl": 1, "cu": 978}, "k": "k", "v": 1}
    for number in range(30):
        event["v"] = "text" if number == 18 else 1
        assert verb_and_name(SOURCES["contentsquare"], event | {"ea": number}) == told.get(number, ("other", f"ea_{number}"))


def test_the_actions_of_activity_stream_are_those_of_the_mapping() -> None:
    table = rows("sources.md", "Activity Stream: what is valid")
    assert len(table) == 6
    for action, _, verbs, name in table:
        ping = {"action": marked(action)[0], "client_id": "c", "event": "CLICK", "page": "newtab", "value": 1}
        event_name = "CLICK" if name == "`event`" else ping["action"]
        assert verb_and_name(SOURCES["activity_stream"], ping) == (marked(verbs)[0], event_name)


def test_every_reason_of_refusal_is_explained() -> None:
    assert [marked(reason)[0] for reason, _ in rows("sources.md", "Refused records")] == list(REASONS)


def test_every_flag_of_events_that_is_explained_is_one_of_the_code() -> None:
    flags = [marked(row[0])[0] for row in rows("sources.md", "Flags of events")]
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "transforms").rglob("*.py"))
    assert flags
    assert [flag for flag in flags if f'"{flag}"' not in code] == []
    assert sorted(flags) == sorted(EVENT_FLAGS)


def test_every_flag_of_sessions_is_explained_and_no_other() -> None:
    flags = [marked(row[0])[0] for row in rows("sessions.md", "Flags")]
    assert flags == sorted({*flags_of(FROM_EVENTS), *flags_of(FROM_PINGS)})
    assert flags == sorted(SESSION_FLAGS)


def test_the_interactions_that_count_in_workflows_are_those_of_the_reference() -> None:
    page = LINE_BREAK.sub(" ", (RULES / "workflows.md").read_text(encoding="utf-8"))
    (listed,) = re.findall(r"lower-cased, is one of: ([^.]+)\.", page)
    assert listed.split(", ") == COUNTED.split()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_an_item_of_a_list_begins_a_line(page: Path) -> None:
    assert not [line for line in page.read_text(encoding="utf-8").splitlines() if JOINED_ITEM.search(line)]

"""The sheet of a session: every number once more from its events, gap by gap, and where each event landed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_lake
from landed_lines import LandedTables, flags_of, publish, records_of, tables_of, without_duplicates
from session_rows import HOUR, built, event, members_of

from jobs.commands import explain_session, program
from jobs.errors import LakeError, UsageError
from jobs.generator.generate import generate
from jobs.landing.zone import chunks, dates, landed
from jobs.settings import Settings
from transforms.sessions import explain_events, explain_pings
from transforms.sessions.explain import Figure, Sheet, Step, numbered
from transforms.sessions.from_events import FROM_EVENTS
from transforms.sessions.from_pings import FROM_PINGS
from transforms.sessions.rules import SessionQueries, SessionRules
from transforms.sources.registry import SOURCES

Row = dict[str, Any]

NIGHT = dt.date(2026, 11, 20)
FILE = "sunbird/date=2026-11-20/hour=10/part.jsonl"
PINGS = "activity_stream/date=2026-11-20/hour=10/part.jsonl"
REAL = Path(__file__).parents[2] / "shared" / "data" / "sunbird" / "telemetry-500.jsonl"
RULES = SessionRules()


def sunbird(eid: str, seconds: float, env: str = "app", mid: str | None = None, actor: str = "User", **edata: Any) -> Row:
    """An event so many seconds after ten o'clock."""
    ets = round((dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC).timestamp() + seconds) * 1000)
    context = {"channel": "c", "env": env, "sid": "s", "did": "d"}
    required: dict[str, Row] = {
        "IMPRESSION": {"type": "view", "uri": "/"},
        "INTERACT": {"type": "TOUCH", "id": "button"},
        "LOG": {"type": "t", "level": "l", "message": "m"},
    }
    complete = {"type": "app"} | required.get(eid, {}) | edata
    actor_id = {"id": "u", "type": actor}
    return {"eid": eid, "ets": ets, "ver": "3.0", "mid": mid or f"m-{seconds}", "actor": actor_id, "context": context, "edata": complete}


def ping(action: str, seconds: float, **fields: Any) -> Row:
    timestamp = round((dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC).timestamp() + seconds) * 1000)
    return {
        "action": f"activity_stream_{action}",
        "client_id": "c",
        "addon_version": "1",
        "timestamp": timestamp,
        "page": "newtab",
    } | fields


def made(*documents: Row, file: str = FILE) -> LandedTables:
    """What these documents make, landed as one file."""
    return tables_of([records_of(file, b"\n".join(json.dumps(document).encode() for document in documents))])


def sheet(session: Row, events: Sequence[Row]) -> Sheet:
    module = explain_pings if session["session_kind"] == "reported" else explain_events
    return module.sheet(session, events, RULES)


def sheet_of(rows: LandedTables, session: Row, **other: Any) -> Sheet:
    """The sheet of a session, of whose row some columns may say other things."""
    return sheet(session | other, rows.events_of(session))


def steps(*documents: Row, file: str = FILE) -> Sequence[Step]:
    rows = made(*documents, file=file)
    (session,) = rows.sessions
    return sheet_of(rows, session).steps


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> LandedTables:
    """Two generated nights of all sources."""
    root = tmp_path_factory.mktemp("landing")
    for night in (NIGHT - dt.timedelta(days=1), NIGHT):
        generate(root, night, events=1_500, seed=3, workers=1)
    files = [file for date in dates(root, SOURCES) for source in SOURCES for file in landed(root, source, date)]
    return tables_of(without_duplicates(records_of(file.file, b"".join(chunks(root, file, hashlib.sha256()))) for file in files))


@pytest.fixture(scope="module")
def lake(generated: LandedTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sheets") / "lake"
    publish(root, generated)
    return root


# --- what follows from the events


def test_every_number_of_every_generated_session_is_what_its_events_give(generated: LandedTables) -> None:
    flags = set()
    for session in generated.sessions:
        assert sheet_of(generated, session).disagreeing == []
        flags |= set(session["flags"])
    assert {session["session_kind"] for session in generated.sessions} == {"derived", "keyed", "reported"}
    assert flags >= {"clock_skew", "late", "no_end", "reported_mismatch", "time_replaced", "zero_length"}


@pytest.mark.skipif(not REAL.exists(), reason="the real events are not here")
def test_every_number_of_real_sessions_is_what_their_events_give() -> None:
    rows = tables_of(without_duplicates([records_of("sunbird/date=2019-08-20/hour=00/telemetry.jsonl", REAL.read_bytes())]))
    assert [sheet_of(rows, session).disagreeing for session in rows.sessions] == [[]] * 24


def test_a_gap_of_exactly_ten_minutes_counts_and_a_longer_one_is_idle() -> None:
    kept, dropped, last = steps(sunbird("START", 0), sunbird("INTERACT", 600), sunbird("END", 1200.001))
    assert (kept.gap_ms, kept.counted_ms, kept.note) == (600_000, 600_000, "")
    assert (dropped.gap_ms, dropped.counted_ms, dropped.note) == (600_001, 0, "idle: over 600 s")
    assert (last.gap_ms, last.counted_ms, last.note) == (None, None, "last")


def test_the_gap_after_a_background_event_counts_nothing_and_the_next_one_does() -> None:
    gone, back, _ = steps(sunbird("INTERRUPT", 0, type="background"), sunbird("INTERRUPT", 9, type="resume"), sunbird("END", 10))
    assert (gone.gap_ms, gone.counted_ms, gone.note) == (9_000, 0, "background")
    assert (back.counted_ms, back.note) == (1_000, "")


def test_an_event_that_is_no_users_has_no_gap_and_the_one_before_it_runs_past_it() -> None:
    first, system, _ = steps(sunbird("START", 0), sunbird("LOG", 1), sunbird("END", 3))
    assert (first.gap_ms, first.counted_ms) == (3_000, 3_000)
    assert (system.gap_ms, system.counted_ms, system.note) == (None, None, "not a user event")


def test_a_page_is_open_from_its_view_to_the_next_one() -> None:
    shown = steps(
        sunbird("START", 0),
        sunbird("IMPRESSION", 1, "home", pageid="a"),
        sunbird("INTERACT", 2, "library"),
        sunbird("IMPRESSION", 3, pageid=""),
        sunbird("END", 4),
    )
    assert [step.page for step in shown] == [None, ("a", "home"), ("a", "home"), None, None]


def test_a_ping_says_how_it_joined() -> None:
    explained = steps(
        ping("event", 5, tab_id="1", event="before"),
        ping("event", 20, session_id="s", event="linked"),
        ping("session", 60, tab_id="1", session_id="{S}", session_duration=50_000),
        ping("event", 64.5, tab_id="1", event="after"),
        ping("event", 120, session_id="s", event="far"),
        file=PINGS,
    )
    assert [(step.gap_ms, step.note) for step in explained] == [
        (55_000, "by tab 1, 5,000 ms before the start"),
        (40_000, "by session id, within the span"),
        (0, "the session ping: it marks the end"),
        (-4_500, "by tab 1, 4,500 ms after the end"),
        (-60_000, "by session id, 60,000 ms after the end"),
    ]


def test_a_ping_that_the_rules_do_not_join_is_told() -> None:
    session_ping = ping("session", 60, tab_id="1", load_reason="a", unload_reason="b")
    rows = made(session_ping, ping("event", 60, tab_id="1", event="click"), file=PINGS)
    (session,) = rows.sessions
    rows.events[1]["session_input"]["tab"] = "2"
    shown = sheet_of(rows, session)
    assert [step.note for step in shown.steps].count("does not belong to it") == 1
    assert [figure.name for figure in shown.disagreeing] == ["interactions", "events"]


# --- why a session is flagged

YEARS_AGO = dt.datetime(2023, 11, 20, 12, tzinfo=dt.UTC)
REPORTED = {"timespent": 9.0} | dict.fromkeys(("pageviews", "interactions", "start_time", "end_time"))
REPORTED |= {"envsummary": [], "eventssummary": [], "pagesummary": []}


def session_ping(duration_ms: int = 1, **fields: Any) -> Row:
    return event("session", kind="reported", duration_ms=duration_ms, **fields)


def as_stored(row: Row) -> Row:
    """The same in `events`, where what a client reported is JSON."""
    facts = row["session_input"]
    return row | {"session_input": facts | {"reported": facts["reported"] and json.dumps(facts["reported"])}}


# Events that make a session with this flag, and what its sheet says to it.
FLAGGED: dict[str, tuple[list[Row], str]] = {
    "clock_skew": ([event("interaction", flags=["clock_skew"])], "event 1: the clock of the phone is wrong"),
    "key_reused": (
        [event("interaction", seconds, kind="keyed") for seconds in (0, 25 * HOUR)],
        "an earlier session has the same key; its own events do not show that",
    ),
    "late": ([event("interaction", flags=[flag]) for flag in ("late", "sent_late")], "events 1–2: landed or sent too late"),
    "no_end": ([event("start", expects_end=True)], "no event of type end"),
    "overlong": ([event("interaction", HOUR * hours, kind="keyed") for hours in (0, 20, 40)], "longer than 86,400,000 ms"),
    "reported_mismatch": (
        [event("start"), event("session", 1, user=False, reported=REPORTED, reported_rank=0)],
        "timespent differs from the computed",
    ),
    "time_replaced": (
        [event("start"), event("end", 5, client_time=YEARS_AGO)],
        "event 2: the client's time is implausible, so the server's time is used",
    ),
    "value_out_of_sums": ([event("transaction", value=1e18)], "event 1: 10^18 or more"),
    "zero_length": ([event("start")], "it ends when it starts"),
}
FLAGGED_PINGS: dict[str, tuple[list[Row], str]] = {
    "clock_skew": ([session_ping(flags=["clock_skew"])], "event 1: the clock of the phone is wrong"),
    "late": ([session_ping(flags=["late"])], "event 1: landed or sent too late"),
    "overlong": ([session_ping(86_400_001)], "longer than 86,400,000 ms"),
    "time_replaced": (
        [session_ping(client_time=YEARS_AGO)],
        "event 1: the client's time is implausible, so the server's time is used",
    ),
    "zero_length": ([session_ping(0)], "its session_duration is 0"),
}


def flag_figures(sheet: Sheet) -> dict[str, Figure]:
    return {figure.name.removeprefix("flag "): figure for figure in sheet.figures if figure.name.startswith("flag ")}


@pytest.mark.parametrize(("flagged", "queries"), [(FLAGGED, FROM_EVENTS), (FLAGGED_PINGS, FROM_PINGS)], ids=["events", "pings"])
def test_every_flag_that_a_row_can_have_is_explained(flagged: dict[str, tuple[list[Row], str]], queries: SessionQueries) -> None:
    assert list(flagged) == flags_of(queries)
    for flag, (events, why) in flagged.items():
        named = [row | {"event_id": f"{number}"} for number, row in enumerate(events, 1)]
        rows = built(*named)
        session = rows.sessions[-1]
        inside = members_of(rows, session["session_id"])
        figures = flag_figures(sheet(session, [as_stored(row) for row in named if row["event_id"] in inside]))
        assert list(figures) == session["flags"]
        assert figures[flag] == Figure(f"flag {flag}", "yes", "yes", why, True)


@pytest.mark.parametrize(("duration", "overlong"), [(86_400_000, False), (86_400_001, True)])
def test_a_day_is_not_overlong_and_a_millisecond_more_is(duration: int, overlong: bool) -> None:
    keyed = [event("interaction", seconds, kind="keyed") for seconds in (0, 12 * HOUR, duration / 1000)]
    for events in (keyed, [session_ping(duration)]):
        (session,) = built(*events).sessions
        shown = sheet(session, events)
        assert ("overlong" in flag_figures(shown), shown.disagreeing) == (overlong, [])


# --- a row that says something else

LATER = dt.datetime(2026, 11, 20, 23, tzinfo=dt.UTC)
SUMMARY = {"type": "session", "starttime": 1.7637e12, "endtime": 1.7637e12, "timespent": 9, "pageviews": 1, "interactions": 1}


@pytest.mark.parametrize(
    ("column", "wrong", "shown"),
    [
        ("start_time", LATER, "start_time, end_time"),
        ("end_time", LATER, "start_time, end_time"),
        ("session_duration", 1, "session_duration"),
        ("timespent", 3.001, "timespent"),
        ("pageviews", 2, "pageviews"),
        ("interactions", 2, "interactions"),
        ("events", 2, "events"),
        ("entry_page", "b", "entry_page, exit_page"),
        ("exit_page", None, "entry_page, exit_page"),
        ("load_latency", 1, "load_latency"),
        ("envsummary", [{"env": "app", "timespent": 3.0, "visits": 2}], "envsummary app"),
        ("envsummary", [], "envsummary app"),
        ("eventssummary", [], "eventssummary"),
        ("pagesummary", [{"id": "a", "type": "view", "env": "app", "timespent": 2.0, "visits": 2}], "pagesummary a app"),
        ("pagesummary", [{"id": "b", "type": "view", "env": "app", "timespent": 2.0, "visits": 1}], "pagesummary b app"),
        ("transactions", 1, "transactions"),
        ("transaction_value", [{"currency": "EUR", "value": 1.0}], "transaction_value EUR"),
        ("variables", [{"key": "k", "value": "v"}], "variables k"),
        ("reported", None, "reported"),
        ("flags", ["late", "no_end", "reported_mismatch"], "flag late"),
        ("flags", ["no_end", "overlong", "reported_mismatch"], "flag overlong"),
        ("flags", ["no_end", "reported_mismatch", "time_replaced"], "flag time_replaced"),
        ("flags", ["reported_mismatch"], "flag no_end"),
        ("flags", ["no_end"], "flag reported_mismatch"),
    ],
)
def test_what_a_row_says_otherwise_is_shown(column: str, wrong: object, shown: str) -> None:
    rows = made(
        sunbird("START", 0),
        sunbird("IMPRESSION", 1, pageid="a"),
        sunbird("INTERACT", 3),
        sunbird("SUMMARY", 4, **SUMMARY),
    )
    (session,) = rows.sessions
    assert sheet_of(rows, session).disagreeing == []
    disagreeing = sheet_of(rows, session, **{column: wrong}).disagreeing
    assert shown in [figure.name for figure in disagreeing]
    assert len({figure.name.split(maxsplit=1)[0] for figure in disagreeing}) == 1


@pytest.mark.parametrize("name", ["timespent", "pageviews", "interactions", "start_time", "envsummary"])
def test_what_a_row_reports_otherwise_than_the_summary_is_shown(name: str) -> None:
    rows = made(sunbird("START", 0), sunbird("SUMMARY", 4, **SUMMARY, envsummary=[{"env": "app", "timespent": 9, "visits": 1}]))
    (session,) = rows.sessions
    wrong = {"timespent": 8.0, "pageviews": 7, "interactions": 7, "start_time": LATER, "envsummary": []}[name]
    (figure,) = sheet_of(rows, session, reported=session["reported"] | {name: wrong}).disagreeing
    assert figure.name.startswith("reported")
    assert name in figure.name


def test_money_and_variables_are_added_up_as_the_row_has_them() -> None:
    amounts = [{"vl": 0.1, "cu": 978}, {"vl": 0.2, "cu": 978}, {"vl": 1e18, "cu": 978}, {"vl": 3, "cu": -1}]
    events: list[Row] = [{"ea": 16, "tr": amount} for amount in amounts]
    events += [{"ea": 18, "k": "plan", "v": "a"}, {"ea": 18, "k": "plan", "v": "b"}]
    batch = [event | {"euid": f"e{number}", "sn": 1, "t": 1_795_168_800_000 + number} for number, event in enumerate(events)]
    rows = made({"pid": 1, "uid": "u", "pl": batch}, file="contentsquare/date=2026-11-20/part.jsonl")
    (session,) = rows.sessions
    shown = sheet_of(rows, session)
    assert shown.disagreeing == []
    figures = {figure.name: (figure.stored, figure.derivation) for figure in shown.figures}
    assert figures["transactions"] == ("4", "events 1–4 of type transaction")
    assert figures["transaction_value EUR"] == ("0.3", "0.1 + 0.2, each to nine digits")
    assert figures["transaction_value null"] == ("3.0", "3.0, each to nine digits")
    assert figures["variables plan"] == ("b", "event 6, the last that sets it")
    assert figures["flag value_out_of_sums"] == ("yes", "event 3: 10^18 or more")


def test_neighbours_are_drawn_together() -> None:
    assert [numbered([]), numbered([2]), numbered([1, 2, 4, 6, 7, 8])] == ["no event", "event 2", "events 1–2, 4, 6–8"]


def test_a_long_sum_is_told_by_how_many_terms_it_has() -> None:
    rows = made(*(sunbird("INTERACT", seconds) for seconds in range(30)))
    (session,) = rows.sessions
    (derivation,) = (figure.derivation for figure in sheet_of(rows, session).figures if figure.name == "timespent")
    assert derivation == "29 gaps added up, the gaps that count"


# --- on stdout


def printed(settings: Settings, capsys: pytest.CaptureFixture[str], rows: LandedTables, session_id: str | None = None) -> str:
    """What is printed of a session, by default the only one, of a lake of these rows."""
    publish(settings.paths.lake, rows)
    assert explain_session.show(settings, session_id or rows.sessions[0]["session_id"]) == 0
    return capsys.readouterr().out


def test_each_event_has_a_line_that_says_where_it_landed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    batch = {"events": [sunbird("START", 0), sunbird("INTERACT", 12.5)]}
    later = [sunbird("IMPRESSION", 50_400, pageid="home"), sunbird("END", 50_401)]
    files = [(FILE, json.dumps(batch).encode()), (FILE.replace("20/hour=10", "21/hour=00"), b"\n" + json.dumps(later).encode())]
    out = printed(settings, capsys, tables_of([records_of(*file) for file in files])).splitlines()
    lines = [line.split() for line in out if line[:3].strip().isdigit()]
    assert lines == [
        ["1", "2026-11-20", "10:00:00.000", "START", "start", "app", "12,500", "12,500", "A:1:0"],
        ["2", "10:00:12.500", "INTERACT", "interaction", "app", "50,387,500", "0", "idle:", "over", "600", "s", "A:1:1"],
        ["3", "2026-11-21", "00:00:00.000", "IMPRESSION", "page_view", "app", "home", "1,000", "1,000", "B:2:0"],
        ["4", "00:00:01.000", "END", "end", "app", "home", "last", "B:2:1"],
    ]
    assert "A = sunbird/date=2026-11-20/hour=10/part.jsonl" in out
    assert "B = sunbird/date=2026-11-21/hour=00/part.jsonl" in out
    assert out[0].startswith("sunbird: session ")
    assert out[1] == "keyed, of 2026-11-20, key s, user u, device d"
    assert ["timespent", "13.500", "s", "12,500", "+", "1,000", "ms,", "the", "gaps", "that", "count"] in [line.split() for line in out]
    assert "every number of the row is what its events give" in out


def test_a_number_that_does_not_follow_is_said_on_the_sheet(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    rows = made(sunbird("START", 0), sunbird("END", 3))
    rows.sessions[0]["timespent"] = 2.0
    out = printed(settings, capsys, rows)
    assert "NOT SO, the events give 3.000 s: 3,000 ms" in out
    assert "NOT what the events give: timespent\n" in out
    assert "every number of the row" not in out


def test_files_beyond_the_alphabet_have_two_letters(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    files = [(f"sunbird/date=2026-11-20/{number:02}.json", json.dumps(sunbird("START", number)).encode()) for number in range(28)]
    out = printed(settings, capsys, tables_of([records_of(*file) for file in files]))
    assert "Z = sunbird/date=2026-11-20/25.json\nAA = sunbird/date=2026-11-20/26.json\nAB = " in out
    assert "AB:1:0" in out


def test_nothing_that_was_landed_steers_the_terminal(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(settings, capsys, made(sunbird("IMPRESSION", 0, env="\x1b[2Jenv", pageid="page\x1b]0;t\x07")))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\\x1b[2Jenv" in out


def test_the_beginning_of_an_id_is_enough_in_either_case(
    lake: Path, settings: Settings, generated: LandedTables, capsys: pytest.CaptureFixture[str]
) -> None:
    session_id = generated.sessions[0]["session_id"]
    explain_session.show(settings.at(None, lake), session_id[:20].upper())
    assert f"session {session_id}" in capsys.readouterr().out


@pytest.mark.parametrize(("session_id", "says"), [("xyz", "no session"), ("", "no session"), ("a", "give more of it")])
def test_an_id_that_names_no_session_or_several_is_one_clear_line(
    lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, session_id: str, says: str
) -> None:
    monkeypatch.setattr("sys.argv", ["millrace"])
    with pytest.raises(SystemExit) as left:
        program.main(["session", session_id, "--lake", str(lake)])
    output = capfd.readouterr()
    assert (left.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert says in output.err
    assert repr(session_id) in output.err


def test_a_session_whose_events_are_gone_is_said(settings: Settings) -> None:
    rows = made(sunbird("START", 0))
    tiny_lake.publish(settings.paths.lake, {"sessions": rows.sessions, "session_events": rows.members})
    with pytest.raises(LakeError, match="does not hold the events"):
        explain_session.show(settings, rows.sessions[0]["session_id"])


def test_no_session_is_found_in_an_empty_lake(settings: Settings) -> None:
    tiny_lake.publish(settings.paths.lake, {})
    with pytest.raises(UsageError, match="no session"):
        explain_session.show(settings, "a")


def test_the_examples_are_one_small_session_of_each_source_and_always_the_same(
    lake: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    explain_session.show_examples(settings.at(None, lake), NIGHT - dt.timedelta(days=1), NIGHT)
    first = capsys.readouterr().out
    explain_session.show_examples(settings.at(None, lake), NIGHT - dt.timedelta(days=1), NIGHT)
    assert capsys.readouterr().out == first
    headlines = [line for line in first.splitlines() if ": session " in line]
    assert [line.split(":")[0] for line in headlines] == sorted(SOURCES)
    assert first.count("every number of the row is what its events give") == len(SOURCES)
    assert len(first.splitlines()) < 50 * len(SOURCES)
    assert "idle: over 600 s" in first

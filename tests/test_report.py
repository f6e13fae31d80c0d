"""The report of a night: what it tells, that it needs nothing else, and that nothing of the data is taken for markup."""

from __future__ import annotations

import datetime as dt
import html
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_lake import NIGHT, RUN, STARTED, Rows, publish

from jobs.commands import number_formats, report
from jobs.errors import LakeError, UsageError
from jobs.settings import Settings

EARLIER = NIGHT - dt.timedelta(days=1)


def file_row(file: str = "a.json", records: int = 0, **kinds: Any) -> dict[str, Any]:
    """A file of the night, and what became of its records."""
    counts = {"records": records, "accepted": records, "duplicates": 0, "rejected": 0, "erased": 0}
    return {"source": "sunbird", "landing_date": NIGHT, "landing_hour": 7, "file": file, "size": 1_500, "status": "done"} | counts | kinds


def events(count: int, *, late: int = 0, **columns: Any) -> Rows:
    row = {"source": "sunbird", "landing_date": NIGHT, "landing_hour": 7, "file": "a.json", "event_date": NIGHT} | columns
    return [row | {"event_id": f"event {number}", "flags": ["late"] if number < late else []} for number in range(count)]


def sessions(*durations: int | None, began: dt.date = NIGHT, source: str = "sunbird") -> dict[str, Rows]:
    """Sessions of these durations in ms, each with an event that landed in the night, and the metrics of their date."""
    known = sorted(duration for duration in durations if duration is not None)
    metrics = {"sessions": len(durations), "median_session_duration": known[(len(known) - 1) // 2], "p95_session_duration": known[-1]}
    metrics |= {"timespent_per_session": 75.0, "pageviews_per_session": 2.5, "interactions_per_session": 4.0}
    where = {"source": source, "session_date": began}
    ids = [f"{source} {number}" for number in range(len(durations))]
    return {
        "sessions": [where | {"session_id": key, "session_duration": duration} for key, duration in zip(ids, durations, strict=True)],
        "session_events": [where | {"session_id": key, "event_id": key, "landing_date": NIGHT} for key in ids],
        "daily_metrics": [metric(name, value, began, source=source) for name, value in metrics.items()],
    }


def metric(name: str, value: float, date: dt.date = NIGHT, **columns: Any) -> dict[str, Any]:
    whole = {"source": "sunbird", "metric_date": date, "metric": name, "dimension": "all", "dimension_value": "all", "value": value}
    return whole | columns


def rejected_row(**columns: Any) -> dict[str, Any]:
    row = {"source": "sunbird", "landing_date": NIGHT, "landing_hour": 7, "file": "a.json", "record": 3, "reason": "schema_violation"}
    return row | {"path": "/edata", "detail": "required: pageid", "raw": b'{"ip": "203.0.113.9"}'} | columns


def check(**columns: Any) -> dict[str, Any]:
    row = {"table": "events", "date": NIGHT, "expectation": "event_id is filled", "severity": "critical", "passed": True}
    return row | {"observed": "0", "threshold": "0"} | columns


def page_of(settings: Settings, night: dt.date = NIGHT) -> str:
    assert report.write(settings, night, None) == 0
    return (settings.paths.lake / "_reports" / f"{night}.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    visible = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visible)).split())
    return re.sub(r" ([,.:])", r"\1", words)


def titles_of(page: str) -> list[str]:
    """What the shapes of the drawings say."""
    return [html.unescape(title) for title in re.findall(r"<rect[^>]*><title>(.*?)</title>", page)]


def test_the_path_of_the_page_is_all_that_is_printed(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(settings.paths.lake, {})
    report.write(settings, NIGHT, None)
    assert capsys.readouterr().out == f"{settings.paths.lake}/_reports/2026-11-20.html\n"
    elsewhere = tmp_path / "new" / "night.html"
    report.write(settings, NIGHT, elsewhere)
    assert capsys.readouterr().out == f"{elsewhere}\n"
    assert [path.name for path in elsewhere.parent.iterdir()] == ["night.html"]


def test_the_headline_names_the_night_the_run_and_how_it_ended(settings: Settings) -> None:
    publish(
        settings.paths.lake, {"files": [file_row(records=2)], "events": events(2), "quality_results": [check(), check(expectation="x")]}
    )
    text = text_of(page_of(settings))
    assert "Night of Friday, 20 November 2026 published (exit 0)" in text
    assert f"run {RUN}, 2026-11-21 02:15:00 – 02:16:20 UTC (1 min 20 s)" in text
    assert "Nothing needs a look. Every file was read, every record is accounted for, and all 2 checks passed." in text


def test_the_counts_of_each_source_are_shown_with_thousands_and_add_up(settings: Settings) -> None:
    publish(
        settings.paths.lake,
        {
            "files": [
                file_row(records=1_103, accepted=1_100, duplicates=2, rejected=1),
                file_row(
                    "b.json",
                    status="unreadable",
                    error="cut short",
                    **dict.fromkeys(("records", "accepted", "duplicates", "rejected", "erased")),
                ),
                file_row("c.json", 10, source="contentsquare"),
            ],
            "events": [*events(1_100), *events(10, source="contentsquare", file="c.json")],
            "duplicate_events": events(2),
            "rejected_events": [rejected_row()],
            "daily_metrics": [metric("late_rate", 5 / 1_100, numerator=5.0, denominator=1_100.0)],
        },
    )
    text = text_of(page_of(settings))
    assert "contentsquare 1 1.5 kB 10 10 0 0 0 0 balanced" in text
    assert "sunbird 2 3.0 kB 1,103 1,100 2 1 5 1 balanced" in text
    assert "all 3 4.5 kB 1,113 1,110 2 1 5 1" in text


@pytest.mark.parametrize(
    ("files", "held"),
    [({"records": 5, "accepted": 3, "rejected": 1}, 3), ({"records": 4, "accepted": 4}, 3)],
    ids=["the files' own counts", "the rows that the tables hold"],
)
def test_records_that_are_not_accounted_for_come_first(settings: Settings, files: Mapping[str, int], held: int) -> None:
    rejected = [rejected_row()] if "rejected" in files else []
    publish(settings.paths.lake, {"files": [file_row(**files)], "events": events(held), "rejected_events": rejected})
    text = text_of(page_of(settings))
    assert "Needs a look account sunbird: 1 records are not accounted for." in text
    assert "off by 1" in text
    assert "balanced" not in text


def test_records_that_were_erased_are_accounted_for(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=5, accepted=3, erased=2)], "events": events(3)})
    assert "sunbird 1 1.5 kB 5 3 0 0 2 0 0 balanced" in text_of(page_of(settings))


def test_unreadable_files_are_shown_with_their_reason_and_the_exit_code(settings: Settings) -> None:
    nothing = dict.fromkeys(("records", "accepted", "duplicates", "rejected", "erased"))
    publish(settings.paths.lake, {"files": [file_row("sunbird/cut.json.gz", status="unreadable", error="cut short", **nothing)]})
    page = page_of(settings)
    assert "published, 1 file unreadable (exit 3)" in text_of(page)
    assert "unreadable sunbird/cut.json.gz (1.5 kB): cut short" in text_of(page)
    assert "07:00: 0 events, 0 late, 1 file, of which 1 unreadable" in titles_of(page)


def test_a_failed_run_says_that_nothing_was_published_and_where_to_look(settings: Settings) -> None:
    failures = [
        check(severity="warning", passed=False, expectation="late_rate", observed="0.3", threshold="at most 0.2", table="daily_metrics"),
        check(passed=False, expectation="the key is unique", observed="7"),
        check(),
    ]
    publish(settings.paths.lake, {"quality_results": failures}, failed=True)
    text = text_of(page_of(settings))
    assert "failed, nothing published (exit 1)" in text
    assert f"millrace sql --run {RUN}" in text
    grave, mild = (
        text.index("events: the key is unique: 7 found, allowed is 0"),
        text.index("late_rate (accepted events flagged late"),
    )
    assert grave < mild
    assert "events 2 1 1" in text


def test_refusals_are_shown_with_an_example_each_and_never_with_what_was_landed(settings: Settings) -> None:
    rows = [rejected_row(record=9), rejected_row(record=3), rejected_row(record=5, reason="invalid_json", path="", detail="no JSON")]
    publish(settings.paths.lake, {"files": [file_row(records=3, accepted=0, rejected=3)], "rejected_events": rows})
    page = page_of(settings)
    assert "2 sunbird schema_violation /edata required: pageid a.json:3:0" in text_of(page)
    assert "1 sunbird invalid_json – no JSON a.json:5:0" in text_of(page)
    assert "203.0.113.9" not in page


def test_the_rarer_ways_of_refusal_are_counted(settings: Settings) -> None:
    rows = [rejected_row(record=number + 1, detail=f"rule {number}") for number in range(report.REFUSALS_SHOWN + 4)]
    publish(settings.paths.lake, {"files": [file_row(records=len(rows), accepted=0, rejected=len(rows))], "rejected_events": rows})
    assert f"4 in other ways than these {report.REFUSALS_SHOWN} most frequent ones" in text_of(page_of(settings))


def test_events_are_shown_at_their_hour_of_arrival_and_hours_without_a_file_are_marked(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=4)], "events": events(4, late=1)})
    titles = titles_of(page_of(settings))
    assert "07:00: 4 events, 1 late, 1 file" in titles
    assert sum(title.endswith("no file") for title in titles) == 23


def test_files_whose_path_names_no_hour_have_a_place_of_their_own(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=2, landing_hour=None)], "events": events(2, landing_hour=None)})
    assert "no hour: 2 events, 0 late, 1 file" in titles_of(page_of(settings))


def test_session_metrics_are_shown_together_in_fitting_units(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()], **sessions(61_000, 500, 7_260_000, None)})
    page = page_of(settings)
    assert "sunbird 4 1 min 01 s 2 h 01 min 1 min 15 s 2.5 4.0" in text_of(page)
    assert "sunbird max 1, 1 unknown" in text_of(page)
    titles = [title for title in titles_of(page) if title.endswith(" sessions")]
    assert titles == ["under 1 s: 1 sessions", "from 56.2 s to 1.67 min: 1 sessions", "from 1.56 h to 2.78 h: 1 sessions"]


def test_sessions_under_a_second_do_not_dwarf_the_others(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()], **sessions(*[0] * 90, 60_000, 60_000)})
    page = page_of(settings)
    assert "sunbird max 2, 90 under 1 s" in text_of(page)
    heights = {title: float(height) for height, title in re.findall(r'height="([\d.]+)"><title>(.*?: [\d]+ sessions)<', page)}
    assert heights["under 1 s: 90 sessions"] == heights["from 56.2 s to 1.67 min: 2 sessions"]


def test_dates_before_anything_landed_are_no_nights(settings: Settings) -> None:
    stragglers = metric("median_session_duration", 3_600_000.0, EARLIER)
    session_tables = sessions(60_000)
    publish(settings.paths.lake, {"files": [file_row()], **session_tables, "daily_metrics": [*session_tables["daily_metrics"], stragglers]})
    titles = titles_of(page_of(settings))
    assert "2026-11-20: 1 min 00 s" in titles
    assert not [title for title in titles if title.startswith("2026-11-19")]


def test_sessions_of_a_source_that_lands_days_later_are_shown_under_their_own_date(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()], **sessions(60_000, began=EARLIER)})
    assert "sunbird 2026-11-19 1 1 min 00 s" in text_of(page_of(settings))


def test_a_night_is_shown_with_the_median_of_the_nights_before_it(settings: Settings) -> None:
    for days, records in ((3, 100), (2, 300), (1, 200)):
        date = NIGHT - dt.timedelta(days=days)
        publish(settings.paths.lake, {"files": [file_row(records=records, landing_date=date)]}, run_id=f"before-{days}", night=date)
    publish(settings.paths.lake, {"files": [file_row(records=7)], "events": events(7)})
    page = page_of(settings)
    assert "records landed 7 usually 200" in text_of(page)
    titles = [title for title in titles_of(page) if re.fullmatch(r"[\d-]+: \d+", title)]
    assert titles == ["2026-11-17: 100", "2026-11-18: 300", "2026-11-19: 200", "2026-11-20: 7"]


def test_nothing_of_the_data_is_taken_for_markup(settings: Settings) -> None:
    evil = "<script>alert('1')</script>&\"x"
    nothing = dict.fromkeys(("records", "accepted", "duplicates", "rejected", "erased"))
    publish(
        settings.paths.lake,
        {
            "files": [file_row(evil, 1, accepted=0, rejected=1), file_row(f"{evil}2", status="unreadable", error=evil, **nothing)],
            "rejected_events": [rejected_row(file=evil, path=evil, detail=evil)],
            "quality_results": [check(passed=False, expectation=evil, observed=evil, threshold=evil, source=evil)],
        },
        command=evil,
    )
    page = page_of(settings)
    assert "<script" not in page
    assert text_of(page).count(evil) == 10


def test_the_page_needs_nothing_but_itself(settings: Settings) -> None:
    publish(
        settings.paths.lake, {"files": [file_row(records=1)], "events": events(1), "rejected_events": [rejected_row()], **sessions(60_000)}
    )
    page = page_of(settings)
    assert not re.search(
        r"https?:|//|\b(src|href|action|poster|data)\s*=|@import|url\(|<(script|link|iframe|object|embed|img|base)\b", page, re.IGNORECASE
    )
    assert "default-src 'none'" in page


def test_the_same_state_gives_the_same_bytes(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)], "events": events(1), **sessions(60_000)})
    assert page_of(settings) == page_of(settings)


def test_a_call_that_found_nothing_to_do_leaves_the_run_before_it_on_the_page(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)], "events": events(1), "quality_results": [check()]})
    publish(settings.paths.lake, {}, run_id="idle", started=STARTED + dt.timedelta(hours=1), steps=["publish"])
    text = text_of(page_of(settings))
    assert f"run {RUN}" in text
    assert "Run again 1 × since: nothing had changed." in text
    assert "all 1 checks passed" in text


def test_a_later_night_that_changed_the_account_is_named(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()]})
    later = {"run_id": "next-night", "night": NIGHT + dt.timedelta(days=1), "started": STARTED + dt.timedelta(days=1)}
    publish(settings.paths.lake, {"files": [file_row("late.json")]}, **later)
    assert "Changed since by run, run next-night" in text_of(page_of(settings))


def test_a_night_that_only_a_rebuild_has_made_is_described_by_the_rebuild(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(landing_date=EARLIER), file_row()]}, command="rebuild")
    assert f"millrace rebuild, run {RUN}" in text_of(page_of(settings, EARLIER))


def test_a_night_on_which_nothing_landed_has_a_page(settings: Settings) -> None:
    publish(settings.paths.lake, {}, steps=["publish"])
    text = text_of(page_of(settings))
    assert "No file has landed yet." in text
    assert "No record was refused." in text


def test_a_source_that_landed_nothing_in_the_night_is_missed(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(landing_date=EARLIER, source="contentsquare"), file_row()]})
    assert "contentsquare 0 0 B 0 0 0 0 0 0 nothing landed" in text_of(page_of(settings))


def test_a_night_that_was_never_run_is_one_line_with_the_remedy(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()]})
    with pytest.raises(UsageError, match="the night of 2026-11-19 was never run: `millrace run --date 2026-11-19` runs it") as raised:
        report.write(settings, EARLIER, None)
    assert "\n" not in str(raised.value)
    assert not (settings.paths.lake / "_reports").exists()


def test_no_lake_is_one_line_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(LakeError, match="no lake at"):
        report.write(settings, NIGHT, None)


def test_a_file_that_cannot_be_written_is_one_line_with_the_remedy(settings: Settings, tmp_path: Path) -> None:
    publish(settings.paths.lake, {})
    with pytest.raises(UsageError, match=r"Is a directory.*name another file with --out"):
        report.write(settings, NIGHT, tmp_path)


def test_the_report_loads_nothing_that_takes_seconds(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row()]})
    heavy = "{'great_expectations', 'matplotlib', 'py4j', 'pyspark'}"
    code = f"import sys\nfrom jobs.commands import program\ntry:\n    program.main()\nfinally:\n    print({heavy} & set(sys.modules))"
    arguments = ["report", "--date", str(NIGHT), "--lake", str(settings.paths.lake)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()"), done.stderr


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.4, "400 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3_599.6, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_span_of_time_is_told_in_two_units_at_most(seconds: float, expected: str) -> None:
    assert number_formats.clock(seconds) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, "0.0 %"), (0.0001, "< 0.1 %"), (0.5, "50.0 %"), (0.9999, "> 99.9 %"), (1, "100.0 %")])
def test_a_share_is_never_rounded_to_nothing_or_to_all(value: float, expected: str) -> None:
    assert number_formats.share(value) == expected


# Sources that did not land


def not_landed(source: str) -> dict[str, Any]:
    found = {"expectation": "landed files of an expected source", "observed": "0", "threshold": "at least 1"}
    return check(table="files", severity="warning", passed=False, source=source) | found


def test_a_night_on_which_nothing_landed_names_the_sources_that_were_expected(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(landing_date=EARLIER, records=1)]}, run_id="20261120T021500-abc123", night=EARLIER)
    publish(settings.paths.lake, {"quality_results": [not_landed("sunbird")]})
    text = text_of(page_of(settings))
    assert "nothing has landed, 1 expected source did not land (exit 3)" in text
    assert "did not land sunbird: it landed on nights before" in text
    assert "Nothing needs a look" not in text


def test_a_source_that_landed_after_the_run_is_no_longer_missing(settings: Settings) -> None:
    publish(settings.paths.lake, {"quality_results": [not_landed("sunbird"), not_landed("contentsquare")]})
    publish(settings.paths.lake, {"files": [file_row(records=1)]}, run_id="20261122T021500-abc123", night=NIGHT + dt.timedelta(days=1))
    text = text_of(page_of(settings))
    assert "published, 1 expected source did not land (exit 3)" in text
    assert "did not land contentsquare" in text
    assert "did not land sunbird" not in text


def test_a_night_of_which_nothing_was_expected_says_so(settings: Settings) -> None:
    publish(settings.paths.lake, {})
    text = text_of(page_of(settings))
    assert "nothing has landed (exit 0)" in text
    assert "nothing was expected to land" in text


def test_the_report_names_the_hours_of_a_source_that_is_late_after_others(settings: Settings) -> None:
    of_sunbird = settings.time.model_copy(update={"late_after_hours": 48})
    time = settings.time.model_copy(update={"sources": {"sunbird": of_sunbird}})
    assert report._late_hours(settings.model_copy(update={"time": time}), ["contentsquare", "sunbird"]) == "24 h (sunbird: 48 h)"

"""`millrace site`: its pages, the checks over time, and that a folder is replaced as a whole or left as it is."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call_millrace
from test_report import check, file_row, text_of
from tiny_lake import NIGHT, STARTED, journal, publish
from weeks_lake import DATES, FAILING, FAILS_FROM, NIGHTS, settings_of

from jobs.commands import check_history, site, site_folder
from jobs.commands.check_history import CheckResult, RuleHistory
from jobs.errors import LakeError, UsageError
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from jobs.quality.gate import REPLACED_TIMES
from jobs.settings import Settings
from schemas.catalog import TABLES

pytestmark = pytest.mark.usefixtures("without_arguments")


def pages_of(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_site_has_a_report_of_every_night_that_was_run_and_four_other_pages(site_of_weeks: Path) -> None:
    expected = {"index.html", "marts.html", "checks.html", "dictionary.html", site_folder.MARK}
    assert set(pages_of(site_of_weeks)) == expected | {f"reports/{night}.html" for night in NIGHTS}


def test_every_link_is_relative_and_leads_to_a_place_of_the_site(site_of_weeks: Path) -> None:
    pages = {name: text for name, text in pages_of(site_of_weeks).items() if name.endswith(".html")}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        links = re.findall(r'\bhref="([^"]+)"', text)
        assert links, name
        for link in links:
            path, _, place = link.partition("#")
            target = (
                (site_of_weeks / name).parent.joinpath(path).resolve().relative_to(site_of_weeks.resolve()).as_posix() if path else name
            )
            assert target in pages, (name, link)
            assert not place or place in ids[target], (name, link)


def test_every_page_has_the_same_navigation_and_loads_nothing(site_of_weeks: Path) -> None:
    for name, text in pages_of(site_of_weeks).items():
        if name.endswith(".html"):
            navigation = re.findall(r'<nav class="site".*?</nav>', text, re.DOTALL)
            assert len(navigation) == 1
            assert re.findall(r">([A-Z][\w ]+)</a>", navigation[0]) == ["Overview", "Visitors and more", "Checks", "Data dictionary"]
            assert not re.search(r"https?:|<(script|link|iframe|object|embed|img|base)\b|@import|url\(|\bsrc=", text), name
            assert "default-src 'none'" in text


def test_a_report_leads_to_the_nights_before_and_after_it(site_of_weeks: Path) -> None:
    middle = (site_of_weeks / "reports" / f"{NIGHTS[1]}.html").read_text()
    assert f'href="{NIGHTS[0]}.html" rel="prev"' in middle
    assert f'href="{NIGHTS[2]}.html" rel="next"' in middle
    assert 'rel="next"' not in (site_of_weeks / "reports" / f"{NIGHTS[-1]}.html").read_text()


def test_the_overview_has_the_newest_state_and_a_line_per_night(site_of_weeks: Path) -> None:
    text = text_of((site_of_weeks / "index.html").read_text())
    assert "The lake at state 1" in text
    assert f"72 events of 2 sources have landed from {DATES[0]} to {NIGHT}." in text
    assert "1 check does not pass." in text
    assert re.findall(r"(2026-[\d-]+) needs a look 2 2 0 0 0 2 1", text) == [str(night) for night in reversed(NIGHTS[1:])]
    assert f"{NIGHTS[0]} published 2 2 0 0 0 2 0" in text


def test_the_same_state_gives_the_same_bytes(lake_of_weeks: Path, site_of_weeks: Path, tmp_path: Path) -> None:
    site.write(settings_of(lake_of_weeks), tmp_path / "again")
    assert pages_of(tmp_path / "again") == pages_of(site_of_weeks)


def test_at_most_thirty_nights_have_a_report(settings: Settings, tmp_path: Path) -> None:
    nights = [NIGHT - dt.timedelta(days=days) for days in range(33, 0, -1)]
    earlier = [row for night in nights for row in journal(f"run-{night}", night, started=STARTED - (NIGHT - night), steps=["publish"])]
    publish(settings.paths.lake, {"files": [file_row(records=1)]}, earlier=earlier)
    site.write(settings, tmp_path / "site")
    names = sorted(path.stem for path in (tmp_path / "site" / "reports").iterdir())
    assert names == [str(NIGHT - dt.timedelta(days=days)) for days in range(29, -1, -1)]


def test_a_lake_of_one_empty_night_has_a_site_that_says_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    publish(settings.paths.lake, {})
    site.write(settings, tmp_path / "site")
    assert "Nothing has landed yet." in text_of((tmp_path / "site" / "index.html").read_text())
    assert "Nothing has landed yet." in text_of((tmp_path / "site" / "marts.html").read_text())
    assert "No night has been checked yet." in text_of((tmp_path / "site" / "checks.html").read_text())


def test_a_lake_without_visitors_says_in_every_section_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)]})
    site.write(settings, tmp_path / "site")
    text = text_of((tmp_path / "site" / "marts.html").read_text())
    for words in ("No visitor is known yet", "a second date has to land", "No funnel was begun", "No session has opened a page"):
        assert words in text
    assert "Nothing was bought." in text
    assert "No event has a load time" in text


def test_nothing_of_the_data_is_taken_for_markup(settings: Settings, tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>&\"x"
    where = {"metric_date": NIGHT, "source": evil}
    tables = {
        "files": [file_row(records=1)],
        "active_visitors": [where],
        "pages": [where | {"environment": "", "page": evil, "views": 3, "timespent": 1.0}],
        "performance": [where | {"event_name": evil, "app_version": evil}],
        "funnels": [where | {"funnel": evil, "step": 1, "step_name": evil, "sessions": 1, "conversion": 1.0}],
        "transactions": [where | {"app_id": evil, "currency": evil, "transactions": 1}],
        "quality_results": [check(passed=False, expectation=evil, observed=evil, threshold=evil, source=evil, table=evil)],
    }
    publish(settings.paths.lake, tables)
    site.write(settings, tmp_path / "site")
    for name, text in pages_of(tmp_path / "site").items():
        assert "<script" not in text, name
    assert evil in text_of((tmp_path / "site" / "checks.html").read_text())


# Checks over time


def results(*statuses: str | None) -> list[CheckResult | None]:
    return [
        None if status is None else CheckResult(DATES[number], status, "0.4", "at most 0.2") for number, status in enumerate(statuses)
    ]  # fmt: skip


def rule(*statuses: str | None) -> RuleHistory:
    newest = max((number for number, status in enumerate(statuses) if status), default=0)
    return RuleHistory("events", "late_rate", None, None, "warning", results(*statuses), newest)


@pytest.mark.parametrize(
    ("statuses", "since"),
    [
        (("passed", "warning", "warning"), 1),
        (("warning", "passed", "warning"), 2),
        (("warning", "warning"), 0),
        (("passed", "failed", None, "failed", None), 1),
        (("warning", "passed"), None),
        ((None, "passed", None), None),
        ((None, None), None),
    ],
)
def test_a_rule_fails_since_the_first_night_of_those_in_a_row(statuses: tuple[str | None, ...], since: int | None) -> None:
    assert rule(*statuses).failing_since == (None if since is None else DATES[since])
    assert rule(*statuses).is_failing == (since is not None)


def test_a_rule_that_has_failed_since_the_first_night_may_have_failed_before() -> None:
    assert rule("warning", None, "warning").began_before
    assert not rule(None, "warning").began_before
    assert not rule("passed", "warning").began_before
    assert not rule("passed").began_before


def test_a_rule_that_is_recorded_only_where_it_fails_does_not_fail_in_later_nights(settings: Settings) -> None:
    lake, tomorrow = settings.paths.lake, NIGHT + dt.timedelta(days=1)
    publish(lake, {"quality_results": [check(), check(expectation="missing hours", passed=False)]}, run_id="first")
    later = {"night": tomorrow, "started": STARTED + dt.timedelta(days=1)}
    publish(lake, {"quality_results": [check(date=tomorrow)]}, run_id="second", **later)
    assert check_history.gather(connect(Lake.open(lake))).failing == []


def test_the_heat_map_has_a_sign_where_the_rule_did_not_pass(site_of_weeks: Path) -> None:
    page = (site_of_weeks / "checks.html").read_text()
    (row,) = re.findall(rf'<tr><th scope="row">{FAILING}.*?</tr>', page, re.DOTALL)
    cells = re.findall(r'<td class="(\w+)" title="([^"]*)">(.?)</td>', row)
    assert [(status, sign) for status, _, sign in cells] == [("passed", ""), *[("warning", "!")] * 3]
    found = ["passed, 0.1", "warning, 0.4", "warning, 0.4", "warning, 0.4"]
    assert NIGHTS[1] == FAILS_FROM
    assert [title for _, title, _ in cells] == [
        f"{night}: {words} found, allowed is at most 0.2" for night, words in zip(NIGHTS, found, strict=True)
    ]
    assert f"warning daily_metrics {FAILING} sunbird {FAILS_FROM} 3 0.4 at most 0.2" in text_of(page)


def test_of_each_night_the_last_run_counts_and_a_rule_that_was_not_checked_is_empty(settings: Settings) -> None:
    lake = settings.paths.lake
    later = STARTED + dt.timedelta(days=1)
    publish(lake, {"quality_results": [check(passed=False), check(expectation="gone")]}, run_id="z-first")
    publish(lake, {"quality_results": [check(), check(expectation="new", passed=False)]}, run_id="a-second", started=later, failed=True)
    day_after = NIGHT + dt.timedelta(days=1)
    publish(lake, {"quality_results": [check(date=day_after)]}, run_id="third", night=day_after, started=later + dt.timedelta(days=1))
    history = check_history.gather(connect(Lake.open(lake)))
    assert [(night.night, night.run_id, night.is_failed) for night in history.nights] == [
        (NIGHT, "a-second", True),
        (day_after, "third", False),
    ]
    statuses = {one.expectation: [result and result.status for result in one.results] for one in history.rules["events"]}
    assert statuses == {"event_id is filled": ["passed", "passed"], "new": ["failed", None]}


def test_a_rule_about_the_worst_file_is_one_rule_whatever_the_file(settings: Settings) -> None:
    publish(settings.paths.lake, {"quality_results": [check(expectation=REPLACED_TIMES)]}, run_id="first", night=NIGHT)
    tomorrow = NIGHT + dt.timedelta(days=1)
    failed = check(expectation=REPLACED_TIMES, detail="a.json (old history?)", passed=False, severity="warning", date=tomorrow)
    publish(settings.paths.lake, {"quality_results": [failed]}, run_id="second", night=tomorrow, started=STARTED + dt.timedelta(days=1))
    history = check_history.gather(connect(Lake.open(settings.paths.lake)))
    (only,) = history.rules["events"]
    assert (only.expectation, only.failing_since) == (REPLACED_TIMES, tomorrow)
    assert only.last is not None
    assert "a.json" in only.last.title


def test_the_tables_are_in_the_order_of_the_dictionary(site_of_weeks: Path) -> None:
    named = re.findall(r'<a href="dictionary.html#(\w+)">', (site_of_weeks / "checks.html").read_text())
    assert named == [name for name in TABLES if name in ("events", "daily_metrics")]


# The folder


def test_the_first_page_is_all_that_is_printed_and_a_second_call_replaces_the_site(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)]})
    out = tmp_path / "new" / "site"
    arguments = ["site", "--lake", settings.paths.lake, "--out", out]
    assert call_millrace(capfd, *arguments)[:2] == (0, f"{out / 'index.html'}\n")
    (out / "reports" / "1999-01-01.html").write_text("of an earlier site")
    assert call_millrace(capfd, *arguments).exit_code == 0
    assert not (out / "reports" / "1999-01-01.html").exists()
    assert [path.name for path in out.parent.iterdir()] == ["site"]


@pytest.mark.parametrize("kind", ["folder", "file", "below a file"])
def test_what_is_no_site_is_left_as_it_is_with_one_line(
    kind: str, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)]})
    place = tmp_path / "mine"
    kept = place / "index.html" if kind == "folder" else place
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    result = call_millrace(capfd, "site", "--lake", settings.paths.lake, "--out", place / "site" if kind == "below a file" else place)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "with --out" in result.fault
    assert kept.read_text() == "mine"


def test_an_empty_folder_becomes_the_site(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site_folder.write(tmp_path / "site", {"index.html": "new"}, 1)
    assert (tmp_path / "site" / "index.html").read_text() == "new"


def test_what_a_killed_call_has_left_comes_into_no_site(tmp_path: Path) -> None:
    for name in (".millrace-site.left", f".millrace-site.{os.getpid()}.new"):
        (tmp_path / name / "new").mkdir(parents=True)
        (tmp_path / name / "old.html").write_text("old")
    site_folder.write(tmp_path / "site", {"index.html": "new"}, 1)
    assert sorted(file.name for file in (tmp_path / "site").iterdir()) == ["index.html", site_folder.MARK]


def test_a_site_that_cannot_be_put_in_its_path_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_folder.write(tmp_path / "site", {"index.html": "former"}, 1)
    rename = Path.rename

    def rename_but_the_new_one(path: Path, target: Path) -> Path:
        if path.name == site_folder.NEW:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_but_the_new_one)
    with pytest.raises(UsageError, match="No space left"):
        site_folder.write(tmp_path / "site", {"index.html": "new"}, 2)
    assert (tmp_path / "site" / "index.html").read_text() == "former"
    assert [file.name for file in tmp_path.iterdir()] == ["site"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    site_folder.write(tmp_path / "place", {"index.html": "old"}, 1)
    (tmp_path / "link").symlink_to("place")
    site_folder.write(tmp_path / "link", {"index.html": "new"}, 2)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "place" / "index.html").read_text() == "new"


def test_a_site_that_cannot_be_written_whole_leaves_the_former_one(tmp_path: Path) -> None:
    out = tmp_path / "site"
    site_folder.write(out, {"index.html": "old"}, 1)
    with pytest.raises(UsageError, match="cannot be written"):
        site_folder.write(out, {"index.html": "new", "reports": "a file", "reports/night.html": "in a folder of the same name"}, 2)
    assert pages_of(out) == {"index.html": "old", site_folder.MARK: '{"state": 1}\n'}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_no_lake_is_one_line_and_nothing_is_written(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no lake at"):
        site.write(settings, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_the_site_loads_nothing_that_takes_seconds(settings: Settings, tmp_path: Path) -> None:
    publish(settings.paths.lake, {"files": [file_row()]})
    heavy = "{'great_expectations', 'matplotlib', 'py4j', 'pyspark'}"
    code = f"import sys\nfrom jobs.commands import program\ntry:\n    program.main()\nfinally:\n    print({heavy} & set(sys.modules))"
    arguments = ["site", "--lake", str(settings.paths.lake), "--out", str(tmp_path / "site")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()"), done.stderr

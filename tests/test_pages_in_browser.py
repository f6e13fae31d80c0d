"""The report and the site in a real browser: nothing off-screen, legible in the dark, every plot with its data, printed whole.

Needs Chromium on the PATH; without it these tests are skipped.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
import weeks_lake
from browser import DESKTOP, PHONE, Tab
from tiny_lake import NIGHT
from weeks_lake import DATES

from jobs.quality import pages
from jobs.quality.gate import Finding, of_rows
from schemas.catalog import TABLES
from schemas.suite import suite

pytestmark = pytest.mark.skipif(browser.find() is None, reason="needs Chromium on the PATH, as chromium or google-chrome")

PAGES = ("index.html", "marts.html", "checks.html", "dictionary.html", f"reports/{NIGHT}.html")
# The width of what is printed on A4, in pixels: 210 mm without two margins of 12 mm.
PAPER = 703


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser.running(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
# What lies outside of the page's width, or is cut off by a part of the page that scrolls.
OFF_SCREEN = """
(() => {
  const found = []
  for (const one of document.querySelectorAll('body *')) {
    const style = getComputedStyle(one), box = one.getBoundingClientRect()
    if (one.closest('.hidden') || box.width === 0 || box.height === 0) continue
    if (box.right > innerWidth + 1 || box.left < -1) found.push(one.tagName + ' ' + one.textContent.trim().slice(0, 40))
    if (style.overflowX !== 'visible' && one.scrollWidth > one.clientWidth) found.push('scrolls: ' + one.tagName)
  }
  return found
})()"""
# Texts whose contrast with what is behind them is too low: WCAG 2.2, 1.4.3, level AA.
LOW_CONTRAST = """
(() => {
  const colour = text => text.match(/[\\d.]+/g).map(Number)
  const light = ([red, green, blue]) => [red, green, blue].map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0)
  const behind = one => {
    for (let at = one; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor)
      if (found.length === 3 || found[3] > 0) return found
    }
    return [255, 255, 255]
  }
  const found = new Set()
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const one = text.parentElement
    if (!text.textContent.trim() || one.tagName === 'title' || !one.getClientRects().length) continue
    const style = getComputedStyle(one), inPlot = one.namespaceURI.endsWith('svg')
    const [low, high] = [light(colour(inPlot ? style.fill : style.color)), light(behind(one))].sort((a, b) => a - b)
    const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    const ratio = (high + 0.05) / (low + 0.05)
    const words = text.textContent.trim().slice(0, 30)
    if (ratio < (isLarge ? 3 : 4.5)) found.add(`${one.tagName} ${ratio.toFixed(2)}: ${words}`)
  }
  return [...found]
})()"""
# Pairs of texts of one plot that lie on each other.
OVERLAPPING = """
[...document.querySelectorAll('svg')].flatMap(plot => {
  const texts = [...plot.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()])
  return texts.flatMap(([text, box], number) => texts.slice(number + 1)
    .filter(([_, other]) => Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1
      && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 3)
    .map(([other]) => `${text} | ${other}`))
})"""
# Plots without any shape, and plots that lie about their size.
EMPTY_PLOTS = """
[...document.querySelectorAll('svg[role=img]')].filter(plot => {
  const box = plot.getBoundingClientRect()
  return box.width < 40 || box.height < 8 || !plot.querySelector('rect:not(.target), polyline, circle, path')
}).map(plot => plot.getAttribute('aria-label'))"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_complaint_of_the_browser(tab: Tab, site_of_weeks: Path, name: str) -> None:
    tab.show(site_of_weeks / name)
    assert tab.complaints == []
    assert tab.evaluate("document.querySelector('h1').textContent")


def test_the_browser_complains_of_what_a_page_may_not_do(tab: Tab, tmp_path: Path) -> None:
    """So that no complaint means something."""
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    (tmp_path / "page.html").write_text(f'<!DOCTYPE html>{policy}<img src="https://example.invalid/a.png"><script>1</script>')
    tab.show(tmp_path / "page.html")
    assert len(tab.complaints) == 2


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_nothing_is_off_screen(tab: Tab, site_of_weeks: Path, name: str, width: int) -> None:
    tab.show(site_of_weeks / name, width=width)
    tab.evaluate(OPEN_ALL)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OFF_SCREEN) == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_legible(tab: Tab, site_of_weeks: Path, name: str, dark: bool) -> None:
    tab.show(site_of_weeks / name, dark=dark)
    tab.evaluate(OPEN_ALL)
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 24, 31)" if dark else "rgb(255, 255, 255)")
    assert tab.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_plots_have_shapes_and_no_label_on_another(tab: Tab, site_of_weeks: Path, name: str, width: int) -> None:
    tab.show(site_of_weeks / name, width=width)
    assert tab.evaluate(OVERLAPPING) == []
    if width == DESKTOP:
        assert tab.evaluate(EMPTY_PLOTS) == []


def titles(tab: Tab, label: str) -> list[str]:
    """What the pointer shows in the plot whose label begins so."""
    titles: list[str] = tab.evaluate(
        f"[...document.querySelectorAll('svg[aria-label^=\"{label}\"] .target title')].map(one => one.textContent)"
    )
    return titles


def test_the_plots_of_the_marts_have_the_numbers_of_the_tables(tab: Tab, site_of_weeks: Path) -> None:
    tab.show(site_of_weeks / "marts.html")
    visitors = [weeks_lake.visitors_of("sunbird", date, number) for number, date in enumerate(DATES)]
    assert titles(tab, "sunbird: different visitors") == [
        f"{row['metric_date']}: {row['visitors_1d']:,} in 1 day, {row['visitors_7d']:,} in 7 days, {row['visitors_28d']:,} in 28 days"
        for row in visitors
    ]
    assert titles(tab, "sunbird: returning and new")[-1] == f"{NIGHT}: {visitors[-1]['returning_visitors']:,} returning, 335 new"
    cohorts = [row for number, date in enumerate(DATES) for row in weeks_lake.retention_of(date, number)]
    day_7 = [row for row in cohorts if row["period"] == 7]
    seen, size = (sum(row[name] for row in day_7) for name in ("visitors", "cohort_size"))
    assert titles(tab, "sunbird: share of visitors who were seen again, by days")[6] == (
        f"day 7, {seen:,} of {size:,} visitors: {100 * seen / size:.1f} %"
    )
    steps = [row for number, date in enumerate(DATES[-28:-1], 8) for row in weeks_lake.funnel_of(date, number)]
    begun, ended = (sum(row["sessions"] for row in steps if row["step"] == step) for step in (1, 3))
    assert re.fullmatch(rf"buys: {ended:,} of {begun:,}, [\d.]+ % of the step before", titles(tab, "shop_purchase")[2])
    views = sum(4_000 + number for number in range(8, 36))
    assert (
        titles(tab, "contentsquare: the pages")[0] == f"/home: {views:,} views, 21.5 s each, 25.0 % of those who enter here leave at once"
    )
    assert titles(tab, "contentsquare: 75th percentile of screenview")[-1] == f"{NIGHT}: 400 7.3.1, 500 7.4.0"
    assert titles(tab, "contentsquare, EUR: transactions")[-1] == f"{NIGHT}: 42"


def test_the_trends_of_the_report_have_a_number_per_date(tab: Tab, site_of_weeks: Path) -> None:
    tab.show(site_of_weeks / "reports" / f"{NIGHT}.html")
    assert titles(tab, "sunbird: sessions begun, per day") == [
        f"{date}: {900 + 13 * number:,} sessions begun" for number, date in enumerate(DATES)
    ]
    assert titles(tab, "sunbird: median session duration, s")[-1] == f"{NIGHT}: 85.5 s"


def test_a_link_leads_from_the_overview_to_a_report_and_on_to_the_night_before(tab: Tab, site_of_weeks: Path) -> None:
    tab.show(site_of_weeks / "index.html")
    for selector in ("table.nights a", "a[rel=prev]"):
        tab.follow(selector)
    assert tab.evaluate("location.pathname").endswith(f"reports/{weeks_lake.NIGHTS[-2]}.html")


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_nothing_is_cut_and_the_ground_is_white(tab: Tab, site_of_weeks: Path, name: str) -> None:
    tab.show(site_of_weeks / name, width=PAPER)
    tab.media(dark=True, printed=True)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate(OFF_SCREEN) == []
    assert tab.evaluate(LOW_CONTRAST) == []
    assert tab.printed().startswith(b"%PDF")


@pytest.fixture(scope="module")
def pages_of_checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the checks of a night, of which one failed and one warned."""
    folder = tmp_path_factory.mktemp("pages") / str(NIGHT)
    findings = [of_rows("events", rule, 12 if number == 1 else 0, 1_360, {}) for number, rule in enumerate(suite(TABLES["events"]))]
    findings.append(Finding("files", "every landed file can be read", "warning", 2, 0, 0, source="activity_stream"))
    described = [dataclasses.asdict(finding) | {"threshold": finding.threshold} for finding in findings]
    pages.write_pages(
        folder, "20261121T021500-abc123", described, [not finding.observed for finding in findings], ["must hold"] * len(findings)
    )
    return folder


@pytest.mark.parametrize("name", ["index.html", "events.html", "files.html"])
def test_the_pages_of_the_checks_are_as_legible(tab: Tab, pages_of_checks: Path, name: str) -> None:
    for width, dark in ((PHONE, True), (DESKTOP, False)):
        tab.show(pages_of_checks / name, width=width, dark=dark)
        assert tab.complaints == []
        assert tab.evaluate(OFF_SCREEN) == []
        assert tab.evaluate(LOW_CONTRAST) == []

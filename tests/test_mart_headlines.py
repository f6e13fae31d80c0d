"""The headline numbers of the marts in the report: each is what the tables say, and what is not there yet is said in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import weeks_lake
from test_report import file_row, page_of, text_of
from tiny_lake import NIGHT, publish
from weeks_lake import DATES, settings_of

from jobs.commands import mart_facts, mart_headlines, number_formats
from jobs.commands.mart_facts import Headline, MartFacts
from jobs.lake.duckdb_views import connect
from jobs.lake.tables import Lake
from jobs.settings import Settings

DAY = dt.timedelta(days=1)
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def facts(lake_of_weeks: Path) -> MartFacts:
    return mart_facts.gather(connect(Lake.open(lake_of_weeks)), NIGHT)


def rows(make: Any, last: dt.date) -> Iterator[dict[str, Any]]:
    """The rows of the week that ends with a date."""
    for number, date in enumerate(DATES):
        if last - WEEK < date <= last:
            yield from make(date, number)


def test_visitors_are_those_of_the_night_and_of_the_date_a_week_before(facts: MartFacts) -> None:
    now, before = (weeks_lake.visitors_of("sunbird", DATES[number], number) for number in (35, 28))
    (sunbird,) = (one for one in facts.visitors if one.source == "sunbird")
    assert sunbird.date == NIGHT
    assert sunbird.active == {days: Headline(now[f"visitors_{days}d"], before[f"visitors_{days}d"]) for days in (1, 7, 28)}


def retention_in_week(last: dt.date, period: int) -> float:
    of_period = [row for row in rows(weeks_lake.retention_of, last) if row["period"] == period]
    assert len(of_period) == 7
    return sum(row["visitors"] for row in of_period) / sum(row["cohort_size"] for row in of_period)


def test_retention_is_of_all_cohorts_of_a_week_together(facts: MartFacts) -> None:
    of_source = {one.source: one.retention for one in facts.visitors}
    for period in (1, 7):
        assert of_source["sunbird"][period].value == pytest.approx(retention_in_week(NIGHT, period), rel=1e-12)
        assert of_source["sunbird"][period].before == pytest.approx(retention_in_week(NIGHT - WEEK, period), rel=1e-12)
        assert of_source["contentsquare"][period] == Headline(None, None)


def bought(last: dt.date, currency: str) -> tuple[int, Decimal]:
    of_currency = [row for row in rows(weeks_lake.transactions_of, last) if row["currency"] == currency]
    return sum(row["transactions"] for row in of_currency), sum((row["value"] for row in of_currency), Decimal(0))


def test_purchases_are_sums_of_a_week_per_currency(facts: MartFacts) -> None:
    assert [(one.source, one.currency) for one in facts.purchases] == [("contentsquare", "EUR"), ("contentsquare", "JPY")]
    for one in facts.purchases:
        (count, value), (count_before, value_before) = bought(NIGHT, one.currency), bought(NIGHT - WEEK, one.currency)
        assert one.transactions == Headline(count, count_before)
        assert (one.value.value, one.value.before) == (pytest.approx(float(value)), pytest.approx(float(value_before)))


def steps_in_week(last: dt.date) -> dict[int, int]:
    over = [row for row in rows(weeks_lake.funnel_of, last) if row["conversion"] is not None]
    return {step: sum(row["sessions"] for row in over if row["step"] == step) for step in (1, 3)}


def test_a_funnel_is_counted_on_the_dates_whose_window_is_over(facts: MartFacts) -> None:
    now, before = steps_in_week(NIGHT), steps_in_week(NIGHT - WEEK)
    (funnel,) = facts.funnels
    assert (funnel.funnel, funnel.last_step, funnel.begun, funnel.ended) == ("shop_purchase", "buys", now[1], now[3])
    assert funnel.conversion.value == pytest.approx(now[3] / now[1], rel=1e-12)
    assert funnel.conversion.before == pytest.approx(before[3] / before[1], rel=1e-12)


def test_the_last_step_is_the_one_that_a_funnel_has_now(settings: Settings) -> None:
    """Given a date long ago on which the funnel had a third step."""
    funnel = {"source": "contentsquare", "funnel": "shop", "conversion": 0.5, "sessions": 2}
    steps = [(NIGHT - 20 * DAY, 1), (NIGHT - 20 * DAY, 2), (NIGHT - 20 * DAY, 3), (NIGHT, 1), (NIGHT, 2)]
    tables = {
        "files": [file_row(records=1, source="contentsquare")],
        "active_visitors": [weeks_lake.visitors_of("contentsquare", NIGHT, 1)],
        "funnels": [funnel | {"metric_date": date, "step": step, "step_name": f"step {step}"} for date, step in steps],
    }
    publish(settings.paths.lake, tables)
    (shown,) = mart_facts.gather(connect(Lake.open(settings.paths.lake)), NIGHT).funnels
    assert (shown.last_step, shown.begun, shown.ended) == ("step 2", 2, 2)


def test_the_page_shows_these_numbers_and_their_changes(lake_of_weeks: Path, facts: MartFacts) -> None:
    text = text_of(page_of(settings_of(lake_of_weeks)))
    (sunbird,) = (one for one in facts.visitors if one.source == "sunbird")
    shown = []
    for headline in sunbird.active.values():
        assert headline.value is not None
        assert headline.before is not None
        shown += [f"{headline.value:,}", number_formats.percent_change(headline.value, headline.before)]
    for headline in sunbird.retention.values():
        assert headline.value is not None
        assert headline.before is not None
        shown += [number_formats.share(headline.value), number_formats.points_change(headline.value, headline.before)]
    assert f"sunbird {' '.join(shown)}" in text
    eur = facts.purchases[0]
    assert f"contentsquare EUR {eur.transactions.value:,}" in text
    assert f"{eur.value.value:,.2f}" in text
    funnel = facts.funnels[0]
    assert (
        f"shop_purchase to “buys” contentsquare {funnel.begun:,} {funnel.ended:,} {funnel.conversion.value:.1%}".replace("%", " %") in text
    )


def test_the_trends_have_every_date_up_to_the_night_and_no_other(facts: MartFacts) -> None:
    assert list(facts.dates) == DATES
    expected = {date: weeks_lake.visitors_of("sunbird", date, number)["visitors_1d"] for number, date in enumerate(DATES)}
    assert facts.trends["sunbird", "visitors"] == expected
    assert facts.trends["contentsquare", "sessions"] == {date: 900 + 13 * number for number, date in enumerate(DATES)}
    assert facts.trends["contentsquare", "accepted"] == dict.fromkeys(DATES, 1)


def test_an_earlier_night_is_compared_with_the_weeks_before_it(lake_of_weeks: Path) -> None:
    """Given 20 dates up to the night: two weeks can be compared, and 28 days cannot."""
    facts = mart_facts.gather(connect(Lake.open(lake_of_weeks)), DATES[19])
    (sunbird,) = (one for one in facts.visitors if one.source == "sunbird")
    before = weeks_lake.visitors_of("sunbird", DATES[12], 12)
    assert [sunbird.active[days].before for days in (1, 7, 28)] == [before["visitors_1d"], before["visitors_7d"], None]
    assert facts.dates[-1] == DATES[19]
    assert "over 28 days five weeks" in " ".join(mart_headlines.of(facts).notes)


def test_a_lake_of_one_date_says_what_is_missing(settings: Settings) -> None:
    visitors = weeks_lake.visitors_of("sunbird", NIGHT, 1)
    publish(settings.paths.lake, {"files": [file_row(records=1)], "active_visitors": [visitors]})
    text = text_of(page_of(settings))
    assert "sunbird 1,044 4,177 9,401 – –" in text
    assert "Who is back on day 1 is known once a source has landed on 2 successive dates." in text
    assert "Who is back on day 7 is known once a source has landed on 8 successive dates." in text
    assert "Changes over a week are shown once a source has landed on eight successive dates." in text
    assert "No source with visitors sold anything in the last 14 days." in text
    assert "No funnel of a source with visitors was begun in the last 14 days" in text
    assert "A trend needs two nights on which a source has landed; there is one so far." in text


def test_a_lake_without_visitors_says_so(settings: Settings) -> None:
    publish(settings.paths.lake, {"files": [file_row(records=1)]})
    assert "No visitor is known yet: no event up to this night has a user or a device." in text_of(page_of(settings))


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [(110, 100, "+10 %"), (1_000, 1_001, "−0.1 %"), (1, 4, "−75 %"), (100, 100, "±0 %"), (5_000, 2, "+249,900 %"), (1.05, 1, "+5.0 %")],
)
def test_a_change_of_a_count_is_in_per_cent_with_its_sign(now: float, before: float, expected: str) -> None:
    assert number_formats.percent_change(now, before) == expected


@pytest.mark.parametrize(("now", "before", "expected"), [(0.25, 0.2, "+5.0 points"), (0.1, 0.2, "−10.0 points"), (0.2, 0.2, "±0 points")])
def test_a_change_of_a_share_is_in_points(now: float, before: float, expected: str) -> None:
    assert number_formats.points_change(now, before) == expected

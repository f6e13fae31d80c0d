"""Marts: rows in, rows out, against the plain computation; and a lake of nights against one rebuild."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import marts_reference
import pyarrow as pa
import pytest
from marts_reference import in_one_order
from pyspark.sql import SparkSession

from jobs import settings as configuration
from jobs.rules import funnels
from schemas.marts import VISITOR_DAYS
from schemas.table import spark_schema
from transforms.marts import mart, visitor_days
from transforms.marts.funnels import Funnel, Step
from transforms.marts.mart import LAST_DATES, METRIC_DATES, PARTS, Input, Mart
from transforms.marts.registry import marts

Row = dict[str, Any]
FIRST = dt.date(2026, 9, 28)  # a Monday
LAST = dt.date(2026, 12, 16)  # a Wednesday
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
FUNNELS = (
    Funnel("in a session", "s", (Step("opens", event_type="start"), Step("looks", page="/a*"), Step("buys", event_name="buy"))),
    Funnel("within two days", "s", (Step("comes", event_type="page_view"), Step("comes again", event_type="page_view")), 36),
    Funnel("elsewhere", "other", (Step("opens", event_type="start"), Step("o'clock", page="*'*"))),
)
MARTS = {one.name: one for one in marts(FUNNELS)}


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def event(**fields: Any) -> Row:
    """An event of a visitor; what a test does not say is absent."""
    names = ("user_id", "visitor_id", "event_name", "app_id", "app_version", "environment", "page", "value", "target_type")
    absent = dict.fromkeys((*names, "is_robot", "load_latency", "currency", "key", "object_id", "mode", "item"))
    return {**absent, "source": "s", "event_date": day(0), "event_type": "interaction", "flags": [], "properties": "{}", **fields}


def session(**fields: Any) -> Row:
    lists: Row = {"pagesummary": [], "eventssummary": [], "flags": [], "is_robot": False}
    counts = {"pageviews": 1, "interactions": 0}
    return {"source": "s", "session_date": day(0), "visitor_id": None, "entry_page": None, "exit_page": None, **lists, **counts, **fields}


def random_tables(seed: int) -> dict[str, list[Row]]:
    """Events and what is made of them, of few visitors, pages and values, so that they meet."""
    random = Random(seed)
    dates = [day(random.randrange(75)) for _ in range(12)]
    people = [None, *"abcdefgh"]
    events = [random_event(random, random.choice(dates), random.choice(people)) for _ in range(400)]
    sessions = [random_session(random, random.choice(dates), random.choice(people)) for _ in range(80)]
    members = [member for number in range(60) for member in random_members(random, f"session {number}", random.choice(dates))]
    summaries = [
        {"summary_date": random.choice(dates), "mode": random.choice(["play", "Play", ""]), "object_id": random.choice([None, "do_1"])}
        | {"time_spent": random.randrange(9_999) / 100}
        for _ in range(30)
    ]
    return {"events": events, "sessions": sessions, "session_events": members, "workflow_summaries": summaries}


def random_event(random: Random, date: dt.date, visitor: str | None) -> Row:
    answer = {
        "itemId": random.choice(["q1", "q2", None]),
        "pass": random.choice(["Yes", "No", True]),
        "score": random.choice([0, 0.1, 1, None]),
    }
    answer |= {"maxScore": random.choice([1, None]), "timeSpent": random.choice([-1, 0.5, 3, None, "nan", "inf"])}
    homepage = {"is_mobile": random.random() < 0.5, "user_editcount": random.choice([0, 1, 4, 5, 99, 100, 999, 1000])}
    homepage |= {"impact_module_state": random.choice(["activated", "notrendered"]), "start_email_state": "confirmed"}
    return event(
        source=random.choice(["s", "sunbird", "homepagevisit"]),
        event_date=date,
        visitor_id=visitor,
        event_type=random.choice(["page_view", "performance", "transaction", "assessment", "start", "end", "session"]),
        event_name=random.choice(["one", "two"]),
        flags=random.choice([[], [], [], ["late"], ["canary"]]),
        is_robot=random.choice([None, False, False, True]),
        app_id=random.choice([None, "8"]),
        app_version=random.choice([None, "1.0"]),
        environment=random.choice([None, "home"]),
        page=random.choice([None, "/a", "/b"]),
        value=random.choice([None, -1.0, 0.1, 0.2, 19.99, 1e18, 1.7e308, 1e-12, 3.0]),
        load_latency=random.choice([None, 0, 10, 20, 300]),
        currency=random.choice([None, "EUR"]),
        key=random.choice([None, "k", "l"]),
        object_id=random.choice([None, "do_1", "do_2"]),
        mode=random.choice([None, "play", "PLAY", "edit"]),
        item=json.dumps(answer),
        target_type=random.choice([None, "direct"]),
        properties=json.dumps(homepage),
    )


def random_session(random: Random, date: dt.date, visitor: str | None) -> Row:
    keys = [(page, env) for page in ("/a", "/b") for env in ("", "home") if random.random() < 0.5]
    summary = [
        {"id": page, "type": None, "env": env, "timespent": random.choice([None, 0.0, 1.234]), "visits": random.randrange(1, 4)}
        for page, env in keys
    ]
    return session(
        source=random.choice(["s", "t"]),
        session_date=date,
        visitor_id=visitor,
        flags=random.choice([[], [], ["late"]]),
        is_robot=random.choice([None, False, False, True]),
        pagesummary=summary,
        eventssummary=[{"id": name, "count": 2} for name in ("one", "two", "three") if random.random() < 0.6],
        entry_page=random.choice([None, *(page for page, _ in keys)]),
        exit_page=random.choice([None, *(page for page, _ in keys)]),
        pageviews=random.randrange(3),
        interactions=random.randrange(2),
    )


def random_members(random: Random, name: str, date: dt.date) -> Iterable[Row]:
    time = dt.datetime.combine(date, dt.time(random.randrange(24)), dt.UTC)
    source, visitor, is_robot = random.choice(["s", "s", "other"]), random.choice([None, *"abc"]), random.random() < 0.1
    for sequence in range(1, random.randrange(2, 9)):
        time += dt.timedelta(minutes=random.choice([0, 0, 1, 200]))
        yield {
            "source": source,
            "session_id": name,
            "sequence": sequence,
            "session_date": date,
            "event": event_of_session(
                time,
                random.choice(["start", "page_view", "end"]),
                random.choice(["buy", "look"]),
                visitor,
                page=random.choice([None, "/a", "/a\n'b", "/b"]),
                is_robot=is_robot,
            ),
        }


def event_of_session(time: dt.datetime, event_type: str, name: str, visitor: str | None, **fields: Any) -> Row:
    """The column `event` of `session_events`; the page is called as the event, if nothing else is said."""
    row = {"event_time": time, "event_type": event_type, "event_name": name, "page": name, "visitor_id": visitor, "is_robot": False}
    return row | fields


def frame(rows: Iterable[Row], of: Input) -> pa.Table:
    """Rows with the columns of an input; a field of a struct is named by itself."""
    fields = []
    for name in of.columns:
        column, _, part = name.partition(".")
        kind = of.table[column].type
        fields.append(pa.field(name, kind.field(part).type if part else kind))
    return pa.Table.from_pylist([{name: row[name.rpartition(".")[2]] for name in of.columns} for row in rows], schema=pa.schema(fields))


def metric_dates() -> pa.Table:
    dates = [day(number) for number in range((LAST - FIRST).days + 40)]
    sources = ("s", "t", "other", "sunbird", "homepagevisit")
    return pa.table([[source for source in sources for _ in dates], dates * len(sources)], schema=METRIC_DATES)


def last_dates() -> pa.Table:
    return pa.Table.from_pylist([{"source": source, "last_date": LAST} for source in LAST_OF], schema=LAST_DATES)


LAST_OF = dict.fromkeys(("s", "t", "other", "sunbird", "homepagevisit"), LAST)


def parts_of(of: Mart, tables: Mapping[str, Sequence[Row]], shards: int = 1) -> pa.Table:
    """What is counted for a mart, when the rows of each table are in three files."""
    parts = [PARTS.empty_table()]
    for one in of.inputs:
        given = [row for row in tables[one.table.name] if one.source is None or row.get("source", one.source) == one.source]
        parts += [mart.count_rows(of, frame(given[start::3], one), one, metric_dates(), shards) for start in range(3)]
    return pa.concat_tables(parts)


def computed(of: Mart, tables: Mapping[str, Sequence[Row]]) -> list[Row]:
    parts = parts_of(of, tables)
    by_date = {date: parts.filter(pa.compute.equal(parts["metric_date"], date)) for date in set(parts["metric_date"].to_pylist())}
    rows: list[Row] = []
    for of_date in by_date.values():
        rows += mart.rows_of_mart(of, mart.unpacked(of, of_date["rows"].to_pylist()), last_dates()).to_pylist()
    return rows


def days_of(events: Sequence[Row]) -> list[Row]:
    """The rows of `visitor_days` of these events, which are in three files."""
    schema = pa.schema(
        [
            pa.field(name, t)
            for name, t in zip(
                visitor_days.EVENT_COLUMNS, (pa.string(), pa.date32(), pa.list_(pa.string()), pa.bool_(), pa.string()), strict=True
            )
        ]
    )
    files = [
        pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in events[start::3]], schema=schema) for start in range(3)
    ]
    visits = pa.concat_tables(visitor_days.visits_of_events(file, metric_dates()) for file in files)
    return visitor_days.changed_days(visits).to_pylist()


def with_days(tables: Mapping[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    return {**tables, VISITOR_DAYS.name: days_of(tables["events"])}


@pytest.mark.parametrize("name", MARTS)
@pytest.mark.parametrize("seed", range(2))
def test_a_mart_is_what_the_plain_computation_makes_of_the_same_rows(name: str, seed: int) -> None:
    tables = random_tables(seed)
    expected = marts_reference.rows_of(name, tables, FUNNELS, LAST_OF)
    assert expected
    assert in_one_order(computed(MARTS[name], with_days(tables))) == in_one_order(expected)


@pytest.mark.parametrize("seed", range(2))
def test_a_visitor_has_a_row_per_date_with_the_first_date_and_the_one_before(seed: int) -> None:
    events = random_tables(seed)["events"]
    made = [{name: value for name, value in row.items() if name != "visitor_hash"} for row in days_of(events)]
    assert in_one_order(made) == in_one_order(marts_reference.visitor_days(events))


def test_only_days_that_change_are_written_again() -> None:
    """Given a visitor seen on days 3, 5 and 9; when day 4 is added, days 3 and 9 stay as they are stored."""
    stored = [{**row, "is_new": False} for row in days_of([event(visitor_id="v", event_date=day(number)) for number in (3, 5, 9)])]
    added = {**stored[0], "visit_date": day(4), "first_date": None, "previous_date": None, "is_new": True}
    changed = visitor_days.changed_days(pa.Table.from_pylist([*stored, added], schema=visitor_days.VISITS)).to_pylist()
    assert sorted((row["visit_date"], row["first_date"], row["previous_date"]) for row in changed) == [
        (day(4), day(3), day(3)),
        (day(5), day(3), day(4)),
    ]


def test_visitors_of_a_window_count_once() -> None:
    """Given a visitor of days 0, 6, 7 and 40, and one of day 7."""
    events = [event(visitor_id=who, event_date=day(number)) for who, number in (("v", 0), ("v", 6), ("v", 7), ("v", 40), ("w", 7))]
    rows = {row["metric_date"]: row for row in computed(MARTS["active_visitors"], with_days({"events": events}))}
    counts = ("visitors_1d", "visitors_7d", "visitors_28d", "new_visitors", "visitors_7d_week_before")
    assert {date: tuple(row[name] for name in counts) for date, row in rows.items()} == {
        day(0): (1, 1, 1, 1, None),
        day(6): (1, 1, 1, 0, None),
        day(7): (2, 2, 2, 1, 1),
        day(40): (1, 1, 1, 0, None),
    }


def test_the_rate_of_a_week_is_null_until_its_last_date_has_landed() -> None:
    """Given visitors of the Monday before the week in which the last file landed, on a Wednesday."""
    monday = LAST - dt.timedelta(days=9)
    events = [event(visitor_id=who, event_date=date) for who, date in (("v", monday), ("w", monday), ("v", LAST))]
    rows = [row for row in computed(MARTS["retention"], with_days({"events": events})) if row["grain"] == "week"]
    assert sorted((row["period"], row["cohort_size"], row["visitors"], row["rate"]) for row in rows) == [(0, 2, 2, 1.0), (1, 2, 1, None)]


def test_a_step_counts_only_after_the_step_before_it() -> None:
    """Given one session that buys before it looks, and one that looks, opens, looks and buys."""
    order = {"first": ("start", "buy", "/a"), "second": ("/a", "start", "/a", "buy")}
    members = [
        {"source": "s", "session_id": name, "sequence": number, "session_date": NOON.date()}
        | {"event": event_of_session(NOON + dt.timedelta(seconds=number), "start" if step == "start" else "page_view", step, name)}
        for name, steps in order.items()
        for number, step in enumerate(steps, 1)
    ]
    rows = [row for row in computed(MARTS["funnels"], {"session_events": members}) if row["funnel"] == "in a session"]
    found = [(row["step"], row["sessions"], row["conversion"], row["step_conversion"], row["median_ms"]) for row in rows]
    assert found == [(1, 2, 1.0, 1.0, None), (2, 2, 1.0, 1.0, 1000), (3, 1, 0.5, 0.5, 1000)]


def test_sums_of_money_are_exact_per_currency() -> None:
    events = [event(event_type="transaction", value=0.1, currency="EUR", key=f"k{number % 2}") for number in range(3)]
    (row,) = computed(MARTS["transactions"], {"events": events})
    assert (row["value"], row["sessions"], row["value_per_session"]) == (Decimal("0.3"), 2, Decimal("0.15"))


def test_all_parts_of_a_row_are_in_one_task(spark: SparkSession) -> None:
    """Given the parts of all marts, in any order; the rows of each mart follow from what one task has."""
    tables, of_name, lasts = with_days(random_tables(7)), MARTS, last_dates()
    parts = pa.concat_tables(parts_of(one, tables, shards=4) for one in of_name.values())

    def rows_of_all(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        groups: dict[tuple[str, dt.date, int], list[bytes]] = {}
        for row in (row for batch in batches for row in batch.to_pylist()):
            groups.setdefault((row["mart"], row["metric_date"], row["shard"]), []).append(row["rows"])
        for (name, _, _), packed in groups.items():
            rows = mart.rows_of_mart(of_name[name], mart.unpacked(of_name[name], packed), lasts).to_pylist()
            if rows:
                yield pa.RecordBatch.from_pylist([{"mart": name, "row": repr(sorted(row.items()))} for row in rows])

    together = mart.together(spark.createDataFrame(parts.to_pylist(), spark_schema(PARTS)).repartition(3), 4)
    made = together.mapInArrow(rows_of_all, "mart string, row string").toArrow().to_pylist()
    for name, one in of_name.items():
        expected = sorted(repr(sorted(row.items())) for row in computed(one, tables))
        assert sorted(row["row"] for row in made if row["mart"] == name) == expected, name


@pytest.mark.parametrize(
    ("funnel", "message"),
    [
        ({"source": "nowhere", "steps": []}, "funnels.f.source is wrong (no source is called nowhere"),
        ({"source": "sunbird", "steps": [{"name": "a", "event_type": "start"}]}, "funnels.f.steps is wrong"),
        (
            {"source": "sunbird", "steps": [{"name": "a"}, {"name": "b", "page": "x"}]},
            "the step a has neither event_type, event_name nor page",
        ),
        ({"source": "sunbird", "steps": [{"name": "a", "page": "x"}] * 2}, "two steps are called a"),
        ({"source": "sunbird", "steps": [{"name": "a", "event_type": "walk"}, {"name": "b", "page": "x"}]}, "no event type is called walk"),
        ({"source": "sunbird", "window_hours": 0, "steps": [{"name": n, "page": n} for n in "ab"]}, "funnels.f.window_hours is wrong"),
    ],
)
def test_a_fault_of_a_funnel_is_one_line(funnel: Row, message: str, tmp_path: Any) -> None:
    file = tmp_path / "conf.yaml"
    file.write_text(json.dumps({"funnels": {"f": funnel}}))
    with pytest.raises(configuration.SettingsError) as raised:
        configuration.load(file=file)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_funnel_is_added_and_taken_away_by_its_name(tmp_path: Any) -> None:
    steps = [{"name": "a", "event_type": "start"}, {"name": "b", "page": "x"}]
    file = tmp_path / "conf.yaml"
    file.write_text(json.dumps({"funnels": {"mine": {"source": "sunbird", "steps": steps}, "shop_purchase": None}}))
    names = {funnel.name for funnel in funnels(configuration.load(file=file))}
    assert "mine" in names
    assert "course_assessment" in names
    assert "shop_purchase" not in names

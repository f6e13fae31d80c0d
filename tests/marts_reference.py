"""The marts, computed in plain Python from all rows of the tables that they read: slow, short, and written from the definitions alone."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from transforms.marts.funnels import Funnel, Step

Row = dict[str, Any]
DAY = dt.timedelta(days=1)


def is_of_people(row: Row) -> bool:
    return not row["is_robot"] and "canary" not in row["flags"]


def grouped(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def percentile(values: Iterable[Any], percent: int) -> Any:
    """The first value with at least so many percent of the values up to it."""
    in_order = sorted(values)
    return in_order[math.ceil(len(in_order) * percent / 100) - 1] if in_order else None


def rate(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def visits_of(events: Iterable[Row]) -> dict[str, dict[str, set[dt.date]]]:
    """Per source and visitor the dates of their events."""
    visits: dict[str, dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    for event in filter(is_of_people, events):
        if event["visitor_id"] is not None:
            visits[event["source"]][event["visitor_id"]].add(event["event_date"])
    return visits


def visitor_days(events: Iterable[Row]) -> list[Row]:
    return [
        {
            "source": source,
            "visit_date": date,
            "visitor_id": visitor,
            "first_date": min(dates),
            "previous_date": max((other for other in dates if other < date), default=None),
        }
        for source, visitors in visits_of(events).items()
        for visitor, dates in visitors.items()
        for date in dates
    ]


def active_visitors(events: Iterable[Row]) -> list[Row]:
    rows = []
    for source, visitors in visits_of(events).items():

        def seen(last: dt.date, days: int, visitors: Mapping[str, set[dt.date]] = visitors) -> int:
            window = {last - DAY * back for back in range(days)}
            return sum(bool(dates & window) for dates in visitors.values())

        for date in set().union(*visitors.values()):
            new = sum(min(dates) == date for dates in visitors.values())
            week, week_before = seen(date, 7), seen(date - 7 * DAY, 7)
            rows.append(
                {
                    "metric_date": date,
                    "source": source,
                    "visitors_1d": seen(date, 1),
                    "visitors_7d": week,
                    "visitors_28d": seen(date, 28),
                    "new_visitors": new,
                    "returning_visitors": seen(date, 1) - new,
                    "stickiness": rate(seen(date, 1), seen(date, 28)),
                    "visitors_7d_week_before": week_before or None,
                    "week_over_week": rate(week, week_before),
                }
            )
    return rows


def retention(events: Iterable[Row], last_dates: Mapping[str, dt.date]) -> list[Row]:
    rows = []
    for source, visitors in visits_of(events).items():
        for grain, days, periods in (("day", 1, 28), ("week", 7, 12)):

            def start(date: dt.date, grain: str = grain) -> dt.date:
                return date if grain == "day" else date - DAY * date.weekday()

            for cohort in {start(min(dates)) for dates in visitors.values()}:
                members = [dates for dates in visitors.values() if start(min(dates)) == cohort]
                for period in range(periods + 1):
                    first = cohort + period * days * DAY
                    seen = sum(any(start(date) == first for date in dates) for dates in members)
                    if first <= last_dates[source]:
                        is_over = first + (days - 1) * DAY <= last_dates[source]
                        rows.append(
                            {
                                "metric_date": first,
                                "source": source,
                                "grain": grain,
                                "cohort_start": cohort,
                                "period": period,
                                "cohort_size": len(members),
                                "visitors": seen,
                                "rate": seen / len(members) if is_over else None,
                            }
                        )
    return rows


def pages(sessions: Iterable[Row], events: Iterable[Row]) -> list[Row]:
    counts: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    visitors: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    loads: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for session in filter(is_of_people, sessions):
        known: set[str] = set()
        for page in sorted((page for page in session["pagesummary"] if page["id"] is not None), key=lambda page: page["env"]):
            key = (session["session_date"], session["source"], page["env"], page["id"])
            is_first = page["id"] not in known
            known.add(page["id"])
            is_entry = is_first and page["id"] == session["entry_page"]
            counts[key] += Counter(
                views=page["visits"],
                sessions=1,
                ms=round((page["timespent"] or 0) * 1000),
                entries=is_entry,
                exits=is_first and page["id"] == session["exit_page"],
                bounces=is_entry and session["pageviews"] == 1 and session["interactions"] == 0,
            )
            visitors[key] |= {session["visitor_id"]} - {None}
    for event in filter(is_of_people, events):
        if event["load_latency"] is not None and event["page"] is not None:
            loads[event["event_date"], event["source"], event["environment"] or "", event["page"]].append(event["load_latency"])
    return [
        {
            **dict(zip(("metric_date", "source", "environment", "page"), key, strict=True)),
            **{name: counts[key][name] for name in ("views", "sessions", "entries", "exits", "bounces")},
            "visitors": len(visitors[key]),
            "timespent": counts[key]["ms"] / 1000,
            "bounce_rate": rate(counts[key]["bounces"], counts[key]["entries"]),
            "loads": len(loads[key]),
            "load_p50": percentile(loads[key], 50),
            "load_p95": percentile(loads[key], 95),
        }
        for key in {*counts, *loads}
    ]


def performance(events: Iterable[Row]) -> list[Row]:
    rows = []
    timed = [event for event in events if is_of_people(event) and event["event_type"] in ("performance", "page_view", "session")]
    for (date, source, name, version), group in grouped(timed, "event_date", "source", "event_name", "app_version").items():
        measured = [event["value"] if event["event_type"] == "performance" else event["load_latency"] for event in group]
        values = [float(value) for value in measured if value is not None and value >= 0]
        if values:
            rows.append(
                {
                    "metric_date": date,
                    "source": source,
                    "event_name": name,
                    "app_version": version or "",
                    "count": len(values),
                    "sentinels": len(group) - len(values),
                    **{f"p{percent}": percentile(values, percent) for percent in (50, 75, 95, 99)},
                }
            )
    return rows


def transactions(events: Iterable[Row]) -> list[Row]:
    rows = []
    bought = [event for event in events if is_of_people(event) and event["event_type"] == "transaction"]
    for (date, source, app, currency), group in grouped(bought, "event_date", "source", "app_id", "currency").items():
        values = [Decimal(repr(event["value"])) for event in group if event["value"] is not None and abs(event["value"]) < 1e18]
        sessions = len({event["key"] for event in group} - {None})
        value = sum(values, Decimal(0)) if values else None
        rows.append(
            {
                "metric_date": date,
                "source": source,
                "app_id": app or "",
                "currency": currency or "",
                "transactions": len(group),
                "value": value,
                "sessions": sessions,
                "value_per_session": None if value is None or not sessions else value / sessions,
            }
        )
    return rows


def assessments(events: Iterable[Row]) -> list[Row]:
    answers = [
        {**event, "answer": json.loads(event["item"]), "content_id": event["object_id"], "question_id": json.loads(event["item"])["itemId"]}
        for event in events
        if is_of_people(event) and event["event_type"] == "assessment"
    ]
    rows = []
    for (date, source, content, question), group in grouped(answers, "event_date", "source", "content_id", "question_id").items():
        passes = sum(str(event["answer"]["pass"]).lower() in ("yes", "true", "1") for event in group)
        given = [event["answer"]["timeSpent"] for event in group if event["answer"]["timeSpent"] is not None]
        times = [time for time in given if math.isfinite(float(time))]
        rows.append(
            {
                "metric_date": date,
                "source": source,
                "content_id": content or "",
                "question_id": question or "",
                "attempts": len(group),
                "passes": passes,
                "pass_rate": passes / len(group),
                "score": math.fsum(event["answer"]["score"] or 0 for event in group),
                "max_score": math.fsum(event["answer"]["maxScore"] or 0 for event in group),
                "median_time": percentile([float(time) for time in times if time >= 0], 50),
            }
        )
    return rows


def content_plays(events: Iterable[Row], summaries: Iterable[Row]) -> list[Row]:
    counts: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    visitors: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for event in filter(is_of_people, events):
        key = (event["event_date"], event["source"], event["object_id"] or "")
        if (event["mode"] or "").lower() == "play" and event["event_type"] in ("start", "end"):
            counts[key][event["event_type"]] += 1
            if event["event_type"] == "start":
                visitors[key] |= {event["visitor_id"]} - {None}
    for summary in summaries:
        if summary["mode"].lower() == "play" and summary["summary_date"] is not None:
            counts[summary["summary_date"], "sunbird", summary["object_id"] or ""]["hundredths"] += round(summary["time_spent"] * 100)
    return [
        {
            **dict(zip(("metric_date", "source", "content_id"), key, strict=True)),
            "plays": count["start"],
            "visitors": len(visitors[key]),
            "timespent": count["hundredths"] / 100,
            "completions": count["end"],
            "completion_rate": rate(count["end"], count["start"]),
        }
        for key, count in counts.items()
    ]


def homepage(events: Iterable[Row]) -> list[Row]:
    visits = [
        {**event, **json.loads(event["properties"])}
        for event in events
        if is_of_people(event) and event["source"] == "homepagevisit" and event["event_type"] == "page_view"
    ]
    buckets = {"edits_0": (None, 0), "edits_1_4": (1, 4), "edits_5_99": (5, 99), "edits_100_999": (100, 999), "edits_1000": (1000, None)}
    rows = []
    for (date, source, wiki, route, mobile), group in grouped(
        visits, "event_date", "source", "environment", "target_type", "is_mobile"
    ).items():

        def having(name: str, value: str, group: Sequence[Row] = group) -> int:
            return sum(visit.get(name) == value for visit in group)

        visitors = len({visit["visitor_id"] for visit in group} - {None})
        rows.append(
            {
                "metric_date": date,
                "source": source,
                "wiki": wiki or "",
                "route": route or "",
                "is_mobile": mobile,
                "visits": len(group),
                "visitors": visitors,
                "repeat_visits": len(group) - visitors,
                **{
                    name: sum(
                        (first is None or visit["user_editcount"] >= first) and (last is None or visit["user_editcount"] <= last)
                        for visit in group
                    )
                    for name, (first, last) in buckets.items()
                },
                **{f"impact_{state}": having("impact_module_state", state) for state in ("activated", "unactivated", "notrendered")},
                **{f"email_{state}": having("start_email_state", state) for state in ("noemail", "unconfirmed", "confirmed")},
                **{f"{part}_complete": having(f"start_{part}_state", "complete") for part in ("tutorial", "userpage", "startediting")},
            }
        )
    return rows


def event_rate(sessions: Iterable[Row]) -> list[Row]:
    rows = []
    for (date, source), group in grouped(filter(is_of_people, sessions), "session_date", "source").items():
        names = Counter(part["id"] for session in group for part in session["eventssummary"])
        rows += [
            {
                "metric_date": date,
                "source": source,
                "event_name": name,
                "sessions_with": count,
                "sessions": len(group),
                "rate": count / len(group),
            }
            for name, count in names.items()
        ]
    return rows


def funnels(members: Iterable[Row], definitions: Iterable[Funnel], last_dates: Mapping[str, dt.date]) -> list[Row]:
    people = [{**member, **member["event"]} for member in members if not member["event"]["is_robot"]]
    rows: list[Row] = []
    for funnel in definitions:
        of_source = [member for member in people if member["source"] == funnel.source]
        for date in {member["session_date"] for member in of_source}:
            rows += funnel_of_date(of_source, funnel, date, last_dates[funnel.source])
    return rows


def funnel_of_date(members: Sequence[Row], funnel: Funnel, date: dt.date, last_date: dt.date) -> list[Row]:
    owner = "session_id" if funnel.window_hours is None else "visitor_id"
    window = [member for member in members if date <= member["session_date"] <= date + DAY * funnel.window_days]
    paths = [
        path for (of_whom,), events in grouped(window, owner).items() if of_whom is not None and (path := path_of(events, funnel, date))
    ]
    if not paths:
        return []
    reached = [[path for path in paths if len(path) > number] for number in range(len(funnel.steps))]
    is_over = date + DAY * funnel.window_days <= last_date
    return [
        {
            "metric_date": date,
            "source": funnel.source,
            "funnel": funnel.name,
            "step": number + 1,
            "step_name": step.name,
            "sessions": len(reached[number]),
            "visitors": len({path[0]["visitor_id"] for path in reached[number]} - {None}),
            "conversion": len(reached[number]) / len(paths) if is_over else None,
            "step_conversion": rate(len(reached[number]), len(reached[max(number - 1, 0)])) if is_over else None,
            "median_ms": percentile([milliseconds(path[number - 1], path[number]) for path in reached[number]], 50) if number else None,
        }
        for number, step in enumerate(funnel.steps)
    ]


def path_of(events: Sequence[Row], funnel: Funnel, date: dt.date) -> list[Row]:
    """The events by which the steps are taken, one after the other."""
    path: list[Row] = []
    for event in sorted(events, key=lambda event: (event["event_time"], event["session_id"], event["sequence"])):
        if len(path) == len(funnel.steps):
            break
        in_time = not path or funnel.window_hours is None or milliseconds(path[0], event) <= funnel.window_hours * 3_600_000
        if fits(event, funnel.steps[len(path)]) and in_time and (path or event["session_date"] == date):
            path.append(event)
    return path


def fits(event: Row, step: Step) -> bool:
    return (
        step.event_type in (None, event["event_type"])
        and step.event_name in (None, event["event_name"])
        and (step.page is None or (event["page"] is not None and fnmatch.fnmatchcase(event["page"], step.page)))
    )


def milliseconds(one: Row, other: Row) -> int:
    return (other["event_time"] - one["event_time"]) // dt.timedelta(milliseconds=1)


def rows_of(name: str, tables: Mapping[str, Sequence[Row]], definitions: Sequence[Funnel], last_dates: Mapping[str, dt.date]) -> list[Row]:
    """The rows of `visitor_days` or of a mart, out of all rows of the tables that it reads."""
    events, sessions = tables.get("events", ()), tables.get("sessions", ())
    of: dict[str, Callable[[], list[Row]]] = {
        "visitor_days": lambda: visitor_days(events),
        "active_visitors": lambda: active_visitors(events),
        "retention": lambda: retention(events, last_dates),
        "pages": lambda: pages(sessions, events),
        "performance": lambda: performance(events),
        "transactions": lambda: transactions(events),
        "assessments": lambda: assessments(events),
        "content_plays": lambda: content_plays(events, tables["workflow_summaries"]),
        "homepage": lambda: homepage(events),
        "event_rate": lambda: event_rate(sessions),
        "funnels": lambda: funnels(tables["session_events"], definitions, last_dates),
    }
    return of[name]()


def in_one_order(rows: Iterable[Row]) -> list[Any]:
    """Rows in a form in which they can be compared: sorted, with rounded numbers."""
    return sorted((sorted((name, rounded(value)) for name, value in row.items()) for row in rows), key=repr)


def rounded(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:.6f}"
    return round(value, 9) if isinstance(value, float) else value

"""The rules of sessions (docs/rules/sessions.md) in plain Python: one event after the other, whatever it costs.

Written from the rules and not from the queries of transforms: where the two agree, both follow the rules.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from json_digest import digest

from transforms.documents.json_documents import short_hash
from transforms.sessions.sessions import SessionRules

Row = dict[str, Any]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EXACT = Context(prec=80)
RANK = {"start": 0, "page_view": 1, "end": 3}


class Built(NamedTuple):
    sessions: list[Row]
    members: list[Row]
    chains: list[Row]


def build(events: Iterable[Row], rules: SessionRules) -> Built:
    keys: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for event in events:
        facts = event["session_input"]
        if facts is not None and facts["key"] is not None:
            keys[event["source"], facts["key"]].append(event)
    built = Built([], [], [])
    for same_key in keys.values():
        same_key.sort(key=in_order)
        if same_key[0]["session_input"]["kind"] == "reported":
            pings_of_a_client(same_key, rules, built)
        else:
            events_of_a_key(same_key, rules, built)
    return built


# --- what both algorithms share


def ms(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(milliseconds=1)


def moment(epoch_ms: int) -> dt.datetime:
    return EPOCH + dt.timedelta(milliseconds=epoch_ms)


def in_order(event: Row) -> tuple[Any, ...]:
    known = event["client_time"] is not None
    client = (1, event["client_time"]) if known else (0, EPOCH)
    rank = RANK.get(event["event_type"], 2)
    return event["event_time"], client, rank, event["event_id"].encode(), event["landing_date"]


def filled(values: Iterable[str | None]) -> list[str]:
    return [value for value in values if value]


def first(values: Sequence[Any]) -> Any:
    return values[0] if values else None


def last(values: Sequence[Any]) -> Any:
    return values[-1] if values else None


def counted(events: Iterable[Row]) -> list[Row]:
    return [{"id": name, "count": count} for name, count in sorted(Counter(event["event_name"] for event in events).items())]


def people_and_app(events: Sequence[Row]) -> Row:
    row = {name: first(filled(event[name] for event in events)) for name in ("device_id", "app_id", "app_version", "locale")}
    user = last(filled(event["user_id"] for event in events))
    visitor = row["device_id"] if user is None else user
    return {**row, "user_id": user, "visitor_id": visitor, "is_robot": any(event["is_robot"] for event in events)}


def doubts(events: Sequence[Row]) -> set[str]:
    flags = {flag for event in events for flag in event["flags"]}
    replaced = "time_replaced" in flags or any(event["client_time"] not in (None, event["event_time"]) for event in events)
    late = bool(flags & {"late", "sent_late"})
    return ({"clock_skew"} & flags) | ({"late"} if late else set()) | ({"time_replaced"} if replaced else set())


def members(session: Row, events: Sequence[Row]) -> list[Row]:
    return [
        {
            "source": event["source"],
            "event_id": event["event_id"],
            "landing_date": event["landing_date"],
            "session_id": session["session_id"],
            "sequence": number,
            "session_date": session["session_date"],
            "event": {
                **{name: event[name] for name in ("event_time", "event_type", "event_name", "page")},
                **{name: session[name] for name in ("visitor_id", "is_robot")},
            },
        }
        for number, event in enumerate(events, 1)
    ]


def chain(events: Sequence[Row], span: tuple[int, int], sessions: Sequence[Row], unassigned: Iterable[Row]) -> Row:
    beginning = events[0]
    source, key = beginning["source"], beginning["session_input"]["key"]
    dates = Counter(event["event_time"].date() for event in unassigned)
    kind = beginning["session_input"]["kind"]
    return {
        "source": source,
        "chain_id": digest("chain", source, *json.loads(key), beginning["event_id"], beginning["landing_date"].isoformat()),
        "key": key,
        "key_hash": short_hash(key),
        "kind": kind,
        "first_time": moment(span[0]),
        "last_time": moment(span[1]),
        "links": sorted({event["session_input"]["link"] for event in events} - {None, ""}) if kind == "reported" else [],
        "landing_dates": sorted({event["landing_date"] for event in events}),
        "sessions": sorted(({k: s[k] for k in ("session_id", "session_date")} for s in sessions), key=lambda s: s["session_id"]),
        "unassigned": [{"event_date": date, "count": count} for date, count in sorted(dates.items())],
        "chain_date": moment(span[0]).date(),
    }


# --- sessions from events


def events_of_a_key(events: Sequence[Row], rules: SessionRules, built: Built) -> None:
    keyed = events[0]["session_input"]["kind"] == "keyed"
    silence = rules.keyed_silence_ms if keyed else rules.derived_silence_ms
    runs = [[events[0]]]
    for before, event in pairwise(events):
        if ms(event["event_time"]) - ms(before["event_time"]) > silence:
            runs.append([])
        runs[-1].append(event)
    earlier_sessions = 0
    for run in runs:
        span = ms(run[0]["event_time"]), ms(run[-1]["event_time"])
        if any(event["session_input"]["user"] for event in run):
            session = session_of_events(run, rules, reused=keyed and earlier_sessions > 0)
            earlier_sessions += 1
            built.sessions.append(session)
            built.members.extend(members(session, run))
            built.chains.append(chain(run, span, [session], []))
        else:
            built.chains.append(chain(run, span, [], run))


@dataclass
class Visit:
    spent: int = 0
    visits: int = 0
    type: str | None = None


@dataclass
class Walk:
    """What one goes past on the way through a session's user events."""

    spent: int = 0
    environments: dict[str, Visit] = field(default_factory=lambda: defaultdict(Visit))
    pages: dict[tuple[str, str], Visit] = field(default_factory=lambda: defaultdict(Visit))
    opened: list[str] = field(default_factory=list)
    environment: str | None = None
    page: tuple[str, str] | None = None

    def take(self, event: Row, gap: int) -> None:
        environment = event["environment"] or ""
        if environment != self.environment:
            self.environment = environment
            self.environments[environment].visits += 1
        if event["event_type"] == "page_view":
            self.page = (event["page"], environment) if event["page"] else None
            if self.page is not None:
                self.opened.append(event["page"])
                visit = self.pages[self.page]
                visit.visits += 1
                visit.type = event["session_input"]["page_type"] if event["session_input"]["page_type"] is not None else visit.type
        self.spent += gap
        self.environments[environment].spent += gap
        if self.page is not None:
            self.pages[self.page].spent += gap


def gap_after(event: Row, following: Row | None, rules: SessionRules) -> int:
    if following is None or event["session_input"]["pauses"]:
        return 0
    gap = ms(following["event_time"]) - ms(event["event_time"])
    return 0 if gap > rules.idle_ms else gap


def session_of_events(run: Sequence[Row], rules: SessionRules, reused: bool) -> Row:
    users = [event for event in run if event["session_input"]["user"]]
    beginning, end = users[0], users[-1]
    walk = Walk()
    for event, following in zip(users, [*users[1:], None], strict=True):
        walk.take(event, gap_after(event, following, rules))
    page_views = [event for event in users if event["event_type"] == "page_view"]
    interactions = [event for event in users if event["event_type"] == "interaction"]
    transactions = [event for event in users if event["event_type"] == "transaction"]
    depths = [event["session_input"]["max_scroll_depth"] for event in users if event["session_input"]["max_scroll_depth"] is not None]
    summaries = [event for event in run if event["session_input"]["reported"] is not None]
    best = min((event["session_input"]["reported_rank"] for event in summaries), default=None)
    reported = last([event["session_input"]["reported"] for event in summaries if event["session_input"]["reported_rank"] == best])
    duration = ms(end["event_time"]) - ms(beginning["event_time"])
    flags = doubts(users)
    flags |= {"zero_length"} if duration == 0 else set()
    flags |= {"overlong"} if duration > rules.overlong_ms else set()
    flags |= {"key_reused"} if reused else set()
    if any(event["session_input"]["expects_end"] for event in users) and not any(event["event_type"] == "end" for event in users):
        flags.add("no_end")
    if any(event["value"] is not None and abs(event["value"]) >= 1e18 for event in transactions):
        flags.add("value_out_of_sums")
    if reported is not None and differs(reported, walk.spent, len(page_views), len(interactions), rules):
        flags.add("reported_mismatch")
    key = json.loads(beginning["session_input"]["key"])
    return {
        "session_id": digest(beginning["source"], *key, beginning["event_id"], beginning["landing_date"].isoformat()),
        "session_key": first(filled(event["session_key"] for event in users)),
        "source": beginning["source"],
        "session_kind": beginning["session_input"]["kind"],
        **people_and_app(users),
        "start_time": beginning["event_time"],
        "end_time": end["event_time"],
        "session_date": beginning["event_time"].date(),
        "session_duration": duration,
        "timespent": walk.spent / 1000,
        "max_scroll_depth": max(depths, default=None),
        "pageviews": len(page_views),
        "interactions": len(interactions),
        "events": len(run),
        "entry_page": first(walk.opened),
        "exit_page": last(walk.opened),
        "load_latency": page_views[0]["session_input"]["load_latency"] if page_views else None,
        "load_reason": None,
        "unload_reason": None,
        "envsummary": [
            {"env": name, "timespent": visit.spent / 1000, "visits": visit.visits} for name, visit in sorted(walk.environments.items())
        ],
        "eventssummary": counted(run),
        "pagesummary": [
            {"id": page, "type": visit.type, "env": env, "timespent": visit.spent / 1000, "visits": visit.visits}
            for (page, env), visit in sorted(walk.pages.items())
        ],
        "transactions": len(transactions),
        "transaction_value": sums(transactions),
        "variables": variables(users),
        "reported": reported,
        "flags": sorted(flags),
    }


def differs(reported: Row, spent: int, pageviews: int, interactions: int, rules: SessionRules) -> bool:
    if reported["pageviews"] not in (None, pageviews) or reported["interactions"] not in (None, interactions):
        return True
    if reported["timespent"] is None:
        return False
    reported_ms = int((Decimal(repr(reported["timespent"])) * 1000).to_integral_value(ROUND_HALF_UP))
    return abs(reported_ms - spent) > max(rules.mismatch_ms, Decimal(rules.mismatch_percent * spent) / 100)


def sums(transactions: Iterable[Row]) -> list[Row]:
    totals: dict[str | None, Decimal] = defaultdict(Decimal)
    for event in transactions:
        if event["value"] is not None and abs(event["value"]) < 1e18:
            amount = Decimal(repr(event["value"])).quantize(Decimal("1e-9"), ROUND_HALF_UP, EXACT)
            totals[event["session_input"]["currency"]] = EXACT.add(totals[event["session_input"]["currency"]], amount)
    by_currency = sorted(totals.items(), key=lambda total: (total[0] is not None, total[0] or ""))
    return [{"currency": currency, "value": float(total)} for currency, total in by_currency]


def variables(users: Iterable[Row]) -> list[Row]:
    latest = {}
    for event in users:
        if event["session_input"]["variable_key"] is not None:
            latest[event["session_input"]["variable_key"]] = event["session_input"]["variable_value"]
    return [{"key": key, "value": value} for key, value in sorted(latest.items())]


# --- sessions from pings


def pings_of_a_client(events: Sequence[Row], rules: SessionRules, built: Built) -> None:
    pings = [event for event in events if event["event_type"] != "other"]
    session_pings = [ping for ping in pings if ping["event_type"] == "session"]
    # A list, because event_id alone does not tell pings apart.
    joined: list[list[Row]] = [[ping] for ping in session_pings]
    orphans = []
    for ping in pings:
        if ping["event_type"] != "session":
            number = chosen(ping, session_pings, rules)
            (orphans if number is None else joined[number]).append(ping)
    sessions = []
    for ping, taken in zip(session_pings, joined, strict=True):
        taken.sort(key=in_order)
        sessions.append(session_of_ping(ping, taken, rules))
        built.members.extend(members(sessions[-1], taken))
    built.sessions.extend(sessions)
    for group in meeting(pings, rules):
        own = [session for ping, session in zip(session_pings, sessions, strict=True) if any(ping is other for other in group.pings)]
        lost = [ping for ping in group.pings if any(ping is orphan for orphan in orphans)]
        built.chains.append(chain(group.pings, (group.first, group.last), own, lost))


def length(ping: Row) -> int:
    return ping["duration_ms"] or 0 if ping["event_type"] == "session" else 0


def chosen(ping: Row, session_pings: Sequence[Row], rules: SessionRules) -> int | None:
    """The number of the session ping that takes this ping."""
    time = ms(ping["event_time"])
    link, tab = ping["session_input"]["link"], ping["session_input"]["tab"]
    candidates = []
    for number, session in enumerate(session_pings):
        end = ms(session["event_time"])
        start = end - length(session)
        if start <= time <= end:
            preference = 0
        elif start - rules.tab_tolerance_ms <= time <= end + rules.tab_tolerance_ms:
            preference = 1
        else:
            preference = 2
        if link:
            takes = session["session_input"]["link"] == link
        else:
            takes = bool(tab) and session["session_input"]["tab"] == tab and preference < 2
        if takes:
            candidates.append((preference, abs(end - time), start, session["event_id"].encode(), session["landing_date"], number))
    return min(candidates)[-1] if candidates else None


class Group(NamedTuple):
    """Pings that have to be looked at together, and the time that they cover."""

    first: int
    last: int
    pings: list[Row]

    def meets(self, other: Group) -> bool:
        in_time = self.first <= other.last and other.first <= self.last
        return in_time or bool(links(self.pings) & links(other.pings))

    def joined(self, other: Group) -> Group:
        return Group(min(self.first, other.first), max(self.last, other.last), self.pings + other.pings)


def meeting(pings: Sequence[Row], rules: SessionRules) -> list[Group]:
    """The chains of a client: groups are joined for as long as any two of them meet."""
    groups = []
    for ping in pings:
        end = ms(ping["event_time"])
        around = rules.tab_tolerance_ms if ping["event_type"] == "session" else 0
        groups.append(Group(end - length(ping) - around, end + around, [ping]))
    while pair := next(((one, other) for one, other in combinations(groups, 2) if one.meets(other)), None):
        groups = [group for group in groups if group is not pair[0] and group is not pair[1]] + [pair[0].joined(pair[1])]
    return [group._replace(pings=sorted(group.pings, key=in_order)) for group in groups]


def links(pings: Iterable[Row]) -> set[str]:
    return {ping["session_input"]["link"] for ping in pings} - {None, ""}


def session_of_ping(ping: Row, taken: Sequence[Row], rules: SessionRules) -> Row:
    duration = ping["duration_ms"]
    timespent = None if duration is None else duration / 1000
    start = ms(ping["event_time"]) - (duration or 0)
    facts = ping["session_input"]
    return {
        "session_id": digest(ping["source"], ping["event_id"], ping["landing_date"].isoformat()),
        "session_key": ping["session_key"] or None,
        "source": ping["source"],
        "session_kind": "reported",
        **people_and_app(taken),
        "start_time": moment(start),
        "end_time": ping["event_time"],
        "session_date": moment(start).date(),
        "session_duration": duration,
        "timespent": timespent,
        "max_scroll_depth": facts["max_scroll_depth"],
        "pageviews": 1,
        "interactions": sum(event["event_type"] in ("interaction", "search", "share") for event in taken),
        "events": len(taken),
        "entry_page": ping["page"],
        "exit_page": ping["page"],
        "load_latency": facts["load_latency"],
        "load_reason": facts["load_reason"],
        "unload_reason": facts["unload_reason"],
        "envsummary": [{"env": "", "timespent": timespent, "visits": 1}],
        "eventssummary": counted(taken),
        "pagesummary": [{"id": ping["page"], "type": None, "env": "", "timespent": timespent, "visits": 1}],
        "transactions": 0,
        "transaction_value": [],
        "variables": [],
        "reported": None,
        "flags": sorted(
            doubts(taken)
            | ({"zero_length"} if duration == 0 else set())
            | ({"overlong"} if duration is not None and duration > rules.overlong_ms else set())
        ),
    }

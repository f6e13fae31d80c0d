"""Explain a session that is made from events, gap by gap.

Rules: docs/rules/sessions.md, "Gaps and idle time", "Environments and pages" and "Reported by the client".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import pairwise
from typing import Any

import orjson

from transforms.sessions.explain import (
    Figure,
    Row,
    Sheet,
    Step,
    added_up,
    at_ms,
    clock,
    counts,
    doubts,
    epoch_ms,
    figure,
    flags,
    format_value,
    numbered,
    parts,
    robots,
)
from transforms.sessions.rules import SessionRules
from transforms.times import round_half_away

BACKGROUND, NO_USER_EVENT, LAST = "background", "not a user event", "last"
_EXACT = Context(prec=80)
_NINE_DIGITS = Decimal("1e-9")
_LEFT_OUT_OF_SUMS = 1e18


def sheet(session: Row, events: Sequence[Row], rules: SessionRules) -> Sheet:
    """The sheet of a row of `sessions` of kind keyed or derived.

    In: the session's events in their order, at least one of them a user's, with transforms.sessions.explain.EVENT_COLUMNS.
    """
    steps = steps_of(events, rules)
    users = [step for step in steps if _is_users(step)]
    figures = [
        *_times(session, users),
        *_numbers(session, steps, users),
        *_summaries(session, steps, users),
        *_payments(session, users),
        *_reported(session, steps, users, rules),
        *robots(session["is_robot"], users),
        *flags(session["flags"], _reasons(session, steps, users, rules)),
    ]
    return Sheet(steps, figures)


def steps_of(events: Sequence[Row], rules: SessionRules) -> list[Step]:
    """The events in order, each with the gap after it, the part of that gap that counts, and the page that is open after it."""
    times = [epoch_ms(event["event_time"]) for event in events if event["session_input"]["user"]]
    gaps = iter([*(after - before for before, after in pairwise(times)), None])
    steps = []
    page = None
    for number, event in enumerate(events, 1):
        if not event["session_input"]["user"]:
            steps.append(Step(number, event, NO_USER_EVENT, page))
            continue
        if event["event_type"] == "page_view":
            page = (event["page"], _environment(event)) if event["page"] else None
        gap = next(gaps)
        if gap is None:
            note = LAST
        elif event["session_input"]["pauses"]:
            note = BACKGROUND
        else:
            note = f"idle: over {rules.idle_ms / 1000:g} s" if gap > rules.idle_ms else ""
        counted = gap if gap is None or not note else 0
        steps.append(Step(number, event, note, page, gap, counted))
    return steps


def _is_users(step: Step) -> bool:
    return bool(step.event["session_input"]["user"])


def _environment(event: Row) -> str:
    return event["environment"] or ""


def _of_type(steps: Sequence[Step], event_type: str) -> list[int]:
    return [step.number for step in steps if step.event["event_type"] == event_type]


def _spent(steps: Iterable[Step]) -> int:
    return sum(step.counted_ms or 0 for step in steps)


def _terms(steps: Iterable[Step]) -> str:
    return added_up(step.counted_ms for step in steps if step.counted_ms)


def _length(users: Sequence[Step]) -> int:
    return epoch_ms(users[-1].event["event_time"]) - epoch_ms(users[0].event["event_time"])


def _times(session: Row, users: Sequence[Step]) -> list[Figure]:
    first, last = users[0], users[-1]
    start, end = first.event["event_time"], last.event["event_time"]
    return [
        figure(
            "start_time, end_time",
            _span(session),
            (start, end),
            f"events {first.number} and {last.number}, the first and the last user event",
        ),
        figure("session_duration", session["session_duration"], _length(users), f"{clock(end)} − {clock(start)}", "ms"),
        figure("timespent", session["timespent"], _spent(users) / 1000, f"{_terms(users)}, the gaps that count", "s"),
    ]


def _numbers(session: Row, steps: Sequence[Step], users: Sequence[Step]) -> list[Figure]:
    views, interactions = _of_type(users, "page_view"), _of_type(users, "interaction")
    opened = [step for step in users if step.event["event_type"] == "page_view" and step.page]
    pages = (opened[0].event["page"], opened[-1].event["page"]) if opened else (None, None)
    figures = [
        figure("pageviews", session["pageviews"], len(views), f"{numbered(views)} of type page_view"),
        figure("interactions", session["interactions"], len(interactions), f"{numbered(interactions)} of type interaction"),
        figure("events", session["events"], len(steps), "all of them"),
    ]
    if opened or session["entry_page"] or session["exit_page"]:
        ends = " and ".join(str(step.number) for step in (*opened[:1], *opened[-1:]))
        how = f"events {ends}, the first and the last page opened"
        figures.append(figure("entry_page, exit_page", (session["entry_page"], session["exit_page"]), pages, how))
    latencies = (step.event["session_input"]["load_latency"] for step in users if step.event["event_type"] == "page_view")
    latency = next(latencies, None)
    if latency is not None or session["load_latency"] is not None:
        figures.append(figure("load_latency", session["load_latency"], latency, f"{numbered(views[:1])}: its own load time", "ms"))
    return figures


def _summaries(session: Row, steps: Sequence[Step], users: Sequence[Step]) -> list[Figure]:
    return [
        *_environments(session["envsummary"], users),
        *_pages(session["pagesummary"], users),
        counts(session["eventssummary"], steps),
    ]


def _environments(stored: Sequence[Row], users: Sequence[Step]) -> list[Figure]:
    """Time and visits per environment. A visit begins where the user event before was in another environment."""
    entered = [users[0], *(after for before, after in pairwise(users) if _environment(before.event) != _environment(after.event))]
    computed, sums = [], []
    for env in sorted({_environment(step.event) for step in users}):
        inside = [step for step in users if _environment(step.event) == env]
        visits = [step.number for step in entered if _environment(step.event) == env]
        computed.append({"env": env, "timespent": _spent(inside) / 1000, "visits": len(visits)})
        sums.append(f"{_terms(inside)}; entered at {numbered(visits)}")
    return parts("envsummary", ["env"], stored, computed, sums)


def _pages(stored: Sequence[Row], users: Sequence[Step]) -> list[Figure]:
    computed, sums = [], []
    for page in sorted({step.page for step in users if step.page}):
        inside = [step for step in users if step.page == page]
        opened = [step for step in inside if step.event["event_type"] == "page_view"]
        types = [step.event["session_input"]["page_type"] for step in opened]
        last_type = next((page_type for page_type in reversed(types) if page_type is not None), None)
        entry = {"id": page[0], "type": last_type, "env": page[1], "timespent": _spent(inside) / 1000, "visits": len(opened)}
        computed.append(entry)
        sums.append(f"{_terms(inside)}; opened at {numbered([step.number for step in opened])}")
    return parts("pagesummary", ["id", "env"], stored, computed, sums)


def _payments(session: Row, users: Sequence[Step]) -> list[Figure]:
    """Transactions with their sums per currency, and the last value of each variable."""
    paid = [step for step in users if step.event["event_type"] == "transaction"]
    numbers = [step.number for step in paid]
    figures = []
    if paid or session["transactions"]:
        figures.append(figure("transactions", session["transactions"], len(paid), f"{numbered(numbers)} of type transaction"))
    computed: list[dict[str, Any]] = []
    sums = []
    for currency in sorted({step.event["session_input"]["currency"] for step in paid}, key=lambda name: (name is not None, name)):
        same = [step.event["value"] for step in paid if step.event["session_input"]["currency"] == currency]
        summed = [value for value in same if value is not None and abs(value) < _LEFT_OUT_OF_SUMS]
        if summed:
            computed.append({"currency": currency, "value": _total(summed)})
            sums.append(f"{' + '.join(map(repr, summed))}, each to nine digits")
    figures += parts("transaction_value", ["currency"], session["transaction_value"], computed, sums)
    last = {step.event["session_input"]["variable_key"]: step for step in users if step.event["session_input"]["variable_key"] is not None}
    variables = [{"key": key, "value": step.event["session_input"]["variable_value"]} for key, step in sorted(last.items())]
    set_at = [f"event {step.number}, the last that sets it" for _, step in sorted(last.items())]
    return figures + parts("variables", ["key"], session["variables"], variables, set_at)


def _total(values: Iterable[float]) -> float:
    """The sum of doubles by their decimal digits, to nine decimal places."""
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, Decimal(repr(value)).quantize(_NINE_DIGITS, ROUND_HALF_UP, _EXACT))
    return float(total)


def _best_summary(steps: Sequence[Step]) -> Step | None:
    """The summary that is compared: the last one of the best rank; None if the client sent none."""
    sent = [step for step in steps if step.event["session_input"]["reported"] is not None]
    return min(reversed(sent), key=lambda step: step.event["session_input"]["reported_rank"], default=None)


def _reported_values(summary: Step | None) -> dict[str, Any] | None:
    """The values of a summary, as in the column `reported`."""
    if summary is None:
        return None
    reported: dict[str, Any] = orjson.loads(summary.event["session_input"]["reported"])
    for name in ("start_time", "end_time"):
        if reported[name] is not None:
            reported[name] = at_ms(reported[name] // 1000)
    return reported


def _reported(session: Row, steps: Sequence[Step], users: Sequence[Step], rules: SessionRules) -> list[Figure]:
    """The figures of the client's summary, with the numbers that the events give in the derivations."""
    summary = _best_summary(steps)
    reported = _reported_values(summary)
    stored = session["reported"]
    if reported is None or summary is None or stored is None:
        return [] if reported is None and stored is None else [Figure("reported", _whether(stored), _whether(reported), "", False)]
    spent = _spent(users)
    apart, allowed = _apart(reported["timespent"], spent, rules)
    by = f"event {summary.number}; computed"
    compared = f"{by} {format_value(spent / 1000, 's')}: {apart / 1000:,.3f} s apart, {allowed / 1000:,.3f} s allowed"
    figures = [figure("reported timespent", stored["timespent"], reported["timespent"], compared, "s")]
    figures += [figure(f"reported {name}", stored[name], reported[name], f"{by} {count:,}") for name, count in _compared(users).items()]
    computed = (users[0].event["event_time"], users[-1].event["event_time"])
    figures.append(figure("reported start_time, end_time", _span(stored), _span(reported), f"{by} {format_value(computed)}"))
    return figures + [
        Figure(
            f"reported {name}", _entries(stored[name]), _entries(reported[name]), f"event {summary.number}", stored[name] == reported[name]
        )
        for name in ("envsummary", "eventssummary", "pagesummary")
        if stored[name] or reported[name]
    ]


def _span(row: Row) -> tuple[Any, Any]:
    return row["start_time"], row["end_time"]


def _whether(reported: Any) -> str:
    return "none" if reported is None else "a summary"


def _entries(entries: Sequence[Row]) -> str:
    return "; ".join(" ".join(format_value(value) for value in entry.values() if value is not None) for entry in entries)


def _apart(reported_timespent: float | None, spent_ms: int, rules: SessionRules) -> tuple[float, float]:
    """The difference between a client's timespent and the computed one, and the largest allowed difference, in ms."""
    reported_ms = None if reported_timespent is None else reported_timespent * 1000
    if reported_ms is None:
        apart: float = 0
    elif math.isinf(reported_ms):  # the largest doubles, in milliseconds
        apart = math.inf
    else:
        apart = abs(round_half_away(reported_ms) - spent_ms)
    return apart, max(rules.mismatch_ms, rules.mismatch_percent * spent_ms / 100)


def _reasons(session: Row, steps: Sequence[Step], users: Sequence[Step], rules: SessionRules) -> dict[str, str]:
    """The computed flags, each with its reason."""
    reasons = doubts(users)
    if "key_reused" in session["flags"]:
        reasons["key_reused"] = "an earlier session has the same key; its own events do not show that"
    if any(step.event["session_input"]["expects_end"] for step in users) and not _of_type(users, "end"):
        reasons["no_end"] = "no event of type end"
    huge = [
        step.number for step in users if step.event["event_type"] == "transaction" and abs(step.event["value"] or 0) >= _LEFT_OUT_OF_SUMS
    ]
    if huge:
        reasons["value_out_of_sums"] = f"{numbered(huge)}: 10^18 or more"
    if _length(users) == 0:
        reasons["zero_length"] = "it ends when it starts"
    if _length(users) > rules.overlong_ms:
        reasons["overlong"] = f"longer than {rules.overlong_ms:,} ms"
    reported = _reported_values(_best_summary(steps))
    differing = [] if reported is None else _differing(reported, users, rules)
    if differing:
        reasons["reported_mismatch"] = f"{' and '.join(differing)} differ{'s' if len(differing) == 1 else ''} from the computed"
    return reasons


def _differing(reported: Row, users: Sequence[Step], rules: SessionRules) -> list[str]:
    """The names of a summary's numbers that differ too much from the computed ones."""
    apart, allowed = _apart(reported["timespent"], _spent(users), rules)
    return ["timespent"] * (apart > allowed) + [name for name, count in _compared(users).items() if reported[name] not in (None, count)]


def _compared(users: Sequence[Step]) -> dict[str, int]:
    """The computed counts that a summary has too."""
    return {"pageviews": len(_of_type(users, "page_view")), "interactions": len(_of_type(users, "interaction"))}

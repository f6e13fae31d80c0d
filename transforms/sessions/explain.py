"""Explain a session: its events step by step, and each number of its row with the sum that gives it.

transforms.sessions.explain_events and transforms.sessions.explain_pings apply the rules (docs/rules/sessions.md) to one session a
second time, in plain Python. A sheet compares the stored row of `sessions` with the numbers that they compute.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Row = Mapping[str, Any]

# The columns of `events` that a sheet needs.
EVENT_COLUMNS = (
    "event_id",
    "event_type",
    "event_name",
    "event_time",
    "client_time",
    "environment",
    "page",
    "value",
    "duration_ms",
    "is_robot",
    "flags",
    "landing_date",
    "file",
    "record",
    "position",
    "session_input",
)
# For a sum of more terms, a sheet shows only their number.
_TERMS_SHOWN = 12
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Step(NamedTuple):
    """One event of a session."""

    number: int  # its sequence in the session, from 1
    event: Row
    note: str  # why its gap counts 0; for a ping: how it joined the session
    page: tuple[str, str] | None = None  # id and environment of the page that is open after it
    gap_ms: int | None = None  # to the next user event; for a ping: to the session's end
    counted_ms: int | None = None  # the part of the gap that counts as time spent


class Figure(NamedTuple):
    """One number of the row of `sessions`."""

    name: str
    stored: str  # the value in the row
    computed: str  # the value from the events
    derivation: str  # how the computed value follows from the events
    agrees: bool


class Sheet(NamedTuple):
    """The explanation of one session."""

    steps: Sequence[Step]
    figures: Sequence[Figure]

    @property
    def disagreeing(self) -> list[Figure]:
        """The numbers whose stored and computed values differ."""
        return [figure for figure in self.figures if not figure.agrees]


def figure(name: str, stored: Any, computed: Any, derivation: str, unit: str = "") -> Figure:
    """The figure of one number: the stored and the computed value, compared exactly and formatted with their unit."""
    return Figure(name, format_value(stored, unit), format_value(computed, unit), derivation, stored == computed)


def parts(name: str, keys: Sequence[str], stored: Sequence[Row], computed: Sequence[Row], sums: Sequence[str]) -> list[Figure]:
    """One figure per entry of a summary. `keys` are the fields that identify an entry; `sums` has the derivation of each computed entry."""
    by_key = {tuple(entry[key] for key in keys): entry for entry in stored}
    figures = [
        _part(name, keys, by_key.pop(tuple(entry[key] for key in keys), None), entry, derivation)
        for entry, derivation in zip(computed, sums, strict=True)
    ]
    return figures + [_part(name, keys, entry, None, "") for entry in by_key.values()]


def _part(name: str, keys: Sequence[str], stored: Row | None, computed: Row | None, derivation: str) -> Figure:
    named = stored or computed or {}
    label = " ".join([name, *(f'"{named[key]}"' if named[key] == "" else format_value(named[key]) for key in keys)])
    return Figure(label, _entry(keys, stored), _entry(keys, computed), derivation, stored == computed)


def _entry(keys: Sequence[str], entry: Row | None) -> str:
    """The values of a summary's entry without its keys, as text: 12.5 s, 2 visits."""
    if entry is None:
        return "no entry"
    rest = {name: value for name, value in entry.items() if name not in keys}
    texts = []
    if rest.get("type") is not None:
        texts.append(f"type {format_value(rest['type'])}")
    if "timespent" in rest:
        texts.append(format_value(rest["timespent"], "s"))
    if "visits" in rest:
        texts.append(f"{format_value(rest['visits'])} {'visit' if rest['visits'] == 1 else 'visits'}")
    texts += [format_value(value) for name, value in rest.items() if name not in ("type", "timespent", "visits")]
    return ", ".join(texts)


def counts(stored: Sequence[Row], steps: Sequence[Step]) -> Figure:
    """The figure of `eventssummary`: the number of events per event_name."""
    names = Counter(step.event["event_name"] for step in steps)
    computed = [{"id": name, "count": count} for name, count in sorted(names.items())]
    in_row, from_events = (
        ", ".join(f"{entry['id']} {format_value(entry['count'])}" for entry in entries) for entries in (stored, computed)
    )
    return Figure("eventssummary", in_row, from_events, f"every event by its name, {len(steps):,} in all", list(stored) == computed)


def flags(stored: Sequence[str], reasons: Mapping[str, str]) -> list[Figure]:
    """One figure per stored or computed flag. `reasons` has the computed flags, each with its reason."""
    shown = sorted({*stored, *reasons})
    if not shown:
        return [Figure("flags", "none", "none", "nothing is doubtful", True)]
    computed = [name in reasons for name in shown]
    return [
        figure(f"flag {name}", name in stored, is_computed, reasons.get(name, ""))
        for name, is_computed in zip(shown, computed, strict=True)
    ]


def robots(stored: bool | None, steps: Sequence[Step]) -> list[Figure]:
    """The figure of `is_robot`, where the row or one of the events says so."""
    numbers = [step.number for step in steps if step.event["is_robot"]]
    if not (stored or numbers):
        return []
    return [figure("is_robot", bool(stored), bool(numbers), f"{numbered(numbers)}: the user agent is that of a robot or a program")]


def doubts(steps: Sequence[Step]) -> dict[str, str]:
    """The flags that come from flags of the events, each with its reason."""
    reasons = {}
    skewed = [step.number for step in steps if "clock_skew" in step.event["flags"]]
    late = [step.number for step in steps if {"late", "sent_late"} & set(step.event["flags"])]
    if skewed:
        reasons["clock_skew"] = f"{numbered(skewed)}: the clock of the phone is wrong"
    if late:
        reasons["late"] = f"{numbered(late)}: landed or sent too late"
    replaced = [
        step.number
        for step in steps
        if "time_replaced" in step.event["flags"] or step.event["client_time"] not in (None, step.event["event_time"])
    ]
    if replaced:
        reasons["time_replaced"] = f"{numbered(replaced)}: the client's time is implausible, so the server's time is used"
    return reasons


def added_up(terms: Iterable[int]) -> str:
    """A sum of milliseconds as text, with its terms if they are few: 1,200 + 300 ms."""
    counted = [f"{term:,}" for term in terms]
    if len(counted) > _TERMS_SHOWN:
        return f"{len(counted):,} gaps added up"
    return (" + ".join(counted) or "0") + " ms"


def numbered(numbers: Sequence[int]) -> str:
    """Numbers of events as text, in ranges: events 1, 3–5."""
    if not numbers:
        return "no event"
    runs = [[numbers[0], numbers[0]]]
    for before, number in pairwise(numbers):
        if number == before + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    listed = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)
    return f"event {listed}" if len(numbers) == 1 else f"events {listed}"


def format_value(value: Any, unit: str = "") -> str:
    """A value as text: times to the millisecond, seconds with three digits, whole numbers with thousands separators, pairs one by one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d} {clock(value)}"
    if isinstance(value, float):
        text = f"{value:,.3f}" if unit == "s" else repr(value)
    else:
        text = f"{value:,}" if isinstance(value, int) else str(value)
    return f"{text} {unit}" if unit else text


def clock(time: dt.datetime) -> str:
    """The time of day, to the millisecond."""
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"


def epoch_ms(time: dt.datetime) -> int:
    """A time as epoch ms."""
    return (time - _EPOCH) // dt.timedelta(milliseconds=1)


def at_ms(ms: int) -> dt.datetime:
    """Epoch ms as a time, UTC."""
    return _EPOCH + dt.timedelta(milliseconds=ms)

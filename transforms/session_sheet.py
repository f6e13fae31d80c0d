"""A session told so that a person can check it: its events step by step, and each number of its row with the sum that gives it.

The two modules that fill a sheet, transforms.sheet_from_events and transforms.sheet_from_pings, follow the session rules
once more, in plain Python and for one session alone. Nothing on a sheet is taken from the row of `sessions` but what the
row says: so where the two differ, the sheet shows it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Row = Mapping[str, Any]

# The columns of `events` that a sheet is made from. Rows bear them with `session_input` as `events` holds it.
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
    "flags",
    "landing_date",
    "file",
    "record",
    "position",
    "session_input",
)
# A sum of more terms than this is told by how many they are.
_TERMS_SHOWN = 12
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Step(NamedTuple):
    """One event of a session, in its order."""

    number: int  # its sequence, from 1
    event: Row
    note: str  # why its gap counts nothing; of a ping, how it joined
    page: tuple[str, str] | None = None  # id and environment of the page that is open after it
    gap_ms: int | None = None  # to the next user event; of a ping, to the session's end
    counted_ms: int | None = None  # of the gap


class Figure(NamedTuple):
    """One number of the row of `sessions`."""

    name: str
    said: str  # by the row
    found: str  # from the events
    how: str  # the events give it
    agrees: bool


class Sheet(NamedTuple):
    """One session, for a person to check."""

    steps: Sequence[Step]
    figures: Sequence[Figure]

    @property
    def disagreeing(self) -> list[Figure]:
        """The numbers of the row that do not follow from the events."""
        return [figure for figure in self.figures if not figure.agrees]


def figure(name: str, said: Any, found: Any, how: str, unit: str = "") -> Figure:
    """A number as the row says it and as the events give it, compared exactly and spelled with its unit."""
    return Figure(name, spelled(said, unit), spelled(found, unit), how, said == found)


def parts(name: str, keys: Sequence[str], said: Sequence[Row], found: Sequence[Row], sums: Sequence[str]) -> list[Figure]:
    """A figure per entry of a summary, whose entries these keys tell apart; `sums` runs along the entries that were found."""
    by_key = {tuple(entry[key] for key in keys): entry for entry in said}
    figures = [
        _part(name, keys, by_key.pop(tuple(entry[key] for key in keys), None), entry, how) for entry, how in zip(found, sums, strict=True)
    ]
    return figures + [_part(name, keys, entry, None, "") for entry in by_key.values()]


def _part(name: str, keys: Sequence[str], said: Row | None, found: Row | None, how: str) -> Figure:
    named = said or found or {}
    label = " ".join([name, *(f'"{named[key]}"' if named[key] == "" else spelled(named[key]) for key in keys)])
    return Figure(label, _entry(keys, said), _entry(keys, found), how, said == found)


def _entry(keys: Sequence[str], entry: Row | None) -> str:
    """An entry of a summary without its keys: 12.5 s, 2 visits."""
    if entry is None:
        return "no entry"
    rest = {name: value for name, value in entry.items() if name not in keys}
    told = []
    if rest.get("type") is not None:
        told.append(f"type {spelled(rest['type'])}")
    if "timespent" in rest:
        told.append(spelled(rest["timespent"], "s"))
    if "visits" in rest:
        told.append(f"{spelled(rest['visits'])} {'visit' if rest['visits'] == 1 else 'visits'}")
    told += [spelled(value) for name, value in rest.items() if name not in ("type", "timespent", "visits")]
    return ", ".join(told)


def counts(said: Sequence[Row], steps: Sequence[Step]) -> Figure:
    """`eventssummary`: how often each event_name occurs, as one figure."""
    names = Counter(step.event["event_name"] for step in steps)
    found = [{"id": name, "count": count} for name, count in sorted(names.items())]
    told, given = (", ".join(f"{entry['id']} {spelled(entry['count'])}" for entry in entries) for entries in (said, found))
    return Figure("eventssummary", told, given, f"every event by its name, {len(steps):,} in all", list(said) == found)


def flags(said: Sequence[str], reasons: Mapping[str, str]) -> list[Figure]:
    """A figure per flag that the row bears or the events give; the events give those that `reasons` has words for."""
    shown = sorted({*said, *reasons})
    if not shown:
        return [Figure("flags", "none", "none", "nothing is doubtful", True)]
    found = [name in reasons for name in shown]
    return [figure(f"flag {name}", name in said, given, reasons.get(name, "")) for name, given in zip(shown, found, strict=True)]


def doubts(steps: Sequence[Step]) -> dict[str, str]:
    """The flags that a session takes from its events, with why."""
    reasons = {}
    skewed = [step.number for step in steps if "clock_skew" in step.event["flags"]]
    late = [step.number for step in steps if {"late", "sent_late"} & set(step.event["flags"])]
    if skewed:
        reasons["clock_skew"] = f"{numbered(skewed)}: the clock of the phone is wrong"
    if late:
        reasons["late"] = f"{numbered(late)}: landed or sent too late"
    replaced = [step.number for step in steps if step.event["client_time"] not in (None, step.event["event_time"])]
    if replaced:
        reasons["time_replaced"] = f"{numbered(replaced)}: the client's time is not believed, the server's stands in its place"
    return reasons


def added_up(terms: Iterable[int]) -> str:
    """A sum of milliseconds, term by term where they are few: 1,200 + 300 ms."""
    counted = [f"{term:,}" for term in terms]
    if len(counted) > _TERMS_SHOWN:
        return f"{len(counted):,} gaps added up"
    return (" + ".join(counted) or "0") + " ms"


def numbered(numbers: Sequence[int]) -> str:
    """Numbers of events, neighbours drawn together: events 1, 3–5."""
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


def spelled(value: Any, unit: str = "") -> str:
    """A value for eyes: times to the millisecond, seconds with three digits, whole numbers with thousands apart, pairs one by one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(spelled, value))
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d} {clock(value)}"
    if isinstance(value, float):
        told = f"{value:,.3f}" if unit == "s" else repr(value)
    else:
        told = f"{value:,}" if isinstance(value, int) else str(value)
    return f"{told} {unit}" if unit else told


def clock(time: dt.datetime) -> str:
    """The time of day, to the millisecond."""
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}"


def epoch_ms(time: dt.datetime) -> int:
    """A time as milliseconds since 1970, UTC."""
    return (time - _EPOCH) // dt.timedelta(milliseconds=1)


def at_ms(ms: int) -> dt.datetime:
    """The time that these milliseconds since 1970 name."""
    return _EPOCH + dt.timedelta(milliseconds=ms)

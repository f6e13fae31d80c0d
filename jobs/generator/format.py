"""What the generator must know of a source, and how its visits become planned events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jobs.generator import draws
from jobs.generator.draws import Bits, Flags, Whole
from jobs.generator.idle import counted_gaps
from jobs.generator.rows import BATCH, MINUTE, SECOND, GeneratedRows, begins, within
from jobs.generator.visits import LONG_SPAN, ORDINARY_SPAN, Crowd, Moments, Visits, moments
from schemas.events import EVENT_TYPES

Document = dict[str, Any]


class EventKind(NamedTuple):
    """A kind of event: what `events` and the session rules make of it."""

    name: str
    event_type: str
    user: bool = True  # carries session time
    pauses: bool = False  # the gap directly after it counts 0


class Traits(NamedTuple):
    """What a source decides for each of its visits."""

    key: Bits  # session key; 0 for none
    keyed: Flags  # whether the key is a session id of the client's, else of a person
    style: Whole  # SINGLE, ARRAY or BATCH
    batch_size: Whole  # the most events of a batch
    tick: Whole  # the client's clock counts in these, ms


class Spoiler(NamedTuple):
    """One way in which a valid document comes to violate the source's schema."""

    name: str
    spoil: Callable[[Document], Document]


class Pings(NamedTuple):
    """How a source's session pings and the others belong together."""

    durations: Callable[[GeneratedRows], Whole]  # of session pings, ms; NEVER where they say none
    linked: Callable[[GeneratedRows], Flags]  # belongs by session id, else by tab and time
    untied: Callable[[GeneratedRows], Flags]  # belongs to nothing


@dataclass(frozen=True)
class Format:
    """The generator's side of a source."""

    name: str
    weight: int  # its part of a night's records, against the other sources'
    crowd: Crowd
    kinds: tuple[EventKind, ...]
    reused: int  # the scenario in which a session id is used again after days; -1 for none
    traits: Callable[[Visits], Traits]
    # Which kind each event is, and the time before it, ms.
    script: Callable[[Moments], tuple[Whole, Whole]]
    # What the client's clock says at these times; NEVER where the client does not say.
    client_times: Callable[[Moments, Whole], Whole]
    # The records' own server times, NEVER where they have none.
    received_times: Callable[[GeneratedRows], Whole]
    # The document of each row.
    documents: Callable[[GeneratedRows], list[Document]]
    # The source's own batches: a row of each, and the items that travel together in each.
    batches: Callable[[GeneratedRows, Sequence[Sequence[Any]]], list[Document]]
    # Envelopes that hold nothing.
    empty: tuple[Any, ...]
    spoilers: tuple[Spoiler, ...]
    pings: Pings | None = None  # how sessions come from pings; None where they come from events

    def event_types(self) -> Whole:
        """For each kind its place in EVENT_TYPES."""
        return np.array([EVENT_TYPES.index(kind.event_type) for kind in self.kinds])

    def is_type(self, *names: str) -> Flags:
        """For each kind whether it is of one of these event types."""
        return np.array([kind.event_type in names for kind in self.kinds])

    def user(self) -> Flags:
        """For each kind whether it carries session time."""
        return np.array([kind.user for kind in self.kinds])

    def pauses(self) -> Flags:
        """For each kind whether the gap after it counts 0."""
        return np.array([kind.pauses for kind in self.kinds])


def planned(source: Format, visits: Visits) -> GeneratedRows:
    """All events of the visits, in order, not landed yet."""
    traits = source.traits(visits)
    moment = moments(visits)
    kind, gap = source.script(moment)
    first = moment.number == 0
    tick = moment.of(traits.tick)
    time = moment.of(visits.start // traits.tick * traits.tick) + _offsets(moment, first, -(-gap // tick) * tick)
    user, pauses = source.user()[kind], source.pauses()[kind]
    upload_number = moment.number // moment.of(np.where(traits.style == BATCH, traits.batch_size, 1))
    upload = draws.child(draws.draw(moment.of(visits.bits), "upload"), upload_number)
    nothing = np.zeros(len(time), dtype=np.int64)
    return GeneratedRows(
        bits=moment.bits,
        visit=moment.of(visits.bits),
        device=moment.of(visits.device),
        software=moment.of(visits.software),
        person=moment.of(visits.person),
        scenario=moment.of(visits.scenario),
        number=moment.number,
        kind=kind,
        key=moment.of(traits.key),
        keyed=moment.of(traits.keyed),
        time=time,
        client=source.client_times(moment, time),
        elapsed=time - time[first][moment.owner],
        active=within(counted_gaps(first, time, user, pauses), first),
        pageviews=within((source.is_type("page_view")[kind] & user).astype(np.int64), first),
        interactions=within((source.is_type("interaction")[kind] & user).astype(np.int64), first),
        style=moment.of(traits.style),
        upload=upload,
        sent=_sent(upload, time),
        arrival=nothing,
        hour=nothing,
        file=nothing,
        line=nothing,
        bad=nothing,
    )


def _offsets(moment: Moments, first: Flags, gap: Whole) -> Whole:
    """The time of each event since its visit began, strictly rising and never beyond the span of the visit."""
    offset = within(np.where(first, 0, gap), first)
    span = np.where(moment.of(moment.visits.long), LONG_SPAN, ORDINARY_SPAN)
    return np.minimum(offset, span + moment.number * SECOND)


def _sent(upload: Bits, time: Whole) -> Whole:
    """When the upload of each event reached the server: some seconds after the upload's last event."""
    first = begins(upload)
    last = np.append(np.flatnonzero(first)[1:], len(upload)) - 1
    sent: Whole = time[last] + SECOND + draws.below(upload[last], "delay", MINUTE)
    return sent.take(np.cumsum(first) - 1)


def styles(visits: Visits, cycle: Sequence[int]) -> Whole:
    """How each visit's records travel, in turn."""
    style: Whole = np.array(cycle)[visits.index % len(cycle)]
    return style


def uniform(visits: Visits, value: int) -> Whole:
    """The same value for each visit."""
    return np.full(len(visits), value)

"""Sums over the sessions of accepted events, from the columns of the generator's plan. Rules: docs/rules/sessions.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.generator.draws import Flags, Whole
from jobs.generator.format import Format, Pings
from jobs.generator.idle import counted_gaps
from jobs.generator.rows import DAY, HOUR, MINUTE, NEVER, SECOND, GeneratedRows, begins

# 2000-01-01: an earlier time of a server does not count. Rule: docs/rules/sources.md, "Times".
_YEAR_2000 = 946_684_800_000
_PAST, _FUTURE = 366 * DAY, DAY
_DERIVED_SILENCE, _KEYED_SILENCE = 30 * MINUTE, 24 * HOUR
_TAB_TOLERANCE = 5 * SECOND


@dataclass
class SessionCounts:
    """Sums over sessions; times in ms."""

    sessions: int = 0
    session_duration: int = 0
    timespent: int = 0
    pageviews: int = 0
    interactions: int = 0
    events: int = 0
    over_midnight: int = 0  # begin and end on different days
    orphan_events: int = 0  # pings that no session ping takes
    sessionless_events: int = 0  # events of a session key none of whose events is a user's
    keyless_events: int = 0  # events without a session key


def event_times(source: Format, rows: GeneratedRows) -> Whole:
    """The `event_time` of each event, epoch ms. Rules: docs/rules/sources.md, "Times"."""
    landed = rows.arrival // HOUR * HOUR
    recorded = source.received_times(rows)
    received = np.where((recorded >= _YEAR_2000) & (recorded <= landed + DAY), recorded, landed)
    # NEVER is so long ago that a difference to it could overflow: it is compared, not subtracted.
    is_plausible = (rows.client >= received - _PAST) & (rows.client <= received + _FUTURE)
    return np.where(is_plausible, rows.client, received)


def session_counts(source: Format, accepted: GeneratedRows) -> SessionCounts:
    """The sums over the sessions of these events."""
    if source.pings is None:
        return _from_events(source, accepted)
    return _from_pings(source, source.pings, accepted)


def _from_events(source: Format, accepted: GeneratedRows) -> SessionCounts:
    rows = accepted.take(accepted.key != 0)
    counts = SessionCounts(keyless_events=len(accepted) - len(rows))
    if not len(rows):
        return counts
    time = event_times(source, rows)
    order = np.lexsort((rows.bits, _rank(source, rows), rows.client, time, rows.key))
    rows, time = rows.take(order), time[order]
    silence = np.where(rows.keyed, _KEYED_SILENCE, _DERIVED_SILENCE)
    first = begins(rows.key)
    first[1:] |= np.diff(time) > silence[1:]
    chain = np.cumsum(first) - 1
    user = source.user()[rows.kind]
    is_session = np.bincount(chain, weights=user) > 0
    counts.sessions = int(is_session.sum())
    counts.sessionless_events = int((~is_session[chain]).sum())
    counts.events = int(is_session[chain].sum())
    counts.timespent = int(counted_gaps(first, time, user, source.pauses()[rows.kind]).sum())
    counts.pageviews = int((source.is_type("page_view")[rows.kind] & user).sum())
    counts.interactions = int((source.is_type("interaction")[rows.kind] & user).sum())
    starts = np.flatnonzero(begins(chain[user]))
    start, end = time[user][starts], time[user][np.append(starts[1:], user.sum()) - 1] if len(starts) else time[:0]
    counts.session_duration = int((end - start).sum())
    counts.over_midnight = int((start // DAY != end // DAY).sum())
    return counts


def _rank(source: Format, rows: GeneratedRows) -> Whole:
    """Where an event stands among those of the same time."""
    return np.select([source.is_type("start"), source.is_type("page_view"), source.is_type("end")], [0, 1, 3], 2)[rows.kind]


def _from_pings(source: Format, pings: Pings, accepted: GeneratedRows) -> SessionCounts:
    rows = accepted.take(~source.is_type("other")[accepted.kind])
    is_session = source.is_type("session")[rows.kind]
    time = event_times(source, rows)
    order = np.argsort(rows.visit[is_session], kind="stable")
    sessions, end = rows.take(is_session).take(order), time[is_session][order]
    recorded = pings.durations(sessions)
    duration = np.where(recorded == NEVER, 0, recorded)
    others = rows.take(~is_session)
    joined = _joined(pings, others, time[~is_session], sessions.visit, (end - duration, end))
    start = end - duration
    return SessionCounts(
        sessions=len(sessions),
        session_duration=int(duration.sum()),
        timespent=int(duration.sum()),
        pageviews=len(sessions),
        interactions=int((joined & source.is_type("interaction", "search", "share")[others.kind]).sum()),
        events=len(sessions) + int(joined.sum()),
        over_midnight=int((start // DAY != end // DAY).sum()),
        orphan_events=int((~joined).sum()),
        keyless_events=len(accepted) - len(rows),
    )


def _joined(pings: Pings, others: GeneratedRows, time: Whole, visits: np.ndarray, span: tuple[Whole, Whole]) -> Flags:
    """Which of the other pings a session ping of their visit takes; session pings by visit, with the spans that they tell."""
    first, last = np.searchsorted(visits, others.visit, "left"), np.searchsorted(visits, others.visit, "right")
    linked, joined = pings.linked(others), np.zeros(len(others), dtype=np.bool_)
    for place in range(int((last - first).max(initial=0))):
        row = np.minimum(first + place, len(visits) - 1)
        in_time = (time >= span[0][row] - _TAB_TOLERANCE) & (time <= span[1][row] + _TAB_TOLERANCE)
        joined |= (first + place < last) & (linked | in_time)
    return joined & ~pings.untied(others)

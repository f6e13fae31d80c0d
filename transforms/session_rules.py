"""What both ways of making sessions share: their settings, and the queries that each of them is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SessionRules:
    """The numbers in the session rules; times in milliseconds. A gap of exactly such a length is still within it."""

    # The longest silence within a session whose key its client gave out, and within one that gaps alone tell apart.
    keyed_silence_ms: int = 24 * 60 * 60 * 1000
    derived_silence_ms: int = 30 * 60 * 1000
    # The longest gap that counts as time spent.
    idle_ms: int = 10 * 60 * 1000
    # How far outside a session ping's span an event ping of the same tab may lie.
    tab_tolerance_ms: int = 5 * 1000
    # How far a client's own timespent may lie from the computed one: the larger of the two is allowed.
    mismatch_ms: int = 1000
    mismatch_percent: int = 5


@dataclass(frozen=True)
class SessionQueries:
    """One way of making sessions, as DuckDB SQL over the table `arrived`: see transforms.sessions.

    It applies to keys of these `kinds`. The settings are read as variables of the names in SessionRules. `steps` become tables, in order; among them are
    - `chain_starts`: chain, source, key, event_id, landing_date: a number per chain and its first event;
    - `session_starts`: session, source, key, event_id, landing_date: a number per session and the event that names it;
      key is null where the event alone does.
    Once these have ids, in `chain_ids` (chain, chain_id) and `session_ids` (session, session_id), the other three
    queries give the rows: the columns of `sessions` (with `reported_row`, the number of the row of `arrived` that bears
    `reported`, in the place of `reported`), of `session_events` and of `session_chains`.
    """

    kinds: tuple[str, ...]
    steps: Mapping[str, str]
    sessions: str
    members: str
    chains: str

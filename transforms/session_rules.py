"""What both ways of making sessions share: their settings, and the queries that each of them is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Of the events of all keys in `arrived`, key by key: ties in time never change a result.
TOTAL_ORDER = "key_number, event_ms, client_time NULLS FIRST, rank_of(event_type), event_id, landing_date"


@dataclass(frozen=True)
class SessionRules:
    """The numbers in the session rules; times in milliseconds. A gap of exactly such a length is still within it."""

    # The longest silence within a session whose key its client gave out, and within one that gaps alone tell apart.
    keyed_silence_ms: int = 24 * 60 * 60 * 1000
    derived_silence_ms: int = 30 * 60 * 1000
    # The longest gap that counts as time spent.
    idle_ms: int = 10 * 60 * 1000
    # A session that lasts longer is doubtful: a key that is never renewed, a tab that is never closed.
    overlong_ms: int = 24 * 60 * 60 * 1000
    # How far outside a session ping's span an event ping of the same tab may lie.
    tab_tolerance_ms: int = 5 * 1000
    # How far a client's own timespent may lie from the computed one: the larger of the two is allowed.
    mismatch_ms: int = 1000
    mismatch_percent: int = 5


@dataclass(frozen=True)
class SessionQueries:
    """One way of making sessions, for keys of these kinds, as DuckDB SQL over the table `arrived` of transforms.sessions.

    The numbers of SessionRules are SQL variables of the same names. `steps` become tables, in this order. Chains and
    sessions are numbered from 0 on, and two of the tables say where each of them starts:
    - `chain_starts`: chain, source, key, event_id and landing_date of its first event;
    - `session_starts`: session, source, key, event_id and landing_date of the event that names it; key is null where the
      event alone does.
    From these, ids are made: the tables `chain_ids` (chain, chain_id) and `session_ids` (session, session_id). The other
    queries then give the rows of `sessions` (in the order of their numbers, and with `reported_row`, the row of `arrived`
    that bears it, in the place of `reported`), of `session_events`, and of `session_chains` (in the order of their numbers).
    Columns that are lists may have a query each: the number of the session or chain, then the items' fields, in order.
    """

    kinds: tuple[str, ...]
    steps: Mapping[str, str]
    sessions: str
    session_lists: Mapping[str, str]
    members: str
    chains: str
    chain_lists: Mapping[str, str]

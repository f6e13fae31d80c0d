"""The numbers in the rules of sessions, and the shape of the queries that make sessions from events or from pings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Raised with every change that makes other sessions from the same events. `millrace rebuild` then builds the sessions again.
SESSIONS_VERSION = 3
# The order of the events of each key in `arrived`. It is total, so ties in time never change a result.
TOTAL_ORDER = "key_number, event_ms, client_time NULLS FIRST, rank_of(event_type), event_id, landing_date"


@dataclass(frozen=True)
class SessionRules:
    """The numbers in the rules (docs/rules/sessions.md), in milliseconds. A gap of exactly such a length is still within it."""

    # The longest silence within a session with a session id of its client, and within one that is derived from gaps.
    keyed_silence_ms: int = 24 * 60 * 60 * 1000
    derived_silence_ms: int = 30 * 60 * 1000
    # The longest gap that counts as time spent.
    idle_ms: int = 10 * 60 * 1000
    # A longer session is flagged: perhaps its key is never renewed, or its tab never closed.
    overlong_ms: int = 24 * 60 * 60 * 1000
    # How far outside a session ping's span an event ping of the same tab may lie.
    tab_tolerance_ms: int = 5 * 1000
    # How far a client's own timespent may lie from the computed one: the larger of the two is allowed.
    mismatch_ms: int = 1000
    mismatch_percent: int = 5


@dataclass(frozen=True)
class SessionQueries:
    """The queries that make the sessions of keys of these kinds: DuckDB SQL over the table `arrived` of transforms.sessions.sessions.

    The numbers of SessionRules are SQL variables of the same names. `steps` become tables, in this order. Chains and
    sessions are numbered from 0, and two of the tables have their first events:
    - `chain_starts`: chain, source, key, event_id and landing_date of its first event;
    - `session_starts`: session, source, key, event_id and landing_date of the event that identifies it. Key is null if the
      event alone identifies it.
    transforms.sessions.sessions makes ids from these: the tables `chain_ids` (chain, chain_id) and `session_ids` (session,
    session_id). The queries `sessions`, `members` and `chains` then give the rows of `sessions`, `session_events` and
    `session_chains`. Sessions and chains are in the order of their numbers. Instead of `reported`, a session has `reported_row`:
    the row of `arrived` with the client's summary.
    `session_lists` and `chain_lists` have one query per column that is a list: the number of the session or chain, then the
    items' fields, in the order of the items.
    """

    kinds: tuple[str, ...]
    steps: Mapping[str, str]
    sessions: str
    session_lists: Mapping[str, str]
    members: str
    chains: str
    chain_lists: Mapping[str, str]

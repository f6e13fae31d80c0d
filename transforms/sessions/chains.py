"""Which chains of events a change affects, so that only their sessions are built again.

A chain is an unbroken run of events of one session key. No session reaches beyond its chain. So when events are added or removed,
only the chains in which they lie, or which are next to them, have to be built again.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import BIGINT, BOOLEAN, STRING
from transforms.affected_rows import events_of_chains, in_spans, rows_by_id, used_keys
from transforms.duckdb_query import query
from transforms.sessions.sessions import SessionRules

# The columns of an added or removed event that `changed_spans` reads.
EVENT_COLUMNS = ("source", "event_time", "duration_ms", "session_input")
_OF_EVENT = pa.schema(
    [("source", STRING), ("key", STRING), ("kind", STRING), ("link", STRING), ("user", BOOLEAN), ("at_ms", BIGINT), ("length", BIGINT)]
)
# A span of time, in epoch ms, in which events of a session key changed. It affects the chains that overlap it. `part` tells spans of
# one key apart.
SPANS = pa.schema(
    [("source", STRING), ("key", STRING), ("kind", STRING), ("link", STRING), ("part", BIGINT), ("lo", BIGINT), ("hi", BIGINT)]
)


def changed_spans(events: Iterable[pa.Table], rules: SessionRules) -> pa.Table:
    """The spans of time in which events changed, per session key, as SPANS. In: added or removed events, with EVENT_COLUMNS."""
    reader = pa.RecordBatchReader.from_batches(_OF_EVENT, (batch for part in events for batch in _keyed(part).to_batches()))
    sql = _SPANS.format(tolerance=rules.tab_tolerance_ms, keyed=rules.keyed_silence_ms, derived=rules.derived_silence_ms)
    return query(sql, events=reader).cast(SPANS)


def _keyed(events: pa.Table) -> pa.Table:
    """The events that have a session key, as _OF_EVENT."""
    opened = {name: pc.struct_field(events["session_input"], name) for name in ("key", "kind", "link", "user")}
    at = pc.divide(events["event_time"].cast(BIGINT), 1000)
    rows = pa.table({"source": events["source"], **opened, "at_ms": at, "length": events["duration_ms"]}, schema=_OF_EVENT)
    return rows.filter(rows["key"].is_valid())


# Events within a silence of each other have one span, and so have pings with the same session id.
_SPANS = """
WITH measured AS (
    SELECT *, kind = 'reported' AS is_ping, kind = 'reported' AND "user" AS is_session_ping, coalesce(length, 0) AS span_ms,
        CASE kind WHEN 'keyed' THEN {keyed} WHEN 'derived' THEN {derived} ELSE 0 END AS silence
    FROM events
)
SELECT source, key, kind, link,
    CASE
        WHEN link IS NOT NULL THEN 0
        WHEN is_ping THEN at_ms - span_ms
        ELSE CAST(floor(at_ms / greatest(silence, 1)) AS BIGINT)
    END AS part,
    min(CASE WHEN is_session_ping THEN at_ms - span_ms - {tolerance} ELSE at_ms - silence END) AS lo,
    max(CASE WHEN is_session_ping THEN at_ms + {tolerance} ELSE at_ms + silence END) AS hi
FROM measured
GROUP BY ALL
"""


def affected_rows(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """What has to be built again because of the chains that a change affects, as AFFECTED_ROWS.

    In: rows of `session_chains`, all of each key that they hold; spans of `changed_spans`, of one or several calls.
    """
    decided = affected_chains(chains, spans)
    built_before = decided["is_used_key"].combine_chunks()
    used, rebuilt = decided.filter(built_before).combine_chunks(), decided.filter(pc.invert(built_before)).combine_chunks()
    column = {name: rebuilt[name].combine_chunks() for name in rebuilt.column_names}
    of_sessions = pc.list_parent_indices(column["sessions"])
    sessions = pc.list_flatten(column["sessions"])
    session_ids = pc.struct_field(sessions, "session_id")
    session_partition = {"session_date": pc.struct_field(sessions, "session_date"), "source": column["source"].take(of_sessions)}
    first, last = column["first_time"].cast(BIGINT), column["last_time"].cast(BIGINT)
    return pa.concat_tables(
        [
            used_keys(used["source"].combine_chunks(), used["key"].combine_chunks()),
            events_of_chains(column["landing_dates"], column["source"], column["key"], first, last),
            rows_by_id(SESSIONS, session_ids, session_partition),
            rows_by_id(SESSION_EVENTS, session_ids, session_partition),
            rows_by_id(SESSION_CHAINS, column["chain_id"], column),
        ]
    )


def affected_chains(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change affects, and those that show that a key was used before.

    In: as `affected_rows`; of the chains only `source`, `key`, `kind`, `first_time`, `last_time`, `links` and `unassigned` are read.
    Out: rows of `chains` with `is_used_key`. It is true for the first session's chain of a key of kind `keyed` if all changes come
    after that chain. This chain is not affected, but all later sessions of the key are sessions of a key that is used again. If
    something changes before the chain or in it, all chains of the key are affected, because another session may become the first.
    """
    rows = chains.append_column("chain", pa.array(range(chains.num_rows), BIGINT))
    read = rows.select(["chain", "source", "key", "kind", "first_time", "last_time", "links", "unassigned"])
    found = query(_AFFECTED, chains=read, spans=spans)
    return chains.take(found["chain"]).append_column("is_used_key", found["is_used_key"])


_AFFECTED = """
WITH known AS (
    SELECT *, epoch_ms(first_time) AS first_ms, epoch_ms(last_time) AS last_ms FROM chains
), changed AS (
    -- of all tasks that read changed events
    SELECT source, key, kind, link, part, min(lo) AS lo, max(hi) AS hi FROM spans GROUP BY ALL
), linked AS (
    -- a ping affects the chain that bears its session id, and all chains between
    SELECT source, key, least(lo, first_ms) AS lo, greatest(hi, last_ms) AS hi
    FROM changed JOIN (SELECT source, key, first_ms, last_ms, unnest(links) AS link FROM known) USING (source, key, link)
), wide AS (
    SELECT source, key, lo, hi FROM changed UNION ALL FROM linked
), first_sessions AS (
    SELECT source, key, arg_min(chain, first_ms) AS chain, arg_min(last_ms, first_ms) AS until
    FROM known
    WHERE kind = 'keyed' AND len(unassigned) = 0
    GROUP BY source, key
), used AS (
    SELECT source, key, chain, until >= earliest AS may_change
    FROM first_sessions JOIN (SELECT source, key, min(lo) AS earliest FROM changed GROUP BY source, key) USING (source, key)
), affected AS (
    SELECT known.chain FROM known JOIN wide USING (source, key) WHERE first_ms <= hi AND last_ms >= lo
    UNION
    SELECT known.chain FROM known JOIN used USING (source, key) WHERE may_change
)
SELECT chain, false AS is_used_key FROM affected
UNION ALL
SELECT chain, true AS is_used_key FROM used WHERE NOT may_change
ORDER BY ALL
"""


def events_in_spans(events: pa.Table, spans: pa.Table) -> pa.Table:
    """The events that lie in a span of their session key. In: events of one source with EVENT_COLUMNS; spans as AFFECTED_ROWS."""
    keys = pc.struct_field(events["session_input"], "key")
    return events.take(in_spans(keys, events["event_time"].cast(BIGINT), spans))

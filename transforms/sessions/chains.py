"""Which chains of events a change affects, so that only their sessions are built again.

A chain is an unbroken run of events of one session key. No session reaches beyond its chain. So when events are added or removed,
only the chains in which they lie, or which are next to them, have to be built again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from schemas.sessions import SESSION_CHAINS, SESSION_EVENTS, SESSIONS
from schemas.table import BIGINT, BOOLEAN, STRING
from transforms.affected_rows import (
    ClosedDates,
    are_closed,
    closed_chains,
    events_of_chains,
    in_spans,
    outside_spans,
    rows_by_id,
    used_keys,
)
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


def affected_rows(chains: pa.Table, spans: pa.Table, closed: ClosedDates | None = None) -> pa.Table:
    """What has to be built again because of the chains that a change affects, as AFFECTED_ROWS.

    In: rows of `session_chains`, all of each key that they hold; spans of `changed_spans`, of one or several calls; the dates whose
    events have expired. Chains with expired events are not built again.
    """
    decided = affected_chains(chains, spans, closed)
    is_used, is_closed = (decided[name].combine_chunks() for name in ("is_used_key", "is_closed"))
    used, of_closed = decided.filter(is_used).combine_chunks(), decided.filter(is_closed).combine_chunks()
    rebuilt = decided.filter(pc.invert(pc.or_(is_used, is_closed))).combine_chunks()
    column = {name: rebuilt[name].combine_chunks() for name in rebuilt.column_names}
    first, last = column["first_time"].cast(BIGINT), column["last_time"].cast(BIGINT)
    return pa.concat_tables(
        [
            used_keys(used["source"].combine_chunks(), used["key"].combine_chunks()),
            *_closed_spans(of_closed),
            events_of_chains(column["landing_dates"], column["source"], column["key"], first, last),
            *_rows_of(column),
        ]
    )


def kept_rows(chains: pa.Table, closed: ClosedDates) -> pa.Table:
    """What is not built again when everything else is, as AFFECTED_ROWS: the rows of chains with expired events. In: as `affected_rows`."""
    kept = chains.filter(are_closed(chains, closed)).combine_chunks()
    return pa.concat_tables([*_closed_spans(kept), *_rows_of({name: kept[name].combine_chunks() for name in kept.column_names})])


def _closed_spans(chains: pa.Table) -> Iterator[pa.Table]:
    """The spans of chains, as those of closed ones, and the keys that their sessions have used."""
    column = {name: chains[name].combine_chunks() for name in ("source", "key", "first_time", "last_time")}
    yield closed_chains(column["source"], column["key"], column["first_time"].cast(BIGINT), column["last_time"].cast(BIGINT))
    used = chains.filter(pc.and_(pc.equal(chains["kind"], "keyed"), pc.greater(pc.list_value_length(chains["sessions"]), 0)))
    yield used_keys(used["source"].combine_chunks(), used["key"].combine_chunks())


def _rows_of(column: Mapping[str, pa.Array]) -> Iterator[pa.Table]:
    """The rows that were made of chains, and the chains, as AFFECTED_ROWS. In: the columns of the chains."""
    sessions = pc.list_flatten(column["sessions"])
    session_ids = pc.struct_field(sessions, "session_id")
    sources = column["source"].take(pc.list_parent_indices(column["sessions"]))
    session_partition = {"session_date": pc.struct_field(sessions, "session_date"), "source": sources}
    yield rows_by_id(SESSIONS, session_ids, session_partition)
    yield rows_by_id(SESSION_EVENTS, session_ids, session_partition)
    yield rows_by_id(SESSION_CHAINS, column["chain_id"], column)


def affected_chains(chains: pa.Table, spans: pa.Table, closed: ClosedDates | None = None) -> pa.Table:
    """The chains that a change affects, those that show that a key was used before, and those that are closed.

    In: as `affected_rows`; of the chains only `source`, `key`, `kind`, `first_time`, `last_time`, `links` and `unassigned` are read,
    and `landing_dates` if dates are closed.
    Out: rows of `chains` with `is_used_key` and `is_closed`. `is_used_key` is true for the first session's chain of a key of kind `keyed`
    if all changes come after that chain. This chain is not affected, but all later sessions of the key are sessions of a key that is
    used again. If something changes before the chain or in it, all chains of the key are affected, because another session may become
    the first. A closed chain is not affected; it comes along if it lies within the time that the affected ones of its key cover.
    """
    rows = chains.append_column("chain", pa.array(range(chains.num_rows), BIGINT)).append_column(
        "is_closed", are_closed(chains, closed or {})
    )
    read = rows.select(["chain", "source", "key", "kind", "first_time", "last_time", "links", "unassigned", "is_closed"])
    found = query(_AFFECTED, chains=read, spans=spans)
    decided = chains.take(found["chain"])
    return decided.append_column("is_used_key", found["is_used_key"]).append_column("is_closed", found["is_closed"])


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
), covered AS (
    -- the time of each key from the first affected moment to the last one
    SELECT source, key, min(lo) AS lo, max(hi) AS hi
    FROM (
        SELECT source, key, lo, hi FROM wide
        UNION ALL SELECT source, key, first_ms, last_ms FROM known SEMI JOIN affected USING (chain) WHERE NOT is_closed
    )
    GROUP BY ALL
)
SELECT chain, false AS is_used_key, false AS is_closed FROM affected JOIN known USING (chain) WHERE NOT is_closed
UNION ALL
SELECT chain, true AS is_used_key, false AS is_closed FROM used WHERE NOT may_change
UNION ALL
SELECT chain, false AS is_used_key, true AS is_closed
FROM known JOIN covered USING (source, key)
WHERE is_closed AND first_ms <= hi AND last_ms >= lo
ORDER BY ALL
"""


def events_outside(events: pa.RecordBatch, closed: pa.Table) -> pa.RecordBatch:
    """The events that do not lie in a closed chain of their key.

    In: rows with `source`, `event_time` and `session_input`; spans with `source`, `key`, `first` and `last` (epoch µs).
    """
    keys = pc.struct_field(events.column("session_input"), "key")
    columns = {"source": events.column("source"), "key": keys, "time": events.column("event_time").cast(BIGINT)}
    return events.take(outside_spans(pa.table(columns), closed))


def events_in_spans(events: pa.Table, spans: pa.Table) -> pa.Table:
    """The events that lie in a span of their session key. In: events of one source with EVENT_COLUMNS; spans as AFFECTED_ROWS."""
    keys = pc.struct_field(events["session_input"], "key")
    return events.take(in_spans(keys, events["event_time"].cast(BIGINT), spans))

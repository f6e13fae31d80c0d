"""Which chains of events a change touches, so that sessions are made again for those alone.

A chain is an unbroken run of events of one session key: what is known of a session never reaches outside its chain. So
when events come or go, it is enough to find the chains that they lie in, or next to, and to build these again.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.table import BIGINT, BOOLEAN, STRING
from transforms.duckdb_query import query
from transforms.sessions.sessions import SessionRules

# What `touched` reads of a chain, and what tells one from all others.
COLUMNS = ("source", "key", "kind", "first_time", "last_time", "links", "unassigned", "chain_date")
IDENTITY = ("source", "key", "first_time")

# What is read of an event that came or went.
EVENT_COLUMNS = ("source", "event_time", "duration_ms", "session_input")
_OF_EVENT = pa.schema(
    [("source", STRING), ("key", STRING), ("kind", STRING), ("link", STRING), ("user", BOOLEAN), ("at_ms", BIGINT), ("length", BIGINT)]
)
# A span of time in which something changed, of a session key: chains that meet it are touched. `part` tells spans of one key apart.
SPANS = pa.schema(
    [("source", STRING), ("key", STRING), ("kind", STRING), ("link", STRING), ("part", BIGINT), ("lo", BIGINT), ("hi", BIGINT)]
)


def changed_spans(events: Iterable[pa.Table], rules: SessionRules) -> pa.Table:
    """The spans of time in which something changed, per session key, as SPANS; times in epoch ms.

    In: events that came or went, with EVENT_COLUMNS.
    """
    reader = pa.RecordBatchReader.from_batches(_OF_EVENT, (batch for part in events for batch in _keyed(part).to_batches()))
    sql = _SPANS.format(tolerance=rules.tab_tolerance_ms, keyed=rules.keyed_silence_ms, derived=rules.derived_silence_ms)
    return query(sql, events=reader).cast(SPANS)


def merged_spans(spans: pa.Table) -> pa.Table:
    """The spans of several changes as those of one."""
    return query("SELECT source, key, kind, link, part, min(lo) AS lo, max(hi) AS hi FROM spans GROUP BY ALL", spans=spans).cast(SPANS)


def _keyed(events: pa.Table) -> pa.Table:
    """The events that have a session key, as _OF_EVENT."""
    opened = {name: pc.struct_field(events["session_input"], name) for name in ("key", "kind", "link", "user")}
    at = pc.divide(events["event_time"].cast(BIGINT), 1000)
    rows = pa.table({"source": events["source"], **opened, "at_ms": at, "length": events["duration_ms"]}, schema=_OF_EVENT)
    return rows.filter(rows["key"].is_valid())


# Events within a silence of each other have one span, and so have pings that bear one session id.
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


def touched(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change touches, and those that tell that a key was used before.

    In: chains with COLUMNS, all of each key that they hold; the spans of `changed_spans`.
    Out: their columns, and `stays`: true for the first session's chain of a key that its client gave out, where all changes
    come after it. It stays, but it makes every later session of the key one of a key that is used again. Where something
    changes before it or in it, the key is touched whole, since then another session may be the first.
    """
    return query(_TOUCHED, chains=chains, spans=spans)


_TOUCHED = """
WITH known AS (
    SELECT row_number() OVER () AS chain, *, epoch_ms(first_time) AS first_ms, epoch_ms(last_time) AS last_ms
    FROM chains
), linked AS (
    -- a ping touches what bears its session id, and all that lies between
    SELECT source, key, least(lo, first_ms) AS lo, greatest(hi, last_ms) AS hi
    FROM spans JOIN (SELECT source, key, first_ms, last_ms, unnest(links) AS link FROM known) USING (source, key, link)
), wide AS (
    SELECT source, key, lo, hi FROM spans UNION ALL FROM linked
), first_sessions AS (
    SELECT source, key, arg_min(chain, first_ms) AS chain, arg_min(last_ms, first_ms) AS until
    FROM known
    WHERE kind = 'keyed' AND len(unassigned) = 0
    GROUP BY source, key
), used AS (
    SELECT source, key, chain, until >= earliest AS may_change
    FROM first_sessions JOIN (SELECT source, key, min(lo) AS earliest FROM spans GROUP BY source, key) USING (source, key)
), going AS (
    SELECT known.chain FROM known JOIN wide USING (source, key) WHERE first_ms <= hi AND last_ms >= lo
    UNION
    SELECT known.chain FROM known JOIN used USING (source, key) WHERE may_change
)
SELECT * EXCLUDE (chain, first_ms, last_ms), false AS stays FROM known SEMI JOIN going USING (chain)
UNION ALL
SELECT * EXCLUDE (chain, first_ms, last_ms), true AS stays FROM known SEMI JOIN (FROM used WHERE NOT may_change) USING (chain)
"""


def events_of(events: pa.Table, chains: pa.Table) -> pa.Table:
    """The events that lie in these chains.

    In: events with EVENT_COLUMNS and any others; chains with `source`, `key`, `first_time`, `last_time`.
    """
    narrow = pa.table(
        {
            "source": events["source"],
            "key": pc.struct_field(events["session_input"], "key"),
            "place": events["event_time"].cast(BIGINT),
        }
    )
    spans = pa.table(
        {
            "source": chains["source"],
            "key": chains["key"],
            "first": chains["first_time"].cast(BIGINT),
            "last": chains["last_time"].cast(BIGINT),
        }
    )
    return events.take(rows_in_spans(narrow, spans, "source", "key"))


def rows_in_spans(rows: pa.Table, spans: pa.Table, *same: str) -> pa.Array:
    """The numbers of the rows whose `place` lies in a span, from `first` to `last`, that is `same` in these columns; in order."""
    rows = rows.append_column("row", pa.array(range(rows.num_rows), BIGINT))
    sql = f"""
    SELECT row FROM rows SEMI JOIN spans ON {" AND ".join(f"rows.{name} = spans.{name}" for name in same)} AND place BETWEEN first AND last
    ORDER BY row
    """
    return query(sql, rows=rows, spans=spans)["row"].combine_chunks()

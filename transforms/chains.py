"""Which chains of events a change touches, so that sessions are made again for those alone.

A chain is an unbroken run of events of one session key: what is known of a session never reaches outside its chain. So
when events come or go, it is enough to find the chains that they lie in, or next to, and to build these again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from transforms.in_memory import query
from transforms.sessions import SessionRules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


# What `touched` reads of a chain, and what tells one from all others.
COLUMNS = ("source", "key", "kind", "first_time", "last_time", "links", "unassigned", "chain_date")
IDENTITY = ("source", "key", "first_time")


def changed_spans(events: DataFrame, rules: SessionRules) -> DataFrame:
    """The spans of time in which something changed, per session key.

    In: events that came or went: `source`, `event_time`, `duration_ms`, `session_input`.
    Out: `source`, `key`, `kind`, `link`, `lo`, `hi` (epoch ms): chains that meet a span are touched.
    """
    from pyspark.sql import functions as F

    at = F.unix_millis("event_time")
    kind = F.col("session_input.kind")
    is_ping = kind == "reported"
    is_session_ping = is_ping & F.col("session_input.user")
    tolerance = F.lit(rules.tab_tolerance_ms)
    length = F.coalesce(F.col("duration_ms"), F.lit(0))
    silence = F.when(kind == "keyed", rules.keyed_silence_ms).when(kind == "derived", rules.derived_silence_ms).otherwise(0)
    # Events within a silence of each other have one span, and so have pings that bear one session id.
    silences = F.floor(at / F.greatest(silence, F.lit(1)))
    part = F.when(F.col("session_input.link").isNotNull(), 0).when(is_ping, at - length).otherwise(silences)
    spans = events.where(F.col("session_input.key").isNotNull()).select(
        "source",
        F.col("session_input.key").alias("key"),
        kind.alias("kind"),
        F.col("session_input.link").alias("link"),
        F.when(is_session_ping, at - length - tolerance).otherwise(at - silence).alias("lo"),
        F.when(is_session_ping, at + tolerance).otherwise(at + silence).alias("hi"),
        part.alias("part"),
    )
    return spans.groupBy("source", "key", "kind", "link", "part").agg(F.min("lo").alias("lo"), F.max("hi").alias("hi")).drop("part")


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


def events_of(events: DataFrame, chains: DataFrame) -> DataFrame:
    """The events that lie in these chains.

    In: events with `source`, `event_time`, `session_input`; chains with `source`, `key`, `first_time`, `last_time`.
    """
    from pyspark.sql import functions as F

    inside = (
        (F.col("events.source") == F.col("chains.source"))
        & (F.col("events.session_input.key") == F.col("chains.key"))
        & F.col("events.event_time").between(F.col("chains.first_time"), F.col("chains.last_time"))
    )
    return events.alias("events").join(chains.alias("chains"), on=inside, how="left_semi")

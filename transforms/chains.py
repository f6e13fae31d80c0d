"""Which chains of events a change touches, so that sessions are made again for those alone.

A chain is an unbroken run of events of one session key: what is known of a session never reaches outside its chain. So
when events come or go, it is enough to find the chains that they lie in, or next to, and to build these again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def touched(chains: DataFrame, spans: DataFrame) -> DataFrame:
    """The chains that a change touches, and those that tell that a key was used before.

    In: chains with COLUMNS, all of each key that they hold; the spans of `changed_spans`.
    Out: their columns, and `stays`: true for the first session's chain of a key that its client gave out, where all changes
    come after it. It stays, but it makes every later session of the key one of a key that is used again. Where something
    changes before it or in it, the key is touched whole, since then another session may be the first.
    """
    from pyspark.sql import functions as F

    first, last = F.unix_millis("first_time"), F.unix_millis("last_time")
    known = chains.select("source", "key", first.alias("first"), last.alias("last"), F.explode("links").alias("link"))
    linked = spans.join(known, on=["source", "key", "link"], how="inner").select(
        "source", "key", "kind", F.least("lo", "first").alias("lo"), F.greatest("hi", "last").alias("hi")
    )
    wide = spans.select("source", "key", "kind", "lo", "hi").unionByName(linked)
    is_session = (F.col("kind") == "keyed") & (F.size("unassigned") == 0)
    beginnings = (
        chains.where(is_session).groupBy("source", "key").agg(F.min("first_time").alias("beginning"), F.min_by(last, first).alias("until"))
    )
    changes = spans.where(F.col("kind") == "keyed").groupBy("source", "key").agg(F.min("lo").alias("earliest"))
    used = beginnings.join(changes, on=["source", "key"], how="inner")
    whole = used.where(F.col("until") >= F.col("earliest")).select("source", "key", F.lit(True).alias("is_whole"))
    wide = wide.join(whole, on=["source", "key"], how="left").alias("wide")
    meets = (F.unix_millis("chains.first_time") <= F.col("wide.hi")) & (F.unix_millis("chains.last_time") >= F.col("wide.lo"))
    same_key = (F.col("chains.source") == F.col("wide.source")) & (F.col("chains.key") == F.col("wide.key"))
    going = chains.alias("chains").join(wide, on=same_key & (meets | F.coalesce("wide.is_whole", F.lit(False))), how="left_semi")
    markers = used.where(F.col("until") < F.col("earliest")).select("source", "key", F.col("beginning").alias("first_time"))
    staying = chains.join(markers, on=["source", "key", "first_time"], how="left_semi")
    return going.withColumn("stays", F.lit(False)).unionByName(staying.withColumn("stays", F.lit(True)))


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

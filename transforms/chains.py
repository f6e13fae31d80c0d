"""Which chains of events a change touches, so that sessions are made again for those alone.

A chain is an unbroken run of events of one session key: what is known of a session never reaches outside its chain. So
when events come or go, it is enough to find the chains that they lie in, or next to, and to build these again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.sessions import SessionRules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def changed_spans(events: DataFrame, rules: SessionRules) -> DataFrame:
    """The spans of time in which something changed, per session key.

    In: events that came or went: `source`, `event_time`, `duration_ms`, `session_input`.
    Out: `source`, `key`, `kind`, `link`, `lo`, `hi` (epoch ms): within silence of a span, chains are touched.
    """
    from pyspark.sql import functions as F

    at = F.unix_millis("event_time")
    kind = F.col("session_input.kind")
    is_session_ping = (kind == "reported") & F.col("session_input.user")
    tolerance = F.lit(rules.tab_tolerance_ms)
    length = F.coalesce(F.col("duration_ms"), F.lit(0))
    silence = F.when(kind == "derived", F.lit(rules.derived_silence_ms)).otherwise(F.lit(0))
    spans = events.where(F.col("session_input.key").isNotNull()).select(
        "source",
        F.col("session_input.key").alias("key"),
        kind.alias("kind"),
        F.col("session_input.link").alias("link"),
        F.when(is_session_ping, at - length - tolerance).otherwise(at - silence).alias("lo"),
        F.when(is_session_ping, at + tolerance).otherwise(at + silence).alias("hi"),
    )
    # Pings that bear one session id span everything between them, and a key that its client gave out is looked at whole.
    as_one = F.when((F.col("kind") == "keyed") | F.col("link").isNotNull(), F.lit(0)).otherwise(F.col("lo"))
    return (
        spans.groupBy("source", "key", "kind", "link", as_one.alias("part"))
        .agg(F.min("lo").alias("lo"), F.max("hi").alias("hi"))
        .drop("part")
    )


def touched(chains: DataFrame, spans: DataFrame) -> DataFrame:
    """The chains that a change touches: one row each, with all their columns.

    In: `session_chains`, and the spans of `changed_spans`. A key that its client gave out is touched whole, because the
    flag `key_reused` of a later session depends on the earlier ones.
    """
    from pyspark.sql import functions as F

    first, last = F.unix_millis("first_time"), F.unix_millis("last_time")
    known = chains.select("source", "key", first.alias("first"), last.alias("last"), F.explode("links").alias("link"))
    linked = spans.join(known, on=["source", "key", "link"], how="inner").select(
        "source", "key", "kind", F.least("lo", "first").alias("lo"), F.greatest("hi", "last").alias("hi")
    )
    wide = spans.select("source", "key", "kind", "lo", "hi").unionByName(linked)

    def of(name: str) -> Column:
        return F.col(f"wide.{name}")

    overlaps = (of("kind") == "keyed") | ((F.unix_millis("first_time") <= of("hi")) & (F.unix_millis("last_time") >= of("lo")))
    renamed = wide.alias("wide")
    chosen = chains.alias("chains")
    same_key = (F.col("chains.source") == of("source")) & (F.col("chains.key") == of("key"))
    return chosen.join(renamed, on=same_key & overlaps, how="left_semi")


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

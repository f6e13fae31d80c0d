"""Which chains of a workflow group a change touches, and the events of groups in their order.

A chain is what stands between two cuts of a group: nothing that is known of a workflow reaches beyond it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from transforms.in_memory import query
from transforms.times import DAY_MS
from transforms.workflows import INPUT, WorkflowRules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Where a record landed, which orders events of the same time.
_PLACE = ("landing_date", "landing_hour", "file", "record", "position")
_IN_STRUCT = ("key", "ets", "uid", "object_id", "object_type", "type", "mode", "item")
# The columns of `events` that are read.
EVENT_COLUMNS = (*(name for name in INPUT.names if name not in _IN_STRUCT), "workflow_input", *_PLACE[1:])


def steps(events: DataFrame) -> DataFrame:
    """The events that are parts of workflows, with the columns of transforms.workflows.INPUT and where they landed."""
    opened = [f"workflow_input.{name} AS {name}" if name in _IN_STRUCT else name for name in INPUT.names]
    return events.where("workflow_input.key IS NOT NULL").selectExpr(*opened, *_PLACE[1:])


def in_order(steps: DataFrame, tasks: int) -> DataFrame:
    """The same rows, whole groups together, each in the order of its rules."""
    from pyspark.sql import functions as F

    landed = [F.col(name).asc_nulls_first() for name in _PLACE]
    return steps.repartition(tasks, "key").sortWithinPartitions("key", "ets", *landed)


def changed_spans(events: DataFrame, rules: WorkflowRules) -> DataFrame:
    """The spans of time in which something changed, per group.

    In: events that came or went. Out: `key`, `lo`, `hi` (epoch ms as sent): chains that meet a span are touched.
    """
    from pyspark.sql import functions as F

    ets = F.col("workflow_input.ets")
    # Events of a day are never further apart than a cut: their spans are one.
    part = F.floor(ets / min(rules.cut_ms, DAY_MS))
    changed = events.where(F.col("workflow_input.key").isNotNull())
    spans = changed.groupBy(F.col("workflow_input.key").alias("key"), part.alias("part")).agg(
        F.min(ets).alias("least"), F.max(ets).alias("most")
    )
    # Half of the largest number is further than any time, and leaves room for a cut.
    limit = F.lit(2**62)
    return spans.select(
        "key",
        (F.greatest("least", -limit) - rules.cut_ms).alias("lo"),
        (F.least("most", limit) + rules.cut_ms).alias("hi"),
    )


# What `touched` reads of a chain, and what tells one from all others.
COLUMNS = ("key", "first_ets", "last_ets", "chain_date")
IDENTITY = ("key", "first_ets")


def touched(chains: pa.Table, spans: pa.Table) -> pa.Table:
    """The chains that a change touches, with all their columns.

    In: chains with COLUMNS, the spans of `changed_spans`.
    """
    return query(_TOUCHED, chains=chains, spans=spans)


_TOUCHED = """
WITH known AS (
    SELECT row_number() OVER () AS chain, * FROM chains
)
SELECT * EXCLUDE (chain)
FROM known SEMI JOIN (
    SELECT chain FROM known JOIN spans USING (key) WHERE first_ets <= hi AND last_ets >= lo
) USING (chain)
"""


def events_of(steps: DataFrame, chains: DataFrame) -> DataFrame:
    """The events that lie in these chains."""
    from pyspark.sql import functions as F

    inside = (F.col("steps.key") == F.col("chains.key")) & F.col("steps.ets").between(F.col("chains.first_ets"), F.col("chains.last_ets"))
    return steps.alias("steps").join(chains.alias("chains"), on=inside, how="left_semi")

"""Files whose events say implausible times."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from schemas.events import EVENTS
from transforms import duckdb_query

COLUMNS = ("source", "file", "flags")
SHARES = pa.schema([("source", pa.string()), ("file", pa.string()), ("share", pa.float64())])


def worst_file(events: Iterable[pa.Table], events_minimum: int) -> pa.Table:
    """Per source the file with the largest share of events flagged `time_replaced`, of files with at least so many events.

    In: rows of `events`. Out: SHARES; no row where no file has so many events.
    """
    schema = pa.schema([pa.field(name, EVENTS[name].type) for name in COLUMNS])
    batches = (batch for part in events for batch in part.select(schema.names).to_batches())
    rows = duckdb_query.query(
        f"""
        WITH files AS (
            SELECT source, file, count_if(list_contains(flags, 'time_replaced')) / count(*) AS share
            FROM parts GROUP BY ALL HAVING count(*) >= {events_minimum:d}
        )
        SELECT source, file, CAST(share AS DOUBLE) AS share FROM files
        QUALIFY row_number() OVER (PARTITION BY source ORDER BY share DESC, file) = 1
        """,
        parts=pa.RecordBatchReader.from_batches(schema, batches),
    )
    return rows.cast(SHARES)

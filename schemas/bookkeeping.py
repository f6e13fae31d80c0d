"""The contracts of `files`, `runs`, `quality_results` and `daily_metrics`."""

from __future__ import annotations

import pyarrow as pa

from schemas.events import RUN_ID
from schemas.table import BIGINT, BOOLEAN, DATE, DOUBLE, INTEGER, STRING, TIMESTAMP, Check, Table, column

FILES = Table(
    name="files",
    one_row_per="landed file",
    key=("source", "landing_date", "file"),
    partitioned_by=("landing_date", "source"),
    computed_from=("landed files",),
    columns=(
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column("landing_date", DATE, "date of arrival, UTC, from the landing path", required=True),
        column("landing_hour", INTEGER, "hour of arrival, UTC; null where the path has none", minimum=0, maximum=23),
        column("file", STRING, "path from the landing root", required=True),
        column("size", BIGINT, "size as landed", unit="bytes", minimum=0),
        column("modified", TIMESTAMP, "when the file was last changed"),
        column("sha256", STRING, "SHA-256 of the file as landed, hexadecimal; null when unreadable", is_personal=False),
        column("ruleset", STRING, "hash of the schemas and mapping by which it was read", required=True, is_personal=False),
        column("records", BIGINT, "records in it; null when unreadable", minimum=0),
        column("accepted", BIGINT, "of these, in events", minimum=0),
        column("duplicates", BIGINT, "of these, in duplicate_events", minimum=0),
        column("rejected", BIGINT, "of these, in rejected_events", minimum=0),
        column("erased", BIGINT, "of these, removed on a person's request", minimum=0),
        column("blank", BIGINT, "lines that hold nothing", minimum=0),
        column("empty", BIGINT, "batches and arrays that hold nothing", minimum=0),
        column(
            "expired",
            STRING,
            "what retention has deleted of it, comma-separated: accepted, duplicates (the rows that these columns count), landed (the file"
            " itself); null: nothing",
            is_personal=False,
        ),
        column("status", STRING, "done or unreadable", required=True, values=("done", "unreadable")),
        column("error", STRING, "why it could not be read"),
        RUN_ID,
    ),
    checks=(
        Check(
            "records = accepted + duplicates + rejected + erased",
            "status = 'unreadable' OR records = accepted + duplicates + rejected + erased",
        ),
        Check(
            "a file that is done has its counts",
            "status = 'unreadable' OR records + accepted + duplicates + rejected + erased + blank + empty IS NOT NULL",
        ),
        Check(
            "an unreadable file says why and counts nothing",
            "status = 'done' OR (error IS NOT NULL AND records IS NULL AND accepted IS NULL)",
        ),
    ),
)

DAILY_METRICS = Table(
    name="daily_metrics",
    one_row_per="date, source, metric and value of a dimension",
    key=("metric_date", "source", "metric", "dimension", "dimension_value"),
    partitioned_by=("metric_date",),
    computed_from=("events", "sessions", "session_chains", "files", "rejected_events"),
    columns=(
        column("metric_date", DATE, "event_date, session_date or landing_date, as the metric says", required=True),
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column("metric", STRING, "its name: see the data dictionary", required=True, is_personal=False),
        column("dimension", STRING, "what it is split by; all for the total", required=True, is_personal=False),
        column("dimension_value", STRING, "value of the dimension; all for the total", required=True),
        column("value", DOUBLE, "numerator / denominator, or the count, median or percentile itself", required=True),
        column("numerator", DOUBLE, "of a ratio or mean"),
        column("denominator", DOUBLE, "of a ratio or mean; the number of values of a median or percentile"),
        RUN_ID,
    ),
    checks=(
        Check(
            "a ratio is its numerator over its denominator",
            "denominator IS NULL OR numerator IS NULL OR abs(value - numerator / denominator) < 1e-9 * greatest(1, abs(value))",
        ),
    ),
)

ERASURES = Table(
    name="erasures",
    one_row_per="erased id of a person, which is not stored",
    key=("source", "kind", "id_hash"),
    computed_from=("every erasure",),
    columns=(
        column("source", STRING, "which of the landed formats", required=True, is_personal=False),
        column("kind", STRING, "what the id is of", required=True, values=("user", "device")),
        column("id_hash", STRING, "HMAC-SHA256 of source and id, upper-case hexadecimal", required=True, is_personal=False),
        column(
            "length",
            INTEGER,
            "length of the id, if it is recognised as a text anywhere in a record; null for a short one, which is recognised in fields of"
            " ids alone",
            unit="bytes",
            minimum=1,
        ),
        column("salt", STRING, "the salt of the hash: random, the same for all rows of a lake", required=True, is_personal=False),
        RUN_ID,
    ),
)

RUNS = Table(
    name="runs",
    one_row_per="run and step; the step publish of a run holds the table versions that belong together",
    computed_from=("every run",),
    columns=(
        RUN_ID,
        column("command", STRING, "what was called", required=True, is_personal=False),
        column("step", STRING, "step of the run", required=True, is_personal=False),
        column("night", DATE, "night that was run"),
        column("started", TIMESTAMP, "when the step began", required=True),
        column("ended", TIMESTAMP, "when the step ended"),
        column("status", STRING, "done, or failed (a critical check failed)", required=True, values=("done", "failed")),
        column("files", BIGINT, "landed files that the step read; null where it reads none", minimum=0),
        column("records", BIGINT, "records in these files", minimum=0),
        column("rows_in", BIGINT, "rows that the step read; null where that is not counted", minimum=0),
        column("rows_out", BIGINT, "rows that the step wrote into its tables", minimum=0),
        column("bytes", BIGINT, "size of the landed files or of the Parquet files that the step wrote", unit="bytes", minimum=0),
        column("seconds", DOUBLE, "duration of the step; null for the step publish, which writes this row", unit="s", minimum=0),
        column(
            "peak_memory",
            BIGINT,
            "largest anonymous memory of all processes of the run on the driver's machine in the step, sampled once a second; pages that"
            " processes share count in each; null where the system does not say",
            unit="bytes",
            minimum=0,
        ),
        column("versions", pa.map_(STRING, BIGINT), "per table the Delta version that belongs to this state of the lake"),
        column("state", BIGINT, "number of that state, counted up with each publication", minimum=0),
        column("sources", STRING, "sources that the run was limited to, comma-separated; null for all", is_personal=False),
        column("rules", pa.map_(STRING, STRING), "per setting that decides rows the value that the run used; null where it wrote none"),
    ),
)

QUALITY_RESULTS = Table(
    name="quality_results",
    one_row_per="check of a run",
    computed_from=("every table",),
    columns=(
        RUN_ID,
        column("table", STRING, "table that was checked", required=True, is_personal=False),
        column("date", DATE, "night that was run"),
        column("source", STRING, "source that was checked; null for all", is_personal=False),
        column("expectation", STRING, "what must hold", required=True, is_personal=False),
        column("severity", STRING, "critical stops the publication, warning is recorded", required=True, values=("critical", "warning")),
        column("passed", BOOLEAN, "whether it held", required=True),
        column("observed", STRING, "what was found"),
        column("threshold", STRING, "what was allowed", is_personal=False),
        column("column", STRING, "column that was checked; null for the table", is_personal=False),
        column(
            "detail",
            STRING,
            "of what it was found, such as the file with the largest share, and what to do; null if there is no more to say",
        ),
    ),
)

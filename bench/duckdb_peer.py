"""The peer that a sceptic would pick: a night's work as a DuckDB script, from the landed files to Parquet.

    python -m bench.duckdb_peer LANDING OUT

One process, SQL on all cores; Python hands the files in and the tables out. The rules of sessions are the queries of transforms/, which are
DuckDB's own SQL, here over the whole night at once. Workflow summaries nest without bound, which SQL does not: they are made
by the same Python as ours, from rows that DuckDB has sorted. What a night does and this does not: the JSON Schema of every
field, the hash and the account of every file, chains for the nights to come, checks, and a publication.

Prints the seconds of every step as JSON.
"""

from __future__ import annotations

import bz2
import dataclasses
import datetime as dt
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from bench.duckdb_source import MACROS, SourceSql
from bench.duckdb_sources import SOURCES
from bench.duckdb_steps import ACCEPTED, ARRIVED, METRICS, READ_LINES, SESSION_IDS, sessions
from bench.duckdb_sunbird import SUNBIRD_MACROS
from schemas.catalog import TABLES
from schemas.events import EVENTS
from schemas.table import Table
from transforms.sessions.from_events import FROM_EVENTS
from transforms.sessions.from_pings import FROM_PINGS
from transforms.sessions.rules import SessionRules
from transforms.workflows.summaries import INPUT as WORKFLOW_STEPS
from transforms.workflows.summaries import WorkflowRules, summarise

# Columns of `events` that a record itself gives; those about when and where it landed are made in the same way for all sources.
_GIVEN = (
    *("event_id", "event_type", "event_name", "format_version", "client_ms", "received_ms", "user_id", "device_id", "session_key"),
    *("app_id", "app_version", "environment", "page", "page_title", "target_id", "target_type", "locale", "os", "device_model"),
    *("value", "duration_ms", "properties", "context", "flags", "is_robot"),
)
# What the rules of sessions and of workflows read in addition.
_SESSION_INPUT = (
    *("key", "kind", "user", "pauses", "expects_end", "page_type", "tab", "link", "load_latency", "load_reason", "unload_reason"),
    *("max_scroll_depth", "currency", "variable_key", "variable_value", "reported", "reported_rank"),
)
_WORKFLOW_INPUT = ("workflow_key", "ets", "uid", "object_id", "object_type", "type", "mode", "item_response")
_COLUMNS = (*_GIVEN, *_SESSION_INPUT, *_WORKFLOW_INPUT)
_TYPES = {
    "client_ms": "BIGINT",
    "received_ms": "BIGINT",
    "value": "DOUBLE",
    "duration_ms": "BIGINT",
    "flags": "VARCHAR[]",
    "is_robot": "BOOLEAN",
}
_TYPES |= {"user": "BOOLEAN", "pauses": "BOOLEAN", "expects_end": "BOOLEAN", "load_latency": "BIGINT", "max_scroll_depth": "BIGINT"}
_TYPES |= {"reported_rank": "INTEGER", "ets": "BIGINT"}
_PLACE = "landing_date, landing_hour NULLS FIRST, file, record, position"
_PATH = re.compile(r"(?P<source>[^/]+)/date=(?P<date>[0-9-]{10})/(?:hour=(?P<hour>[0-9]{2})/)?[^/]+")


class Peer:
    """The script, step by step."""

    def __init__(self, landing: Path, out: Path) -> None:
        self._landing = landing
        self._out = out
        self.seconds: dict[str, float] = {}
        out.mkdir(parents=True)
        with self._step("start"):
            self._database = duckdb.connect(config={"temp_directory": str(out / "_spilled")})
            self._database.execute("SET TimeZone = 'UTC'")
            # A row group is what a thread takes: of the usual size, all lines of a source may be one.
            self._database.execute("ATTACH ':memory:' AS night (ROW_GROUP_SIZE 8192)")
            self._database.execute("USE night")
            self._database.execute(MACROS + SUNBIRD_MACROS)

    def run(self) -> None:
        """All of it, into one folder per table."""
        self._create_tables()
        # A source after the other: what is wide about its records is written before the next one's are read.
        for source in SOURCES:
            with self._step("parse and validate"):
                self._read(source)
            with self._step("deduplicate"):
                self._deduplicate()
            with self._step("write"):
                self._write(EVENTS, "SELECT * FROM accepted")
                self._write(
                    TABLES["duplicate_events"], "SELECT * FROM mapped JOIN duplicates USING (source, file, record, position, landing_date)"
                )
                self._database.execute("INSERT INTO kept SELECT * EXCLUDE (properties, context) FROM accepted")
                self._database.execute("TRUNCATE given")
        with self._step("write"):
            self._write(TABLES["rejected_events"], "SELECT * EXCLUDE (arrival_ms) FROM rejected")
        with self._step("sessions"):
            self._build_sessions()
        with self._step("workflows"):
            self._build_workflows()
        with self._step("metrics"):
            self._database.execute(METRICS)
            self._write(TABLES["daily_metrics"], "SELECT * FROM daily_metrics")

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    # Parsing and validating

    def _create_tables(self) -> None:
        for name, table in (("sessions", "sessions"), ("members", "session_events")):
            self._database.register("empty", TABLES[table].arrow.empty_table())
            self._database.execute(f"CREATE TABLE {name} AS SELECT * EXCLUDE (run_id) FROM empty")
        landed_at = "file VARCHAR, landing_date DATE, landing_hour INTEGER, arrival_ms BIGINT, record BIGINT, position INTEGER"
        self._database.execute(f"CREATE TABLE rejected (source VARCHAR, {landed_at}, reason VARCHAR, raw VARCHAR)")
        self._database.execute("CREATE TABLE loose (metric_date DATE, source VARCHAR, metric VARCHAR, value BIGINT)")
        columns = (f'CAST(NULL AS {_TYPES.get(name, "VARCHAR")}) AS "{name}"' for name in _COLUMNS if name != "reported")
        self._database.execute(
            f"CREATE TABLE given AS SELECT rejected.* EXCLUDE (reason, raw), {', '.join(columns)}, reported FROM rejected, sessions"
        )
        mapped = ", ".join(f'"{name}"' for name in (*EVENTS.names, *_SESSION_INPUT, *_WORKFLOW_INPUT) if name not in _NOT_IN_SQL)
        self._database.execute(ACCEPTED.format(columns=mapped))
        self._database.execute("CREATE TABLE kept AS SELECT * EXCLUDE (properties, context) FROM accepted")

    def _read(self, source: str) -> None:
        """Add the records of a source to `given` and `rejected`."""
        sql = SOURCES[source]
        files = self._files(source)
        if files.num_rows == 0:
            return
        self._database.register("landed", files)
        self._database.execute(READ_LINES.format(paths=_list(files["path"].to_pylist())))
        self._open_documents(sql)
        self._decide_items(sql)
        self._add_records(source, sql)

    def _open_documents(self, sql: SourceSql) -> None:
        """Parse `lines` into `opened`: the form of each document, its list of items and its header."""
        self._database.execute(f"""
            CREATE OR REPLACE TABLE opened AS
            WITH parsed AS (
                SELECT * REPLACE (CASE WHEN is_valid THEN CAST(json(line) AS VARCHAR) ELSE line END AS line)
                FROM (SELECT *, is_json(line) AS is_valid FROM lines WHERE NOT regexp_full_match(line, '[ \t\r]*'))
            ), typed AS (
                SELECT *, CASE WHEN is_valid THEN json_type(line) END AS kind FROM parsed
            ), formed AS (
                SELECT * EXCLUDE (is_valid, kind), CASE
                    WHEN kind IS NULL THEN 'invalid_json'
                    WHEN kind = 'ARRAY' THEN 'array'
                    WHEN kind <> 'OBJECT' THEN 'not_an_object'
                    WHEN {sql.is_batch} THEN 'batch'
                    WHEN {sql.is_broken_batch} THEN 'schema_violation'
                    ELSE 'single'
                END AS form
                FROM typed
            ), listed AS (
                SELECT *, CASE form
                    WHEN 'batch' THEN CAST(json_extract(line, '$.{sql.list_name}') AS VARCHAR)
                    WHEN 'array' THEN line
                END AS list
                FROM formed
            ), headed AS (
                SELECT *, CASE form WHEN 'batch' THEN without_field(line, '{sql.list_name}', list) END AS raw_header FROM listed
            )
            SELECT * EXCLUDE (raw_header), without_secrets(raw_header) AS header FROM headed
        """)

    def _decide_items(self, sql: SourceSql) -> None:
        """Take the items out of `opened` into `decided`, with the reason of those that are refused."""
        # A document that is its own item is kept once.
        own_item = "NULL AS item" if sql.joined == "item" else "item"
        self._database.execute(f"""
            CREATE OR REPLACE TABLE decided AS
            WITH items AS (
                SELECT * EXCLUDE (line, form, list, items), unnest(items) AS raw, unnest(range(len(items))) AS position
                FROM (
                    SELECT *, CASE WHEN form = 'single' THEN [CAST(line AS JSON)] ELSE json_extract(list, '$[*]') END AS items
                    FROM opened WHERE form IN ('single', 'array', 'batch')
                )
            ), cleaned AS (
                SELECT *, CASE WHEN json_type(raw) = 'OBJECT' THEN without_secrets(CAST(raw AS VARCHAR)) END AS item FROM items
            ), documents AS (
                SELECT *, {sql.joined} AS document FROM cleaned
            ), read AS (
                SELECT *, json_transform(document, '{sql.values}') AS v FROM documents
            ), reasoned AS (
                SELECT *, CASE
                    WHEN item IS NULL THEN 'not_an_object'
                    WHEN NOT coalesce({sql.valid}, false) THEN 'schema_violation'
                END AS reason
                FROM read
            )
            SELECT * EXCLUDE (raw, item), CASE WHEN reason IS NOT NULL THEN CAST(raw AS VARCHAR) END AS raw, {own_item} FROM reasoned
        """)

    def _add_records(self, source: str, sql: SourceSql) -> None:
        """Add what is in `opened` and `decided` to `given` and `rejected`."""
        landed_at = "file, landing_date, landing_hour, arrival_ms, record"
        self._database.execute(f"""
            INSERT INTO rejected
            SELECT '{source}', {landed_at}, 0, form, line FROM opened WHERE form IN ('invalid_json', 'not_an_object', 'schema_violation')
            UNION ALL SELECT '{source}', {landed_at}, 0, 'invalid_json', csv_line FROM undecoded
            UNION ALL SELECT '{source}', {landed_at}, position, reason, raw FROM decided WHERE reason IS NOT NULL
        """)
        parts, columns = (
            ", ".join(["*", *(f'{expression} AS "{name}"' for name, expression in named.items())]) for named in (sql.parts, sql.columns)
        )
        chosen = ", ".join(f'"{name}"' for name in _COLUMNS if name in sql.columns)
        self._database.execute(f"""
            CREATE OR REPLACE TABLE hashed AS
            SELECT file, record, position, sha256('{source}' || chr(10) || canonical(document)) AS content_hash
            FROM decided WHERE reason IS NULL AND {sql.own_id} IS NULL
        """)
        self._database.execute(f"""
            INSERT INTO given BY NAME
            SELECT * EXCLUDE (own_id, content_hash), coalesce(own_id, content_hash) AS event_id FROM (
                SELECT '{source}' AS source, {landed_at}, position, {sql.own_id} AS own_id, {chosen}
                FROM (SELECT {columns} FROM (SELECT {parts} FROM decided WHERE reason IS NULL))
            ) LEFT JOIN hashed USING (file, record, position)
        """)
        self._database.execute("DROP TABLE hashed; DROP TABLE decided; DROP TABLE opened; DROP TABLE lines; DROP TABLE undecoded")

    def _files(self, source: str) -> pa.Table:
        """The landed files of a source; those that DuckDB cannot unpack are unpacked here."""
        rows = []
        for number, path in enumerate(sorted((self._landing / source).rglob("*"))):
            name = path.relative_to(self._landing).as_posix()
            matched = _PATH.fullmatch(name)
            if matched is None or not path.is_file():
                continue
            readable = path
            if path.suffix == ".bz2":
                readable = self._out / "_unpacked" / source / f"{number}.json"
                readable.parent.mkdir(parents=True, exist_ok=True)
                readable.write_bytes(bz2.decompress(path.read_bytes()))
            date, hour = dt.date.fromisoformat(matched["date"]), None if matched["hour"] is None else int(matched["hour"])
            arrival = dt.datetime.combine(date, dt.time(hour or 0), dt.UTC)
            rows.append(
                {
                    "path": str(readable),
                    "file": name,
                    "landing_date": date,
                    "landing_hour": hour,
                    "arrival_ms": int(arrival.timestamp()) * 1000,
                }
            )
        kinds = pa.schema(
            [("path", "string"), ("file", "string"), ("landing_date", "date32"), ("landing_hour", "int32"), ("arrival_ms", "int64")]
        )
        return pa.Table.from_pylist(rows, schema=kinds)

    # Which record is the event and which repeats it

    def _deduplicate(self) -> None:
        self._database.execute(f"""
            INSERT INTO duplicates
            SELECT source, file, record, position, landing_date, unnest(before)
            FROM (
                SELECT source, file, record, position, landing_date, lag({{
                    'earlier_landing_date': landing_date, 'earlier_landing_hour': landing_hour,
                    'earlier_file': file, 'earlier_record': record, 'earlier_position': position
                }}) OVER (PARTITION BY source, event_id ORDER BY {_PLACE}) AS before
                FROM given
            )
            WHERE landing_date - before.earlier_landing_date <= 30
        """)

    # Sessions

    def _build_sessions(self) -> None:
        """The tables `sessions` and `session_events`, by the queries of transforms.sessions.rules over the table `arrived`."""
        for name, number in dataclasses.asdict(SessionRules()).items():
            self._database.execute(f"SET VARIABLE {name} = {number}")
        self._database.execute(ARRIVED)
        for queries, metric in ((FROM_EVENTS, "sessionless_events"), (FROM_PINGS, "orphan_events")):
            for name, query in queries.steps.items():
                self._database.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
            self._database.execute(SESSION_IDS)
            self._database.execute(f"INSERT INTO sessions BY NAME {sessions(queries)}")
            self._database.execute(f"INSERT INTO members BY NAME {queries.members}")
            self._database.execute(f"""
                INSERT INTO loose
                SELECT event_date, source, '{metric}', sum(count)
                FROM ({queries.chain_lists["unassigned"]}) JOIN chain_starts USING (chain)
                GROUP BY ALL
            """)
        self._write(TABLES["sessions"], "SELECT * FROM sessions")
        self._write(TABLES["session_events"], "SELECT * FROM members")

    def _build_workflows(self) -> None:
        renamed = {"key": "workflow_key AS key", "item": "item_response AS item"}
        columns = ", ".join(renamed.get(name, f'"{name}"') for name in WORKFLOW_STEPS.names)
        steps = self._database.sql(
            f"SELECT {columns} FROM kept WHERE workflow_key IS NOT NULL ORDER BY workflow_key, ets, {_PLACE}"
        ).to_arrow_reader(20_000)
        built = pa.Table.from_batches(summarise((batch.cast(WORKFLOW_STEPS) for batch in steps), WorkflowRules()))
        self._database.register("built", built)
        self._write(TABLES["workflow_summaries"], "SELECT unnest(summary) FROM built WHERE summary IS NOT NULL")

    def _write(self, table: Table, query: str) -> None:
        """Write a table as Parquet, one folder per partition."""
        partitions = f", PARTITION_BY ({', '.join(table.partitioned_by)})" if table.partitioned_by else ""
        target = self._out / table.name
        target.mkdir(exist_ok=True)
        # A source has folders of its own: nothing is written over.
        options = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1{partitions}, OVERWRITE_OR_IGNORE"
        self._database.execute(f"COPY ({query}) TO '{target}' ({options})")


# Columns that hold what only our own steps read, or whose hash DuckDB does not have; and parts of user agents, which it does not parse.
_NOT_IN_SQL = ("event_hash", "session_input", "workflow_input", "run_id")
_NOT_IN_SQL += ("os_version", "browser", "browser_version", "device_class")


def _list(paths: list[str]) -> str:
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


if __name__ == "__main__":
    peer = Peer(Path(sys.argv[1]), Path(sys.argv[2]))
    peer.run()
    print(json.dumps({name: round(seconds, 3) for name, seconds in peer.seconds.items()}))

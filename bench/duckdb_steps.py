"""The steps of the DuckDB peer that know no source, as SQL: lines, sessions, metrics."""

from __future__ import annotations

from schemas.catalog import TABLES
from transforms.sessions.rules import SessionQueries

# What follows from the records of a source, as they were read into `given`, and from where they landed.
# Rules: docs/rules/sources.md, "Times".
ACCEPTED = """
CREATE TABLE duplicates (
    source VARCHAR, file VARCHAR, record BIGINT, position INTEGER, landing_date DATE,
    earlier_landing_date DATE, earlier_landing_hour INTEGER, earlier_file VARCHAR, earlier_record BIGINT, earlier_position INTEGER
);
CREATE VIEW timed AS
SELECT
    * EXCLUDE (received_ms, flags, is_robot),
    coalesce(is_robot, false) AS is_robot,
    CASE
        WHEN received_ms BETWEEN epoch_ms(TIMESTAMP '2000-01-01') AND arrival_ms + 86400000 THEN received_ms
        ELSE arrival_ms
    END AS received,
    client_ms BETWEEN received - 31622400000 AND received + 86400000 AS by_client,
    CASE WHEN by_client THEN client_ms ELSE received END AS event_ms,
    list_sort(list_concat(
        coalesce(flags, []),
        list_where(['late', 'time_replaced', 'value_out_of_sums'], [
            arrival_ms - event_ms > 86400000,
            client_ms IS NOT NULL AND NOT by_client,
            coalesce(abs(value) >= 1e18, false)
        ])
    )) AS flags
FROM given;
CREATE VIEW mapped AS
SELECT {columns}
FROM (
    SELECT
        *,
        coalesce(user_id, device_id) AS visitor_id,
        make_timestamptz(event_ms * 1000) AS event_time,
        CAST(make_timestamp(event_ms * 1000) AS DATE) AS event_date,
        make_timestamptz(client_ms * 1000) AS client_time,
        make_timestamptz(received * 1000) AS received_time,
        CASE WHEN by_client THEN 'client' ELSE 'received' END AS time_source
    FROM timed
);
CREATE VIEW accepted AS FROM mapped ANTI JOIN duplicates USING (source, file, record, position);
"""

# DuckDB takes NaN, Infinity and commas at the end: a line that may hold one is checked without its strings. A line that is no UTF-8
# is left out by the reader, and counted by its number where the numbers of the other lines are made.
READ_LINES = r"""
CREATE OR REPLACE MACRO is_json(line) AS CASE
    WHEN NOT json_valid(line) THEN false
    WHEN regexp_matches(line, '[:\[,]\s*-?(?i:nan|inf)|,\s*[\]}}]')
    THEN NOT regexp_matches(regexp_replace(line, '"(?:[^"\\]|\\.)*"', '""', 'g'), '(?i)nan|inf|,\s*[\]}}]')
    ELSE true
END;
CREATE OR REPLACE TABLE read_lines AS
SELECT filename AS path, line
FROM read_csv(
    {paths}, columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', comment = '',
    filename = true, max_line_size = 10485760, strict_mode = false, store_rejects = true
);
CREATE OR REPLACE TABLE undecoded AS
SELECT landed.* EXCLUDE (path), line AS record, csv_line
FROM reject_errors JOIN reject_scans USING (scan_id, file_id) JOIN landed ON landed.path = file_path;
DROP TABLE reject_errors;
DROP TABLE reject_scans;
CREATE OR REPLACE TABLE lines AS
WITH firsts AS (
    SELECT path, min(rowid) AS first_row FROM read_lines GROUP BY path
), gaps AS (
    SELECT file, list(record ORDER BY record) AS records FROM undecoded GROUP BY file
)
SELECT
    landed.* EXCLUDE (path),
    list_reduce(
        list_prepend(read_lines.rowid - first_row + 1, coalesce(gaps.records, [])),
        lambda number, gap: CASE WHEN gap <= number THEN number + 1 ELSE number END
    ) AS record,
    line
FROM read_lines JOIN firsts USING (path) JOIN landed USING (path) LEFT JOIN gaps USING (file);
DROP TABLE read_lines;
"""

ARRIVED = """
CREATE OR REPLACE MACRO seconds(ms) AS CAST(ms AS DOUBLE) / 1000;
CREATE OR REPLACE MACRO date_of(ms) AS CAST(make_timestamp(ms * 1000) AS DATE);
CREATE OR REPLACE MACRO rank_of(event_type) AS CASE event_type WHEN 'start' THEN 0 WHEN 'page_view' THEN 1 WHEN 'end' THEN 3 ELSE 2 END;
CREATE TABLE used_keys (source VARCHAR, key VARCHAR);
CREATE TABLE arrived AS
WITH keyed AS (
    SELECT
        row_number() OVER () - 1 AS row,
        source, event_id, landing_date, event_type, event_name, epoch_ms(event_time) AS event_ms, epoch_us(client_time) AS client_time,
        user_id, device_id, session_key, app_id, app_version, locale, is_robot, environment, page, value, duration_ms,
        flags, key, CASE WHEN key IS NOT NULL THEN kind END AS kind, "user", pauses, expects_end, page_type, tab, link,
        load_latency, load_reason, unload_reason, max_scroll_depth, currency, variable_key, variable_value, reported, reported_rank,
        reported IS NOT NULL AS is_reported, reported.timespent AS reported_timespent,
        reported.pageviews AS reported_pageviews, reported.interactions AS reported_interactions
    FROM kept
), numbered AS (
    SELECT source, key, row_number() OVER () AS key_number FROM (SELECT DISTINCT source, key FROM keyed WHERE key IS NOT NULL)
)
SELECT keyed.*, key_number FROM keyed LEFT JOIN numbered USING (source, key);
"""

# As transforms.sessions.sessions makes them: the SHA-256 of a JSON list.
SESSION_IDS = """
CREATE OR REPLACE TABLE session_ids AS
SELECT session, sha256(
    '[' || to_json(source) || ',' || CASE WHEN key IS NULL THEN '' ELSE key[2:-2] || ',' END
    || to_json(event_id) || ',"' || CAST(landing_date AS VARCHAR) || '"]'
) AS session_id
FROM session_starts
"""


def sessions(queries: SessionQueries) -> str:
    """The rows of `sessions`, with the columns that are lists and what the client reported."""
    lists, joins = [], []
    for name, query in queries.session_lists.items():
        fields = ", ".join(f'"{field.name}" := {name}_items."{field.name}"' for field in TABLES["sessions"][name].type.value_type)
        numbered = f"SELECT row_number() OVER () AS place, * FROM ({query})"  # threads do not keep the order by themselves
        items = f"SELECT session, list(struct_pack({fields}) ORDER BY place) AS items FROM ({numbered}) AS {name}_items GROUP BY session"
        joins.append(f"LEFT JOIN ({items}) AS {name}_lists USING (session)")
        lists.append(f"coalesce({name}_lists.items, []) AS {name}")
    return f"""
        SELECT numbered.* EXCLUDE (reported_row, session), {", ".join(lists)}, arrived.reported
        FROM (SELECT row_number() OVER () - 1 AS session, * FROM ({queries.sessions})) AS numbered
        {" ".join(joins)}
        LEFT JOIN arrived ON arrived.row = reported_row
    """


METRICS = """
CREATE TABLE long AS
WITH real AS (
    SELECT event_date AS metric_date, * FROM kept WHERE NOT list_contains(flags, 'canary')
), by_session_date AS (
    SELECT
        session_date AS metric_date, source, count(*) AS sessions, count(*) FILTER (is_robot) AS robots,
        count(*) FILTER (list_contains(flags, 'reported_mismatch')) AS mismatches, count(reported) AS with_summary
    FROM sessions GROUP BY ALL
), of_people AS (
    SELECT
        session_date AS metric_date, source, count(*) AS sessions, count(session_duration) AS timed,
        quantile_disc(session_duration, 0.5) AS median, quantile_disc(session_duration, 0.95) AS p95,
        sum(CAST(round(timespent * 1000) AS BIGINT)) / 1000 AS spent, count(timespent) AS with_time,
        sum(pageviews) AS pageviews, sum(interactions) AS interactions
    FROM sessions WHERE NOT is_robot GROUP BY ALL
), landed AS (
    SELECT landing_date AS metric_date, source, count(*) AS records, count(*) FILTER (outcome = 'rejected') AS rejected,
        count(*) FILTER (outcome = 'duplicate') AS duplicates, count(*) FILTER (outcome <> 'rejected') AS valid
    FROM (
        SELECT landing_date, source, 'rejected' AS outcome FROM rejected
        UNION ALL SELECT landing_date, source, 'accepted' FROM kept
        UNION ALL SELECT landing_date, source, 'duplicate' FROM duplicates
    )
    GROUP BY ALL
), lateness AS (
    SELECT landing_date AS metric_date, source, count(*) FILTER (list_contains(flags, 'late')) AS late, count(*) AS accepted
    FROM kept GROUP BY ALL
)
SELECT metric_date, source, 'events' AS metric, 'all' AS dimension, 'all' AS dimension_value,
    count(*)::DOUBLE AS value, NULL::DOUBLE AS numerator, NULL::DOUBLE AS denominator FROM real GROUP BY ALL
UNION ALL SELECT metric_date, source, 'users', 'all', 'all', nullif(count(DISTINCT user_id) FILTER (NOT is_robot), 0), NULL, NULL
    FROM real GROUP BY ALL
UNION ALL SELECT metric_date, source, 'devices', 'all', 'all', count(DISTINCT device_id), NULL, NULL FROM real GROUP BY ALL
UNION ALL SELECT metric_date, source, 'visitors', 'all', 'all', nullif(count(DISTINCT visitor_id) FILTER (NOT is_robot), 0), NULL, NULL
    FROM real GROUP BY ALL
UNION ALL SELECT metric_date, source, 'events', 'event_type', event_type, count(*), NULL, NULL FROM real GROUP BY ALL
UNION ALL SELECT event_date, source, 'keyless_events', 'all', 'all', count(*) FILTER (key IS NULL), NULL, NULL FROM kept GROUP BY ALL
UNION ALL SELECT metric_date, source, metric, 'all', 'all', value, NULL, NULL FROM loose
UNION ALL SELECT metric_date, source, 'sessions', 'all', 'all', sessions, NULL, NULL FROM by_session_date
UNION ALL SELECT session_date, source, 'sessions', 'session_kind', session_kind, count(*), NULL, NULL FROM sessions GROUP BY ALL
UNION ALL SELECT event_date, source, 'robot_events', 'all', 'all', count(*), NULL, NULL FROM kept WHERE is_robot GROUP BY ALL
UNION ALL SELECT metric_date, source, 'robot_sessions', 'all', 'all', robots, NULL, NULL FROM by_session_date WHERE robots > 0
UNION ALL SELECT metric_date, source, 'median_session_duration', 'all', 'all', median, NULL, timed FROM of_people
UNION ALL SELECT metric_date, source, 'p95_session_duration', 'all', 'all', p95, NULL, timed FROM of_people
UNION ALL SELECT metric_date, source, 'timespent_per_session', 'all', 'all', spent / with_time, spent, with_time FROM of_people
UNION ALL SELECT metric_date, source, 'pageviews_per_session', 'all', 'all', pageviews / sessions, pageviews, sessions FROM of_people
UNION ALL SELECT metric_date, source, 'interactions_per_session', 'all', 'all', interactions / sessions, interactions, sessions
    FROM of_people
UNION ALL SELECT metric_date, source, 'reported_mismatch_rate', 'all', 'all', mismatches / with_summary, mismatches, with_summary
    FROM by_session_date WHERE with_summary > 0
UNION ALL SELECT metric_date, source, 'records', 'all', 'all', records, NULL, NULL FROM landed
-- A file that cannot be read stops the script.
UNION ALL SELECT metric_date, source, 'unreadable_files', 'all', 'all', 0, NULL, NULL FROM landed
UNION ALL SELECT metric_date, source, 'rejected', 'all', 'all', rejected, NULL, NULL FROM landed
UNION ALL SELECT landing_date, source, 'rejected', 'reason', reason, count(*), NULL, NULL FROM rejected GROUP BY ALL
UNION ALL SELECT metric_date, source, 'accepted_rate', 'all', 'all', valid / records, valid, records FROM landed
UNION ALL SELECT metric_date, source, 'rejected_rate', 'all', 'all', rejected / records, rejected, records FROM landed
UNION ALL SELECT metric_date, source, 'duplicate_rate', 'all', 'all', duplicates / valid, duplicates, valid FROM landed WHERE valid > 0
UNION ALL SELECT metric_date, source, 'late_rate', 'all', 'all', late / accepted, late, accepted FROM lateness;
CREATE VIEW daily_metrics AS SELECT * FROM long WHERE value IS NOT NULL;
"""

"""Sessions from events: one key, and the longest silence that a session may have.

The rules (session rules, section 1), as the queries below follow them:

- The events of a key stand in one total order: event_time, client_time (unknown first), start before page_view before
  all others before end, event_id, landing_date. So ties never change a result.
- A gap longer than the silence starts a new chain; exactly as long does not. Chains run over all events of the key.
- A chain with a user event is one session; one without is none, and its events are counted as unassigned.
- All events of the chain count in `events` and `eventssummary`. Everything else is over user events alone, but for
  `reported`, which is what a summary among the chain's events says (section 3).
- The gap from one user event to the next belongs to the event that opens it: to its environment, and to the page that is
  open then. It counts 0 when it is idle (longer than `idle_ms`) or when the event pauses.
- A page_view opens its page, in its environment; without a page id it closes the open page and opens none.
- `key_reused`: an earlier chain of the same keyed key is a session too. So all chains of such a key must arrive together.

Where the rules are silent: a page's type is the last one that is not null; a variable keeps its last value, null too; a
currency none of whose values can be summed has no entry in `transaction_value`, and the currency null comes first.
"""

from __future__ import annotations

from transforms.session_rules import SessionQueries

_ORDERED = """
-- one row per event, placed in the total order
SELECT
    row,
    row_number() OVER total_order AS place,
    coalesce(key_number <> lag(key_number) OVER total_order, true) AS begins_key,
    event_ms - lag(event_ms) OVER total_order
        > CASE kind WHEN 'keyed' THEN getvariable('keyed_silence_ms') ELSE getvariable('derived_silence_ms') END AS follows_silence
FROM arrived
WHERE kind IN ('keyed', 'derived')
WINDOW total_order AS (ORDER BY key_number, event_ms, client_time NULLS FIRST, type_rank, event_id, landing_date)
"""

_CHAINED = """
-- one row per event, with the number of its chain: within a key, numbers grow with time
SELECT
    row,
    place,
    sum(CASE WHEN begins_key OR follows_silence THEN 1 ELSE 0 END) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) AS chain
FROM ordered
"""

_CHAINS = """
-- one row per chain
SELECT
    chain,
    arg_min(row, place) AS first_row,
    arg_min(row, place) FILTER ("user") AS first_user_row,
    min(event_ms) AS first_ms,
    max(event_ms) AS last_ms
FROM chained JOIN arrived USING (row)
GROUP BY chain
"""

_CHAIN_STARTS = """
SELECT chain, source, key, event_id, landing_date
FROM chains JOIN arrived ON arrived.row = first_row
"""

_SESSION_STARTS = """
SELECT chain AS session, source, key, event_id, landing_date
FROM chains JOIN arrived ON arrived.row = first_user_row
"""

_USER_EVENTS = """
-- one row per user event: the time that it opens, and where that time is spent
WITH placed AS (
    SELECT row, place, chain, event_ms, pauses, event_type = 'page_view' AS opens_page, coalesce(environment, '') AS env
    FROM chained JOIN arrived USING (row)
    WHERE "user"
), neighbours AS (
    SELECT
        * EXCLUDE (event_ms),
        lead(event_ms) OVER in_chain - event_ms AS gap_ms,
        coalesce(env <> lag(env) OVER in_chain, true) AS enters_env,
        sum(CASE WHEN opens_page THEN 1 ELSE 0 END) OVER (in_chain ROWS UNBOUNDED PRECEDING) AS page_number
    FROM placed
    WINDOW in_chain AS (PARTITION BY chain ORDER BY place)
)
SELECT
    row, place, chain, env, enters_env, opens_page, page_number,
    CASE WHEN gap_ms <= getvariable('idle_ms') AND pauses IS NOT true THEN gap_ms ELSE 0 END AS spent_ms
FROM neighbours
"""

_ENVIRONMENTS = """
-- one row per session: its environments
WITH spent AS (
    SELECT chain, env, sum(spent_ms) AS spent_ms, count(*) FILTER (enters_env) AS visits
    FROM user_events
    GROUP BY chain, env
)
SELECT chain, list({'env': env, 'timespent': seconds(spent_ms), 'visits': visits} ORDER BY env) AS envsummary
FROM spent
GROUP BY chain
"""

_PAGES = """
-- one row per session that opens a page: its pages. A page is open from its page_view to the next one
WITH views AS (
    SELECT chain, page_number, min(row) FILTER (opens_page) AS row, sum(spent_ms) AS spent_ms
    FROM user_events
    WHERE page_number > 0
    GROUP BY chain, page_number
), opened AS (
    SELECT chain, page_number, page, coalesce(environment, '') AS env, page_type, spent_ms
    FROM views JOIN arrived USING (row)
    WHERE page <> ''
), pages AS (
    SELECT
        chain, page, env,
        arg_max(page_type, page_number) AS page_type,
        sum(spent_ms) AS spent_ms,
        count(*) AS visits,
        min(page_number) AS first_opened,
        max(page_number) AS last_opened
    FROM opened
    GROUP BY chain, page, env
)
SELECT
    chain,
    arg_min(page, first_opened) AS entry_page,
    arg_max(page, last_opened) AS exit_page,
    list(
        {'id': page, 'type': page_type, 'env': env, 'timespent': seconds(spent_ms), 'visits': visits} ORDER BY page, env
    ) AS pagesummary
FROM pages
GROUP BY chain
"""

_EVENT_NAMES = """
-- one row per session: its events of any kind, by name
WITH names AS (
    SELECT chain, event_name, count(*) AS count
    FROM chained JOIN arrived USING (row)
    GROUP BY chain, event_name
)
SELECT chain, CAST(sum(count) AS BIGINT) AS events, list({'id': event_name, 'count': count} ORDER BY event_name) AS eventssummary
FROM names
GROUP BY chain
"""

_TRANSACTIONS = """
-- one row per session with transactions. A number becomes a decimal by its shortest text, so that 0.1 is 0.1
WITH amounts AS (
    SELECT chain, currency, value, abs(value) < 1e18 AS fits
    FROM user_events JOIN arrived USING (row)
    WHERE event_type = 'transaction'
), sums AS (
    SELECT
        chain, currency,
        count(*) AS count,
        sum(CAST(CAST(value AS VARCHAR) AS DECIMAL(38, 9))) FILTER (fits) AS total,
        coalesce(bool_or(NOT fits), false) AS leaves_out
    FROM amounts
    GROUP BY chain, currency
)
SELECT
    chain,
    CAST(sum(count) AS BIGINT) AS transactions,
    list({'currency': currency, 'value': CAST(CAST(total AS VARCHAR) AS DOUBLE)} ORDER BY currency NULLS FIRST)
        FILTER (total IS NOT NULL) AS transaction_value,
    bool_or(leaves_out) AS leaves_out
FROM sums
GROUP BY chain
"""

_VARIABLES = """
-- one row per session with custom variables: their last values
WITH latest AS (
    SELECT chain, variable_key, arg_max_null(variable_value, place) AS value
    FROM user_events JOIN arrived USING (row)
    WHERE variable_key IS NOT NULL
    GROUP BY chain, variable_key
)
SELECT chain, list({'key': variable_key, 'value': value} ORDER BY variable_key) AS variables
FROM latest
GROUP BY chain
"""

_REPORTED = """
-- one row per chain with summaries of its client: the one that counts
SELECT chain, row, reported_timespent, reported_pageviews, reported_interactions
FROM chained JOIN arrived USING (row)
WHERE is_reported
QUALIFY row_number() OVER (PARTITION BY chain ORDER BY reported_rank NULLS LAST, place DESC) = 1
"""

_TOTALS = """
-- one row per session: what single columns of its user events say
SELECT
    chain,
    min(event_ms) AS start_ms,
    max(event_ms) AS end_ms,
    CAST(sum(spent_ms) AS BIGINT) AS spent_ms,
    arg_max(user_id, place) FILTER (user_id <> '') AS user_id,
    arg_min(device_id, place) FILTER (device_id <> '') AS device_id,
    arg_min(session_key, place) FILTER (session_key <> '') AS session_key,
    arg_min(app_id, place) FILTER (app_id <> '') AS app_id,
    arg_min(app_version, place) FILTER (app_version <> '') AS app_version,
    arg_min(locale, place) FILTER (locale <> '') AS locale,
    max(max_scroll_depth) AS max_scroll_depth,
    count(*) FILTER (opens_page) AS pageviews,
    count(*) FILTER (event_type = 'interaction') AS interactions,
    arg_min_null(load_latency, place) FILTER (opens_page) AS load_latency,
    bool_or(list_contains(flags, 'clock_skew')) AS is_skewed,
    bool_or(list_has_any(flags, ['late', 'sent_late'])) AS is_late,
    bool_or(expects_end) AND NOT bool_or(event_type = 'end') AS lacks_end
FROM user_events JOIN arrived USING (row)
GROUP BY chain
"""

_SESSIONS = """
-- the rows of `sessions`
WITH reuse AS (
    SELECT chain, source, kind, kind = 'keyed' AND row_number() OVER (PARTITION BY key_number ORDER BY chain) > 1 AS is_reused
    FROM chains JOIN arrived ON arrived.row = first_user_row
), mismatches AS (
    SELECT
        chain,
        abs(round(reported_timespent * 1000) - spent_ms) * 100
            > greatest(getvariable('mismatch_ms') * 100, getvariable('mismatch_percent') * spent_ms)
            OR reported_pageviews <> pageviews
            OR reported_interactions <> interactions AS is_mismatched
    FROM totals JOIN reported USING (chain)
)
SELECT
    -- identity
    session_id,
    session_key,
    source,
    kind AS session_kind,
    -- who
    user_id,
    device_id,
    app_id,
    app_version,
    locale,
    -- when
    epoch_ms(start_ms) AS start_time,
    epoch_ms(end_ms) AS end_time,
    date_of(start_ms) AS session_date,
    end_ms - start_ms AS session_duration,
    seconds(spent_ms) AS timespent,
    -- what
    max_scroll_depth,
    pageviews,
    interactions,
    events,
    entry_page,
    exit_page,
    load_latency,
    CAST(NULL AS VARCHAR) AS load_reason,
    CAST(NULL AS VARCHAR) AS unload_reason,
    -- summaries
    envsummary,
    eventssummary,
    coalesce(pagesummary, []) AS pagesummary,
    coalesce(transactions, 0) AS transactions,
    coalesce(transaction_value, []) AS transaction_value,
    coalesce(variables, []) AS variables,
    reported.row AS reported_row,
    list_where(
        ['clock_skew', 'key_reused', 'late', 'no_end', 'reported_mismatch', 'value_out_of_sums', 'zero_length'],
        [
            coalesce(is_skewed, false),
            is_reused,
            coalesce(is_late, false),
            coalesce(lacks_end, false),
            coalesce(is_mismatched, false),
            coalesce(leaves_out, false),
            start_ms = end_ms
        ]
    ) AS flags
FROM totals
JOIN session_ids ON session = chain
JOIN reuse USING (chain)
JOIN environments USING (chain)
JOIN event_names USING (chain)
LEFT JOIN pages USING (chain)
LEFT JOIN transactions USING (chain)
LEFT JOIN variables USING (chain)
LEFT JOIN reported USING (chain)
LEFT JOIN mismatches USING (chain)
"""

_MEMBERS = """
-- the rows of `session_events`: all events of the chains that are sessions
SELECT
    source,
    event_id,
    landing_date,
    session_id,
    row_number() OVER (PARTITION BY chain ORDER BY place) AS sequence,
    date_of(start_ms) AS session_date
FROM chained
JOIN totals USING (chain)
JOIN session_ids ON session = chain
JOIN arrived USING (row)
"""

_CHAIN_ROWS = """
-- the rows of `session_chains`
WITH landed AS (
    SELECT chain, list(landing_date ORDER BY landing_date) AS landing_dates
    FROM (SELECT DISTINCT chain, landing_date FROM chained JOIN arrived USING (row))
    GROUP BY chain
), without_session AS (
    SELECT chain, date_of(event_ms) AS event_date, count(*) AS count
    FROM chained JOIN arrived USING (row) SEMI JOIN (SELECT chain FROM chains WHERE first_user_row IS NULL) USING (chain)
    GROUP BY chain, event_date
), unassigned AS (
    SELECT chain, list({'event_date': event_date, 'count': count} ORDER BY event_date) AS unassigned
    FROM without_session
    GROUP BY chain
)
SELECT
    source,
    chain_id,
    key,
    kind,
    epoch_ms(first_ms) AS first_time,
    epoch_ms(last_ms) AS last_time,
    CAST([] AS VARCHAR[]) AS links,
    landing_dates,
    CASE WHEN session_id IS NULL THEN [] ELSE [{'session_id': session_id, 'session_date': date_of(start_ms)}] END AS sessions,
    coalesce(unassigned, []) AS unassigned,
    date_of(first_ms) AS chain_date
FROM chains
JOIN arrived ON arrived.row = first_row
JOIN chain_ids USING (chain)
JOIN landed USING (chain)
LEFT JOIN totals USING (chain)
LEFT JOIN session_ids ON session = chain
LEFT JOIN unassigned USING (chain)
"""

FROM_EVENTS = SessionQueries(
    kinds=("keyed", "derived"),
    steps={
        "ordered": _ORDERED,
        "chained": _CHAINED,
        "chains": _CHAINS,
        "chain_starts": _CHAIN_STARTS,
        "session_starts": _SESSION_STARTS,
        "user_events": _USER_EVENTS,
        "environments": _ENVIRONMENTS,
        "pages": _PAGES,
        "event_names": _EVENT_NAMES,
        "transactions": _TRANSACTIONS,
        "variables": _VARIABLES,
        "reported": _REPORTED,
        "totals": _TOTALS,
    },
    sessions=_SESSIONS,
    members=_MEMBERS,
    chains=_CHAIN_ROWS,
)

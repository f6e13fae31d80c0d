"""The queries that make sessions from the events of a key, split at long silences.

Rules: docs/rules/sessions.md, except "Sessions from pings". In short:

- Events of a key are put in one total order, so ties never change a result.
- A gap longer than the silence starts a new chain.
- A chain with a user event is one session. The events of any other chain are counted as unassigned.
- The time after a user event counts for that event's environment, and for the page that is open then. It counts 0 if it is idle
  (longer than `idle_ms`) or the event pauses.
- A `page_view` opens its page, and closes the one before.
- If a client sent several summaries, the last one of the best type is used.

Whether a key is reused depends on its earlier chains. So the input has all chains of a key of kind `keyed`, or `used_keys` says
that the key has an earlier session.
"""

from __future__ import annotations

from transforms.sessions.rules import TOTAL_ORDER, SessionQueries

# One row per event, numbered in the total order.
_ORDERED = f"""
SELECT
    row,
    row_number() OVER total_order AS order_number,
    CASE
        WHEN key_number = lag(key_number) OVER total_order
            AND event_ms - lag(event_ms) OVER total_order
                <= CASE kind WHEN 'keyed' THEN getvariable('keyed_silence_ms') ELSE getvariable('derived_silence_ms') END
            THEN 0
        ELSE 1
    END AS begins_chain
FROM arrived
WHERE kind IN ('keyed', 'derived')
WINDOW total_order AS (ORDER BY {TOTAL_ORDER})
"""

# One row per event, with the number of its chain. Within a key, numbers rise with time.
_CHAINED = """
SELECT
    row,
    order_number,
    CAST(sum(begins_chain) OVER (ORDER BY order_number ROWS UNBOUNDED PRECEDING) AS BIGINT) - 1 AS chain
FROM ordered
"""

_CHAIN_TOTALS = """
SELECT
    chain,
    count(*) AS events,
    min(order_number) AS first_order_number,
    arg_min(row, order_number) AS first_row,
    arg_min(row, order_number) FILTER ("user") AS first_user_row,
    min(event_ms) AS first_ms,
    max(event_ms) AS last_ms
FROM chained JOIN arrived USING (row)
GROUP BY chain
"""

_CHAIN_STARTS = """
SELECT chain, source, key, event_id, landing_date
FROM chain_totals JOIN arrived ON arrived.row = first_row
"""

# One row per session, which is a chain with a user event. The session's id comes from its first user event.
_SESSION_STARTS = """
SELECT
    row_number() OVER (ORDER BY chain) - 1 AS session,
    chain,
    source,
    kind,
    key,
    event_id,
    landing_date,
    kind = 'keyed'
        AND (used_keys.key IS NOT NULL OR row_number() OVER (PARTITION BY key_number ORDER BY chain) > 1) AS is_reused
FROM chain_totals
JOIN arrived ON arrived.row = first_user_row
LEFT JOIN used_keys USING (source, key)
"""

# One row per event of a session, user event or not.
_SESSION_EVENTS = """
SELECT session, row, order_number, order_number - first_order_number + 1 AS sequence
FROM chained JOIN chain_totals USING (chain) JOIN session_starts USING (chain)
"""

# One row per user event: the time after it that counts, its environment, and the number of the page that is open then.
_USER_EVENTS = """
WITH user_rows AS (
    SELECT session, row, order_number, event_ms, pauses, event_type = 'page_view' AS opens_page, coalesce(environment, '') AS env
    FROM session_events JOIN arrived USING (row)
    WHERE "user"
), neighbours AS (
    SELECT
        * EXCLUDE (event_ms),
        lead(event_ms) OVER in_session - event_ms AS gap_ms,
        coalesce(env <> lag(env) OVER in_session, true) AS enters_env,
        CAST(sum(CASE WHEN opens_page THEN 1 ELSE 0 END) OVER (in_session ROWS UNBOUNDED PRECEDING) AS BIGINT) AS page_number
    FROM user_rows
    WINDOW in_session AS (PARTITION BY session ORDER BY order_number)
)
SELECT
    * EXCLUDE (pauses, gap_ms),
    CASE WHEN gap_ms <= getvariable('idle_ms') AND pauses IS NOT true THEN gap_ms ELSE 0 END AS spent_ms
FROM neighbours
"""

# One row per visit of a page, which lasts until the next page_view.
_OPENED_PAGES = """
WITH views AS (
    SELECT session, page_number, min(row) FILTER (opens_page) AS row, sum(spent_ms) AS spent_ms
    FROM user_events
    WHERE page_number > 0
    GROUP BY session, page_number
)
SELECT session, page_number, page, coalesce(environment, '') AS env, page_type, spent_ms
FROM views JOIN arrived USING (row)
WHERE page <> ''
"""

_TRANSACTIONS = """
SELECT session, currency, value, abs(value) < 1e18 AS can_be_summed
FROM user_events JOIN arrived USING (row)
WHERE event_type = 'transaction'
"""

# One row per session with summaries of the client: the summary that is used.
_SUMMARIES = """
SELECT session, row, reported_timespent, reported_pageviews, reported_interactions
FROM session_events JOIN arrived USING (row)
WHERE is_reported
QUALIFY row_number() OVER (PARTITION BY session ORDER BY reported_rank NULLS LAST, order_number DESC) = 1
"""

# One row per session: its columns, aggregated over its user events.
_SESSION_TOTALS = """
SELECT
    session,
    min(event_ms) AS start_ms,
    max(event_ms) AS end_ms,
    CAST(sum(spent_ms) AS BIGINT) AS spent_ms,
    arg_max(user_id, order_number) FILTER (user_id <> '') AS user_id,
    arg_min(device_id, order_number) FILTER (device_id <> '') AS device_id,
    arg_min(session_key, order_number) FILTER (session_key <> '') AS session_key,
    arg_min(app_id, order_number) FILTER (app_id <> '') AS app_id,
    arg_min(app_version, order_number) FILTER (app_version <> '') AS app_version,
    arg_min(locale, order_number) FILTER (locale <> '') AS locale,
    max(max_scroll_depth) AS max_scroll_depth,
    count(*) FILTER (opens_page) AS pageviews,
    count(*) FILTER (event_type = 'interaction') AS interactions,
    arg_min_null(load_latency, order_number) FILTER (opens_page) AS load_latency,
    bool_or(list_contains(flags, 'clock_skew')) AS is_skewed,
    bool_or(list_has_any(flags, ['late', 'sent_late'])) AS is_late,
    coalesce(bool_or(is_robot), false) AS is_robot,
    bool_or(list_contains(flags, 'time_replaced') OR client_time <> event_ms * 1000) AS is_replaced,
    bool_or(expects_end) AND NOT bool_or(event_type = 'end') AS lacks_end
FROM user_events JOIN arrived USING (row)
GROUP BY session
"""

_SESSIONS = """
WITH mismatches AS (
    SELECT
        session,
        summaries.row AS reported_row,
        abs(round(reported_timespent * 1000) - spent_ms) * 100
            > greatest(getvariable('mismatch_ms') * 100, getvariable('mismatch_percent') * spent_ms)
            OR reported_pageviews <> pageviews
            OR reported_interactions <> interactions AS is_mismatched
    FROM summaries JOIN session_totals USING (session)
), pages AS (
    SELECT session, arg_min(page, page_number) AS entry_page, arg_max(page, page_number) AS exit_page
    FROM opened_pages
    GROUP BY session
), payments AS (
    SELECT session, count(*) AS transactions, bool_or(NOT can_be_summed) AS leaves_out
    FROM transactions
    GROUP BY session
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
    coalesce(user_id, device_id) AS visitor_id,
    app_id,
    app_version,
    locale,
    is_robot,
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
    NULL AS load_reason,
    NULL AS unload_reason,
    coalesce(transactions, 0) AS transactions,
    reported_row,
    list_where(
        [
            'clock_skew',
            'key_reused',
            'late',
            'no_end',
            'overlong',
            'reported_mismatch',
            'time_replaced',
            'value_out_of_sums',
            'zero_length'
        ],
        [
            coalesce(is_skewed, false),
            is_reused,
            coalesce(is_late, false),
            coalesce(lacks_end, false),
            end_ms - start_ms > getvariable('overlong_ms'),
            coalesce(is_mismatched, false),
            coalesce(is_replaced, false),
            coalesce(leaves_out, false),
            start_ms = end_ms
        ]
    ) AS flags
FROM session_totals
JOIN session_starts USING (session)
JOIN session_ids USING (session)
JOIN chain_totals USING (chain)
LEFT JOIN pages USING (session)
LEFT JOIN payments USING (session)
LEFT JOIN mismatches USING (session)
ORDER BY session
"""

_ENV_SUMMARY = """
SELECT session, env, seconds(sum(spent_ms)) AS timespent, count(*) FILTER (enters_env) AS visits
FROM user_events
GROUP BY session, env
ORDER BY session, env
"""

_EVENTS_SUMMARY = """
SELECT session, event_name AS id, count(*) AS count
FROM session_events JOIN arrived USING (row)
GROUP BY session, id
ORDER BY session, id
"""

_PAGE_SUMMARY = """
SELECT
    session,
    page AS id,
    arg_max(page_type, page_number) AS type,
    env,
    seconds(sum(spent_ms)) AS timespent,
    count(*) AS visits
FROM opened_pages
GROUP BY session, page, env
ORDER BY session, page, env
"""

# Doubles are cast to decimals, and the sum to a double, by their shortest text. So 0.1 is exactly 0.1.
_TRANSACTION_VALUE = """
SELECT session, currency, CAST(CAST(sum(CAST(CAST(value AS VARCHAR) AS DECIMAL(38, 9))) AS VARCHAR) AS DOUBLE) AS value
FROM transactions
WHERE can_be_summed
GROUP BY session, currency
ORDER BY session, currency NULLS FIRST
"""

_VARIABLES = """
SELECT session, variable_key AS key, arg_max_null(variable_value, order_number) AS value
FROM user_events JOIN arrived USING (row)
WHERE variable_key IS NOT NULL
GROUP BY session, variable_key
ORDER BY session, variable_key
"""

_MEMBERS = """
SELECT
    source,
    event_id,
    arrived.landing_date,
    session_id,
    sequence,
    date_of(start_ms) AS session_date,
    {
        event_time: epoch_ms(event_ms),
        event_type: event_type,
        event_name: event_name,
        page: page,
        visitor_id: coalesce(session_totals.user_id, session_totals.device_id),
        is_robot: session_totals.is_robot
    } AS event
FROM session_events
JOIN arrived USING (row)
JOIN session_ids USING (session)
JOIN session_totals USING (session)
"""

_CHAINS = """
SELECT
    source,
    chain_id,
    key,
    kind,
    epoch_ms(first_ms) AS first_time,
    epoch_ms(last_ms) AS last_time,
    CAST([] AS VARCHAR[]) AS links,
    date_of(first_ms) AS chain_date
FROM chain_totals
JOIN chain_ids USING (chain)
JOIN arrived ON arrived.row = first_row
ORDER BY chain
"""

_LANDING_DATES = """
SELECT DISTINCT chain, landing_date
FROM chained JOIN arrived USING (row)
ORDER BY chain, landing_date
"""

_SESSIONS_OF_CHAINS = """
SELECT chain, session_id, date_of(start_ms) AS session_date
FROM session_starts JOIN session_ids USING (session) JOIN session_totals USING (session)
ORDER BY chain
"""

_UNASSIGNED = """
SELECT chain, date_of(event_ms) AS event_date, count(*) AS count
FROM chained JOIN arrived USING (row) ANTI JOIN session_starts USING (chain)
GROUP BY chain, event_date
ORDER BY chain, event_date
"""

FROM_EVENTS = SessionQueries(
    kinds=("keyed", "derived"),
    steps={
        "ordered": _ORDERED,
        "chained": _CHAINED,
        "chain_totals": _CHAIN_TOTALS,
        "chain_starts": _CHAIN_STARTS,
        "session_starts": _SESSION_STARTS,
        "session_events": _SESSION_EVENTS,
        "user_events": _USER_EVENTS,
        "opened_pages": _OPENED_PAGES,
        "transactions": _TRANSACTIONS,
        "summaries": _SUMMARIES,
        "session_totals": _SESSION_TOTALS,
    },
    sessions=_SESSIONS,
    session_lists={
        "envsummary": _ENV_SUMMARY,
        "eventssummary": _EVENTS_SUMMARY,
        "pagesummary": _PAGE_SUMMARY,
        "transaction_value": _TRANSACTION_VALUE,
        "variables": _VARIABLES,
    },
    members=_MEMBERS,
    chains=_CHAINS,
    chain_lists={
        "landing_dates": _LANDING_DATES,
        "sessions": _SESSIONS_OF_CHAINS,
        "unassigned": _UNASSIGNED,
    },
)

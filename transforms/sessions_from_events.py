"""Sessions from events: one key, and the longest silence that a session may have.

The rules (session rules, section 1), as the queries below follow them:

- The events of a key stand in one total order: event_time, client_time (unknown first), start before page_view before
  all others before end, event_id, landing_date. So ties never change a result.
- A gap longer than the silence starts a new chain; exactly as long does not. Chains run over all events of the key.
- A chain with a user event is one session; one without is none, and its events are counted as unassigned.
- All events of the chain count in `events` and `eventssummary`. Everything else is over user events alone, but for
  `reported`, which is what the last of the best summaries among the chain's events says (section 3).
- The gap from one user event to the next belongs to the event that opens it: to its environment, and to the page that is
  open then. It counts 0 when it is idle (longer than `idle_ms`) or when the event pauses.
- A page_view opens its page, in its environment; without a page id it closes the open page and opens none.
- `key_reused`: an earlier chain of the same keyed key is a session too. So all chains of such a key must arrive together, or
  be known to come after one that is a session.

- Two flags more than the rules name: `overlong`, and `time_replaced` where the client's time of one of its user events is not
  believed and the server's stands in its place.

Where the rules are silent: a page's type is the last one that is not null; a variable keeps its last value, null too; a
currency none of whose values can be summed has no entry in `transaction_value`, and the currency null comes first.
"""

from __future__ import annotations

from transforms.session_rules import TOTAL_ORDER, SessionQueries

# One row per event, placed in the total order.
_ORDERED = f"""
SELECT
    row,
    row_number() OVER total_order AS place,
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

# One row per event, with the number of its chain: within a key, numbers grow with time.
_CHAINED = """
SELECT
    row,
    place,
    CAST(sum(begins_chain) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) AS BIGINT) - 1 AS chain
FROM ordered
"""

_CHAIN_TOTALS = """
SELECT
    chain,
    count(*) AS events,
    min(place) AS first_place,
    arg_min(row, place) AS first_row,
    arg_min(row, place) FILTER ("user") AS first_user_row,
    min(event_ms) AS first_ms,
    max(event_ms) AS last_ms
FROM chained JOIN arrived USING (row)
GROUP BY chain
"""

_CHAIN_STARTS = """
SELECT chain, source, key, event_id, landing_date
FROM chain_totals JOIN arrived ON arrived.row = first_row
"""

# One row per session: a chain with a user event, the first of which names it.
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

# One row per event of a session, of any kind.
_SESSION_EVENTS = """
SELECT session, row, place, place - first_place + 1 AS sequence
FROM chained JOIN chain_totals USING (chain) JOIN session_starts USING (chain)
"""

# One row per user event: the time that it opens, and where that time is spent.
_USER_EVENTS = """
WITH placed AS (
    SELECT session, row, place, event_ms, pauses, event_type = 'page_view' AS opens_page, coalesce(environment, '') AS env
    FROM session_events JOIN arrived USING (row)
    WHERE "user"
), neighbours AS (
    SELECT
        * EXCLUDE (event_ms),
        lead(event_ms) OVER in_session - event_ms AS gap_ms,
        coalesce(env <> lag(env) OVER in_session, true) AS enters_env,
        CAST(sum(CASE WHEN opens_page THEN 1 ELSE 0 END) OVER (in_session ROWS UNBOUNDED PRECEDING) AS BIGINT) AS page_number
    FROM placed
    WINDOW in_session AS (PARTITION BY session ORDER BY place)
)
SELECT
    * EXCLUDE (pauses, gap_ms),
    CASE WHEN gap_ms <= getvariable('idle_ms') AND pauses IS NOT true THEN gap_ms ELSE 0 END AS spent_ms
FROM neighbours
"""

# One row per page that is opened, as often as it is: it stays open until the next page_view.
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

# One row per session of which a client sent summaries: the one that counts.
_SUMMARIES = """
SELECT session, row, reported_timespent, reported_pageviews, reported_interactions
FROM session_events JOIN arrived USING (row)
WHERE is_reported
QUALIFY row_number() OVER (PARTITION BY session ORDER BY reported_rank NULLS LAST, place DESC) = 1
"""

# One row per session: what the single columns of its user events say together.
_SESSION_TOTALS = """
SELECT
    session,
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
    bool_or(client_time <> event_ms * 1000) AS is_replaced,
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

# A double becomes a decimal, and the sum a double again, by way of its shortest text: 0.1 is 0.1, to the last digit.
_TRANSACTION_VALUE = """
SELECT session, currency, CAST(CAST(sum(CAST(CAST(value AS VARCHAR) AS DECIMAL(38, 9))) AS VARCHAR) AS DOUBLE) AS value
FROM transactions
WHERE can_be_summed
GROUP BY session, currency
ORDER BY session, currency NULLS FIRST
"""

_VARIABLES = """
SELECT session, variable_key AS key, arg_max_null(variable_value, place) AS value
FROM user_events JOIN arrived USING (row)
WHERE variable_key IS NOT NULL
GROUP BY session, variable_key
ORDER BY session, variable_key
"""

_MEMBERS = """
SELECT source, event_id, arrived.landing_date, session_id, sequence, date_of(start_ms) AS session_date
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

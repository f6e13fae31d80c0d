"""The queries that make sessions from pings: at the end of a session, the client sends a session ping with its length.

Rules: docs/rules/sessions.md, "Sessions from pings". Each session ping is one session. The client's other pings join a session by
their session id (`link`), or without an id by tab and time. Pings that join no session are counted as unassigned.

A chain has all pings of a client whose spans overlap in time. The span of a session ping is extended by the tolerance at both
ends. Pings with the same session id have one span from the first to the last of them. So the chains of a client never overlap, and
a new ping belongs to a chain if and only if its span overlaps that of the chain.
"""

from __future__ import annotations

from transforms.sessions.rules import TOTAL_ORDER, SessionQueries

# One row per ping: its number in the total order, its span, and its span with the tolerance.
_SPANS = f"""
SELECT
    row,
    key_number,
    event_type = 'session' AS is_session,
    event_ms - CASE WHEN is_session THEN coalesce(duration_ms, 0) ELSE 0 END AS start_ms,
    event_ms AS end_ms,
    start_ms - CASE WHEN is_session THEN getvariable('tab_tolerance_ms') ELSE 0 END AS opens_ms,
    end_ms + CASE WHEN is_session THEN getvariable('tab_tolerance_ms') ELSE 0 END AS closes_ms,
    nullif(link, '') AS session_link,
    nullif(tab, '') AS browser_tab,
    row_number() OVER (ORDER BY {TOTAL_ORDER}) AS order_number
FROM arrived
WHERE kind = 'reported' AND event_type <> 'other'
"""

# The same, with the span of a ping extended to the last ping of its session id.
_LINKED = """
SELECT * REPLACE (CASE WHEN session_link IS NULL THEN closes_ms ELSE max(closes_ms) OVER same_link END AS closes_ms)
FROM spans
WINDOW same_link AS (PARTITION BY key_number, session_link)
"""

# The same, with the number of the ping's chain.
_PINGS = """
WITH bounded AS (
    SELECT *, CASE WHEN opens_ms <= max(closes_ms) OVER before THEN 0 ELSE 1 END AS begins_chain
    FROM linked
    WINDOW before AS (PARTITION BY key_number ORDER BY opens_ms, order_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT
    * EXCLUDE (begins_chain),
    CAST(sum(begins_chain) OVER (ORDER BY key_number, opens_ms, order_number ROWS UNBOUNDED PRECEDING) AS BIGINT) - 1 AS chain
FROM bounded
"""

_CHAIN_TOTALS = """
SELECT chain, arg_min(row, order_number) AS first_row, min(opens_ms) AS first_ms, max(closes_ms) AS last_ms
FROM pings
GROUP BY chain
"""

_CHAIN_STARTS = """
SELECT chain, source, key, event_id, landing_date
FROM chain_totals JOIN arrived ON arrived.row = first_row
"""

# One row per session: its session ping. If two sessions fit a ping equally well, the ping joins the one with the smaller number.
_SESSION_STARTS = """
SELECT
    row_number() OVER (ORDER BY pings.key_number, start_ms, event_id, landing_date) - 1 AS session,
    row AS session_row,
    chain,
    session_link,
    browser_tab,
    start_ms,
    end_ms,
    source,
    NULL AS key,
    event_id,
    landing_date
FROM pings JOIN arrived USING (row)
WHERE is_session
"""

# One row per ping of a session, including its session ping. A session and the pings that may join it are always in one chain.
_SESSION_EVENTS = """
WITH others AS (
    SELECT row, order_number, chain, session_link, browser_tab, end_ms AS ping_ms
    FROM pings
    WHERE NOT is_session
), by_link AS (
    SELECT row, order_number, ping_ms, session, start_ms, end_ms
    FROM others JOIN session_starts
        ON session_starts.chain = others.chain AND session_starts.session_link = others.session_link
), by_tab AS (
    SELECT row, order_number, ping_ms, session, start_ms, end_ms
    FROM others JOIN session_starts
        ON session_starts.chain = others.chain AND session_starts.browser_tab = others.browser_tab
    WHERE others.session_link IS NULL
        AND ping_ms BETWEEN start_ms - getvariable('tab_tolerance_ms') AND end_ms + getvariable('tab_tolerance_ms')
), candidates AS (
    SELECT
        row,
        order_number,
        session,
        CASE
            WHEN ping_ms BETWEEN start_ms AND end_ms THEN 0
            WHEN ping_ms BETWEEN start_ms - getvariable('tab_tolerance_ms') AND end_ms + getvariable('tab_tolerance_ms') THEN 1
            ELSE 2
        END AS nearness,
        abs(ping_ms - end_ms) AS distance_ms
    FROM (FROM by_link UNION ALL FROM by_tab)
), joined AS (
    -- no window function: it would keep every pair of sessions and pings in memory when thousands of them share one id
    SELECT arg_min(session, {'first': nearness, 'second': distance_ms, 'third': session}) AS session, row, order_number
    FROM candidates
    GROUP BY row, order_number
), members AS (
    FROM joined
    UNION ALL
    SELECT session, row, order_number FROM session_starts JOIN pings ON row = session_row
)
SELECT *, row_number() OVER (PARTITION BY session ORDER BY order_number) AS sequence
FROM members
"""

# One row per session: its columns, aggregated over its pings.
_SESSION_TOTALS = """
SELECT
    session,
    count(*) AS events,
    arg_max(user_id, order_number) FILTER (user_id <> '') AS user_id,
    arg_min(device_id, order_number) FILTER (device_id <> '') AS device_id,
    arg_min(app_id, order_number) FILTER (app_id <> '') AS app_id,
    arg_min(app_version, order_number) FILTER (app_version <> '') AS app_version,
    arg_min(locale, order_number) FILTER (locale <> '') AS locale,
    count(*) FILTER (event_type IN ('interaction', 'search', 'share')) AS interactions,
    bool_or(list_contains(flags, 'clock_skew')) AS is_skewed,
    bool_or(list_has_any(flags, ['late', 'sent_late'])) AS is_late,
    coalesce(bool_or(is_robot), false) AS is_robot,
    bool_or(list_contains(flags, 'time_replaced') OR client_time <> event_ms * 1000) AS is_replaced
FROM session_events JOIN arrived USING (row)
GROUP BY session
"""

_SESSIONS = """
SELECT
    -- identity
    session_id,
    nullif(session_key, '') AS session_key,
    arrived.source,
    kind AS session_kind,
    -- who
    session_totals.user_id,
    session_totals.device_id,
    coalesce(session_totals.user_id, session_totals.device_id) AS visitor_id,
    session_totals.app_id,
    session_totals.app_version,
    session_totals.locale,
    session_totals.is_robot,
    -- when
    epoch_ms(start_ms) AS start_time,
    epoch_ms(end_ms) AS end_time,
    date_of(start_ms) AS session_date,
    duration_ms AS session_duration,
    seconds(duration_ms) AS timespent,
    -- what
    max_scroll_depth,
    1 AS pageviews,
    interactions,
    events,
    page AS entry_page,
    page AS exit_page,
    load_latency,
    load_reason,
    unload_reason,
    0 AS transactions,
    CAST([] AS STRUCT(currency VARCHAR, "value" DOUBLE)[]) AS transaction_value,
    CAST([] AS STRUCT("key" VARCHAR, "value" VARCHAR)[]) AS variables,
    CAST(NULL AS BIGINT) AS reported_row,
    list_where(
        ['clock_skew', 'late', 'overlong', 'time_replaced', 'zero_length'],
        [
            coalesce(is_skewed, false),
            coalesce(is_late, false),
            coalesce(duration_ms > getvariable('overlong_ms'), false),
            coalesce(is_replaced, false),
            coalesce(duration_ms = 0, false)
        ]
    ) AS flags
FROM session_starts
JOIN session_totals USING (session)
JOIN session_ids USING (session)
JOIN arrived ON row = session_row
ORDER BY session
"""

_ENV_SUMMARY = """
SELECT session, '' AS env, seconds(duration_ms) AS timespent, 1 AS visits
FROM session_starts JOIN arrived ON row = session_row
ORDER BY session
"""

_EVENTS_SUMMARY = """
SELECT session, event_name AS id, count(*) AS count
FROM session_events JOIN arrived USING (row)
GROUP BY session, id
ORDER BY session, id
"""

_PAGE_SUMMARY = """
SELECT session, page AS id, NULL AS type, '' AS env, seconds(duration_ms) AS timespent, 1 AS visits
FROM session_starts JOIN arrived ON row = session_row
ORDER BY session
"""

_MEMBERS = """
SELECT
    arrived.source,
    arrived.event_id,
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
JOIN session_starts USING (session)
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
    date_of(first_ms) AS chain_date
FROM chain_totals
JOIN chain_ids USING (chain)
JOIN arrived ON arrived.row = first_row
ORDER BY chain
"""

_LINKS = """
SELECT DISTINCT chain, session_link
FROM pings
WHERE session_link IS NOT NULL
ORDER BY chain, session_link
"""

_LANDING_DATES = """
SELECT DISTINCT chain, landing_date
FROM pings JOIN arrived USING (row)
ORDER BY chain, landing_date
"""

_SESSIONS_OF_CHAINS = """
SELECT chain, session_id, date_of(start_ms) AS session_date
FROM session_starts JOIN session_ids USING (session)
ORDER BY chain, session_id
"""

_UNASSIGNED = """
SELECT chain, date_of(end_ms) AS event_date, count(*) AS count
FROM pings ANTI JOIN session_events USING (row)
GROUP BY chain, event_date
ORDER BY chain, event_date
"""

FROM_PINGS = SessionQueries(
    kinds=("reported",),
    steps={
        "spans": _SPANS,
        "linked": _LINKED,
        "pings": _PINGS,
        "chain_totals": _CHAIN_TOTALS,
        "chain_starts": _CHAIN_STARTS,
        "session_starts": _SESSION_STARTS,
        "session_events": _SESSION_EVENTS,
        "session_totals": _SESSION_TOTALS,
    },
    sessions=_SESSIONS,
    session_lists={
        "envsummary": _ENV_SUMMARY,
        "eventssummary": _EVENTS_SUMMARY,
        "pagesummary": _PAGE_SUMMARY,
    },
    members=_MEMBERS,
    chains=_CHAINS,
    chain_lists={
        "links": _LINKS,
        "landing_dates": _LANDING_DATES,
        "sessions": _SESSIONS_OF_CHAINS,
        "unassigned": _UNASSIGNED,
    },
)

"""Sessions from pings: the client itself says, when a session ends, how long it was.

The rules (session rules, section 2), as the queries below follow them:

- A session ping (event_type session) is one session: it marks the end; start = end − its duration. Without a duration,
  start = end, and the session's duration and timespent are unknown.
- The other pings of the same client belong to a session by the session id that they bear (`link`); one whose id no
  session ping of the client bears is an orphan. Pings without an id belong by tab and time: to a session ping of the same
  tab whose span holds their time, or else whose span lies within the tolerance of it.
- Of several sessions, those that hold the ping's time come first, then those within the tolerance, then, of the same
  session id, any; among these the nearest end, then the earlier start, then the smaller event_id and landing_date.
- interactions = the joined pings of type interaction, search and share; pageviews = 1; one page, one environment ("").
- Pings of event_type other join nothing and are no orphans: they are in no chain.

A chain is what has to be looked at together: all pings of a client whose spans, session pings' widened by the tolerance,
meet in time. Pings that bear the same session id span all that lies between them. So chains of a client never overlap,
and a new ping belongs to a chain if and only if its span meets the chain's.

Where the rules are silent: user_id, device_id, app_id, app_version, locale and the flags are taken from the ping and those
joined to it, in their total order (that of transforms.sessions_from_events); `reported` is null, as the whole row is what
the client reported.
"""

from __future__ import annotations

from transforms.session_rules import SessionQueries

_PINGS = """
-- one row per ping, placed in the total order, with the time that it spans
SELECT
    row,
    key_number,
    event_ms,
    event_type = 'session' AS is_session,
    event_ms - CASE WHEN is_session THEN coalesce(duration_ms, 0) ELSE 0 END AS start_ms,
    CASE WHEN is_session THEN getvariable('tab_tolerance_ms') ELSE 0 END AS widened_ms,
    nullif(link, '') AS link,
    nullif(tab, '') AS tab,
    event_id,
    landing_date,
    row_number() OVER (ORDER BY key_number, event_ms, client_time NULLS FIRST, type_rank, event_id, landing_date) AS place
FROM arrived
WHERE kind = 'reported' AND event_type <> 'other'
"""

_CHAINED = """
-- one row per ping, with the number of its chain
WITH spans AS (
    SELECT *, start_ms - widened_ms AS opens_ms, event_ms + widened_ms AS closes_ms
    FROM pings
), linked AS (
    SELECT
        * EXCLUDE (opens_ms, closes_ms),
        CASE WHEN link IS NULL THEN opens_ms ELSE min(opens_ms) OVER same_link END AS opens_ms,
        CASE WHEN link IS NULL THEN closes_ms ELSE max(closes_ms) OVER same_link END AS closes_ms
    FROM spans
    WINDOW same_link AS (PARTITION BY key_number, link)
), bounded AS (
    SELECT *, max(closes_ms) OVER (PARTITION BY key_number ORDER BY opens_ms, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered_ms
    FROM linked
)
SELECT
    * EXCLUDE (covered_ms),
    sum(CASE WHEN opens_ms <= covered_ms THEN 0 ELSE 1 END) OVER (ORDER BY key_number, opens_ms, place ROWS UNBOUNDED PRECEDING) AS chain
FROM bounded
"""

_CHAINS = """
-- one row per chain
SELECT chain, arg_min(row, place) AS first_row, min(opens_ms) AS first_ms, max(closes_ms) AS last_ms
FROM chained
GROUP BY chain
"""

_CHAIN_STARTS = """
SELECT chain, source, key, event_id, landing_date
FROM chains JOIN arrived ON arrived.row = first_row
"""

_SESSION_STARTS = """
-- a session has the number of its ping's row
SELECT row AS session, source, NULL AS key, event_id, landing_date
FROM arrived
WHERE kind = 'reported' AND event_type = 'session'
"""

_JOINED = """
-- one row per ping that a session takes, the session's own too
WITH sessions AS (
    SELECT row AS session, chain, link, tab, start_ms, event_ms AS end_ms, event_id, landing_date FROM chained WHERE is_session
), others AS (
    SELECT row, chain, link, tab, event_ms FROM chained WHERE NOT is_session
), candidates AS (
    SELECT row, event_ms, sessions.*
    FROM others JOIN sessions ON sessions.chain = others.chain AND sessions.link = others.link
    UNION ALL
    SELECT row, event_ms, sessions.*
    FROM others JOIN sessions ON sessions.chain = others.chain AND sessions.tab = others.tab
    WHERE others.link IS NULL
        AND event_ms BETWEEN start_ms - getvariable('tab_tolerance_ms') AND end_ms + getvariable('tab_tolerance_ms')
), preferred AS (
    SELECT row, session
    FROM candidates
    QUALIFY row_number() OVER (
        PARTITION BY row
        ORDER BY
            CASE
                WHEN event_ms BETWEEN start_ms AND end_ms THEN 0
                WHEN event_ms BETWEEN start_ms - getvariable('tab_tolerance_ms') AND end_ms + getvariable('tab_tolerance_ms') THEN 1
                ELSE 2
            END,
            abs(event_ms - end_ms),
            start_ms,
            event_id,
            landing_date
    ) = 1
)
SELECT row, session FROM preferred
UNION ALL
SELECT session AS row, session FROM sessions
"""

_EVENT_NAMES = """
-- one row per session: its pings, by name
WITH names AS (
    SELECT session, event_name, count(*) AS count
    FROM joined JOIN arrived USING (row)
    GROUP BY session, event_name
)
SELECT session, CAST(sum(count) AS BIGINT) AS events, list({'id': event_name, 'count': count} ORDER BY event_name) AS eventssummary
FROM names
GROUP BY session
"""

_TOTALS = """
-- one row per session: what its pings say together
SELECT
    session,
    arg_max(user_id, place) FILTER (user_id <> '') AS user_id,
    arg_min(device_id, place) FILTER (device_id <> '') AS device_id,
    arg_min(app_id, place) FILTER (app_id <> '') AS app_id,
    arg_min(app_version, place) FILTER (app_version <> '') AS app_version,
    arg_min(locale, place) FILTER (locale <> '') AS locale,
    count(*) FILTER (event_type IN ('interaction', 'search', 'share')) AS interactions,
    bool_or(list_contains(flags, 'clock_skew')) AS is_skewed,
    bool_or(list_has_any(flags, ['late', 'sent_late'])) AS is_late
FROM joined JOIN pings USING (row) JOIN arrived USING (row)
GROUP BY session
"""

_SESSIONS = """
-- the rows of `sessions`
SELECT
    -- identity
    session_id,
    nullif(session_key, '') AS session_key,
    source,
    kind AS session_kind,
    -- who
    totals.user_id,
    totals.device_id,
    totals.app_id,
    totals.app_version,
    totals.locale,
    -- when
    epoch_ms(start_ms) AS start_time,
    epoch_ms(pings.event_ms) AS end_time,
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
    -- summaries
    [{'env': '', 'timespent': seconds(duration_ms), 'visits': 1}] AS envsummary,
    eventssummary,
    [{'id': page, 'type': CAST(NULL AS VARCHAR), 'env': '', 'timespent': seconds(duration_ms), 'visits': 1}] AS pagesummary,
    0 AS transactions,
    [] AS transaction_value,
    [] AS variables,
    CAST(NULL AS BIGINT) AS reported_row,
    list_where(
        ['clock_skew', 'late', 'zero_length'],
        [coalesce(is_skewed, false), coalesce(is_late, false), coalesce(duration_ms = 0, false)]
    ) AS flags
FROM pings
JOIN arrived USING (row)
JOIN totals ON totals.session = row
JOIN event_names ON event_names.session = row
JOIN session_ids ON session_ids.session = row
"""

_MEMBERS = """
-- the rows of `session_events`
SELECT
    source,
    arrived.event_id,
    arrived.landing_date,
    session_id,
    row_number() OVER (PARTITION BY session ORDER BY pings.place) AS sequence,
    date_of(ended.start_ms) AS session_date
FROM joined
JOIN pings USING (row)
JOIN arrived USING (row)
JOIN session_ids USING (session)
JOIN pings AS ended ON ended.row = session
"""

_CHAIN_ROWS = """
-- the rows of `session_chains`
WITH links AS (
    SELECT chain, list(link ORDER BY link) AS links
    FROM (SELECT DISTINCT chain, link FROM chained WHERE link IS NOT NULL)
    GROUP BY chain
), landed AS (
    SELECT chain, list(landing_date ORDER BY landing_date) AS landing_dates
    FROM (SELECT DISTINCT chain, landing_date FROM chained)
    GROUP BY chain
), sessions AS (
    SELECT chain, list({'session_id': session_id, 'session_date': date_of(start_ms)} ORDER BY session_id) AS sessions
    FROM chained JOIN session_ids ON session = row
    GROUP BY chain
), orphans AS (
    SELECT chain, date_of(event_ms) AS event_date, count(*) AS count
    FROM chained ANTI JOIN joined USING (row)
    GROUP BY chain, event_date
), unassigned AS (
    SELECT chain, list({'event_date': event_date, 'count': count} ORDER BY event_date) AS unassigned
    FROM orphans
    GROUP BY chain
)
SELECT
    source,
    chain_id,
    key,
    kind,
    epoch_ms(first_ms) AS first_time,
    epoch_ms(last_ms) AS last_time,
    coalesce(links, []) AS links,
    landing_dates,
    coalesce(sessions, []) AS sessions,
    coalesce(unassigned, []) AS unassigned,
    date_of(first_ms) AS chain_date
FROM chains
JOIN arrived ON arrived.row = first_row
JOIN chain_ids USING (chain)
JOIN landed USING (chain)
LEFT JOIN links USING (chain)
LEFT JOIN sessions USING (chain)
LEFT JOIN unassigned USING (chain)
"""

FROM_PINGS = SessionQueries(
    kinds=("reported",),
    steps={
        "pings": _PINGS,
        "chained": _CHAINED,
        "chains": _CHAINS,
        "chain_starts": _CHAIN_STARTS,
        "session_starts": _SESSION_STARTS,
        "joined": _JOINED,
        "event_names": _EVENT_NAMES,
        "totals": _TOTALS,
    },
    sessions=_SESSIONS,
    members=_MEMBERS,
    chains=_CHAIN_ROWS,
)

"""How the DuckDB peer reads the sources: what it checks of a record, and how one maps to `events`.

The rules are those of the modules of the same names under transforms/, written once more as SQL. What is checked of a record
are its required fields, their types, and the bounds and lists of values that the formats' texts give for these; not the
types of optional fields.
"""

from __future__ import annotations

from collections.abc import Mapping

import pycountry

from bench.duckdb_source import SourceSql
from bench.duckdb_sunbird import SUNBIRD

_NAMED = "('activity_stream_session', 'activity_stream_event', 'activity_stream_performance',"
_NAMED += " 'activity_stream_user_event', 'activity_stream_performance_event')"

ACTIVITY_STREAM = SourceSql(
    list_name="payloads",
    is_batch="kinds(line, ['$.batch-mode', '$.payloads']) = ['BOOLEAN', 'ARRAY'] AND line->>'$.batch-mode' = 'true'",
    is_broken_batch="line->>'$.batch-mode' = 'true'",
    # The outer keys join each ping and win.
    joined="""CASE WHEN header IS NULL THEN item ELSE json_merge_patch(item, json_merge_patch(header, '{"batch-mode": null}')) END""",
    valid=f"""CASE
        WHEN v.action IN {_NAMED} THEN
            kinds(document, ['$.client_id', '$.addon_version']) = ['VARCHAR', 'VARCHAR'] AND identifier(v.client_id) IS NOT NULL
            AND coalesce(v.session_duration > -0.5 AND v.session_duration < 2147483647.5,
                coalesce(json_type(document, '$.session_duration'), 'NULL') = 'NULL')
            AND CASE v.action
                WHEN 'activity_stream_session' THEN json_type(document, '$.page') = 'VARCHAR'
                    AND (has_id(document, '$.session_id', v.session_id) OR (
                    identifier(v.tab_id) IS NOT NULL AND kinds(document, ['$.load_reason', '$.unload_reason']) = ['VARCHAR', 'VARCHAR']))
                WHEN 'activity_stream_event' THEN kinds(document, ['$.page', '$.event']) = ['VARCHAR', 'VARCHAR']
                    AND (has_id(document, '$.session_id', v.session_id) OR identifier(v.tab_id) IS NOT NULL)
                WHEN 'activity_stream_performance' THEN
                    kinds(document, ['$.event', '$.event_id', '$.source', '$.value']) = ['VARCHAR', 'VARCHAR', 'VARCHAR', 'NUMBER']
                    AND identifier(v.event_id) IS NOT NULL AND v.value > -0.5 AND v.value < 2147483647.5
                    AND (has_id(document, '$.session_id', v.session_id) OR identifier(v.tab_id) IS NOT NULL)
                ELSE json_type(document, '$.event') = 'VARCHAR'
            END
        ELSE starts_with(v.action, 'activity_stream_')
            AND (has_id(document, '$.client_id', v.client_id) OR has_id(document, '$.impression_id', v.impression_id))
    END""",
    own_id="NULL",
    values="""{"action": "VARCHAR", "addon_version": "VARCHAR", "client_id": "VARCHAR", "session_id": "VARCHAR", "tab_id": "VARCHAR",
        "page": "VARCHAR", "event": "VARCHAR", "event_id": "VARCHAR", "source": "VARCHAR", "value": "DOUBLE", "url": "VARCHAR",
        "locale": "VARCHAR", "ver": "VARCHAR", "session_duration": "DOUBLE", "load_latency": "DOUBLE", "max_scroll_depth": "DOUBLE",
        "load_reason": "VARCHAR", "unload_reason": "VARCHAR", "impression_id": "VARCHAR",
        "timestamp": "VARCHAR", "receive_at": "VARCHAR", "ua": "VARCHAR"}""",
    columns={
        "event_type": """CASE v.action
            WHEN 'activity_stream_session' THEN 'session'
            WHEN 'activity_stream_event' THEN CASE WHEN lower(v.event) IN ('search', 'share') THEN lower(v.event) ELSE 'interaction' END
            WHEN 'activity_stream_user_event' THEN 'interaction'
            WHEN 'activity_stream_performance' THEN 'performance'
            WHEN 'activity_stream_performance_event' THEN 'performance'
            ELSE 'other'
        END""",
        "event_name": f"CASE WHEN v.action IN {_NAMED} AND v.action <> 'activity_stream_session' THEN v.event ELSE v.action END",
        "format_version": "identifier(v.ver)",
        "received_ms": "coalesce(server_ms(v.timestamp), server_ms(v.receive_at))",
        "device_id": "identifier(v.client_id)",
        "session_key": "identifier(v.session_id)",
        "app_id": "'activity_stream'",
        "app_version": "v.addon_version",
        "page": "identifier(v.page)",
        "target_id": "identifier(v.url)",
        "target_type": "v.source",
        "locale": "v.locale",
        "is_robot": "coalesce(starts_with(v.ua, 'python-requests'), false)",
        "value": "CASE WHEN event_type = 'performance' THEN round(v.value) ELSE v.value END",
        "duration_ms": "whole(v.session_duration)",
        "properties": "without_user_agent(item)",
        "context": "without_user_agent(with_header('{}', header))",
        "key": "CASE WHEN event_type <> 'other' THEN to_json([v.client_id]) END",
        "kind": "'reported'",
        "user": "event_type = 'session'",
        "tab": "identifier(v.tab_id)",
        "link": "identifier(lower(regexp_replace(identifier(v.session_id), '^\\{|\\}$', '', 'g')))",
        "load_latency": "CASE WHEN event_type = 'session' THEN whole(reported_number(v.load_latency)) END",
        "load_reason": "CASE WHEN event_type = 'session' THEN v.load_reason END",
        "unload_reason": "CASE WHEN event_type = 'session' THEN v.unload_reason END",
        "max_scroll_depth": "CASE WHEN event_type = 'session' THEN whole(reported_number(v.max_scroll_depth)) END",
    },
)

_SCHEMA_NAME = "/analytics/legacy/homepagevisit/"
_KNOWN_VERSIONS = ", ".join(f"'{_SCHEMA_NAME}{version}'" for version in ("1.2.1", "1.5.2", "1.6.0"))

HOMEPAGEVISIT = SourceSql(
    list_name="none",
    is_batch="false",
    is_broken_batch="false",
    valid=rf"""kinds(document, ['$."$schema"', '$.meta.dt', '$.meta.stream', '$.event.is_mobile',
            '$.event.user_editcount', '$.event.user_id', '$.event.homepage_pageview_token'])
            = ['VARCHAR', 'VARCHAR', 'VARCHAR', 'BOOLEAN', 'NUMBER', 'NUMBER', 'VARCHAR']
        AND regexp_full_match(v."$schema", '{_SCHEMA_NAME}[^/]+') AND text_ms(v.meta.dt) IS NOT NULL AND v.meta.stream <> ''
        AND v.event.impact_module_state IN ('activated', 'unactivated', 'notrendered')
        AND v.event.start_email_state IN ('noemail', 'unconfirmed', 'confirmed')""",
    own_id="coalesce(identifier(v.meta.id), identifier(v.uuid))",
    values="""{"$schema": "VARCHAR", "client_dt": "VARCHAR", "uuid": "VARCHAR", "schema": "VARCHAR", "wiki": "VARCHAR",
        "meta": {"id": "VARCHAR", "dt": "VARCHAR", "domain": "VARCHAR", "stream": "VARCHAR"},
        "event": {"user_id": "BIGINT", "homepage_pageview_token": "VARCHAR", "referer_route": "VARCHAR",
            "impact_module_state": "VARCHAR", "start_email_state": "VARCHAR"}}""",
    parts={
        "home": "coalesce(identifier(v.wiki), identifier(v.meta.domain), '')",
        "is_canary": "coalesce(v.meta.domain = 'canary', false)",
        "own": "CAST(json_extract(document, '$.event') AS VARCHAR)",
    },
    columns={
        "event_type": "CASE WHEN is_canary THEN 'other' ELSE 'page_view' END",
        "event_name": "coalesce(nullif(v.schema, ''), 'HomepageVisit')",
        "format_version": 'v."$schema"',
        "client_ms": "text_ms(v.client_dt)",
        "received_ms": "text_ms(v.meta.dt)",
        "user_id": "home || ':' || v.event.user_id",
        "app_id": "identifier(v.wiki)",
        "environment": "identifier(v.wiki)",
        "page": "'Special:Homepage'",
        "target_id": "identifier(v.event.homepage_pageview_token)",
        "target_type": "v.event.referer_route",
        "properties": "own",
        "context": "without_user_agent(without_field(document, 'event', own))",
        "flags": f"list_where(['canary', 'unknown_version'], [is_canary, v.\"$schema\" NOT IN ({_KNOWN_VERSIONS})])",
        "key": "CASE WHEN home <> '' AND NOT is_canary THEN '[' || to_json(home) || ',' || v.event.user_id || ']' END",
        "kind": "'derived'",
        "user": "true",
        "pauses": "false",
    },
)

_CONTENTSQUARE_NAMES = {
    0: ("app_start", "start"),
    1: ("app_show", "foreground"),
    2: ("app_hide", "background"),
    4: ("screenview", "page_view"),
    6: ("tap", "interaction"),
    8: ("long_press", "interaction"),
    9: ("drag", "interaction"),
    10: ("swipe", "interaction"),
    16: ("transaction", "transaction"),
    18: ("string_variable", "variable"),
    19: ("integer_variable", "variable"),
}
_CURRENCIES = ", ".join(f"{int(currency.numeric)}: '{currency.alpha_3}'" for currency in pycountry.currencies)


def _by_action(which: int, otherwise: str) -> str:
    return (
        "CASE v.ea " + " ".join(f"WHEN {ea} THEN '{names[which]}'" for ea, names in _CONTENTSQUARE_NAMES.items()) + f" ELSE {otherwise} END"
    )


CONTENTSQUARE = SourceSql(
    list_name="pl",
    is_batch="kinds(line, ['$.pid', '$.uid', '$.pl']) = ['NUMBER', 'VARCHAR', 'ARRAY'] AND identifier(line->>'$.uid') IS NOT NULL",
    is_broken_batch="""NOT json_exists(line, '$.ea')
        AND (json_exists(line, '$.pid') OR json_exists(line, '$.uid') OR json_exists(line, '$.pl'))""",
    valid="""kinds(document, ['$.ea', '$.euid', '$.sn', '$.t']) = ['NUMBER', 'VARCHAR', 'NUMBER', 'NUMBER']
        AND identifier(v.euid) IS NOT NULL AND v.sn >= 1
        AND CASE v.ea
            WHEN 16 THEN kinds(document, ['$.tr.vl', '$.tr.cu']) = ['NUMBER', 'NUMBER']
            WHEN 18 THEN kinds(document, ['$.k', '$.v']) = ['VARCHAR', 'VARCHAR']
            WHEN 19 THEN kinds(document, ['$.k', '$.v']) = ['VARCHAR', 'NUMBER'] AND TRY_CAST(v.v AS BIGINT) BETWEEN 0 AND 4294967295
            ELSE true
        END""",
    own_id="v.euid",
    values="""{"ea": "BIGINT", "euid": "VARCHAR", "sn": "BIGINT", "t": "BIGINT", "url": "VARCHAR", "st": "VARCHAR", "sl": "DOUBLE",
        "tvid": "VARCHAR", "tvp": "VARCHAR", "k": "VARCHAR", "v": "VARCHAR", "tr": {"vl": "DOUBLE", "cu": "BIGINT"},
        "vo": {"sv": "VARCHAR", "av": "VARCHAR"}}""",
    parts={
        "h": """from_json(header, '{"pid": "BIGINT", "uid": "VARCHAR", "l": "VARCHAR", "os": "VARCHAR", "dma": "VARCHAR", "dmo": "VARCHAR",
            "now": "DOUBLE", "to": {"st": "VARCHAR"}}')""",
        "address": r"""regexp_extract(v.url, '^(?:[^:/?#]+://[^/?#]*)?([^?#]*)(?:\?([^#]*))?', ['path', 'query'])""",
    },
    columns={
        "sent": "floor(reported_number(h.now))",
        "title": "regexp_extract(address.query, '(?:^|&)title=([^&]*)', 1)",
        "event_type": _by_action(1, "'other'"),
        "event_name": _by_action(0, "'ea_' || v.ea"),
        "format_version": "v.vo.sv",
        "client_ms": "v.t",
        "device_id": "identifier(h.uid)",
        "session_key": "CAST(v.sn AS VARCHAR)",
        "app_id": "CAST(h.pid AS VARCHAR)",
        "app_version": "v.vo.av",
        "page": "nullif(address.path, '')",
        "page_title": "CASE WHEN title <> '' THEN url_decode(title) ELSE v.st END",
        "target_id": "identifier(v.tvid)",
        "target_type": "v.tvp",
        "locale": "h.l",
        "os": "nullif(concat_ws(' ', identifier(regexp_replace(h.to.st, '^SDK-', '')), identifier(h.os)), '')",
        "device_model": "nullif(concat_ws(' ', identifier(h.dma), identifier(h.dmo)), '')",
        "value": "v.tr.vl",
        "duration_ms": "CASE WHEN round(v.sl) >= 0 THEN whole(v.sl) END",
        "properties": "document",
        "context": "with_header('{}', header)",
        "flags": """list_where(['clock_skew', 'sent_late'], [
            coalesce(sent > arrival_ms + 86400000 OR v.t > sent + 60000, false), coalesce(sent < arrival_ms - 86400000, false)
        ])""",
        "key": "'[' || h.pid || ',' || to_json(h.uid) || ',' || v.sn || ']'",
        "kind": "'keyed'",
        "user": "true",
        "pauses": "v.ea = 2",
        "load_latency": "CASE WHEN v.ea = 4 THEN duration_ms END",
        "currency": f"CASE WHEN v.ea = 16 THEN (MAP {{{_CURRENCIES}}})[v.tr.cu] END",
        "variable_key": "CASE WHEN v.ea IN (18, 19) THEN CASE v.k WHEN 'cs-empty' THEN '' ELSE v.k END END",
        "variable_value": "CASE v.ea WHEN 18 THEN CASE v.v WHEN 'cs-empty' THEN '' ELSE v.v END WHEN 19 THEN v.v END",
    },
)

SOURCES: Mapping[str, SourceSql] = {
    "activity_stream": ACTIVITY_STREAM,
    "contentsquare": CONTENTSQUARE,
    "homepagevisit": HOMEPAGEVISIT,
    "sunbird": SUNBIRD,
}

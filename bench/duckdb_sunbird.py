"""How the DuckDB peer reads Sunbird's events: see bench.duckdb_sources."""

from __future__ import annotations

from collections.abc import Mapping

from bench.duckdb_source import SourceSql

# The required fields of edata, by kind of event.
_REQUIRED = {
    "START": {"type": "VARCHAR"},
    "IMPRESSION": {"type": "VARCHAR", "pageid": "VARCHAR", "uri": "VARCHAR"},
    "INTERACT": {"type": "VARCHAR", "id": "VARCHAR"},
    "ASSESS": {"item": "OBJECT", "pass": "VARCHAR", "score": "NUMBER", "resvalues": "ARRAY", "duration": "NUMBER"},
    "RESPONSE": {"target": "OBJECT", "type": "VARCHAR", "values": "ARRAY"},
    "INTERRUPT": {"type": "VARCHAR"},
    "SHARE": {"items": "ARRAY"},
    "ERROR": {"err": "VARCHAR", "errtype": "VARCHAR", "stacktrace": "VARCHAR"},
    "LOG": {"type": "VARCHAR", "level": "VARCHAR", "message": "VARCHAR"},
    "SEARCH": {"query": "VARCHAR", "size": "NUMBER", "topn": "ARRAY"},
    "SUMMARY": {"type": "VARCHAR", "starttime": "NUMBER", "endtime": "NUMBER", "pageviews": "NUMBER", "interactions": "NUMBER"},
    "END": {"type": "VARCHAR"},
}
_EVENT_TYPES = {
    "START": "start",
    "IMPRESSION": "page_view",
    "INTERACT": "interaction",
    "ASSESS": "assessment",
    "RESPONSE": "response",
    "INTERRUPT": "interrupt",
    "FEEDBACK": "feedback",
    "SHARE": "share",
    "AUDIT": "audit",
    "ERROR": "error",
    "HEARTBEAT": "heartbeat",
    "LOG": "log",
    "SEARCH": "search",
    "METRICS": "metrics",
    "SUMMARY": "session",
    "EXDATA": "external_data",
    "END": "end",
}


def _cases(branches: Mapping[str, str], otherwise: str) -> str:
    return "CASE v.eid " + " ".join(f"WHEN '{value}' THEN {then}" for value, then in branches.items()) + f" ELSE {otherwise} END"


def _has_required(fields: Mapping[str, str]) -> str:
    paths = ", ".join(f"'$.{name}'" for name in fields)
    return f"kinds(v.edata, [{paths}]) = [{', '.join(repr(kind) for kind in fields.values())}]"


SUNBIRD = SourceSql(
    list_name="events",
    is_batch="json_type(line, '$.events') = 'ARRAY' AND NOT json_exists(line, '$.eid')",
    is_broken_batch="json_exists(line, '$.events') AND NOT json_exists(line, '$.eid')",
    valid=f"""kinds(document, ['$.eid', '$.ets', '$.ver', '$.mid', '$.actor.id', '$.actor.type',
            '$.context.channel', '$.context.env', '$.edata'])
            = ['VARCHAR', 'NUMBER', 'VARCHAR', 'VARCHAR', 'VARCHAR', 'VARCHAR', 'VARCHAR', 'VARCHAR', 'OBJECT']
        AND v.ver IN ('3.0', '3.1') AND v.mid <> ''
        AND {_cases({eid: _has_required(fields) for eid, fields in _REQUIRED.items()}, "true")}""",
    own_id="identifier(v.mid)",
    values="""{"eid": "VARCHAR", "ets": "DOUBLE", "ver": "VARCHAR", "mid": "VARCHAR", "@timestamp": "VARCHAR", "syncts": "DOUBLE",
        "actor": {"id": "VARCHAR", "type": "VARCHAR"},
        "context": {"channel": "VARCHAR", "env": "VARCHAR", "sid": "VARCHAR", "did": "VARCHAR",
            "pdata": {"id": "VARCHAR", "ver": "VARCHAR"}},
        "object": {"id": "VARCHAR", "type": "VARCHAR"}, "edata": "JSON"}""",
    parts={
        "e": """json_transform(v.edata, '{"type": "VARCHAR", "mode": "VARCHAR", "pageid": "VARCHAR", "id": "VARCHAR", "duration": "DOUBLE",
            "score": "DOUBLE", "rating": "DOUBLE", "target": {"id": "VARCHAR", "type": "VARCHAR"},
            "dspec": {"os": "VARCHAR", "make": "VARCHAR"}}')""",
        "rest": "without_field(document, 'edata', v.edata)",
        "is_user": "lower(v.actor.type) = 'user'",
        "actor_id": "CASE WHEN regexp_matches(v.actor.id, '^f:.*:') THEN split_part(v.actor.id, ':', -1) ELSE v.actor.id END",
        "did": "identifier(v.context.did)",
        "sid": "identifier(v.context.sid)",
    },
    columns={
        "duration": "reported_number(e.duration)",
        "event_type": _cases({eid: f"'{name}'" for eid, name in _EVENT_TYPES.items()}, "'other'"),
        "event_name": "v.eid",
        "format_version": "v.ver",
        "client_ms": "sent_ms(v.ets)",
        "received_ms": """CAST(coalesce(text_ms(v."@timestamp"), v.syncts, CAST(header->>'$.syncts' AS DOUBLE)) AS BIGINT)""",
        "user_id": """CASE
            WHEN is_user AND actor_id <> 'anonymous'
                AND v.actor.id IS DISTINCT FROM v.context.did AND actor_id IS DISTINCT FROM v.context.did
            THEN identifier(actor_id)
        END""",
        "device_id": "did",
        "session_key": "sid",
        "app_id": "identifier(v.context.pdata.id)",
        "app_version": "v.context.pdata.ver",
        "environment": "v.context.env",
        "page": "identifier(e.pageid)",
        "target_id": "coalesce(identifier(v.object.id), identifier(e.target.id), identifier(e.id))",
        "target_type": """CASE
            WHEN identifier(v.object.id) IS NOT NULL THEN v.object.type
            WHEN identifier(e.target.id) IS NOT NULL THEN e.target.type
        END""",
        "os": "e.dspec.os",
        "device_model": "e.dspec.make",
        "value": "CASE v.eid WHEN 'ASSESS' THEN e.score WHEN 'FEEDBACK' THEN e.rating END",
        "duration_ms": "CASE WHEN duration BETWEEN 0 AND 86400 THEN whole(duration * 1000) END",
        "properties": "v.edata",
        "context": "with_header(rest, header)",
        "flags": """list_where(['duration_implausible', 'ets_in_seconds', 'score_out_of_range'], [
            duration IS NOT NULL AND duration NOT BETWEEN 0 AND 86400,
            v.ets < 1e11,
            v.eid = 'ASSESS' AND e.score NOT BETWEEN 0 AND 1
        ])""",
        "key": """CASE
            WHEN sid IS NOT NULL THEN to_json([v.context.channel, sid])
            WHEN coalesce(did, identifier(v.actor.id)) IS NOT NULL
            THEN to_json([v.context.channel, coalesce(did, ''), coalesce(identifier(v.actor.id), '')])
        END""",
        "kind": "CASE WHEN sid IS NOT NULL THEN 'keyed' ELSE 'derived' END",
        "user": """is_user AND NOT starts_with(v.eid, 'JOB_')
            AND v.eid NOT IN ('AUDIT', 'LOG', 'SEARCH', 'METRICS', 'HEARTBEAT', 'SUMMARY', 'EXDATA', 'METRIC')""",
        "pauses": "v.eid = 'INTERRUPT' AND lower(e.type) IN ('background', 'm:background')",
        "expects_end": "sid IS NOT NULL",
        "page_type": "CASE WHEN v.eid = 'IMPRESSION' THEN e.type END",
        "reported_rank": "CASE WHEN v.eid = 'SUMMARY' THEN CASE lower(e.type) WHEN 'session' THEN 0 WHEN 'app' THEN 1 ELSE 2 END END",
        "reported": "CASE WHEN v.eid = 'SUMMARY' THEN summary_of(v.edata) END",
        "workflow_key": """CASE WHEN v.eid NOT IN ('LOG', 'AUDIT', 'SEARCH') THEN
            left(to_json([coalesce(did, ''), v.context.channel, coalesce(identifier(v.context.pdata.id), '')]), -1)
            || CASE WHEN did IS NULL THEN ',' || CAST(floor(floor(v.ets) / 86400000) AS BIGINT) ELSE '' END || ']'
        END""",
        "ets": "CAST(floor(v.ets) AS BIGINT)",
        "uid": "v.actor.id",
        "object_id": "identifier(v.object.id)",
        "object_type": "v.object.type",
        "type": "e.type",
        "mode": "e.mode",
        "item_response": "CASE WHEN v.eid = 'ASSESS' THEN item_response_of(v.edata, CAST(floor(v.ets) AS BIGINT)) END",
    },
)

# What few of Sunbird's events have: a client's own summary of a session, and an answer as a workflow summary shows it.
SUNBIRD_MACROS = """
CREATE MACRO summary_of(edata) AS struct_pack(
    timespent := reported_number(TRY_CAST(edata->>'$.timespent' AS DOUBLE)),
    pageviews := reported_number(whole(CAST(edata->>'$.pageviews' AS DOUBLE))),
    interactions := reported_number(whole(CAST(edata->>'$.interactions' AS DOUBLE))),
    start_time := make_timestamp_ms(sent_ms(reported_number(CAST(edata->>'$.starttime' AS DOUBLE)))),
    end_time := make_timestamp_ms(sent_ms(reported_number(CAST(edata->>'$.endtime' AS DOUBLE)))),
    envsummary := coalesce(list_sort(from_json(json_extract(edata, '$.envsummary'),
        '[{"env": "VARCHAR", "timespent": "DOUBLE", "visits": "BIGINT"}]')), []),
    eventssummary := coalesce(list_sort(from_json(json_extract(edata, '$.eventssummary'), '[{"id": "VARCHAR", "count": "BIGINT"}]')), []),
    pagesummary := coalesce(list_sort(from_json(json_extract(edata, '$.pagesummary'),
        '[{"id": "VARCHAR", "type": "VARCHAR", "env": "VARCHAR", "timespent": "DOUBLE", "visits": "BIGINT"}]')), [])
);
CREATE MACRO as_text(part) AS
    list_transform(list_sort(map_entries(part)), lambda entry: entry.key || ':' || json_extract_string(entry.value, '$'));
CREATE MACRO item_response_of(edata, ets) AS json_object(
    'itemId', json_extract(edata, '$.item.id'), 'maxScore', json_extract(edata, '$.item.maxscore'),
    'mc', json_extract(edata, '$.item.mc'), 'mmc', json_extract(edata, '$.item.mmc'),
    'pass', json_extract(edata, '$.pass'), 'qdesc', json_extract(edata, '$.item.desc'), 'qtitle', json_extract(edata, '$.item.title'),
    'res', flatten(list_transform(CAST(json_extract(edata, '$.resvalues') AS MAP(VARCHAR, JSON)[]), lambda part: as_text(part))),
    'resValues', json_extract(edata, '$.resvalues'), 'score', json_extract(edata, '$.score'),
    'timeSpent', json_extract(edata, '$.duration'), 'time_stamp', ets
);
"""

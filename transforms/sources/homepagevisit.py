"""Wikimedia analytics/legacy/homepagevisit: validate visits to Special:Homepage, and map them to `events`.

Rules: docs/rules/sources.md, "HomepageVisit"; docs/rules/sessions.md, "Keys and silences".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from transforms.documents.fields import identifier, mapping, text
from transforms.documents.json_documents import canonical
from transforms.documents.refusal import Refusal
from transforms.documents.validation import compiled, first_violation
from transforms.ingest.source import Batch, Columns, Document, Record, Source
from transforms.times import rfc3339_ms
from transforms.user_agents import version

_FOLDER = "homepagevisit"
_SCHEMA_NAME = "/analytics/legacy/homepagevisit/"


def _versions() -> list[str]:
    """The versions of the schema, oldest first. A new file in the folder adds a version."""
    names = (entry.name for entry in resources.files("schemas").joinpath(_FOLDER).iterdir())
    versions = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])


# The file that validates each `$schema`.
SCHEMA_FILES: Mapping[str, str] = {_SCHEMA_NAME + version: f"{_FOLDER}/{version}.json" for version in _versions()}
_NEWEST = list(SCHEMA_FILES.values())[-1]

_PAGE = "Special:Homepage"
_EVENT_NAME = "HomepageVisit"
_CANARY = "canary"


def open_batch(document: Document) -> Batch | Refusal | None:  # noqa: ARG001 - the interface of a source
    """None, because the format has no batches."""
    return None


def join_header(header: Document, item: Document) -> Document:  # noqa: ARG001 - the interface of a source
    """The visit as it is, because there are no batches."""
    return item


def refusal(record: Record) -> Refusal | None:
    """The violation of the schema that the visit names; None for a valid one. The newest schema checks visits of unknown versions."""
    schema = record.document.get("$schema")
    if type(schema) is str and not _is_a_version(schema):
        return Refusal("schema_violation", "/$schema", f"$schema: must be a version of {_SCHEMA_NAME}")
    return first_violation(compiled(SCHEMA_FILES.get(text(schema) or "", _NEWEST)), record.document)


def _is_a_version(schema: str) -> bool:
    version = schema.removeprefix(_SCHEMA_NAME)
    return version not in (schema, "") and "/" not in version


def columns(records: Sequence[Record]) -> Columns:
    """Map valid visits to columns of `events`, one value per visit."""
    visits = [record.document for record in records]
    events = [visit["event"] for visit in visits]
    metas = [visit["meta"] for visit in visits]
    wikis = [identifier(visit.get("wiki")) for visit in visits]
    user_ids = [int(event["user_id"]) for event in events]  # 456.0 is an integer too
    # User ids are per wiki.
    homes = [wiki or identifier(meta.get("domain")) or "" for wiki, meta in zip(wikis, metas, strict=True)]
    canaries = [meta.get("domain") == _CANARY for meta in metas]
    schemas = [visit["$schema"] for visit in visits]
    return {
        # what
        "event_id": [identifier(meta.get("id")) or identifier(visit.get("uuid")) for visit, meta in zip(visits, metas, strict=True)],
        "event_type": ["other" if canary else "page_view" for canary in canaries],
        "event_name": [visit.get("schema") or _EVENT_NAME for visit in visits],
        "format_version": schemas,
        # when
        "client_ms": [rfc3339_ms(visit.get("client_dt")) for visit in visits],
        "says_client_time": [visit.get("client_dt") is not None for visit in visits],
        "received_ms": [rfc3339_ms(meta["dt"]) for meta in metas],
        # who
        "user_id": [f"{home}:{user_id}" for home, user_id in zip(homes, user_ids, strict=True)],
        # where
        "app_id": wikis,
        "environment": wikis,
        "page": [_PAGE] * len(visits),
        "target_id": [identifier(event["homepage_pageview_token"]) for event in events],
        "target_type": [event.get("referer_route") for event in events],
        **_user_agents(visits),
        # verbatim
        "properties": events,
        "context": [{name: value for name, value in visit.items() if name != "event"} for visit in visits],
        "flags": [_flags(canary, schema) for canary, schema in zip(canaries, schemas, strict=True)],
        "session_input": _session_input(homes, user_ids, canaries),
    }


def _user_agents(visits: Sequence[Document]) -> Columns:
    """The user agent of the request, and its parts where a refined row has them."""
    parts = [mapping(visit.get("useragent")) for visit in visits]
    return {
        "user_agent": [_user_agent(mapping(mapping(visit.get("http")).get("request_headers"))) for visit in visits],
        "browser": [identifier(part.get("browser_family")) for part in parts],
        "browser_version": [version(text(part.get("browser_major")), text(part.get("browser_minor"))) for part in parts],
        "os": [identifier(part.get("os_family")) for part in parts],
        "os_version": [version(text(part.get("os_major")), text(part.get("os_minor"))) for part in parts],
        "is_robot": [True if part.get("is_bot") is True else None for part in parts],
    }


def _user_agent(headers: Mapping[str, Any]) -> str | None:
    return text(headers.get("user-agent")) or next((text(value) for name, value in headers.items() if name.lower() == "user-agent"), None)


def _flags(canary: bool, schema: str) -> list[str]:
    return [_CANARY] * canary + ["unknown_version"] * (schema not in SCHEMA_FILES)


def _session_input(homes: Sequence[str], user_ids: Sequence[int], canaries: Sequence[bool]) -> Columns:
    """The key is (wiki, user_id). Canaries and visits without a wiki have none."""
    keyed = [home != "" and not canary for home, canary in zip(homes, canaries, strict=True)]
    return {
        "key": [
            canonical([home, user_id]).decode() if has_key else None for home, user_id, has_key in zip(homes, user_ids, keyed, strict=True)
        ],
        "kind": ["derived" if has_key else None for has_key in keyed],
        "user": keyed,
        "pauses": [False] * len(homes),
    }


SOURCE = Source(
    name="homepagevisit",
    version=2,
    schema_files=tuple(SCHEMA_FILES.values()),
    open_batch=open_batch,
    join_header=join_header,
    refusal=refusal,
    columns=columns,
    properties_at=("event",),
    list_name=None,
    ids={"user_id": ("/event/user_id",)},
    personal_fields=(
        "/ip",
        "/http/client_ip",
        "/http/request_headers/cookie",
        "/http/request_headers/user-agent",
        "/http/request_headers/x-forwarded-for",
    ),
)

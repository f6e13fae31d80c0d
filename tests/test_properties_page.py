"""docs/properties.md names every key that generated events have in `properties`, for its source and event type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from ingested_files import ValidDocuments

from schemas.events import EVENT_TYPES
from transforms.sources.registry import SOURCES

PAGE = Path(__file__).parents[1] / "docs" / "properties.md"
# Kinds for which a format names no keys.
WITHOUT_KEYS = {("sunbird", name) for name in ("heartbeat", "metrics", "other")} | {("contentsquare", "other")}


def named_keys() -> dict[tuple[str, str], set[str]]:
    """The keys that the page names per source and event type."""
    table = PAGE.read_text(encoding="utf-8").split("<!-- keys -->")[1].split("<!-- end of keys -->")[0]
    named: dict[tuple[str, str], set[str]] = {}
    for line in table.strip().splitlines()[2:]:
        source, types, keys = (re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|"))
        for event_type in types or EVENT_TYPES:
            named.setdefault((source[0], event_type), set()).update(keys)
    return named


@pytest.mark.parametrize("source", SOURCES)
def test_every_key_of_generated_events_is_named(source: str, valid_documents: Mapping[str, ValidDocuments]) -> None:
    named, seen = named_keys(), set()
    for row in (row for rows in valid_documents[source].rows.values() for row in rows):
        kind = (source, row["event_type"])
        seen.add(kind)
        if kind not in WITHOUT_KEYS:
            # The rules of personal data that ship drop user agents. The documents of this test are read without them.
            assert json.loads(row["properties"]).keys() - {"ua"} <= named.get(kind, set()), kind
    assert len(seen) > 1

"""The sources that Millrace knows. A new source is added here, with one line."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

from transforms.documents.json_documents import canonical
from transforms.documents.validation import schema_bytes
from transforms.ingest.lines import LINE_LIMIT
from transforms.ingest.records import INGEST_VERSION, TimeRules
from transforms.ingest.source import Source
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules
from transforms.sources import activity_stream, contentsquare, homepagevisit, sunbird

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        activity_stream.SOURCE,
        contentsquare.SOURCE,
        homepagevisit.SOURCE,
        sunbird.SOURCE,
    )
}


def ruleset(source: Source, rules: TimeRules, line_limit: int = LINE_LIMIT, privacy: PrivacyRules = SHIPPED_PRIVACY) -> str:
    """The hash of everything that decides the rows of a landed file of this source. When it changes, the files are read again.

    It covers the source's schemas and the version of its mapping, the version of transforms.ingest.records, the rules of time, the
    limit of a line in bytes, and the rules about personal data.
    """
    parts = [
        source.name,
        source.version,
        INGEST_VERSION,
        dataclasses.asdict(rules),
        line_limit,
        privacy.described(source.name),
        {name: hashlib.sha256(schema_bytes(name)).hexdigest() for name in source.schema_files},
    ]
    return hashlib.sha256(canonical(parts)).hexdigest()

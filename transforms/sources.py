"""The sources that Millrace knows. Adding one is adding a line here."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

from transforms import activity_stream, contentsquare, homepagevisit, sunbird
from transforms.documents import canonical
from transforms.lines import LINE_LIMIT
from transforms.records import INGEST_VERSION, TimeRules
from transforms.source import Source
from transforms.validation import schema_bytes

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        activity_stream.SOURCE,
        contentsquare.SOURCE,
        homepagevisit.SOURCE,
        sunbird.SOURCE,
    )
}


def ruleset(source: Source, rules: TimeRules, line_limit: int = LINE_LIMIT) -> str:
    """The hash of all that decides what becomes of a landed file of this source: when it changes, files are read again.

    It covers the source's schemas and the version of its mapping, the version of what is common to all sources, the
    rules of time and the limit of a line.
    """
    told = [
        source.name,
        source.version,
        INGEST_VERSION,
        dataclasses.asdict(rules),
        line_limit,
        {name: hashlib.sha256(schema_bytes(name)).hexdigest() for name in source.schema_files},
    ]
    return hashlib.sha256(canonical(told)).hexdigest()

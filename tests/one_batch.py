"""The records of a few lines as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.ingest.lines import Line
from transforms.ingest.records import FileLocation, RecordCounts, TimeRules, record_batches
from transforms.ingest.source import Source
from transforms.privacy.privacy_rules import SHIPPED_PRIVACY, PrivacyRules


def to_records(
    source: Source, lines: Sequence[Line], location: FileLocation, rules: TimeRules, privacy: PrivacyRules = SHIPPED_PRIVACY
) -> tuple[pa.RecordBatch, RecordCounts]:
    """The batches of `record_batches` as one batch, and the sum of their counts."""
    parts = list(record_batches(source, lines, location, rules, privacy))
    return pa.concat_batches([batch for batch, _ in parts]), sum((counts for _, counts in parts), RecordCounts())

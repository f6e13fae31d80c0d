"""The records of a few lines as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.ingest.lines import Line
from transforms.ingest.records import FileLocation, RecordCounts, TimeRules, record_batches
from transforms.ingest.secrets import SHIPPED_NAMES, SecretNames
from transforms.ingest.source import Source


def to_records(
    source: Source, lines: Sequence[Line], location: FileLocation, rules: TimeRules, secrets: SecretNames = SHIPPED_NAMES
) -> tuple[pa.RecordBatch, RecordCounts]:
    """The batches of `record_batches` as one batch, and the sum of their counts."""
    parts = list(record_batches(source, lines, location, rules, secrets))
    return pa.concat_batches([batch for batch, _ in parts]), sum((counts for _, counts in parts), RecordCounts())

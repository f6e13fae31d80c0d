"""The columns of records without secrets, and the ids of their events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.table import STRING
from transforms.documents.json_documents import canonical, text_hash
from transforms.ingest.secrets import SecretNames, content_hash
from transforms.ingest.source import Columns, Record, Source


class CleanColumns(NamedTuple):
    """What a source maps records to, without secrets: one value per record in each."""

    columns: Columns
    event_ids: list[str]
    properties: list[bytes]  # canonical JSON
    contexts: list[bytes]  # canonical JSON


def map_records(source: Source, records: Sequence[Record], secrets: SecretNames) -> CleanColumns:
    """Map records to columns without secrets. A record without an id gets the hash of its content."""
    mapped = source.columns(records)
    properties, contexts, dropped = _documents(mapped, secrets)
    event_ids = [
        _content_hash(source, record, text if part is record.document and row not in dropped else None) if own is None else own
        for row, (own, record, part, text) in enumerate(zip(mapped["event_id"], records, mapped["properties"], properties, strict=True))
    ]
    if dropped:
        # Columns may have dropped values, such as the value of a variable.
        own_ids = mapped["event_id"]
        mapped = _mapped_again(source, records, mapped, sorted(dropped), secrets)
        # An id without its secret part may equal the id of another event.
        event_ids = [
            event_id if own == cleaned else _content_hash(source, record, None)
            for event_id, own, cleaned, record in zip(event_ids, own_ids, mapped["event_id"], records, strict=True)
        ]
    return CleanColumns(mapped, event_ids, properties, contexts)


def _documents(mapped: Columns, secrets: SecretNames) -> tuple[list[bytes], list[bytes], set[int]]:
    """Properties and contexts as canonical JSON without secrets, and the rows from which more than fields of shipped names was dropped."""
    parts = [*mapped["properties"], *mapped["context"]]
    size = len(mapped["properties"])
    written = [canonical(part) for part in parts]
    dropped: set[int] = set()
    # A pattern finds the few texts that may hold a secret; only their fields are searched.
    for number in pc.indices_nonzero(pc.match_substring_regex(pa.array(written, STRING), secrets.pattern)).to_pylist():
        cleaned = secrets.without_secrets(parts[number])
        if cleaned.value is not parts[number]:
            written[number] = canonical(cleaned.value)
        if cleaned.beyond_fields:
            dropped.add(number % size)
    return written[:size], written[size:], dropped


def _mapped_again(source: Source, records: Sequence[Record], mapped: Columns, rows: Sequence[int], secrets: SecretNames) -> Columns:
    """The columns, with these rows computed again from records without secrets."""
    cleaned = [
        record._replace(
            document=secrets.without_secrets(record.document).value,
            item=secrets.without_secrets(record.item).value,
            header=secrets.without_secrets(record.header).value,
        )
        for record in map(records.__getitem__, rows)
    ]
    return _with_rows(mapped, source.columns(cleaned), rows)


def _with_rows(columns: Columns, others: Columns, rows: Sequence[int]) -> Columns:
    """The columns, nested ones too, with the values of `others` in these rows."""
    replaced: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, dict):
            replaced[name] = _with_rows(values, others[name], rows)
        else:
            replaced[name] = list(values)
            for row, value in zip(rows, others[name], strict=True):
                replaced[name][row] = value
    return replaced


def _content_hash(source: Source, record: Record, text: bytes | None) -> str:
    """The id of a record that has none of its own. `text`, if known, is its canonical JSON without the fields of shipped names."""
    return content_hash(source.name, record.document) if text is None else text_hash(source.name, text)

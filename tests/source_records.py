"""What a source makes of a few documents: the records of a file, and the columns of one record."""

from __future__ import annotations

from typing import Any

import orjson
from one_batch import to_records

from transforms.ingest.lines import split_lines
from transforms.ingest.records import FileLocation, TimeRules
from transforms.ingest.source import Record, Source


def records_of_file(source: Source, location: FileLocation, *documents: Any) -> list[dict[str, Any]]:
    """The records of a file with a line per document, by all steps from bytes to Arrow."""
    content = b"".join(orjson.dumps(document) + b"\n" for document in documents)
    batch, _ = to_records(source, list(split_lines([content])), location, TimeRules())
    return list(batch.to_pylist())


def single_record(source: Source, location: FileLocation, document: Any) -> dict[str, Any]:
    """The single record of a file with this document."""
    (record,) = records_of_file(source, location, document)
    return record


def rejection(source: Source, location: FileLocation, document: Any) -> tuple[str, str]:
    """Path and detail of the refusal of a document that does not meet the schema."""
    record = single_record(source, location, document)
    assert record["reason"] == "schema_violation"
    return record["path"], record["detail"]


def columns_of_record(source: Source, record: Record) -> dict[str, Any]:
    """The columns of one valid record, those of its session input among them as session_input.…"""
    assert source.refusal(record) is None
    columns = source.columns([record])
    session_input = {f"session_input.{name}": values[0] for name, values in columns["session_input"].items()}
    return {name: values[0] for name, values in columns.items() if name != "session_input"} | session_input


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """A document without these fields."""
    return {name: value for name, value in document.items() if name not in names}

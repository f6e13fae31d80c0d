"""The interface of a source: open its batches, validate its records, and map valid records to `events`.

A new source is a JSON Schema under `schemas/`, a module of `transforms/sources/` that defines `SOURCE`, and one line in
`transforms/sources/registry.py`. Nothing else knows the names of the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms.documents.refusal import Refusal

Document = dict[str, Any]
# Columns of `events` by name, one value per record. A column that `Source.columns` leaves out is null. It gives
# - `event_id`: None if the record has no id of its own; it then gets a hash of its content;
# - `client_ms`, `received_ms`: epoch milliseconds, None if the record has none. transforms.ingest.records decides for all sources
#   whether they are plausible;
# - `says_client_time`: whether the record has a client time, even one that no table can hold. Without this column: whether
#   `client_ms` is not None;
# - `properties`, `context`: the parsed parts of the record, verbatim. transforms.ingest.clean_columns applies the privacy rules;
# - `user_agent`: as the record has it; its parts fill the columns of the user agent that the source leaves null;
# - `flags`: a list per record, in any order;
# - `session_input`: for each field of schemas.events.SESSION_INPUT one list, like the columns;
# - `workflow_input`: for each field of schemas.events.WORKFLOW_INPUT one list; null as a whole where `key` is None.
Columns = Mapping[str, Any]


class Record(NamedTuple):
    """One landed record that is a JSON object, with the header of its batch."""

    document: Document  # with the keys of the header, if the source joins them
    item: Document  # as landed
    header: Document | None  # the batch without its list; None outside of a batch
    arrival_ms: int  # start of the landing hour, epoch ms; midnight if the path has no hour


class Batch(NamedTuple):
    """A batch of the source, split into its header and its items."""

    header: Document  # the batch without its list
    items: Sequence[Any]
    list_name: str  # the key of the list, by which one item with the header is a batch again


@dataclass(frozen=True)
class Source:
    """One source: its schemas, and its functions."""

    name: str
    # Raised with every change of the mapping. Landed files are then read again.
    version: int
    # The JSON Schema files that decide which records are valid, as paths from the folder `schemas`.
    schema_files: tuple[str, ...]
    # Opens the source's own batch. Gives a Batch, a Refusal for an invalid batch, None for a document that is no batch.
    open_batch: Callable[[Document], Batch | Refusal | None]
    # Gives the document of an item: with the keys of the header, if the source joins them.
    join_header: Callable[[Document, Document], Document]
    # Gives the reason for refusing a record; None for a valid one.
    refusal: Callable[[Record], Refusal | None]
    # Maps valid records to columns of `events`.
    columns: Callable[[Sequence[Record]], Columns]
    # Where `properties` stands in a record; the field of a batch with its events, None for a source without batches; and per column of
    # ids the JSON Pointers of the fields from which it comes. A field of the header of a batch is below /batch.
    properties_at: tuple[str, ...]
    list_name: str | None
    ids: Mapping[str, Sequence[str]]
    # JSON Pointers of the fields of nearly every record that go by their names, such as its IP address and user agent.
    personal_fields: Sequence[str] = ()
    # Whether its events are parts of workflows.
    has_workflows: bool = False

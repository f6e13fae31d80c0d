"""What a source is: how its batches are opened, which records are valid, and how a valid one maps to `events`.

A new source is a JSON Schema under `schemas/`, a module beside this one that defines `SOURCE`, and one line in
`transforms/sources.py`. Nothing else knows the names of the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Document = dict[str, Any]
# Columns of `events` by name, one value per record. What `Source.columns` leaves out is null. It gives
# - `event_id`: None where the record has no id of its own (the content hash takes its place);
# - `client_ms`, `received_ms`: epoch milliseconds, None where the record has none; whether they are plausible
#   is decided elsewhere, alike for all sources;
# - `properties`, `context`: the parsed parts of the record, verbatim; secrets are dropped elsewhere;
# - `flags`: a list per record, in any order;
# - `session_input`: for each field of schemas.events.SESSION_INPUT one list, like the columns;
# - `workflow_input`: for each field of schemas.events.WORKFLOW_INPUT one list; null as a whole where `key` is None.
Columns = Mapping[str, Any]


class Record(NamedTuple):
    """One landed record that is a JSON object, with what its envelope adds."""

    document: Document  # as the source understands it: where outer keys of a batch join its items, they have
    item: Document  # as it stood in the batch, array or line
    header: Document | None  # the batch without its list; None for a single record or an array
    arrival_ms: int  # start of the landing hour, epoch ms; midnight where the path has no hour


class Refusal(NamedTuple):
    """Why a record is refused: a reason of schemas.events.REASONS, a JSON Pointer, and the rule that failed."""

    reason: str
    path: str
    detail: str


class Batch(NamedTuple):
    """The source's own envelope, opened."""

    header: Document  # the envelope without its list
    items: Sequence[Any]
    list_name: str  # the key under which the list stood, so that one event of it can be landed again


@dataclass(frozen=True)
class Source:
    """The rules of one source."""

    name: str
    # Raised whenever the mapping changes, so that landed files are read again by the new one.
    version: int
    # The JSON Schema files, from the folder `schemas`, that decide what is valid.
    schema_files: tuple[str, ...]
    # Opens the source's own batch: a Batch; a Refusal where it is one that is not valid; None where it is no batch.
    open_batch: Callable[[Document], Batch | Refusal | None]
    # The document of an item: joins the header's keys where the source's batches say so.
    join_header: Callable[[Document, Document], Document]
    # Says why a record is refused; None for a valid one.
    refusal: Callable[[Record], Refusal | None]
    # Maps valid records to columns of `events`.
    columns: Callable[[Sequence[Record]], Columns]
    # Whether its events are parts of workflows.
    has_workflows: bool = False

"""The columns of records by the rules about personal data, and the ids of their events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from transforms.documents.json_documents import canonical
from transforms.ingest.source import Columns, Record, Source
from transforms.privacy.documents import Cleaned, DocumentRules
from transforms.privacy.known_fields import KnownFields
from transforms.privacy.pointer_rules import steps_of
from transforms.privacy.privacy_rules import PrivacyRules
from transforms.privacy.quick_search import QuickSearch
from transforms.privacy.secret_names import content_hash

_HEADER = "batch"  # the name of the header of a batch in pointers, as in the column context


class CleanColumns(NamedTuple):
    """What a source maps records to, by the rules: one value per record in each."""

    columns: Columns
    event_ids: list[str]
    properties: list[bytes]  # canonical JSON
    contexts: list[bytes]  # canonical JSON
    landed_ids: Columns  # the columns of ids, before any rule


class _Documents(NamedTuple):
    """The documents of the records by the rules."""

    written: list[bytes]  # canonical JSON: the properties of all records, then their contexts
    changed_columns: set[int]  # rows whose columns are mapped again
    changed_ids: set[int]  # rows with an id that became its pseudonym


class RecordRules:
    """The rules of one source and landing date, ready to be applied to its records."""

    def __init__(self, source: Source, rules: PrivacyRules, date: dt.date) -> None:
        self.source = source
        self.date = date
        pointers = [pointer for of_column in source.ids.values() for pointer in of_column]
        self.documents = DocumentRules(rules, source.name, pointers, reads_user_agent=source.has_workflows)
        self.prefixes = (source.properties_at, ())  # where properties and context stand in a record
        personal = [steps for steps in map(steps_of, source.personal_fields) if self.documents.goes_by_name(steps)]
        self.known_fields = [
            KnownFields(steps[len(prefix) :] for steps in personal if steps[: len(prefix)] == prefix) for prefix in self.prefixes
        ]
        self.pseudonyms = rules.pseudonyms
        self.is_address = self.documents.has_match

    def pseudonym(self, text: str) -> str:
        """The pseudonym of a text of this date."""
        return self.pseudonyms.of(text, self.date)


def map_records(source: Source, records: Sequence[Record], rules: PrivacyRules, date: dt.date) -> CleanColumns:
    """Map records that landed on a date to columns by the rules. A record without an id gets the hash of its content."""
    own = record_rules(source, rules, date)
    mapped = source.columns(records)
    landed_ids = {name: mapped[name] for name in source.ids}
    size = len(records)
    documents = _documents(mapped, own)
    properties, contexts = documents.written[:size], documents.written[size:]
    event_ids = [
        content_hash(source.name, record.document) if event_id is None else event_id
        for event_id, record in zip(mapped["event_id"], records, strict=True)
    ]
    if documents.changed_columns:
        # Columns may hold what the rules take out, such as the value of a variable.
        own_ids = mapped["event_id"]
        mapped = _mapped_again(own, records, mapped, sorted(documents.changed_columns))
        # An id without its secret part may equal the id of another event.
        event_ids = [
            event_id if before == cleaned else content_hash(source.name, record.document)
            for event_id, before, cleaned, record in zip(event_ids, own_ids, mapped["event_id"], records, strict=True)
        ]
    if documents.changed_ids:
        mapped = _with_pseudonyms(own, records, mapped, sorted(documents.changed_ids))
    return CleanColumns(mapped, event_ids, properties, contexts, landed_ids)


_RULES: dict[tuple[int, str, dt.date], tuple[PrivacyRules, RecordRules]] = {}
_MOST_RULES = 64


def record_rules(source: Source, rules: PrivacyRules, date: dt.date) -> RecordRules:
    """The rules of a source and landing date. They are kept for the next batches."""
    key = (id(rules), source.name, date)
    known = _RULES.get(key)
    if known is None or known[0] is not rules:
        if len(_RULES) >= _MOST_RULES:
            _RULES.clear()
        known = _RULES[key] = (rules, RecordRules(source, rules, date))
    return known[1]


def _documents(mapped: Columns, own: RecordRules) -> _Documents:
    """Properties and contexts by the rules."""
    size = len(mapped["properties"])
    parts = [
        part
        for known, landed in zip(own.known_fields, (mapped["properties"], mapped["context"]), strict=True)
        for part in (map(known.without, landed) if known else landed)
    ]
    documents = _Documents([canonical(part) for part in parts], set(), set())

    def replace(number: int, cleaned: Cleaned) -> None:
        if cleaned.value is parts[number]:
            return
        documents.written[number] = canonical(cleaned.value)
        if cleaned.changes_columns:
            documents.changed_columns.add(number % size)
        if cleaned.changes_ids:
            documents.changed_ids.add(number % size)

    # Expressions find the documents that a rule may concern; only their fields are searched.
    rules = own.documents
    all_numbers = range(len(parts))
    found = all_numbers if rules.searches_all else _matching(rules.by_any, documents.written, all_numbers)
    by_pointer = set(found if rules.searches_all else _matching(rules.by_pointer, documents.written, found))
    for number in _matching(rules.by_name, documents.written, found):
        if number not in by_pointer:
            replace(number, rules.without_names(parts[number], own.prefixes[number >= size], own.pseudonym))
    by_text = set(_matching(rules.by_text, documents.written, found))
    for number in sorted(by_pointer | by_text):
        replace(number, rules.clean(parts[number], own.prefixes[number >= size], own.pseudonym, texts=number in by_text))
    return documents


def _matching(search: QuickSearch | None, texts: Sequence[bytes], numbers: Sequence[int]) -> Sequence[int]:
    """Those of the numbered texts that an expression matches."""
    if search is None or not numbers:
        return ()
    return [numbers[at] for at in search.matching([texts[number] for number in numbers])]


def _mapped_again(own: RecordRules, records: Sequence[Record], mapped: Columns, rows: Sequence[int]) -> Columns:
    """The columns, with these rows computed again from records by the rules."""

    def cleaned(part: Any, *prefix: str) -> Any:
        return own.documents.clean(part, prefix, own.pseudonym, texts=own.documents.by_text is not None, for_columns=True).value

    again = [
        record._replace(document=cleaned(record.document), item=cleaned(record.item), header=cleaned(record.header, _HEADER))
        for record in map(records.__getitem__, rows)
    ]
    columns = own.source.columns(again)
    # No column holds the user agent itself.
    kept = {name: mapped[name] for name in ("user_agent",) if name in mapped}
    return {**_with_rows(mapped, columns, rows), **kept}


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


def _with_pseudonyms(own: RecordRules, records: Sequence[Record], mapped: Columns, rows: Sequence[int]) -> Columns:
    """The columns, with pseudonyms in place of ids in these rows, wherever the rules of sessions and workflows read them."""
    columns: dict[str, Any] = {name: dict(values) if isinstance(values, dict) else values for name, values in mapped.items()}
    inputs: dict[str, Any] = columns.get("session_input", {})
    workflows: dict[str, Any] = columns.get("workflow_input", {})
    changed: dict[tuple[str, str], list[Any]] = {}

    def values_of(where: Mapping[str, Any], part: str, name: str) -> list[Any]:
        if (part, name) not in changed:
            changed[part, name] = list(where[name])
        return changed[part, name]

    for row in rows:
        replaced = _replaced_ids(own, records[row], {name: mapped[name][row] for name in own.source.ids})
        for name in own.source.ids:
            values = values_of(columns, "", name)
            values[row] = replaced.get(name, {}).get(values[row], values[row])
        texts = {text: pseudonym for of_column in replaced.values() for text, pseudonym in of_column.items()}
        for where, part in ((inputs, "session_input"), (workflows, "workflow_input")):
            for name in ("key", "link", "uid"):
                if name in where and where[name][row] is not None:
                    values = values_of(where, part, name)
                    values[row] = _key_with(values[row], texts) if name == "key" else _id_with(own, values[row], texts, name, replaced)
    for (part, name), values in changed.items():
        (columns if not part else columns[part])[name] = values
    return columns


def _replaced_ids(own: RecordRules, record: Record, columns: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """Per column of ids that the rules hash, its value and the texts in the record from which it comes, with their pseudonyms."""
    replaced: dict[str, dict[str, str]] = {}
    for name, pointers in own.source.ids.items():
        for pointer, text in _texts_at(record, pointers):
            if own.documents.is_hashed(pointer) or own.is_address(text):
                texts = {text, columns[name]} - {None}
                replaced.setdefault(name, {}).update({each: own.pseudonym(each) for each in texts if each is not None})
    return replaced


def _texts_at(record: Record, pointers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The ids at these pointers in a record, as text."""
    for pointer in pointers:
        steps = steps_of(pointer)
        in_header = steps[0] == _HEADER
        node: Any = record.header if in_header else record.document
        for step in steps[in_header:]:
            node = node.get(step) if type(node) is dict else None
        if node is not None and type(node) is not bool:
            whole = int(node) if type(node) is float and node.is_integer() else node
            yield pointer, whole if type(whole) is str else canonical(whole).decode()


def _key_with(key: str, texts: Mapping[str, str]) -> str:
    """A key of sessions or workflows, the canonical JSON of a list, with pseudonyms in place of ids."""
    return canonical([texts.get(part if type(part) is str else canonical(part).decode(), part) for part in orjson.loads(key)]).decode()


def _id_with(own: RecordRules, text: str, texts: Mapping[str, str], name: str, replaced: Mapping[str, Any]) -> str:
    """An id that the rules of sessions or workflows read. The link of a ping is its session key, written alike."""
    if name == "link":
        return own.pseudonym(text) if "session_key" in replaced else text
    return texts.get(text, text)

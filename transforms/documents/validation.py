"""Validate documents by JSON Schemas (draft-07). A violation names the rule of the schema and no value of the document."""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

import orjson
from jsonschema_rs import Draft7Validator, ValidationError
from jsonschema_rs import ValidationErrorKind as Kind

from transforms.documents.refusal import Refusal

_BASE = "schemas:///"
# A document with up to this many values gets the smallest of all its errors, a larger one the first error. The library builds the
# whole list of errors at once, and a list for a million wrong items would fill the memory.
_SMALL = 1_000
# No rule looks deeper than this, and the library cannot describe an error in a document of more than 254 levels.
_DEEPEST_RULE = 32
_BOUNDS = {
    "minimum": "at least",
    "minLength": "at least",
    "minItems": "at least",
    "minProperties": "at least",
    "maximum": "at most",
    "maxLength": "at most",
    "maxItems": "at most",
    "maxProperties": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_UNNAMED_VIOLATION = Refusal("schema_violation", "", "the schema does not hold")


@cache
def compiled(schema_file: str) -> Draft7Validator:
    """The validator of one file of the package `schemas`, such as "sunbird/start.json". It checks formats too.

    A `$ref` to another file is relative to this file. Each file is compiled once per process.
    """
    return Draft7Validator(
        schema_document(schema_file),
        validate_formats=True,
        base_uri=_BASE + schema_file,
        retriever=lambda uri: schema_document(uri.removeprefix(_BASE)),
        mask="",  # keeps values of the document out of the library's messages
    )


def schema_document(schema_file: str) -> Any:
    """One JSON Schema of the package `schemas`, parsed."""
    return orjson.loads(schema_bytes(schema_file))


def required_fields(schema_file: str) -> set[str]:
    """The names of all fields that a JSON Schema requires at any depth."""
    names: set[str] = set()
    pending = [schema_document(schema_file)]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            required = node.get("required")
            names.update(required if isinstance(required, list) else ())
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return names


def schema_bytes(schema_file: str) -> bytes:
    """One JSON Schema of the package `schemas`, as bytes."""
    return resources.files("schemas").joinpath(schema_file).read_bytes()


def first_violation(validator: Draft7Validator, document: Any) -> Refusal | None:
    """The violation of a document; None if it is valid. Of several violations, it is always the same one.

    Its path points at the wrong value, or at the object that lacks a property. Its detail names the rule.
    """
    if validator.is_valid(document):
        return None
    shallow = _shallow(document, _DEEPEST_RULE)
    if _is_small(shallow):
        return min(map(_refusal, validator.iter_errors(shallow)), default=_UNNAMED_VIOLATION)
    try:
        validator.validate(shallow)
    except ValidationError as error:
        return _refusal(error)
    return _UNNAMED_VIOLATION


def _shallow(value: Any, levels: int) -> Any:
    """The value with the objects and arrays below this many levels emptied."""
    if type(value) is dict:
        return {name: _shallow(child, levels - 1) for name, child in value.items()} if levels else {}
    if type(value) is list:
        return [_shallow(child, levels - 1) for child in value] if levels else []
    return value


def _is_small(document: Any) -> bool:
    seen = 0
    pending = [document]
    while pending and seen <= _SMALL:
        node = pending.pop()
        seen += 1
        if type(node) is dict:
            pending.extend(islice(node.values(), _SMALL))
        elif type(node) is list:
            pending.extend(islice(node, _SMALL))
    return not pending


def _refusal(error: ValidationError) -> Refusal:
    steps = error.instance_path
    if isinstance(error.kind, Kind.AdditionalProperties):
        steps = [*steps, min(error.kind.unexpected)]
    return Refusal("schema_violation", pointer(*steps), f"{error.kind.name}: {_rule(error.kind)}")


def pointer(*steps: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these steps. Without steps it is empty and points at the whole document."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _rule(kind: Kind) -> str:
    """The rule of the schema in words, without a value of the document."""
    match kind:
        case Kind.Required():
            return f'"{kind.property}" is missing'
        case Kind.Type():
            return f"must be {' or '.join(sorted(kind.types))}"
        case Kind.Enum():
            return f"must be one of {_json_list(*kind.options)}"
        case Kind.Constant():
            return f"must be {_json_list(kind.expected_value)}"
        case Kind.Format():
            return f"must be a {kind.format}"
        case Kind.Pattern():
            return f"must match {kind.pattern}"
        case Kind.AdditionalProperties() | Kind.FalseSchema():
            return "no property of this name is allowed"
        case Kind.AnyOf() | Kind.OneOfNotValid():
            return "none of the alternatives holds"
    bound = _BOUNDS.get(kind.name)
    return f"must be {bound} {_json_list(kind.value)}" if bound else "does not hold"


def _json_list(*values: Any) -> str:
    return ", ".join(orjson.dumps(value).decode() for value in values)

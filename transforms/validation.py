"""JSON Schemas (draft-07): compiled once per process, and what a document breaks said without its values."""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

import orjson
from jsonschema_rs import Draft7Validator, ValidationError
from jsonschema_rs import ValidationErrorKind as Kind

from transforms.source import Refusal

_BASE = "schemas:///"
# Up to so many values all errors of a document are listed, to take the smallest; of a larger one the first error is
# taken. The library builds the whole list at once, and a million wrong items would fill the memory.
_SMALL = 1_000
# No rule looks further down than this, and the library cannot tell an error in a document of more than 254 levels.
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
_UNTOLD = Refusal("schema_violation", "", "the schema does not hold")


@cache
def compiled(schema_file: str) -> Draft7Validator:
    """The validator of one file below the package `schemas`, such as "sunbird/start.json", formats asserted.

    A `$ref` to another file is relative to this one.
    """
    return Draft7Validator(
        schema_document(schema_file),
        validate_formats=True,
        base_uri=_BASE + schema_file,
        retriever=lambda uri: schema_document(uri.removeprefix(_BASE)),
        mask="",  # messages are never used: spare the text of the document in them
    )


def schema_document(schema_file: str) -> Any:
    """One JSON Schema of the package `schemas`, parsed."""
    return orjson.loads(schema_bytes(schema_file))


def schema_bytes(schema_file: str) -> bytes:
    """One JSON Schema of the package `schemas`, as it is written."""
    return resources.files("schemas").joinpath(schema_file).read_bytes()


def first_violation(validator: Draft7Validator, document: Any) -> Refusal | None:
    """Why a document is not valid, None when it is: always the same one of several violations.

    The path points at what is wrong (at the object that lacks a property), the detail names the rule.
    """
    if validator.is_valid(document):
        return None
    shallow = _shallow(document, _DEEPEST_RULE)
    if _is_small(shallow):
        return min(map(_refusal, validator.iter_errors(shallow)), default=_UNTOLD)
    try:
        validator.validate(shallow)
    except ValidationError as error:
        return _refusal(error)
    return _UNTOLD


def _shallow(value: Any, levels: int) -> Any:
    """The value with nothing in the objects and arrays that lie deeper than so many levels."""
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
    return Refusal("schema_violation", pointer(*steps), f"{error.kind.name}: {_asked(error.kind)}")


def pointer(*steps: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these steps; no step is the document itself, the empty pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _asked(kind: Kind) -> str:
    """What the schema asks for, never what the document holds."""
    match kind:
        case Kind.Required():
            return f'"{kind.property}" is missing'
        case Kind.Type():
            return f"must be {' or '.join(sorted(kind.types))}"
        case Kind.Enum():
            return f"must be one of {_spelled(*kind.options)}"
        case Kind.Constant():
            return f"must be {_spelled(kind.expected_value)}"
        case Kind.Format():
            return f"must be a {kind.format}"
        case Kind.Pattern():
            return f"must match {kind.pattern}"
        case Kind.AdditionalProperties() | Kind.FalseSchema():
            return "no property of this name is allowed"
        case Kind.AnyOf() | Kind.OneOfNotValid():
            return "none of the alternatives holds"
    bound = _BOUNDS.get(kind.name)
    return f"must be {bound} {_spelled(kind.value)}" if bound else "does not hold"


def _spelled(*values: Any) -> str:
    return ", ".join(orjson.dumps(value).decode() for value in values)

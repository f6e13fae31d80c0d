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
    if _is_small(document):
        return min(map(_refusal, validator.iter_errors(document)))
    try:
        validator.validate(document)
    except ValidationError as error:
        return _refusal(error)
    return None


def _is_small(document: Any) -> bool:
    seen = 0
    pending = [document]
    while pending and seen <= _SMALL:
        node = pending.pop()
        if type(node) is dict:
            pending.extend(islice(node.values(), _SMALL))
        elif type(node) is list:
            pending.extend(islice(node, _SMALL))
        seen += 1
    return seen <= _SMALL


def _refusal(error: ValidationError) -> Refusal:
    return Refusal("schema_violation", pointer(*error.instance_path), _rule(error.kind))


def pointer(*steps: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these steps; no step is the document itself, the empty pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _rule(kind: Kind) -> str:
    """The rule that failed and what the schema asks for, never what the document holds."""
    return f"{kind.name}: {_asked(kind)}"


def _asked(kind: Kind) -> str:
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
        case Kind.AdditionalProperties():
            return "no properties but those of the schema are allowed"
        case Kind.MinLength() | Kind.Minimum() | Kind.MinItems() | Kind.MinProperties():
            return f"must be at least {_spelled(kind.limit)}"
        case Kind.MaxLength() | Kind.Maximum() | Kind.MaxItems() | Kind.MaxProperties():
            return f"must be at most {_spelled(kind.limit)}"
        case Kind.ExclusiveMinimum():
            return f"must be more than {_spelled(kind.limit)}"
        case Kind.ExclusiveMaximum():
            return f"must be less than {_spelled(kind.limit)}"
        case Kind.AnyOf() | Kind.OneOfNotValid():
            return "none of the alternatives holds"
        case _:
            return "does not hold"


def _spelled(*values: Any) -> str:
    return ", ".join(orjson.dumps(value).decode() for value in values)

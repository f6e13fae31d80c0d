"""What a document breaks of its schema."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from transforms.documents.json_documents import parse
from transforms.documents.refusal import Refusal
from transforms.documents.validation import compiled, first_violation, pointer


def violation(schema: dict[str, Any], document: Any) -> Refusal | None:
    return first_violation(Draft7Validator(schema, validate_formats=True), document)


@pytest.mark.parametrize(
    ("rule", "value", "detail"),
    [
        ({"type": "string"}, 1, "type: must be string"),
        ({"type": ["string", "null"]}, 1, "type: must be null or string"),
        ({"enum": ["3.0", "3.1"]}, "secret", 'enum: must be one of "3.0", "3.1"'),
        ({"const": 4}, "secret", "const: must be 4"),
        ({"format": "date-time"}, "secret", "format: must be a date-time"),
        ({"pattern": "^a$"}, "secret", "pattern: must match ^a$"),
        ({"minLength": 9}, "secret", "minLength: must be at least 9"),
        ({"maxLength": 2}, "secret", "maxLength: must be at most 2"),
        ({"minimum": 5}, -41, "minimum: must be at least 5"),
        ({"exclusiveMaximum": 5}, 41, "exclusiveMaximum: must be less than 5"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "secret", "anyOf: none of the alternatives holds"),
        ({"not": {"type": "string"}}, "secret", "not: does not hold"),
        ({"required": ["a"]}, {"secret": 1}, 'required: "a" is missing'),
        (False, "secret", "falseSchema: no property of this name is allowed"),
    ],
)
def test_the_detail_names_the_rule_and_never_a_value(rule: Any, value: Any, detail: str) -> None:
    assert violation({"properties": {"x": rule}}, {"x": value}) == Refusal("schema_violation", "/x", detail)


def test_a_property_that_a_closed_schema_does_not_name_is_pointed_at() -> None:
    schema = {"properties": {"a": {}}, "additionalProperties": False}
    refusal = Refusal("schema_violation", "/b", "additionalProperties: no property of this name is allowed")
    assert violation(schema, {"a": 1, "c": 1, "b": 1}) == refusal


def test_a_valid_document_breaks_nothing() -> None:
    assert violation({"type": "object"}, {"a": 1}) is None


def test_the_path_is_a_json_pointer() -> None:
    schema = {"additionalProperties": {"items": {"additionalProperties": {"type": "string"}}}}
    refusal = violation(schema, {"a/b": [{}, {"c~d": 1}]})
    assert refusal is not None
    assert refusal.path == "/a~1b/1/c~0d"
    assert pointer() == ""


def test_the_same_violation_is_told_whatever_the_order_of_the_fields() -> None:
    schema = {"required": ["q"], "properties": {name: {"type": "string"} for name in "abc"}}
    refusals = [violation(schema, parse(content)) for content in (b'{"a":1,"b":1,"c":1}', b'{"c":1,"b":1,"a":1}')]
    assert refusals == [Refusal("schema_violation", "", 'required: "q" is missing')] * 2


def test_a_million_violations_cost_no_more_than_one() -> None:
    schema = {"properties": {"a": {"items": {"type": "object"}}}}
    assert violation(schema, {"a": [1] * 1_000_000}) == Refusal("schema_violation", "/a/0", "type: must be object")


@pytest.mark.parametrize("levels", [200, 1000, 1022])
def test_deep_documents_are_judged(levels: int) -> None:
    document = parse(b'{"eid":' + b"[" * levels + b"]" * levels + b"}")
    refusal = first_violation(compiled("sunbird/event.json"), document)
    assert refusal is not None
    assert refusal.detail.startswith("required")
    assert violation({"properties": {"eid": {"type": "string"}}}, document) == Refusal("schema_violation", "/eid", "type: must be string")
    assert violation({"type": "object"}, document) is None


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1.7e308, 5e-324, -0.0, "\x00", "\U0010ffff", "", True, [], {}])
def test_odd_values_are_judged(value: Any) -> None:
    assert violation({"properties": {"x": {"type": "null"}}}, {"x": value}) == Refusal("schema_violation", "/x", "type: must be null")


def test_a_schema_is_compiled_once() -> None:
    assert compiled("sunbird/start.json") is compiled("sunbird/start.json")

"""What of a JSON schema Anthropic enforces."""

from typing import Any

import pytest

from headrace.core.errors import NotTranslatable
from headrace.wire.anthropic_schema import Narrowed, narrowed

STRING: dict[str, Any] = {"type": "string"}


def closed(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


CASES: list[tuple[str, dict[str, Any], Narrowed]] = [
    ("as it is", closed(a=STRING) | {"required": ["a"]}, Narrowed(closed(a=STRING) | {"required": ["a"]}, (), 0, 0)),
    ("no object is open", {"type": "object", "properties": {"a": STRING}}, Narrowed(closed(a=STRING), (), 1, 0)),
    (
        "an open object is closed, and that is told",
        {"type": "object", "properties": {"a": STRING}, "additionalProperties": True},
        Narrowed(closed(a=STRING), ("additionalProperties",), 1, 0),
    ),
    (
        "properties make an object",
        {"properties": {"a": STRING}, "required": ["a"]},
        Narrowed(closed(a=STRING) | {"required": ["a"]}, (), 0, 0),
    ),
    ("an empty object", closed(), Narrowed(closed(), (), 0, 0)),
    (
        "an object or nothing",
        {"type": ["object", "null"], "properties": {"a": STRING}, "required": ["a"]},
        Narrowed({"type": ["object", "null"], "properties": {"a": STRING}, "required": ["a"], "additionalProperties": False}, (), 0, 1),
    ),
    (
        "unions are counted",
        closed(a={"anyOf": [STRING, {"type": "null"}]}),
        Narrowed(closed(a={"anyOf": [STRING, {"type": "null"}]}), (), 1, 1),
    ),
    ("one of is any of", {"oneOf": [STRING, {"type": "null"}]}, Narrowed({"anyOf": [STRING, {"type": "null"}]}, ("oneOf",), 0, 1)),
    ("all of", {"allOf": [STRING]}, Narrowed({"allOf": [STRING]}, (), 0, 0)),
    ("a choice", {"enum": ["a", 1]}, Narrowed({"enum": ["a", 1]}, (), 0, 0)),
    ("a constant", {"const": 1}, Narrowed({"const": 1}, (), 0, 0)),
    ("annotations say nothing", STRING | {"$schema": "x", "examples": ["a"]}, Narrowed(STRING, (), 0, 0)),
    ("a known format", STRING | {"format": "email"}, Narrowed(STRING | {"format": "email"}, (), 0, 0)),
    ("an unknown format", STRING | {"format": "x"}, Narrowed(STRING | {"description": '{"format":"x"}'}, ("format",), 0, 0)),
    (
        "bounds are told",
        {"type": "integer", "description": "A number.", "minimum": 1, "maximum": 9},
        Narrowed({"type": "integer", "description": 'A number. {"minimum":1,"maximum":9}'}, ("maximum", "minimum"), 0, 0),
    ),
    ("a list", {"type": "array", "items": STRING, "minItems": 1}, Narrowed({"type": "array", "items": STRING, "minItems": 1}, (), 0, 0)),
    (
        "a long list",
        {"type": "array", "items": STRING, "minItems": 2},
        Narrowed({"type": "array", "items": STRING, "description": '{"minItems":2}'}, ("minItems",), 0, 0),
    ),
    (
        "what a member loses",
        closed(a=STRING | {"maxLength": 3}) | {"required": ["a"]},
        Narrowed(closed(a=STRING | {"description": '{"maxLength":3}'}) | {"required": ["a"]}, ("maxLength",), 0, 0),
    ),
    (
        "definitions",
        {"$ref": "#/$defs/a", "$defs": {"a": closed(b={"$ref": "#/$defs/b", "description": "gone"}), "b": STRING}},
        Narrowed({"$ref": "#/$defs/a", "$defs": {"a": closed(b={"$ref": "#/$defs/b"}), "b": STRING}}, (), 1, 0),
    ),
    (
        "older definitions",
        {"$ref": "#/definitions/a", "definitions": {"a": STRING}},
        Narrowed({"$ref": "#/definitions/a", "definitions": {"a": STRING}}, (), 0, 0),
    ),
    ("members that are no list", STRING | {"anyOf": 1}, Narrowed(STRING | {"description": '{"anyOf":1}'}, ("anyOf",), 0, 0)),
    ("definitions that are none", STRING | {"$defs": 1}, Narrowed(STRING | {"description": '{"$defs":1}'}, ("$defs",), 0, 0)),
    ("a reference that is none", STRING | {"$ref": 1}, Narrowed(STRING | {"description": '{"$ref":1}'}, ("$ref",), 0, 0)),
]


@pytest.mark.parametrize(("given", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_enforced(given: dict[str, Any], expected: Narrowed):
    assert narrowed(given, "p") == expected


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "p", "names no type"),
    ({"description": "anything"}, "p", "names no type"),
    (closed(a=True), "p.properties.a", "allows anything"),
    (closed(a={"type": "array", "items": {}}), "p.properties.a.items", "names no type"),
    ({"type": "object"}, "p", "names no properties"),
    ({"type": "object", "properties": 1}, "p", "names no properties"),
    ({"anyOf": [{"type": "object", "additionalProperties": STRING}]}, "p.anyOf[0]", "names no properties"),
    ({"$ref": "#"}, "p", "refers to '#'"),
    ({"$ref": "https://example.com/s"}, "p", "refers to 'https://example.com/s'"),
    ({"$ref": "#/$defs/gone"}, "p", "refers to '#/$defs/gone'"),
    ({"$ref": "#/$defs/a", "$defs": {"a": closed(b={"$ref": "#/$defs/b"}), "b": closed(a={"$ref": "#/$defs/a"})}}, "p", "'a' is recursive"),
]


@pytest.mark.parametrize(("given", "param", "words"), REFUSED)
def test_what_cannot_be(given: dict[str, Any], param: str, words: str):
    with pytest.raises(NotTranslatable) as refused:
        narrowed(given, "p")
    assert refused.value.param == param
    assert words in refused.value.message


def test_what_was_given_is_not_touched():
    given = closed(a={"type": "integer", "minimum": 1})
    narrowed(given, "p")
    assert given == closed(a={"type": "integer", "minimum": 1})

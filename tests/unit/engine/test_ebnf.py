"""JSON schemas as grammars: what integers a range allows, and which schemas are left to the backend."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.ebnf import _between, ebnf


def matches(alternatives: list[str], number: int) -> bool:
    """The alternatives, of which each is a regular expression but for its quotes and spaces."""
    pattern = "|".join(re.sub(r'[" ]', "", alternative) for alternative in alternatives)
    return re.fullmatch(pattern, str(number)) is not None


@given(low=st.integers(-2000, 2000), size=st.integers(0, 3000), number=st.integers(-6000, 6000))
def test_ranges_of_integers(low: int, size: int, number: int) -> None:
    high = low + size
    assert matches(_between(low, high), number) == (low <= number <= high)
    assert matches(_between(low, None), number) == (low <= number)
    assert matches(_between(None, high), number) == (number <= high)
    assert all(matches(_between(low, high), bound) for bound in (low, high))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "a+"},
        {"type": "object", "patternProperties": {"^x": {}}},
        {"type": "array", "uniqueItems": True},
        {"type": "number", "minimum": 0.5},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"allOf": [{"type": "string"}, {"minLength": 2}]},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"$ref": "#/$defs/none"},
        {"type": "string", "format": "email"},
    ],
)
def test_what_is_not_known_is_left_to_the_backend(schema: object) -> None:
    assert ebnf(json.dumps(schema)) is None


def test_a_person() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "nick": {"type": ["string", "null"]},
            "tags": {"type": "array", "items": {"enum": ["a", "é"]}},
        },
        "required": ["name"],
    }
    grammar = ebnf(json.dumps(schema))
    assert grammar is not None
    lines = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    assert '"\\"name\\"" ": " string' in lines.values()
    assert '"\\"a\\"" | "\\"\\u00e9\\""' in lines.values()


def test_many_optional_properties_make_no_large_grammar() -> None:
    schema = {"type": "object", "properties": {f"property {at}": {"type": "string"} for at in range(300)}}
    grammar = ebnf(json.dumps(schema))
    assert grammar is not None
    assert len(grammar) < 60_000


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"child": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["child"]}
    assert ebnf(json.dumps(tree)) is not None

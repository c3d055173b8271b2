"""JSON schemas as Gemini takes them: it knows a part of the language and ignores the rest, so what it ignores is told.

https://ai.google.dev/gemini-api/docs/structured-output lists what it knows.
"""

from collections.abc import Callable

from headrace.core.errors import InvalidRequest

Schema = dict[str, object]

_KNOWN = frozenset(
    {
        *("$id", "$ref", "$anchor", "type", "format", "title", "description", "enum", "required", "propertyOrdering"),
        *("minItems", "maxItems", "minimum", "maximum"),
    }
)
_REMARKS = frozenset({"$schema", "$comment", "default", "example", "examples", "deprecated", "readOnly", "writeOnly"})
"""What allows and forbids nothing, so that ignoring it loses nothing."""


def schema_for(schema: Schema, path: str) -> tuple[Schema, list[str]]:
    """`schema` in Gemini's words, and the paths of its keywords that Gemini does not enforce. Raises InvalidRequest for one too deep."""
    ignored: list[str] = []
    try:
        return _rewritten(schema, path, ignored), ignored
    except RecursionError:
        raise InvalidRequest(f"Invalid value for '{path}': it is nested too deeply.", param=path) from None


def _rewritten(schema: Schema, path: str, ignored: list[str]) -> Schema:
    """One level: keywords that hold schemas are followed, a constant becomes an enumeration of one, which is the same."""
    made: Schema = {}
    for keyword, value in schema.items():
        here = f"{path}.{keyword}"
        if keyword == "const" and isinstance(value, str | int | float) and not isinstance(value, bool):
            made["enum"] = [value]
            continue
        if keyword in _HOLDS:
            made[keyword] = _HOLDS[keyword](value, here, ignored)
            continue
        if keyword not in _KNOWN and keyword not in _REMARKS:
            ignored.append(here)
        made[keyword] = value
    return made


def _one(value: object, path: str, ignored: list[str]) -> object:
    return _rewritten(value, path, ignored) if isinstance(value, dict) else value


def _several(value: object, path: str, ignored: list[str]) -> object:
    return [_one(each, f"{path}[{at}]", ignored) for at, each in enumerate(value)] if isinstance(value, list) else value


def _named(value: object, path: str, ignored: list[str]) -> object:
    return {name: _one(each, f"{path}.{name}", ignored) for name, each in value.items()} if isinstance(value, dict) else value


_HOLDS: dict[str, Callable[[object, str, list[str]], object]] = {
    "items": _one,
    "additionalProperties": _one,
    "prefixItems": _several,
    "anyOf": _several,
    "oneOf": _several,
    "properties": _named,
    "$defs": _named,
}

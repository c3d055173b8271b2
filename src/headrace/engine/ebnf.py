"""A JSON schema as an EBNF grammar without free white space.

xgrammar's own reading of a schema allows white space anywhere, and a small model that begins to write empty lines writes them until its
limit. This grammar writes JSON the way `json.dumps` does. It knows the keywords that schemas for models use; for any other it gives up,
and the schema goes to xgrammar as it is. Where a schema leaves something open the grammar may be narrower, never wider: objects have
their declared properties only, in the order of declaration, and numbers have at most 16 digits.
"""

import json
from functools import lru_cache
from typing import Any

ANNOTATIONS = {
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "$comment",
    "deprecated",
    "readOnly",
}
NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
TYPES = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "format"},
    "integer": NUMBERS,
    "number": set(),
    "boolean": set(),
    "null": set(),
}  # fmt: skip

BASE = {
    "char": r'[^"\\\x00-\x1F] | "\\" ["\\/bfnrt] | "\\u" [0-9a-fA-F]{4}',
    "string": r'"\"" char* "\""',
    "whole": '"0" | [1-9] [0-9]{0,15}',
    "integer": '"-"? whole',
    "number": '"-"? whole ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" (string ": " value (", " string ": " value)*)? "}"',
    "array": '"[" (value (", " value)*)? "]"',
}
_NOTHING = '""'
_DATE = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | "1" [0-9] | "2" [0-8])'  # the days that all months have
_TIME = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [+-] ("0" [0-9] | "1" [0-3]) ":" [0-5] [0-9])'
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "uuid": '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}


class _Unknown(Exception):
    """The schema uses what this module doesn't know."""


@lru_cache(maxsize=256)
def ebnf(schema: str) -> str | None:
    """The grammar for the schema, given as JSON text, or None when it uses a keyword that isn't known here."""
    try:
        return _Writer(json.loads(schema)).grammar()
    except (_Unknown, RecursionError):
        return None


class _Writer:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._rules = dict(BASE)
        self._named: dict[str, str] = {}  # reference -> rule, so that a schema may refer to itself

    def grammar(self) -> str:
        self._rules["root"] = self._write(self._root)
        return "\n".join(f"{name} ::= {body}" for name, body in self._rules.items())

    def _rule(self, body: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def _write(self, schema: Any) -> str:
        """An expression for what `schema` allows."""
        if schema is True or (isinstance(schema, dict) and not schema.keys() - ANNOTATIONS):
            return "value"
        if not isinstance(schema, dict):
            raise _Unknown
        for keyword, write in (("$ref", self._reference), ("const", self._constant), ("enum", self._constants)):
            if keyword in schema:
                _only(schema, {keyword, "type"})
                return write(schema[keyword])
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                _only(schema, {keyword, "type"})
                return self._alternatives(keyword, schema[keyword])
        return self._typed(schema)

    def _reference(self, reference: str) -> str:
        if reference not in self._named:
            name = self._named[reference] = self._rule("")
            target = self._root
            for part in reference.removeprefix("#").split("/")[1:]:
                if not isinstance(target, dict) or part not in target:
                    raise _Unknown
                target = target[part]
            self._rules[name] = self._write(target)
        return self._named[reference]

    def _constant(self, value: Any) -> str:
        return _literal(json.dumps(value, ensure_ascii=False))

    def _constants(self, values: list[Any]) -> str:
        return self._rule(" | ".join(self._constant(value) for value in values))

    def _alternatives(self, keyword: str, schemas: list[Any]) -> str:
        if keyword == "allOf" and len(schemas) != 1:
            raise _Unknown
        return self._rule(" | ".join(self._write(schema) for schema in schemas))

    def _typed(self, schema: dict[str, Any]) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            _only(schema, {"type"}.union(*(TYPES.get(kind, set()) for kind in kinds)))
            return self._rule(" | ".join(self._of_type(kind, schema) for kind in kinds))
        if not isinstance(kinds, str):
            kinds = "object" if "properties" in schema else ""
        _only(schema, {"type", *TYPES.get(kinds, set())})
        return self._of_type(kinds, schema)

    def _of_type(self, kind: str, schema: dict[str, Any]) -> str:
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "string":
                return self._string(schema)
            case "integer":
                return self._integer(schema)
            case "number" | "boolean" | "null":
                return kind
            case _:
                raise _Unknown

    def _object(self, schema: dict[str, Any]) -> str:
        properties, required = schema.get("properties") or {}, set(schema.get("required") or ())
        if required - properties.keys():
            raise _Unknown
        others = schema.get("additionalProperties", True)
        if not properties:
            if others is False:
                return '"{}"'
            member = f'string ": " {self._write(others)}'
            return self._rule(f'"{{" ({member} (", " {member})*)? "}}"')
        members = [
            (self._rule(f'{self._constant(name)} ": " {self._write(inner)}'), name in required) for name, inner in properties.items()
        ]
        return self._rule(f'"{{" {self._members(members)} "}}"')

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """The members in their order, commas only between those that are there. Each has one rule for all that may follow it, so that
        the grammar grows with their number and not with its square."""
        starts: list[str] = []
        needed_after, follow = False, ""
        for member, needed in reversed(members):
            starts = [f"{member} {follow}"] if needed else [f"{member} {follow}", *starts]
            needed_after = needed_after or needed
            follow = self._rule(f'", " {member} {follow}' if needed else f'", " {member} {follow} | {follow or _NOTHING}')
        return f"({' | '.join(starts)}){'' if needed_after else '?'}"

    def _array(self, schema: dict[str, Any]) -> str:
        item = self._rule(self._write(schema.get("items", True)))
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if high is not None and high < low:
            raise _Unknown
        if high == 0:
            return '"[]"'
        more = f'(", " {item}){{{max(0, low - 1)},{"" if high is None else high - 1}}}'
        return self._rule(f'"[" {item} {more} "]"' if low else f'"[" ({item} {more})? "]"')

    def _string(self, schema: dict[str, Any]) -> str:
        low, high, form = schema.get("minLength", 0), schema.get("maxLength"), schema.get("format")
        if form is not None:
            if form not in FORMATS or low or high is not None:
                raise _Unknown
            return self._rule(f'"\\"" {FORMATS[form]} "\\""')
        if not low and high is None:
            return "string"
        return self._rule(f'"\\"" char{{{low},{"" if high is None else high}}} "\\""')

    def _integer(self, schema: dict[str, Any]) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        if "exclusiveMinimum" in schema:
            low = schema["exclusiveMinimum"] + 1
        if "exclusiveMaximum" in schema:
            high = schema["exclusiveMaximum"] - 1
        if low is None and high is None:
            return "integer"
        if not all(bound is None or isinstance(bound, int) for bound in (low, high)) or (low or 0) > (
            high if high is not None else low or 0
        ):
            raise _Unknown
        return self._rule(" | ".join(_between(low, high)))


def _only(schema: dict[str, Any], known: set[str]) -> None:
    if schema.keys() - known - ANNOTATIONS:
        raise _Unknown


def _literal(text: str) -> str:
    """A terminal: what isn't plain ASCII is written by its code."""
    escaped = "".join(
        f"\\{each}"
        if each in '"\\'
        else each
        if " " <= each <= "~"
        else f"\\u{ord(each):04x}"
        if ord(each) < 0x10000
        else f"\\U{ord(each):08x}"
        for each in text
    )
    return f'"{escaped}"'


def _between(low: int | None, high: int | None) -> list[str]:
    """Alternatives that together are the integers from `low` to `high`, both included; None is no bound but 16 digits."""
    parts = []
    if low is None or low < 0:
        parts += [f'"-" {part}' for part in _naturals(max(1, 1 if high is None or high >= 0 else -high), None if low is None else -low)]
    if high is None or high >= 0:
        parts += _naturals(max(0, low or 0), high)
    return parts


def _naturals(low: int, high: int | None) -> list[str]:
    top = 10**16 - 1 if high is None else high
    if top < low:
        return []
    parts = []
    while len(str(low)) < len(str(top)):  # from `low` to 99…9, then one digit more
        nines = 10 ** len(str(low)) - 1
        parts += _same_length(str(low), str(nines))
        low = nines + 1
    return parts + _same_length(str(low), str(top))


def _same_length(low: str, high: str) -> list[str]:
    """The numbers from `low` to `high`, which have as many digits as each other."""
    if low == high:
        return [f'"{low}"']
    if len(low) == 1:
        return [f"[{low}-{high}]"]
    size = len(low) - 1
    if low[0] == high[0]:
        return [f'"{low[0]}" ({" | ".join(_same_length(low[1:], high[1:]))})']
    first, last = int(low[0]), int(high[0])
    parts = []
    if set(low[1:]) != {"0"}:
        parts.append(f'"{first}" ({" | ".join(_same_length(low[1:], "9" * size))})')
        first += 1
    if set(high[1:]) != {"9"}:
        parts.append(f'"{last}" ({" | ".join(_same_length("0" * size, high[1:]))})')
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}] [0-9]{{{size}}}")
    return parts

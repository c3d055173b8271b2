"""A JSON schema, cut to what Anthropic's structured outputs enforce.

The cut schema only ever allows less than the given one, but for constraints that can't be enforced at all: those are put into the
description, where the model reads them, and named in `lost`. What is neither (a free-form object, recursion) is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headrace.core.errors import NotTranslatable

KEPT = frozenset({"type", "enum", "const", "title", "description", "default", "required", "format", "pattern"})
ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "$anchor", "examples", "deprecated", "readOnly", "writeOnly"})
"""They say nothing about what is valid, so they go in silence."""
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
DEFINITIONS = ("$defs", "definitions")
SAYING = frozenset({"type", "enum", "const", "anyOf", "allOf", "$ref"})
"""Without one of these, or properties, a schema allows anything."""


class Narrowed(msgspec.Struct, frozen=True):
    """The schema to send; `lost` names the keywords that are only told; `optional` and `unions` count what the vendor limits."""

    schema: dict[str, Any]
    lost: tuple[str, ...]
    optional: int
    unions: int


def narrowed(schema: Mapping[str, Any], param: str) -> Narrowed:
    """Raises NotTranslatable, naming the path under `param`, for what Anthropic can't enforce even with less."""
    _refuse_recursion(schema, param)
    cutter = _Cutter()
    cut = cutter.cut(schema, param)
    return Narrowed(cut, tuple(sorted(cutter.lost)), cutter.optional, cutter.unions)


class _Cutter:
    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.optional = self.unions = 0

    def cut(self, schema: object, path: str) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            raise NotTranslatable(f"Anthropic cannot enforce the schema at '{path}': it allows anything.", param=path)
        kept: dict[str, Any] = {}
        told: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in ANNOTATIONS:
                continue
            if (cut := self._keyword(keyword, value, path)) is not None:
                kept |= cut
            elif keyword not in ("properties", "additionalProperties"):
                told[keyword] = value
        if "$ref" in kept:  # it stands alone: what is beside it is not read
            kept = {keyword: kept[keyword] for keyword in ("$ref", *DEFINITIONS) if keyword in kept}
        if not kept.keys() & SAYING and "properties" not in schema:
            raise NotTranslatable(f"Anthropic cannot enforce the schema at '{path}': it names no type.", param=path)
        if "properties" in schema or "object" in _types(kept):
            kept |= self._object(schema, path)
        self.unions += isinstance(kept.get("type"), list) or "anyOf" in kept
        return self._with_told(kept, told)

    def _keyword(self, keyword: str, value: Any, path: str) -> dict[str, Any] | None:
        """What one keyword becomes, or None where it can't be enforced or belongs to an object."""
        match keyword:
            case "format":
                return {keyword: value} if value in FORMATS else None
            case "minItems":
                return {keyword: value} if value in (0, 1) else None
            case "items":
                return {keyword: self.cut(value, f"{path}.items")}
            case "anyOf" | "allOf" | "oneOf" if isinstance(value, list):
                if keyword == "oneOf":
                    self.lost.add(keyword)
                members = [self.cut(one, f"{path}.{keyword}[{at}]") for at, one in enumerate(value)]
                return {"allOf" if keyword == "allOf" else "anyOf": members}
            case "$defs" | "definitions" if isinstance(value, Mapping):
                return {keyword: {name: self.cut(one, f"{path}.{keyword}.{name}") for name, one in value.items()}}
            case "$ref" if isinstance(value, str) and _defined(value) is not None:
                return {keyword: value}
            case _:
                return {keyword: value} if keyword in KEPT else None

    def _object(self, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            if schema.get("additionalProperties") is not False:
                raise NotTranslatable(f"Anthropic cannot enforce the object at '{path}': it names no properties.", param=path)
            properties = {}
        elif schema.get("additionalProperties", False) is not False:
            self.lost.add("additionalProperties")
        required = schema.get("required")
        self.optional += len(properties.keys() - set(required if isinstance(required, list) else ()))
        members = {name: self.cut(one, f"{path}.properties.{name}") for name, one in properties.items()}
        shape = {"properties": members, "additionalProperties": False}
        return shape if "type" in schema else {"type": "object"} | shape

    def _with_told(self, kept: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
        if not told:
            return kept
        self.lost |= told.keys()
        words = msgspec.json.encode(told).decode()
        return kept | {"description": f"{kept['description']} {words}" if "description" in kept else words}


def _types(schema: Mapping[str, Any]) -> list[Any]:
    told = schema.get("type")
    return told if isinstance(told, list) else [told]


def _defined(ref: str) -> str | None:
    """The definition that a reference names; None for any other reference."""
    for definitions in DEFINITIONS:
        if ref.startswith(f"#/{definitions}/"):
            return ref.removeprefix(f"#/{definitions}/")
    return None


def _refs(inside: object) -> Iterator[str]:
    if isinstance(inside, Mapping):
        if isinstance(ref := inside.get("$ref"), str):
            yield ref
        inside = list(inside.values())
    if isinstance(inside, list):
        for one in inside:
            yield from _refs(one)


def _refuse_recursion(schema: Mapping[str, Any], param: str) -> None:
    """Raises NotTranslatable where a definition reaches itself, or a reference leads where none is."""
    definitions = {name: one for under in DEFINITIONS for name, one in _members(schema.get(under))}
    for ref in _refs(schema):
        if _defined(ref) not in definitions:
            raise NotTranslatable(f"Anthropic cannot enforce the schema at '{param}': it refers to {ref!r}.", param=param)
    reached = {name: {_defined(ref) for ref in _refs(one)} for name, one in definitions.items()}
    while reached:
        leaves = {name for name, others in reached.items() if not others & reached.keys()}
        if not leaves:
            name = min(reached)
            raise NotTranslatable(f"Anthropic cannot enforce the schema at '{param}': {name!r} is recursive.", param=param)
        reached = {name: others for name, others in reached.items() if name not in leaves}


def _members(definitions: object) -> list[tuple[str, Any]]:
    return list(definitions.items()) if isinstance(definitions, Mapping) else []

"""SCIM's filters and paths (RFC 7644 §3.4.2.2, §3.5.2): text to values, and whether a resource matches.

filter = term *(("and" / "or") term)              "and" binds closer
term   = ["not"] "(" filter ")" / path "pr" / path operator value / name "[" filter "]" ["." name operator value]
path   = name ["[" filter "]"] ["." name]
"""

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from headrace.wire.scim import Resource, ScimRefused, bare, truth_of

SIZE_MAX: Final = 8_192
DEPTH_MAX: Final = 16
"""How deep brackets may stand in each other."""
_TOKEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()\[\]]|[^\s()\[\]"]+)')
_EXACT: Final = ("id", "externalid")
"""What is compared with its capitals: the names that machines give."""


class Compare(msgspec.Struct, frozen=True):
    """`path` is a name, or two: of an attribute and a part of it."""

    path: tuple[str, ...]
    sign: str
    value: str | int | float | bool | None


class Present(msgspec.Struct, frozen=True):
    path: tuple[str, ...]


class Having(msgspec.Struct, frozen=True):
    """One and the same value of the attribute matches all of it."""

    name: str
    inner: "Filter"


class And(msgspec.Struct, frozen=True):
    terms: tuple["Filter", ...]


class Or(msgspec.Struct, frozen=True):
    terms: tuple["Filter", ...]


class Not(msgspec.Struct, frozen=True):
    term: "Filter"


Filter: TypeAlias = Compare | Present | Having | And | Or | Not


class Path(msgspec.Struct, frozen=True):
    """An attribute; of several values of it those that match; and a part of it."""

    name: str
    chosen: Filter | None = None
    part: str | None = None


# Reading.


def parse_filter(text: str) -> Filter:
    """Raises ScimRefused."""
    reading = _Reading(text, "invalidFilter")
    found = reading.any(0)
    reading.end()
    return found


def parse_path(text: str) -> Path:
    """Raises ScimRefused."""
    reading = _Reading(text, "invalidPath")
    path = reading.path(0)
    reading.end()
    return path


class _Reading:
    def __init__(self, text: str, kind: str) -> None:
        if len(text) > SIZE_MAX:
            raise ScimRefused(kind, f"It is longer than {SIZE_MAX:,} letters.")
        self._text, self._kind = text, kind
        self._tokens = list(self._split(text))
        self._at = 0

    def _split(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._wrong()
            yield found[1]
            at = found.end()

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._wrong()

    def any(self, depth: int) -> Filter:
        terms = [self._all(depth)]
        while self._took("or"):
            terms.append(self._all(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _all(self, depth: int) -> Filter:
        terms = [self._term(depth)]
        while self._took("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _term(self, depth: int) -> Filter:
        if depth > DEPTH_MAX:
            raise self._wrong()
        if self._took("not"):
            self._must("(")
            return Not(self._closed(")", depth))
        if self._took("("):
            return self._closed(")", depth)
        path = self.path(depth)
        if path.chosen is None:
            return self._compared((path.name,) if path.part is None else (path.name, path.part))
        if path.part is None:
            return Having(path.name, path.chosen)
        return Having(path.name, And((path.chosen, self._compared((path.part,)))))

    def _compared(self, path: tuple[str, ...]) -> Filter:
        sign = self._next().lower()
        if sign == "pr":
            return Present(path)
        if sign not in SIGNS:
            raise self._wrong()
        try:
            value = msgspec.json.decode(self._literal(), type=str | int | float | bool | None)
        except msgspec.MsgspecError:
            raise self._wrong() from None
        return Compare(path, sign, value)

    def _literal(self) -> str:
        token = self._next()
        return token.lower() if token.lower() in ("true", "false", "null") else token

    def path(self, depth: int) -> Path:
        name, _, part = _split_name(self._next())
        if not _NAME.fullmatch(name) or (part and not _NAME.fullmatch(part)):
            raise self._wrong()
        if part or not self._took("["):
            return Path(name, part=part or None)
        chosen = self._closed("]", depth)
        following = self._peek()
        if following.startswith("."):
            self._at += 1
            if not _NAME.fullmatch(following[1:]):
                raise self._wrong()
            return Path(name, chosen, following[1:])
        return Path(name, chosen)

    def _closed(self, bracket: str, depth: int) -> Filter:
        inner = self.any(depth + 1)
        self._must(bracket)
        return inner

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._wrong()
        self._at += 1
        return token

    def _took(self, word: str) -> bool:
        if self._peek().lower() != word:
            return False
        self._at += 1
        return True

    def _must(self, word: str) -> None:
        if not self._took(word):
            raise self._wrong()

    def _wrong(self) -> ScimRefused:
        return ScimRefused(self._kind, f"It can't be read as SCIM has it: {self._text[:200]!r}.")


_NAME: Final = re.compile(r"(?:urn:[\w.:-]+:)?[A-Za-z$][\w$-]*")


def _split_name(token: str) -> tuple[str, str, str]:
    """`name.familyName`, where the name may have a urn before it, which has points in it."""
    token = bare(token)
    urn, colon, rest = token.rpartition(":")
    name, point, part = rest.partition(".")
    return urn + colon + name, point, part


# Matching.


def matches(one: Filter, resource: Resource) -> bool:
    """Whether a resource, or one value of an attribute, is as the filter says. Names that it hasn't are as if they were empty."""
    match one:
        case Compare(path=path, sign=sign, value=value):
            found = list(_values(resource, path))
            if sign == "ne":
                return not any(_holds("eq", each, value, path) for each in found)
            if value is None:
                return sign == "eq" and not found
            return any(_holds(sign, each, value, path) for each in found)
        case Present(path=path):
            return any(each not in ("", {}, []) for each in _values(resource, path))
        case Having(name=name, inner=inner):
            return any(isinstance(each, dict) and matches(inner, each) for each in _values(resource, (name,), whole=True))
        case And(terms=terms):
            return all(matches(term, resource) for term in terms)
        case Or(terms=terms):
            return any(matches(term, resource) for term in terms)
        case Not(term=term):
            return not matches(term, resource)
        case never:
            assert_never(never)


def demanded(one: Filter) -> dict[str, str]:
    """What a resource must have to match, by small letters of the attribute's name: of these it can be looked up."""
    if isinstance(one, And):
        return {name: value for term in one.terms for name, value in demanded(term).items()}
    if isinstance(one, Compare) and one.sign == "eq" and len(one.path) == 1 and isinstance(one.value, str):
        return {one.path[0].lower(): one.value}
    return {}


def named(one: Filter) -> frozenset[str]:
    """The attributes that it is about, in small letters."""
    match one:
        case Compare(path=path) | Present(path=path):
            return frozenset((path[0].lower(),))
        case Having(name=name):
            return frozenset((name.lower(),))
        case And(terms=terms) | Or(terms=terms):
            return frozenset[str]().union(*(named(term) for term in terms))
        case Not(term=term):
            return named(term)
        case never:
            assert_never(never)


def _values(resource: Resource, path: tuple[str, ...], *, whole: bool = False) -> Iterator[Any]:
    """What stands at a path. Of a value with parts, where none is named, its `value` is meant."""
    held = next((value for name, value in resource.items() if name.lower() == path[0].lower()), None)
    for each in held if isinstance(held, list) else () if held is None else (held,):
        if not isinstance(each, dict) or (whole and len(path) == 1):
            yield each
        elif (found := each.get("value") if len(path) == 1 else next(_values(each, path[1:]), None)) is not None:
            yield found


def _holds(sign: str, held: Any, asked: Any, path: tuple[str, ...]) -> bool:
    if isinstance(held, bool):
        truth = truth_of(asked)
        return truth is not None and sign == "eq" and held is truth
    if not isinstance(held, str) or not isinstance(asked, str):
        return False  # a resource has texts and truths
    if path[-1].lower() in _EXACT:
        return SIGNS[sign](held, asked)
    return SIGNS[sign](held.casefold(), asked.casefold())


SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "co": lambda held, asked: asked in held,
    "sw": lambda held, asked: held.startswith(asked),
    "ew": lambda held, asked: held.endswith(asked),
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}

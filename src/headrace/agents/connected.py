"""Tools of connected servers (MCP): what the person says of a server, and the cards that follow from it.

What a server says of its own tools is told to the model and never lowers a check: a hint that a tool only reads does nothing by itself, and
a hint that it destroys takes back what the person's settings say of many tools at once. Who can have written what it returns is anyone,
unless the person says otherwise.
"""

import re
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.agents.cards import ArgumentRole, Card, Effect, EffectKind, Field
from headrace.agents.labels import Readers, Writers
from headrace.agents.tools import Tool
from headrace.agents.words import words

SAYS_CHARS_MAX: Final = 2_000
NAME_CHARS_MAX: Final = 64

Author: TypeAlias = Literal["anyone", "service", "inside", "own"]
WRITERS: Final[dict[Author, Writers]] = {
    "anyone": Writers.ANYONE,
    "service": Writers.SERVICE,
    "inside": Writers.INSIDE,
    "own": Writers.OWN,
}


class ToolTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tool of a server does, where the person knows: its kind of effect, and what its arguments are to that."""

    name: str
    kind: EffectKind = "app"
    arguments: dict[str, ArgumentRole] = {}
    returns: Author | None = None


class ServerTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connected server: a `command` that runs in the sandbox, or a `url`."""

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    hosts: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    token_env: str | None = None
    environment: dict[str, str] = {}
    tools: tuple[str, ...] = ("*",)
    reads: tuple[str, ...] = ()
    returns: Author = "anyone"
    tool: tuple[ToolTerms, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", self.name):
            raise ValueError(f"mcp {self.name!r}: a name has 1 to 31 letters, digits, - and _, and begins with a letter")
        if bool(self.command) == bool(self.url):
            raise ValueError(f"mcp {self.name!r}: give either command or url")
        if self.url is not None:
            if not self.url.startswith(("https://", "http://")):
                raise ValueError(f"mcp {self.name!r}: url begins with https:// or http://")
            if self.hosts or self.read or self.environment:
                raise ValueError(f"mcp {self.name!r}: hosts, read and environment belong to a command")
        elif self.token_env is not None:
            raise ValueError(f"mcp {self.name!r}: token_env belongs to a url; a command gets secrets by environment")

    @property
    def contained(self) -> bool:
        """Whether whatever it does stays in the sandbox: a command without a network."""
        return bool(self.command) and not self.hosts


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server describes it; the hints are its own, None where it gives none."""

    name: str
    says: str
    schema: str
    arguments: tuple[str, ...]
    reads_only: bool | None = None
    destroys: bool | None = None


def called(server: str, tool: str) -> str:
    """The name by which a model calls it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}__{tool}")[:NAME_CHARS_MAX]


def offered(server: ServerTerms, offer: Offer) -> Tool | None:
    """The tool with its card; None where the person does not want it."""
    if not _matches(server.tools, offer.name):
        return None
    terms = next((terms for terms in server.tool if terms.name == offer.name), None)
    author = (terms.returns if terms else None) or server.returns
    card = Card(
        tool=called(server.name, offer.name),
        says=offer.says[:SAYS_CHARS_MAX],
        effect=_effect(server, offer, terms),
        arguments=_roles(server, offer, terms),
        rest=Field(writers=WRITERS[author], readers=Readers.PERSON),
        repeatable=_reads(server, offer, terms),
    )
    return Tool(card, schema=offer.schema)


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _reads(server: ServerTerms, offer: Offer, terms: ToolTerms | None) -> bool:
    """The person says that it only reads, and the server does not say that it does more."""
    return terms is None and _matches(server.reads, offer.name) and offer.reads_only is not False and not offer.destroys


def _effect(server: ServerTerms, offer: Offer, terms: ToolTerms | None) -> Effect:
    if server.contained:
        return Effect(kind="run", contained=True)
    reads = _reads(server, offer, terms)
    kind: EffectKind = "fetch" if reads else terms.kind if terms else "app"
    return Effect(kind=kind, audience=Readers.ANYONE, final=not reads, words=frozenset(words(server.name)), varied=terms is None)


def _roles(server: ServerTerms, offer: Offer, terms: ToolTerms | None) -> dict[str, ArgumentRole]:
    """What is not said is content that leaves; where nothing can leave, it matters to nobody."""
    said: dict[str, ArgumentRole] = terms.arguments if terms else {}
    return {**dict.fromkeys(offer.arguments, "free"), **said} if server.contained else said

"""What is known of a tool, as data: what it does to the world, what its arguments are to that, and who can have written what it returns.

A card is written once for a tool, by who connects it, and can be read by the person. The rules of `judge` know roles, never tools.
A field or an argument that a card does not name is taken for the worst: anyone can have written it, only the person may read it, and
what is passed in it is content that leaves.
"""

from typing import Literal, TypeAlias

import msgspec

from headrace.agents.labels import Readers, Writers

ArgumentRole: TypeAlias = Literal[
    "recipient",  # who will get it: an address or a name
    "url",  # where a request goes
    "account",  # who will be paid
    "amount",  # how much
    "object",  # which existing thing it happens to
    "when",  # on which day
    "title",  # the few words under which the person will see it
    "content",  # what is said
    "fact",  # what will be held true of the person
    "path",  # where in the workspace
    "hosts",  # which hosts may be reached meanwhile
    "asked",  # what the person is asked to do themselves
    "free",  # chooses nothing that matters
]

FieldRole: TypeAlias = Literal["text", "handle", "name", "address", "amount", "size", "time", "today"]
"""`handle`: as a whole it names an existing thing of the person's own, whatever its letters say. `name`: what a person calls the record.
`address`: where the record's people or accounts are reached."""

EffectKind: TypeAlias = Literal[
    "message",
    "publish",
    "invite",
    "membership",
    "event",
    "file",
    "delete",
    "share",
    "reserve",
    "pay",
    "profile",
    "password",
    "fetch",
    "run",
    "app",
    "remember",
]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool does. `audience` is who gets to read what it passes on; `audience_with` names arguments that widen it when given.

    `final`: it can't be taken back, or binds the person. `contained`: it happens inside the sandbox, where it can be undone as a whole.
    `words`: more words by which a person asks for it, such as the name of the application. `varied`: with other arguments it is another
    effect, whichever they are; else only other aims make it one.
    """

    kind: EffectKind
    audience: Readers = Readers.PERSON
    audience_with: dict[str, Readers] = {}
    final: bool = False
    contained: bool = False
    words: frozenset[str] = frozenset()
    varied: bool = False


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Of one field of what a tool returns. `own_where`: it is the person's own in a record whose field (first) holds one of these."""

    writers: Writers = Writers.ANYONE
    readers: Readers = Readers.PERSON
    role: FieldRole = "text"
    own_where: tuple[str, frozenset[str]] | None = None


UNKNOWN = Field()


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One tool. `fields` goes by the name of the field, `""` being a bare value and `"*"` a key; `rest` is for those not named.

    `repeatable`: doing it twice is doing it once, so that after a crash it may simply be done again.
    """

    tool: str
    says: str = ""
    effect: Effect | None = None
    arguments: dict[str, ArgumentRole] = {}
    fields: dict[str, Field] = {}
    rest: Field = UNKNOWN
    repeatable: bool = False

    def role(self, argument: str) -> ArgumentRole:
        return self.arguments.get(argument, "content" if self.effect else "free")

    def field(self, name: str) -> Field:
        return self.fields.get(name, self.rest)

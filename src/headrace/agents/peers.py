"""Other agents (A2A) that the person has connected: what is said of one, and the tools by which it is given tasks.

What is sent to one leaves, and is held to the rules about what may leave; what it answers can have been written by anyone, unless the
person says otherwise. A task is named by a handle of ours, which means nothing to any other tool.
"""

import re
from typing import Final

import msgspec

from headrace.agents.cards import Card, Effect, Field
from headrace.agents.connected import SAYS_CHARS_MAX, WRITERS, Author, called
from headrace.agents.labels import Readers, Writers
from headrace.agents.tools import Tool
from headrace.agents.words import words

SEND: Final = "send"
CHECK: Final = "check"
CANCEL: Final = "cancel"


class PeerTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connected agent. `url` is where its card lies, or the origin at which it does; `returns` who can have written what it answers."""

    name: str
    url: str
    token_env: str | None = None
    returns: Author = "anyone"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", self.name):
            raise ValueError(f"a2a {self.name!r}: a name has 1 to 31 letters, digits, - and _, and begins with a letter")
        if not self.url.startswith(("https://", "http://")):
            raise ValueError(f"a2a {self.name!r}: url begins with https:// or http://")


def handle(terms: PeerTerms, task: str) -> str:
    """How a task of this agent is named here."""
    return f"{terms.name}:{task}"


def task_named(terms: PeerTerms, handle: str) -> str | None:
    """The agent's own name of the task; None where it is none of this agent's."""
    prefix = f"{terms.name}:"
    return handle.removeprefix(prefix) if handle.startswith(prefix) and len(handle) > len(prefix) else None


def peer_tools(terms: PeerTerms, says: str) -> tuple[Tool, ...]:
    """Its tools; `says` is how it describes itself."""
    about = f"{terms.name} is another agent, which calls itself: {says}"[:SAYS_CHARS_MAX]
    own_words = frozenset(words(terms.name))
    task = {"task": Field(writers=Writers.SERVICE, readers=Readers.PERSON, role="handle")}
    rest = Field(writers=WRITERS[terms.returns], readers=Readers.PERSON)
    asks = Effect(kind="app", audience=Readers.ANYONE, final=True, words=own_words, varied=True)
    return (
        Tool(
            Card(
                tool=called(terms.name, SEND),
                says=f"Give a task to the agent {terms.name}, or say more about one; wait for what comes of it. {about}",
                effect=asks,
                arguments={"message": "content", "task": "object"},
                fields=task,
                rest=rest,
            ),
            {"message": "All that it needs to know.", "task?": "The task to say more about; a new one when left out."},
        ),
        Tool(
            Card(
                tool=called(terms.name, CHECK),
                says=f"See what has come of a task that was given to the agent {terms.name}.",
                effect=Effect(kind="fetch", audience=Readers.ANYONE, words=own_words),
                arguments={"task": "object"},
                fields=task,
                rest=rest,
                repeatable=True,
            ),
            {"task": "The task."},
        ),
        Tool(
            Card(
                tool=called(terms.name, CANCEL),
                says=f"Have the agent {terms.name} stop a task.",
                effect=msgspec.structs.replace(asks, varied=False),
                arguments={"task": "object"},
                fields=task,
                rest=rest,
                repeatable=True,
            ),
            {"task": "The task."},
        ),
    )

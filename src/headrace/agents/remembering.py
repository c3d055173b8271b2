"""The tools of the memory: written only by the person's own sentences or with their leave, and read as records of their own."""

from typing import Final

from headrace.agents.cards import Card, Effect, Field
from headrace.agents.labels import Readers, Writers
from headrace.agents.tools import Tool

REMEMBER: Final = "remember"
RECALL: Final = "recall"
_OWN: Final = Field(writers=Writers.OWN, readers=Readers.PERSON)

MEMORY: Final[tuple[Tool, ...]] = (
    Tool(
        Card(
            tool=REMEMBER,
            says="Remember a fact or a preference of the person's for later tasks. Use their own sentence, whole and word for word.",
            effect=Effect(kind="remember", audience=Readers.PERSON, varied=True),
            arguments={"text": "fact", "everywhere": "free"},
            rest=_OWN,
            repeatable=True,
        ),
        {"text": "The sentence.", "everywhere?": "yes: for all folders, not only for this one."},
    ),
    Tool(
        Card(tool=RECALL, says="Look for what is remembered about this folder and the person.", rest=_OWN, repeatable=True),
        {"query": "What to look for."},
    ),
)

"""How the texts are read that folders and skills bring along for agents: AGENTS.md and SKILL.md.

They are context, never the person's words: no rule takes a recipient, a host or a command from them. A folder that the person trusts
counts as written inside of the house; any other as written by anyone. Nearer files come later, so that they have the last word. Of a
skill only its name and what it is for are shown; the rest is read when it is called.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.agents.events import ContextGiven
from headrace.agents.labels import Readers, Writers

CHARS_MAX: Final = 32_768
"""More of a file than this is cut: it would crowd out the work."""
_FRONT: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---\s*(?:\r?\n|\Z)", re.DOTALL)
_LINE: Final = re.compile(r"^(name|description):\s*(.*?)\s*$", re.MULTILINE)


class Skill(msgspec.Struct, frozen=True):
    """A skill by what its front matter says, and its text."""

    name: str
    description: str
    text: str


def folder_instructions(files: Mapping[str, str], path: str, *, trusted: bool) -> tuple[ContextGiven, ...]:
    """The AGENTS.md files that hold for `path`, the outermost first. Paths are relative, with slashes."""
    parts = path.split("/")[:-1]
    folders = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    names = [f"{folder}/AGENTS.md" if folder else "AGENTS.md" for folder in folders]
    writers = Writers.INSIDE if trusted else Writers.ANYONE
    return tuple(ContextGiven(name, files[name][:CHARS_MAX], writers, Readers.PERSON) for name in names if name in files)


def skill(text: str) -> Skill | None:
    """The skill of a SKILL.md, or None when it does not say its name and what it is for."""
    front = _FRONT.match(text)
    said = dict(_LINE.findall(front.group(1))) if front else {}
    if front is None or not said.get("name") or not said.get("description"):
        return None
    return Skill(_bare(said["name"]), _bare(said["description"]), text[front.end() :][:CHARS_MAX])


def _bare(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value

"""What a folder brings along for agents, read from its draft: the AGENTS.md at its root, and the list of its skills."""

import os
from typing import Final

from headrace.agents.events import ContextGiven
from headrace.agents.instructions import CHARS_MAX, folder_instructions, skill
from headrace.agents.labels import Readers, Writers
from headrace.core.errors import SandboxRefused
from headrace.sandbox import Draft
from headrace.sandbox.draft import open_beneath

SKILLS_MAX: Final = 50


def brought_along(draft: Draft, *, trusted: bool) -> tuple[ContextGiven, ...]:
    """AGENTS.md, and of each skill its name, what it is for and where it lies: an agent reads the rest when it needs it."""
    paths = draft.paths()
    texts = {path: text for path in paths if path == "AGENTS.md" and (text := _read(draft, path)) is not None}
    found = folder_instructions(texts, "AGENTS.md", trusted=trusted)
    skills = [(path, skill(_read(draft, path) or "")) for path in sorted(paths) if path.endswith("SKILL.md")][:SKILLS_MAX]
    lines = [f"{each.name}: {each.description} ({path})" for path, each in skills if each is not None]
    if not lines:
        return found
    writers = Writers.INSIDE if trusted else Writers.ANYONE
    return (*found, ContextGiven("skills of this folder", "\n".join(lines), writers, Readers.PERSON))


def _read(draft: Draft, path: str) -> str | None:
    try:
        with os.fdopen(open_beneath(draft.work, path, os.O_RDONLY), "rb") as file:
            return file.read(4 * CHARS_MAX).decode(errors="replace")
    except SandboxRefused:
        return None

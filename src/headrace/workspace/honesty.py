"""What a run says about itself when its model was not up to it: plainly, and with what would help."""

from collections.abc import Iterable
from typing import Final

from headrace.agents.events import Event, Failed, ModelSaid, PersonSaid, Returned
from headrace.agents.request import Request

STRONGER: Final = "A stronger model would help: add a pool that serves one (docs/guides/agents.md), and choose it for this task."
BUILT_IN: Final = f"The built-in model is small: it can talk, and will hardly do a task by itself. {STRONGER}"
_FAILED_SHARE_MAX: Final = 0.5


def verdict(transcript: Iterable[Event]) -> str | None:
    """Why the result is hardly what was asked for, or None."""
    said: list[str] = []
    calls = done = failed = 0
    for event in transcript:
        if isinstance(event, PersonSaid):
            said.append(event.text)
        elif isinstance(event, ModelSaid):
            calls += len(event.calls)
        done += isinstance(event, Returned)
        failed += isinstance(event, Failed)
    wanted = Request(tuple(said)).effects & {"file", "run", "delete", "fetch"}
    if wanted and not calls:
        return f"The model only talked, though the task seems to need tools. {STRONGER}"
    if failed > 2 and failed > _FAILED_SHARE_MAX * (done + failed):
        return f"{failed} of the model's {done + failed} calls could not be made as it wrote them. {STRONGER}"
    return None

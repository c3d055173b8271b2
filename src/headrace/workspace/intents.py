"""What a message wants, found by its words and never by a model: to talk, to work on files, to read pages, or a longer task.

It decides only which tools the first step has and how the model is told of its place; one click corrects it. What an agent may do is
decided elsewhere, by the rules for agents.
"""

import json
from typing import Any, Final, Literal, TypeAlias

from headrace.agents.request import Request

Intent: TypeAlias = Literal["chat", "code", "browse", "task"]
INTENTS: Final[dict[str, Intent]] = {"chat": "chat", "code": "code", "browse": "browse", "task": "task"}
CHAT: Final = (
    "You are the assistant of a workspace, in a conversation. Answer plainly and well, in Markdown where it helps. Say so when you don't "
    "know something, and when a question needs tools: the person can switch the conversation to code, browsing or a task."
)
_WORK: Final = frozenset(("file", "run", "delete"))


def intent_of(text: str, *, folder: bool) -> Intent:
    """What these words want. `folder`: there is a project that they may be about."""
    request = Request((text,))
    works = bool(request.effects & _WORK)
    if "remember" in request.effects or (works and "fetch" in request.effects):
        return "task"
    if works and (folder or request.names or "file" in request.words or "code" in request.words):
        return "code"
    return "browse" if request.urls else "chat"


def fitted(body: bytes, intent: Intent) -> bytes:
    """A request for a model's next step as this intent wants it: who only talks is offered no tools, unless some were used before."""
    asked: dict[str, Any] = json.loads(body)
    messages = asked["messages"]
    if intent != "chat" or any(message.get("tool_calls") for message in messages):
        return body
    talk = [{"role": "system", "content": CHAT}, *(message for message in messages if message["role"] != "system")]
    return json.dumps({name: value for name, value in asked.items() if name != "tools"} | {"messages": talk}).encode()

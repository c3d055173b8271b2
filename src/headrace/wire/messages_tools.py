"""Tools in the words of Anthropic's Messages, as functions of a chat.

The client runs what it declares with a schema, and two kinds that Anthropic knows by name and the client runs all the same: a shell and
a text editor. What Anthropic runs itself (search, code, memory, a browser) is nobody else's: beside other tools it is left out, and that is
told; alone, nobody else can do what is asked.
"""

from collections.abc import Sequence
from typing import Any

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_turns import Written

SHELL = {
    "type": "object",
    "properties": {"command": {"type": "string", "description": "The command to run."}, "restart": {"type": "boolean"}},
}
EDITOR = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string"},
        "file_text": {"type": "string"},
        "old_str": {"type": "string"},
        "new_str": {"type": "string"},
        "insert_line": {"type": "integer"},
        "insert_text": {"type": "string"},
        "view_range": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["command", "path"],
}
KNOWN = {
    "bash_": ("Run a command in a shell that keeps its state between calls.", SHELL),
    "text_editor_": ("View, create and edit files.", EDITOR),
}
"""By how the type's name begins; what follows is a date."""
READ = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def tools_for(tools: Sequence[dict[str, Any]], written: Written) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    hosted: list[tuple[str, str]] = []
    for at, tool in enumerate(tools):
        path, kind = f"tools.{at}", str(tool.get("type") or "custom")
        if kind == "custom" or any(kind.startswith(begin) for begin in KNOWN):
            said.append(_tool(tool, path, written))
        else:
            hosted.append((path, f"only Anthropic has tools of type {kind}"))
    written.hosts(hosted, alone=not said)
    return said


def _tool(tool: dict[str, Any], path: str, written: Written) -> dict[str, Any]:
    kind, name = tool.get("type") or "custom", tool.get("name")
    if kind == "custom":
        if not isinstance(name, str) or not isinstance(tool.get("input_schema"), dict):
            raise InvalidRequest(f"{path}: a tool has a name and an input_schema", param=path)
        for field in tool.keys() - READ:
            if tool[field]:
                written.changes.append(Change("dropped", f"{path}.{field}", "a chat's tools have no such field"))
        function = {"name": name, "description": tool.get("description"), "parameters": tool["input_schema"], "strict": tool.get("strict")}
    else:
        known = next(row for begin, row in KNOWN.items() if str(kind).startswith(begin))
        function = {"name": name, "description": known[0], "parameters": known[1]}
    said: dict[str, Any] = {"type": "function", "function": {field: value for field, value in function.items() if value is not None}}
    return said | ({"cache_control": tool["cache_control"]} if tool.get("cache_control") else {})


def choice_for(choice: dict[str, Any] | None, tools: Sequence[dict[str, Any]], written: Written) -> dict[str, Any]:
    """The members `tool_choice` and `parallel_tool_calls`; `tools` are those of the chat."""
    if choice is None:
        return {}
    kind = choice.get("type")
    said: dict[str, Any] = {}
    if kind == "tool":
        if choice.get("name") not in [tool["function"]["name"] for tool in tools]:
            written.cannot("only Anthropic has the tool that must be used.", "tool_choice", open_ended=True)
        said["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in CHOICES:
        said["tool_choice"] = CHOICES[str(kind)]
    else:
        raise InvalidRequest("tool_choice.type: it is one of auto, any, tool, none", param="tool_choice.type")
    return said | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {})

"""Tools in the words of OpenAI's Responses, as functions of a chat, and back.

What the client runs becomes a function: its own functions, also those in a namespace, custom tools (a text instead of JSON), and the shell
and the patches that coding agents know by name. What the vendor runs itself (search, code, images, MCP) is nobody else's: beside other
tools it is left out, and that is told, since agents declare it without needing it; alone, or where it must be used, nobody else can do what
is asked.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_turns import Written

KindOfTool: TypeAlias = Literal["function", "custom", "local_shell", "shell", "apply_patch"]


class Kind(msgspec.Struct, frozen=True):
    """What a function of the chat is to the client."""

    kind: KindOfTool
    name: str
    namespace: str | None = None


Kinds: TypeAlias = dict[str, Kind]
"""By the functions' names in the chat."""

TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False}
KNOWN: dict[str, tuple[KindOfTool, str, dict[str, Any]]] = {
    "local_shell": (
        "local_shell",
        "Run a command on the user's machine.",
        {
            "type": "object",
            "properties": {
                "command": {"type": "array", "items": {"type": "string"}, "description": "The program and its arguments."},
                "timeout_ms": {"type": "integer"},
                "working_directory": {"type": "string"},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["command"],
        },
    ),
    "shell": (
        "shell",
        "Run shell commands on the user's machine, one after another.",
        {
            "type": "object",
            "properties": {
                "commands": {"type": "array", "items": {"type": "string"}},
                "timeout_ms": {"type": "integer"},
                "max_output_length": {"type": "integer"},
            },
            "required": ["commands"],
        },
    ),
    "apply_patch": (
        "apply_patch",
        "Create, update or delete one file of the user's. A diff is in the V4A format.",
        {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": {"type": "string"},
                "diff": {"type": "string", "description": "What changes; none to delete a file."},
            },
            "required": ["type", "path"],
        },
    ),
}
READ = frozenset({"type", "name", "description", "parameters", "strict", "format"})


def chat_name(name: str, namespace: str | None) -> str:
    """What a chat calls the tool: its functions have no namespaces."""
    return f"{namespace}__{name}" if namespace else name


def tools_for(tools: Sequence[dict[str, Any]], written: Written) -> tuple[list[dict[str, Any]], Kinds]:
    said: list[dict[str, Any]] = []
    kinds: Kinds = {}
    hosted: list[tuple[str, str]] = []
    for at, tool in enumerate(tools):
        path = f"tools[{at}]"
        match tool.get("type"):
            case "function" | "custom":
                said.append(_tool(tool, None, path, kinds, written))
            case "namespace":
                for place, inner in enumerate(_objects(tool.get("tools"), f"{path}.tools")):
                    said.append(_tool(inner, str(tool.get("name")), f"{path}.tools[{place}]", kinds, written))
            case str(kind) if kind in KNOWN:
                known, description, parameters = KNOWN[kind]
                kinds[kind] = Kind(known, kind)
                said.append(_function(kind, description, parameters, None))
            case kind:
                hosted.append((path, f"only a pool that speaks the Responses dialect runs tools of type {kind}"))
    written.hosts(hosted, alone=not said)
    return said, kinds


def _tool(tool: dict[str, Any], namespace: str | None, path: str, kinds: Kinds, written: Written) -> dict[str, Any]:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{path}.name'.", param=f"{path}.name")
    called = chat_name(name, namespace)
    for field in sorted(tool.keys() - READ):
        if tool[field]:
            written.changes.append(Change("dropped", f"{path}.{field}", "a chat's tools have no such field"))
    if tool.get("type") == "custom":
        kinds[called] = Kind("custom", name, namespace)
        return _function(called, _custom(tool, path, written), TEXT, None)
    kinds[called] = Kind("function", name, namespace)
    parameters = tool.get("parameters")
    return _function(called, tool.get("description"), parameters if isinstance(parameters, dict) else None, tool.get("strict"))


def _custom(tool: dict[str, Any], path: str, written: Written) -> str:
    """The description; a grammar is told in it, since a chat's functions can't be held to one."""
    format = tool.get("format")
    words = str(tool.get("description") or "")
    if not isinstance(format, dict) or format.get("type") != "grammar":
        return words
    written.changes.append(Change("changed", f"{path}.format", "its grammar is told to the model, and not enforced"))
    return f"{words}\n\nThe input must follow this {format.get('syntax')} grammar:\n{format.get('definition')}".strip()


def _function(name: str, description: object, parameters: dict[str, Any] | None, strict: object) -> dict[str, Any]:
    told = {"name": name, "description": description, "parameters": parameters, "strict": strict}
    return {"type": "function", "function": {field: value for field, value in told.items() if value is not None}}


def choice_for(choice: str | dict[str, Any] | None, tools: list[dict[str, Any]], kinds: Kinds, written: Written) -> dict[str, Any]:
    """The members `tools` and `tool_choice`. Of allowed tools only those are told."""
    if not tools:
        if choice not in (None, "none", "auto") and written.untold is None:
            raise InvalidRequest("Invalid value for 'tool_choice': it is only allowed when 'tools' are given.", param="tool_choice")
        return {}
    if choice is None or isinstance(choice, str):
        if choice not in (None, "none", "auto", "required"):
            raise InvalidRequest(f"Invalid value for 'tool_choice': '{choice}'.", param="tool_choice")
        return {"tools": tools} | ({"tool_choice": choice} if choice else {})
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = {_named(one) for one in _objects(choice.get("tools"), "tool_choice.tools")}
        return {"tools": [tool for tool in tools if tool["function"]["name"] in allowed], "tool_choice": choice.get("mode") or "auto"}
    named = _named(choice)
    if named not in kinds:
        why = f"only a pool that speaks the Responses dialect can be made to use a tool of type {kind}."
        written.cannot(why, "tool_choice", open_ended=True)
        return {"tools": tools}
    return {"tools": tools, "tool_choice": {"type": "function", "function": {"name": named}}}


def _named(choice: dict[str, Any]) -> str:
    kind = str(choice.get("type"))
    return kind if kind in KNOWN else chat_name(str(choice.get("name")), choice.get("namespace"))


def _objects(given: object, path: str) -> list[dict[str, Any]]:
    """An array of objects. Raises InvalidRequest."""
    objects = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    if given is not None and (not isinstance(given, list) or len(objects) != len(given)):
        raise InvalidRequest(f"Invalid value for '{path}': expected an array of objects.", param=path)
    return objects

"""Tools and which of them must be called, from OpenAI's words into Anthropic's."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.anthropic_generations import Generation
from headrace.wire.anthropic_schema import Narrowed, narrowed
from headrace.wire.openai_chat import ChatRequest, NamedTool, Tool
from headrace.wire.openai_marks import mark_of

STRICT_TOOLS_MAX, STRICT_OPTIONAL_MAX, STRICT_UNIONS_MAX = 20, 24, 16
"""How much Anthropic compiles into grammars for one request: strict tools, optional properties and unions, all schemas together."""
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


class Tooling(msgspec.Struct, frozen=True):
    """The members `tools` and `tool_choice`, where there are any; `forced`: the answer must begin with a call. Tools that end a cached
    prompt bear their `Mark` as `cache_control`."""

    members: dict[str, Any]
    forced: bool
    changes: tuple[Change, ...]


def tooling_for(asked: ChatRequest, generation: Generation, called: Sequence[str], answer: Narrowed | None) -> Tooling:
    """`called` names the tools of earlier turns; `answer` is the schema of the answer, which is compiled with those of strict tools.

    Raises NotTranslatable for a call that the model can't be made to do, InvalidRequest for a choice without tools.
    """
    choice = asked.tool_choice
    forced = choice == "required" or isinstance(choice, NamedTool)
    if not asked.tools:
        if forced:
            raise InvalidRequest("Invalid value for 'tool_choice': it is only allowed when 'tools' are given.", param="tool_choice")
        return Tooling(_told_of(called), False, ())
    if forced and not generation.forces_tools:
        raise NotTranslatable("This model of Anthropic's can't be made to call a tool: only 'auto' and 'none'.", param="tool_choice")
    tools, changes = _tools(asked.tools, generation, answer)
    members: dict[str, Any] = {"tools": tools}
    if choice == "none":
        members["tool_choice"] = {"type": "none"}
    elif forced or asked.parallel_tool_calls is False:
        members["tool_choice"] = _choice(choice) | ({"disable_parallel_tool_use": True} if asked.parallel_tool_calls is False else {})
    return Tooling(members, forced, changes)


def _choice(choice: str | NamedTool | None) -> dict[str, Any]:
    if isinstance(choice, NamedTool):
        return {"type": "tool", "name": choice.function.name}
    return {"type": "any" if choice == "required" else "auto"}


def _told_of(called: Sequence[str]) -> dict[str, Any]:
    """A conversation with calls in it must name its tools, also where none may be called any more."""
    if not called:
        return {}
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in dict.fromkeys(called)]
    return {"tools": tools, "tool_choice": {"type": "none"}}


def _tools(tools: Sequence[Tool], generation: Generation, answer: Narrowed | None) -> tuple[list[dict[str, Any]], tuple[Change, ...]]:
    written, changes = [], []
    count, optional, unions = 0, answer.optional if answer else 0, answer.unions if answer else 0
    for at, tool in enumerate(tools):
        function = tool.function
        schema: dict[str, Any] = {"type": "object"} | function.parameters if function.parameters else NO_ARGUMENTS
        one: dict[str, Any] = {"name": function.name}
        if function.description:
            one["description"] = function.description
        if function.strict:
            strict, why = _strict(schema, generation)
            if strict is not None:
                fits = count < STRICT_TOOLS_MAX and optional + strict.optional <= STRICT_OPTIONAL_MAX
                if fits and unions + strict.unions <= STRICT_UNIONS_MAX:
                    count, optional, unions = count + 1, optional + strict.optional, unions + strict.unions
                    schema, one["strict"], why = strict.schema, True, ""
                else:
                    why = "Anthropic enforces no more schemas in one request"
            if why:
                changes.append(Change("dropped", f"tools[{at}].function.strict", why))
        if (mark := mark_of(tool, f"tools[{at}]")) is not None:
            one["cache_control"] = mark
        written.append(one | {"input_schema": schema})
    return written, tuple(changes)


def _strict(schema: dict[str, Any], generation: Generation) -> tuple[Narrowed | None, str]:
    """The schema as it can be enforced, or why it can't."""
    if not generation.schemas:
        return None, "this model does not enforce schemas"
    try:
        strict = narrowed(schema, "parameters")
    except NotTranslatable as wrong:
        return None, wrong.message.rstrip(".")
    if strict.lost:
        return None, f"Anthropic does not enforce {', '.join(strict.lost)}"
    return strict, ""

"""A conversation becomes the text that the model was tuned on, by the template that its file carries.

Templates are Jinja programs by strangers: they run in a sandbox, and their failures are the request's. What users write must not steer:
a `<|im_end|>` within a message would end it. So such text is marked inside before rendering, and the prompt is cut at the marks
after it; the pieces are tokenised apart, and the model reads the characters `<|im_end|>`, never the token.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headrace.core.errors import InvalidRequest, SetupError
from headrace.wire.openai_chat import Function, Message, RefusalPart, TextPart

MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]  # noncharacters: no text should hold them, and the first that it doesn't is taken

TOOLS = """\
You may call one or more functions to assist with the user's request. The functions, as JSON Schema, one a line:
<tools>
{tools}
</tools>
To call a function, answer with its name and arguments as JSON within <tool_call></tool_call> tags, and nothing else:
<tool_call>
{{"name": <function-name>, "arguments": <arguments-object>}}
</tool_call>"""


class ChatTemplate:
    """One model's template, compiled."""

    def __init__(self, source: str, bos: str, eos: str, control: Sequence[str], now: Callable[[], datetime]) -> None:
        if not source.strip():
            raise SetupError("The model carries no chat template: it is a base model, which continues texts but doesn't answer.")
        world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        world.filters["tojson"] = _tojson
        world.globals["raise_exception"] = _raise
        world.globals["strftime_now"] = lambda form: now().strftime(form)
        try:
            self._template = world.from_string(source)
        except TemplateError as wrong:
            raise SetupError(f"The model's chat template is broken: {wrong}") from None
        self._bos, self._eos, self._control = bos, eos, tuple(control)
        self.knows_tools = "tools" in source

    def render(self, messages: Sequence[Message], tools: Sequence[Function]) -> tuple[str, ...]:
        """The prompt, cut into pieces that are to be tokenised apart. Raises InvalidRequest, naming the message at fault where one is."""
        if not messages:
            raise InvalidRequest("Invalid 'messages': an empty list. Say at least one message.", param="messages")
        turns = [_turn(message, f"messages[{at}]") for at, message in enumerate(messages)]
        offered = [{"type": "function", "function": _described(tool)} for tool in tools]
        if not self.knows_tools:
            turns, offered = _told_in_words(turns, offered), []
        mark = _unused_mark(json.dumps([turns, offered], ensure_ascii=False))
        try:
            prompt = self._template.render(
                messages=self._marked(turns, mark), tools=self._marked(offered, mark) or None,
                add_generation_prompt=True, bos_token=self._bos, eos_token=self._eos,
            )  # fmt: skip
        except TemplateError as wrong:
            raise InvalidRequest(f"The model's chat template refuses these messages: {wrong}", param="messages") from None
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as wrong:
            raise InvalidRequest(f"The model's chat template can't render these messages: {wrong}", param="messages") from None
        return tuple(piece for piece in prompt.split(mark) if piece)

    def _marked(self, value: Any, mark: str) -> Any:
        if isinstance(value, str):
            for token in self._control:
                if token in value:
                    value = value.replace(token, token[:1] + mark + token[1:])
            return value
        if isinstance(value, dict):
            return {key: self._marked(inner, mark) for key, inner in value.items()}
        return [self._marked(inner, mark) for inner in value] if isinstance(value, list) else value


def _turn(message: Message, where: str) -> dict[str, Any]:
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    turn: dict[str, Any] = {"role": role, "content": _text(message, where)}
    if message.name is not None:
        turn["name"] = message.name
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": _object(call.function.arguments)}}
            for call in message.tool_calls
        ]
    return turn


def _text(message: Message, where: str) -> str:
    if message.content is None:
        if message.role not in {"assistant", "function"}:
            raise InvalidRequest(f"Missing required parameter: '{where}.content'.", param=f"{where}.content")
        return message.refusal or ""
    if isinstance(message.content, str):
        return message.content
    texts = []
    for at, part in enumerate(message.content):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                texts.append(text)
            case _:
                param = f"{where}.content[{at}]"
                raise InvalidRequest(f"Invalid value for '{param}': this model reads text only.", param=param)
    return "".join(texts)


def _object(arguments: str) -> Any:
    """Templates write arguments as JSON themselves, so they are given the object; a client's text that is none goes as it is."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _described(tool: Function) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters or {"type": "object", "properties": {}}}


def _told_in_words(turns: list[dict[str, Any]], offered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tools for a template that knows nothing of them: told in the system message, calls and results as tagged text."""
    told = [*turns]
    if offered:
        words = TOOLS.format(tools="\n".join(_tojson(tool) for tool in offered))
        if told[0]["role"] == "system":
            told[0] = {**told[0], "content": f"{told[0]['content']}\n\n{words}"}
        else:
            told.insert(0, {"role": "system", "content": words})
    said: list[dict[str, Any]] = []
    for turn in told:
        if turn["role"] == "tool":
            result = f"<tool_response>\n{turn['content']}\n</tool_response>"
            if said and said[-1].get("of_tools"):
                said[-1]["content"] += f"\n{result}"
            else:
                said.append({"role": "user", "content": result, "of_tools": True})
        elif calls := turn.get("tool_calls"):
            texts = [f"<tool_call>\n{_tojson(call['function'])}\n</tool_call>" for call in calls]
            said.append({"role": "assistant", "content": "\n".join([turn["content"], *texts]).strip()})
        else:
            said.append(turn)
    return said


def _unused_mark(text: str) -> str:
    for mark in MARKS:
        if mark not in text:
            return mark
    raise InvalidRequest("The messages hold every one of Unicode's noncharacters U+FDD0 to U+FDEF.", param="messages")


def _tojson(value: Any, indent: int | None = None, **_: Mapping[str, Any]) -> str:
    """As transformers renders it: Jinja's own would escape for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(message)

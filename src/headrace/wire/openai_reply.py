"""An answer of OpenAI's chat dialect, whole, as an agent hears it: its text, and the tools that it wants called."""

import msgspec

from headrace.core.errors import UpstreamGarbled
from headrace.core.model import Reply, ToolAsk


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    id: str = ""


def reply_of(body: bytes, *, pico_usd: int = 0, request: str = "") -> Reply:
    """The first choice. Raises UpstreamGarbled when it is no such answer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.MsgspecError as wrong:
        raise UpstreamGarbled(f"The model's answer can't be read: {wrong}") from wrong
    if not answer.choices:
        raise UpstreamGarbled("The model's answer holds no choice.")
    message = answer.choices[0].message
    return Reply(
        text=message.content or "",
        calls=tuple(ToolAsk(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()),
        tokens=answer.usage.total_tokens if answer.usage else 0,
        pico_usd=pico_usd,
        request=request or answer.id,
    )

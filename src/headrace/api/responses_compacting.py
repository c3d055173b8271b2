"""A conversation made shorter: what the user said stays, and a model sums up the rest.

The summary is sealed as a client hands it back, so that it can go on at any pool; a vendor's own compaction only he reads.
"""

from typing import Any

import msgspec

from headrace.api.responses_asking import Asked
from headrace.core.errors import InvalidRequest
from headrace.core.stream import Said, Text, Used
from headrace.core.usage import NOTHING, Usage
from headrace.gateway import Gateway, Visit
from headrace.providers import Gate, Tap
from headrace.wire.responses_answer import usage_object
from headrace.wire.responses_head import numbered
from headrace.wire.responses_seal import sealed

INSTRUCTIONS = (
    "Sum up the conversation so far for whoever goes on with it and sees nothing else: the user's aims and constraints, decisions and "
    "their reasons, facts, names and paths found, what was done, what is still to do. Be complete and brief. Say nothing else."
)


class _Summary:
    """Hears the summary."""

    verbatim: Tap | None = None
    lost = left = must_wait = False
    patience_s = 0.0

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.usage: Usage | None = None
        self.gate: Gate = self

    async def drained(self) -> None:
        """It always keeps up."""

    def hear(self, said: Said) -> None:
        if isinstance(said, Text):
            self.texts.append(said.text)
        elif isinstance(said, Used):
            self.usage = said.usage


async def compacted(asked: Asked, gateway: Gateway) -> tuple[dict[str, Any], Visit]:
    """The shorter conversation, as the answer of `compact`."""
    items = [*asked.before, *asked.own]
    if not items:
        raise InvalidRequest("Missing required parameter: 'input'.", param="input")
    native = asked.ask.native
    assert native is not None
    chat: dict[str, Any] = msgspec.json.decode(asked.ask.body)
    for name in ("tools", "tool_choice", "parallel_tool_calls", "response_format", "stream"):
        chat.pop(name, None)
    chat["messages"] = [*chat["messages"], {"role": "user", "content": INSTRUCTIONS}]
    ask = msgspec.structs.replace(
        asked.ask,
        body=msgspec.json.encode(chat),
        native=msgspec.structs.replace(native, relayable=False),
        stream=False,
        tokens_in_max=asked.ask.tokens_in_max + len(INSTRUCTIONS),
    )
    visit, summary = gateway.admit(ask), _Summary()
    await gateway.answer(ask, visit, summary)
    told = [{"summary": "".join(summary.texts).strip()}]
    said = [item for item in numbered(items, asked.ask.request[4:]) if item["type"] == "message" and item.get("role") != "assistant"]
    answer = {
        "id": asked.id,
        "object": "response.compaction",
        "created_at": asked.created_s,
        "output": [*said, {"type": "compaction", "id": f"cmp_{asked.ask.request[4:]}", "encrypted_content": sealed(told)}],
        "usage": usage_object(summary.usage or NOTHING),
    }
    return answer, visit

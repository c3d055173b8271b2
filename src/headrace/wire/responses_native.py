"""A request in the words of OpenAI's Responses, as a server of the same dialect shall get it from us.

Most pass as they came. Where we keep what was said before, and where we work on it in the background, the request is made anew: with all
that was said as its input, and without what only we understand.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headrace.wire.openai_chat import read
from headrace.wire.responses_items import SUMMARY
from headrace.wire.responses_request import ResponsesRequest
from headrace.wire.responses_seal import MARK, opened

OURS = ("previous_response_id", "conversation", "background", "background_options", "type", "generate", "max_cost")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def passes(asked: ResponsesRequest, body: bytes) -> bool:
    """Whether the request may go as it came."""
    kept_here = asked.previous_response_id or asked.conversation_id or asked.background or asked.max_cost is not None
    return not kept_here and MARK.encode() not in body and b'"item_reference"' not in body


def anew(body: bytes, items: Sequence[dict[str, Any]], *, stream: bool) -> bytes:
    raw = read(_members, body)
    members: dict[str, Any] = {**raw}
    for name in OURS:
        members.pop(name, None)
    return msgspec.json.encode(members | {"input": list(_told(items)), "stream": stream})


def _told(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The items without ids, by which only who kept them finds them, and without our seals."""
    for item in items:
        sealed = item.get("encrypted_content")
        if item.get("type") == "reasoning" and (not sealed or str(sealed).startswith(MARK)):
            continue
        if item.get("type") == "compaction" and (told := opened(str(sealed))):
            yield {"type": "message", "role": "user", "content": SUMMARY + str(told[0].get("summary", ""))}
            continue
        yield {name: value for name, value in item.items() if name not in ("id", "status")}

"""What the tests of Bedrock's requests share: its models, one of each trait, and a request as it is asked and as it is told."""

import base64
import json

import msgspec

from headrace.wire.bedrock import request_for
from headrace.wire.openai_chat import ChatRequest, read_request

OLD = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET_4 = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
SONNET_45 = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS_46 = "us.anthropic.claude-opus-4-6-v1"
SONNET_5 = "global.anthropic.claude-sonnet-5"
OPUS_47 = "anthropic.claude-opus-4-7"
OPUS_55 = "anthropic.claude-opus-5-5"
NOVA = "eu.amazon.nova-lite-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
QWEN = "qwen.qwen3-235b-a22b-2507-v1:0"

HI: dict[str, object] = {"role": "user", "content": "hi"}
SAID_HI = {"role": "user", "content": [{"text": "hi"}]}
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7").decode()
WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {"type": "object"}}}
TOLD_WEATHER = {"toolSpec": {"name": "weather", "description": "of a city", "inputSchema": {"json": {"type": "object"}}}}


def called(id: str = "call_1", arguments: str = '{"city":"Oslo"}', name: str = "weather") -> dict[str, object]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(*blocks: object) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def asked(*messages: object, **fields: object) -> ChatRequest:
    return read_request(msgspec.json.encode({"model": "ours", "messages": messages or [HI], **fields}))


def told(request: ChatRequest, model: str = SONNET_45, tokens_out_max: int = 4_096) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """The body, and what was reported: `what param`, and why."""
    translation = request_for(request, model=model, tokens_out_max=tokens_out_max)
    return json.loads(translation.body), [(f"{change.what} {change.param}", change.why) for change in translation.changes]

"""A chat without what only other vendors' servers know, for servers that speak OpenAI's dialect and may refuse what they don't know."""

from typing import Any

import msgspec

from headrace.core.translation import Change
from headrace.wire.openai_chat import read

FOREIGN = {
    "cache_control": "this pool finds a cached prompt without marks",
    "reasoning_details": "only who thought it takes it back",
}
_chats = msgspec.json.Decoder(dict[str, Any])


def plain(body: bytes) -> tuple[bytes, tuple[Change, ...]]:
    """The chat without marks for a cache and without signed thoughts, and what was left out; the text of thoughts stays."""
    if not any(f'"{name}"'.encode() in body for name in FOREIGN):
        return body, ()
    chat, changes = read(_chats, body), []
    for holder in ("tools", "messages"):
        for at, one in enumerate(chat.get(holder) or ()):
            changes += _without(one, f"{holder}[{at}]")
            parts = one.get("content")
            for place, part in enumerate(parts if isinstance(parts, list) else ()):
                changes += _without(part, f"{holder}[{at}].content[{place}]")
    return msgspec.json.encode(chat), tuple(changes)


def _without(one: dict[str, Any], path: str) -> list[Change]:
    return [Change("dropped", f"{path}.{name}", why) for name, why in FOREIGN.items() if one.pop(name, None) is not None]

"""How many tokens a prompt likely has, where no tokeniser is asked: for clients that watch how full a context is, never for a bill."""

import re

import msgspec

BYTES_A_TOKEN = 3.6
"""Of English prose and code; other scripts have fewer."""
AROUND = 4
"""What stands around each message in a template."""
MEDIA_TOKENS = 1_500
"""An image or a page, roughly."""
_MEDIA = re.compile(rb'"data:[\w/+.-]*;base64,[A-Za-z0-9+/=]*"')
_messages = msgspec.json.Decoder(dict[str, msgspec.Raw])


def tokens_likely(chat: bytes) -> int:
    """Of a chat's body: its messages, its tools, its schema."""
    members = _messages.decode(chat)
    counted = b"".join(
        bytes(members[name]) for name in ("messages", "tools", "response_format", "input", "instructions") if name in members
    )
    text, media = _MEDIA.subn(b"", counted)
    return max(1, round(len(text) / BYTES_A_TOKEN) + AROUND + media * MEDIA_TOKENS)

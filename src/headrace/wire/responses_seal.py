"""What a client keeps for us and can't read: thoughts that only their maker takes back, and summaries of what was said.

It is the client's own conversation, so the seal hides nothing from anybody who may see that: it is base64, and says whose it is.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from typing import Any

import msgspec

MARK = "headrace1:"


def sealed(details: Sequence[dict[str, Any]]) -> str:
    return MARK + b64encode(msgspec.json.encode(list(details))).decode()


def opened(sealed: str) -> list[dict[str, Any]] | None:
    """What was sealed; None for what is another's seal, or none at all."""
    if not sealed.startswith(MARK):
        return None
    try:
        return msgspec.json.decode(b64decode(sealed.removeprefix(MARK), validate=True), type=list[dict[str, Any]])
    except (NotBase64, ValueError, msgspec.MsgspecError, RecursionError):
        return None

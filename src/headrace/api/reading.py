"""Small JSON bodies, read whole into a value; what is wrong is named by its member."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from headrace.api.asgi import bounded
from headrace.core.errors import InvalidRequest
from headrace.core.unreadable import UNREADABLE

BODY_BYTES_MAX = 256 * 1024
Read = TypeVar("Read")


async def read(decoder: "msgspec.json.Decoder[Read]", request: Request) -> Read:
    """What the body says. Raises InvalidRequest or BodyTooLarge."""
    try:
        return decoder.decode(await bounded(request, BODY_BYTES_MAX, "what this route reads").body() or b"{}")
    except UNREADABLE as wrong:
        raise _unreadable(wrong) from None


def _unreadable(wrong: Exception) -> InvalidRequest:
    """It names the member that is wrong, where the message says which."""
    message = str(wrong)
    _, found, path = message.partition(" - at `$.")
    name = path.rstrip("`") if found else message.split("`")[1] if "missing required field" in message else None
    return InvalidRequest(f"The request can't be read: {message}.", param=name)

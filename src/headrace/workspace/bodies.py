"""What the workspace's handlers take from a request, and what they answer with: JSON, both ways."""

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headrace.core.errors import BodyTooLarge, InvalidRequest
from headrace.core.unreadable import UNREADABLE

BODY_BYTES_MAX: Final = 64 << 10
Kind = TypeVar("Kind", bound=msgspec.Struct)


async def body_of(request: Request, bytes_max: int) -> bytes:
    """All of it. Raises BodyTooLarge as soon as it is more."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            raise BodyTooLarge(f"This takes at most {bytes_max:,} bytes.")
        pieces.append(piece)
    return b"".join(pieces)


async def read_body(request: Request, kind: type[Kind], bytes_max: int = BODY_BYTES_MAX) -> Kind:
    """What is asked. Raises InvalidRequest, which names the field, or BodyTooLarge."""
    try:
        return msgspec.json.decode(await body_of(request, bytes_max), type=kind)
    except UNREADABLE as wrong:
        raise InvalidRequest(f"The request can't be read: {wrong}.") from None


def as_json(value: object, status: int = 200) -> Response:
    """It is kept nowhere on the way."""
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers={"cache-control": "no-store"})


class Resting(msgspec.Struct, forbid_unknown_fields=True):
    """Whether what goes on by itself shall rest."""

    paused: bool

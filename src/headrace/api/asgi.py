"""What the routes on Starlette share: who asks, a body that has an end, an answer in our form."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from headrace.api.askers import Keys, authenticate
from headrace.api.responses_asking import owner_of
from headrace.core.errors import BodyTooLarge
from headrace.core.identity import Principal

_encode = msgspec.json.Encoder().encode


class Asgi:
    def __init__(self, keys: Keys, new_id: Callable[[str], str], body_bytes_max: int) -> None:
        self._keys, self.new_id, self._body_bytes_max = keys, new_id, body_bytes_max

    def principal(self, request: Request) -> Principal:
        """Raises InvalidApiKey."""
        authorization = request.headers.get("authorization")
        return authenticate(authorization.encode("latin-1") if authorization is not None else None, self._keys)

    def owner(self, request: Request) -> str:
        return owner_of(self.principal(request))

    def owner_of(self, principal: Principal) -> str:
        """Whose what is kept is."""
        return owner_of(principal)

    async def body(self, request: Request) -> bytes:
        """Raises BodyTooLarge."""
        return await bounded(request, self._body_bytes_max, "server.body_bytes_max").body()

    def json(self, value: object) -> Response:
        return Response(_encode(value), headers=self.common(), media_type="application/json")

    def common(self) -> dict[str, str]:
        """What every answer carries."""
        return {"x-request-id": self.new_id("req_"), "openai-version": "2020-10-01"}


def bounded(request: Request, bytes_max: int, setting: str) -> Request:
    """The same request, whose body ends at `bytes_max`: reading more raises BodyTooLarge."""
    too_large = BodyTooLarge(f"The request's body is larger than {bytes_max} bytes ({setting}).")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > bytes_max:
        raise too_large
    read = 0

    async def receive() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > bytes_max:
            raise too_large
        return message

    return Request(request.scope, receive)

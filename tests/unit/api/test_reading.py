"""Bodies that are no JSON are the fault of who sends them, whichever way they are none."""

from typing import Any, cast

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from headrace.api.reading import read
from headrace.api.scim import Scim
from headrace.core.errors import InvalidRequest
from headrace.wire.scim import ScimRefused

WRONG = (b"{", b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000)


def request(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


@pytest.mark.parametrize("body", WRONG)
async def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await read(msgspec.json.Decoder(dict[str, Any]), request(body))


@pytest.mark.parametrize("body", WRONG)
async def test_a_directory_is_told_so_in_its_words(body: bytes) -> None:
    scim = Scim(gate=cast(Any, None), desk=cast(Any, None))
    with pytest.raises(ScimRefused) as refused:
        await scim.search((), request(body), cast(Any, None))
    assert refused.value.kind == "invalidSyntax"

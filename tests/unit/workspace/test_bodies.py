"""What is asked of the workspace in JSON, however it is written."""

from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from headrace.core.errors import InvalidRequest
from headrace.workspace.bodies import read_body


class Said(msgspec.Struct):
    text: str = ""


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"text": 3}', b'{"text": "\xff"}', b'{"more": ' + b"[" * 60_000 + b"]" * 60_000 + b"}"])
async def test_what_can_not_be_read_is_refused(body: bytes):
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    with pytest.raises(InvalidRequest, match="can't be read"):
        await read_body(Request({"type": "http", "method": "POST"}, receive), Said, 1 << 20)

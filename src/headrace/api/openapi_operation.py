"""What one operation of our OpenAPI document is told by."""

from typing import Any

import msgspec

PAGE = ("limit", "order", "after")
OBJECT: dict[str, Any] = {"type": "object"}
TEXT: dict[str, Any] = {"type": "string"}
METADATA: dict[str, Any] = {"type": "object", "additionalProperties": TEXT, "maxProperties": 16}


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `body` is what reads it, or the name of a form; `query` are the parameters behind the question mark;
    `answers` are the content types of what comes back."""

    method: str
    path: str
    summary: str
    body: type | str | None = None
    query: tuple[str, ...] = ()
    answers: tuple[str, ...] = ("application/json",)

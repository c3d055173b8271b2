"""A request in its client's own words, where those are not OpenAI's chat completions.

`Ask.body` is then the same request said as a chat, for the many who understand that; who speaks the client's dialect is asked in it.
"""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.translation import Change

ClientDialect: TypeAlias = Literal["messages", "responses"]
"""Anthropic's Messages, and OpenAI's Responses."""


class Native(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`headers` are those of the client that a server of its dialect must see. `changes` is what the chat does not say as it was asked;
    `untold` is why it can't say it at all, and then only a server of the dialect may be asked. `param` names the field of that reason.
    `relayable` is whether `body` may be sent as it is: it may hold what only we understand."""

    dialect: ClientDialect
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    untold: str | None = None
    param: str | None = None
    relayable: bool = True

"""A request in its client's own words, where those are not OpenAI's chat completions.

`Ask.body` is then the same request said as a chat, for the many who understand that; who speaks the client's dialect is asked in it. What
is no conversation at all (a picture to be drawn, a recording to be written down) is a `Post`, and only who offers its path is asked.
"""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.translation import Change
from headrace.core.usage import Usage

ClientDialect: TypeAlias = Literal["messages", "responses", "posts"]
"""Anthropic's Messages, OpenAI's Responses, and what is posted to any other path of OpenAI's API."""

Units: TypeAlias = tuple[tuple[str, int], ...]
"""How much of what is not counted in tokens: pictures, seconds, characters, by the name that a price has for it."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One part of a form: a field, or with a `filename` a file. `kind` is its content type, where it names one."""

    name: str
    data: bytes
    filename: str | None = None
    kind: str | None = None


class Post(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is posted to `path`, below the API's root: a form of `parts`, else the JSON of `Native.body`.

    `bound` and `units` are the most that it can use. `bounded` is whether that is sure: where only the vendor knows what a request can come
    to, nothing can be held for it. `detail` says what is made, for the books."""

    path: str
    detail: str = ""
    parts: tuple[Part, ...] = ()
    bound: Usage
    units: Units = ()
    bounded: bool = True


class Native(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`headers` are those of the client that a server of its dialect must see. `changes` is what the chat does not say as it was asked;
    `untold` is why it can't say it at all, and then only a server of the dialect may be asked. `param` names the field of that reason.
    `relayable` is whether `body` may be sent as it is: it may hold what only we understand. `post` is there in the dialect `posts` only.

    `hosted` are the tools that the vendor would run beside the client's own, by their paths in `body`: nobody can say beforehand what they
    come to. `open_ended` is the same of what can't be left out: why there is no bound to what the request costs."""

    dialect: ClientDialect
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    untold: str | None = None
    param: str | None = None
    relayable: bool = True
    hosted: tuple[str, ...] = ()
    open_ended: str | None = None
    post: Post | None = None

"""What is requested: the few facts that admission, placement and metering need, beside the client's own bytes."""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.identity import Principal

Operation: TypeAlias = Literal["chat", "embeddings"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded once.

    `tokens_in_max` is a true upper bound of the prompt's tokens and `tokens_out_max` of the answer's (all choices together, None when
    the client named none). `body` is the request as it came, so that a pool of the same dialect gets it unchanged.
    """

    request: str
    operation: Operation
    principal: Principal
    model: str
    stream: bool
    include_usage: bool
    tokens_in_max: int
    tokens_out_max: int | None
    body: bytes

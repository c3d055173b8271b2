"""What is requested: the few facts that admission, placement and metering need, beside the client's own bytes."""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.clock import Instant
from headrace.core.identity import Principal, TrafficClass
from headrace.core.native import Native
from headrace.core.rules import NO_RULES, Capability, Rules
from headrace.core.translation import Change

Operation: TypeAlias = Literal["chat", "embeddings", "moderations", "images", "speech", "transcriptions", "pass_through"]
NEEDS_NOTHING: frozenset[Capability] = frozenset()


class Ask(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, decoded once.

    `tokens_in_max` is a true upper bound of the prompt's tokens and `tokens_out_max` of the answer's (all choices together, None when
    the client named none). `body` is the request as it came, so that a pool of the same dialect gets it unchanged.

    `native` is the request in the client's own dialect, where that is not OpenAI's chat completions: `body` says the same as a chat.

    `needs` are the capabilities that a pool must have, and the path that it must offer; `affinity` is a number that requests share
    which share a prefix (0: none does); `deadline` is when an answer is of no more use; `strict` refuses a translation that would drop or
    change a parameter. `tier` is the service tier that was asked for by name.

    `user` and `session` are whom and what the client says that it asks for; `max_cost_pico` is the most that it may cost, and `choices`
    how many answers are asked for at once. `guarded` is what guardrails have done to it.
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
    traffic_class: TrafficClass = "realtime"
    rules: Rules = NO_RULES
    needs: frozenset[str] = NEEDS_NOTHING
    affinity: int = 0
    deadline: Instant | None = None
    strict: bool = False
    user: str = ""
    session: str = ""
    max_cost_pico: int | None = None
    choices: int = 1
    tier: str | None = None
    native: Native | None = None
    guarded: tuple[Change, ...] = ()

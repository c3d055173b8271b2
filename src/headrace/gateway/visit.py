"""What is known of one request while it is served: read by the door for headers, by telemetry when it is over."""

from headrace.core.clock import Instant
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway.world import World
from headrace.metering import Granted, Limiter, Refused


class Visit:
    """`tried` are the pools that were asked, in their order. `usage`, `cost_pico`, `pool` and `translation` are the last attempt's;
    `tokens_used` are those that the client pays for."""

    __slots__ = (
        "admitted_at",
        "attempts",
        "bound",
        "cost_pico",
        "evidence",
        "first_said_at",
        "granted",
        "heard",
        "limiter",
        "pool",
        "tokens_bound",
        "tokens_used",
        "translation",
        "tried",
        "usage",
        "waited_ms",
        "world",
    )

    def __init__(
        self, world: World, admitted_at: Instant, limiter: Limiter | None, granted: Granted | None, tokens_in: int, tokens_out: int
    ) -> None:
        self.bound = Usage(tokens_in, 0, 0, tokens_out)
        tokens_bound = tokens_in + tokens_out
        self.world, self.admitted_at, self.limiter, self.granted, self.tokens_bound = world, admitted_at, limiter, granted, tokens_bound
        self.attempts = self.tokens_used = self.waited_ms = 0
        self.heard = False
        self.pool: str | None = None
        self.evidence: str | None = None
        self.tried: tuple[str, ...] = ()
        self.translation: tuple[Change, ...] = ()
        self.first_said_at: Instant | None = None
        self.usage: Usage | None = None
        self.cost_pico: int | None = None

    @property
    def left(self) -> dict[str, tuple[int, int, int]]:
        """What the key's limits leave: see `RateLimited.left`."""
        return left_of(self.limiter, self.granted) if self.limiter is not None and self.granted is not None else {}


def left_of(limiter: Limiter, said: Granted | Refused) -> dict[str, tuple[int, int, int]]:
    """Of requests and tokens, where limited: the limit, what remains of it, milliseconds until all is there again."""
    left = {}
    if limiter.requests_per_minute is not None:
        left["requests"] = (limiter.requests_per_minute, said.remaining_requests or 0, said.reset_requests_ms or 0)
    if limiter.tokens_per_minute is not None:
        left["tokens"] = (limiter.tokens_per_minute, said.remaining_tokens or 0, said.reset_tokens_ms or 0)
    return left

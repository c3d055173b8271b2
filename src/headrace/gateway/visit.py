"""What is known of one request while it is served: read by the door for headers, by telemetry when it is over."""

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import Instant, Moment
from headrace.core.native import Units
from headrace.core.stream import Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway.meters import Taken, left_of_all
from headrace.gateway.world import World
from headrace.metering import Granted, Hold, Limiter, Price, Refused, Slice, rate_bound


class Visit(msgspec.Struct):
    """`tried` are the pools that were asked, in their order. `usage`, `cost_pico`, `pool` and `translation` are the last attempt's;
    `tokens_used` are those that the client pays for. `hold` is the money held for it on `accounts`, `lacks` what must be leased for it
    before it can be held; `ask` is the request with the cap on its answer that is due to `capped`, where there is one. `units` are
    the most that it can use of what its price does not count in tokens, and `left_out` is what of it was not asked for the money's sake.
    `cache` says what became of a look at answers that are kept, and then `used` is what was confirmed."""

    world: World
    admitted_at: Instant
    limiter: Limiter | None
    granted: Granted | None
    tokens_bound: int
    bound: Usage
    attempts: int = 0
    tokens_used: int = 0
    waited_ms: int = 0
    heard: bool = False
    pool: str | None = None
    evidence: str | None = None
    tried: tuple[str, ...] = ()
    translation: tuple[Change, ...] = ()
    first_said_at: Instant | None = None
    usage: Usage | None = None
    cost_pico: int | None = None
    hold: Hold | None = None
    lacks: tuple[tuple[Slice, ...], int] | None = None
    taken: tuple[Taken, ...] = ()
    ask: Ask | None = None
    price: Price | None = None
    priced_at: Moment = 0
    capped: str = ""
    units: Units = ()
    cache: str = ""
    left_out: tuple[Change, ...] = ()
    used: Used | None = None
    epoch: int = 0
    accounts: tuple[int, ...] = ()
    _rated: tuple[Usage, Price, int | None] | None = None

    @property
    def bound_pico(self) -> int:
        """What one attempt could cost; 0: it has no price."""
        return self.bound_at(self.price, self.units) or 0

    def bound_at(self, price: Price | None, units: Units = ()) -> int | None:
        """The same at a price, which is worked out once as long as bound and price stay what they are; None: unpriced."""
        if price is None or units:
            return rate_bound(self.bound, price, units)
        rated = self._rated
        if rated is None or rated[0] is not self.bound or rated[1] is not price:
            self._rated = rated = self.bound, price, rate_bound(self.bound, price)
        return rated[2]

    @property
    def left(self) -> dict[str, tuple[int, int, int]]:
        """What the limits leave: see `RateLimited.left`."""
        limiter, granted = self.limiter, self.granted
        left = left_of(limiter, granted) if limiter is not None and granted is not None else {}
        return left_of_all(self.taken, left) if self.taken else left


def left_of(limiter: Limiter, said: Granted | Refused) -> dict[str, tuple[int, int, int]]:
    """Of requests and tokens, where limited: the limit, what remains of it, milliseconds until all is there again."""
    left = {}
    if limiter.requests_per_minute is not None:
        left["requests"] = (limiter.requests_per_minute, said.remaining_requests or 0, said.reset_requests_ms or 0)
    if limiter.tokens_per_minute is not None:
        left["tokens"] = (limiter.tokens_per_minute, said.remaining_tokens or 0, said.reset_tokens_ms or 0)
    return left

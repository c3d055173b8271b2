"""What is known of one request while it is served: read by the door for headers, by telemetry when it is over."""

from headrace.core.ask import Ask
from headrace.core.clock import Instant, Moment
from headrace.core.native import Units
from headrace.core.stream import Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway.meters import Taken, left_of_all
from headrace.gateway.world import World
from headrace.metering import Granted, Hold, Limiter, Price, Refused, Slice, rate_bound

NO_ACCOUNTS: tuple[int, ...] = ()


class Visit:
    """`tried` are the pools that were asked, in their order. `usage`, `cost_pico`, `pool` and `translation` are the last attempt's;
    `tokens_used` are those that the client pays for. `hold` is the money held for it on `accounts`, `lacks` what must be leased for it
    before it can be held; `ask` is the request with the cap on its answer that is due to `capped`, where there is one. `units` are
    the most that it can use of what its price does not count in tokens, and `left_out` is what of it was not asked for the money's sake.
    `cache` says what became of a look at answers that are kept,
    and then `used` is what was confirmed."""

    __slots__ = (
        "accounts",
        "admitted_at",
        "ask",
        "attempts",
        "bound",
        "cache",
        "capped",
        "cost_pico",
        "epoch",
        "evidence",
        "first_said_at",
        "granted",
        "heard",
        "hold",
        "lacks",
        "left_out",
        "limiter",
        "pool",
        "price",
        "priced_at",
        "taken",
        "tokens_bound",
        "tokens_used",
        "translation",
        "tried",
        "units",
        "usage",
        "used",
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
        self.hold: Hold | None = None
        self.lacks: tuple[tuple[Slice, ...], int] | None = None
        self.taken: tuple[Taken, ...] = ()
        self.ask: Ask | None = None
        self.price: Price | None = None
        self.priced_at: Moment = 0
        self.capped = ""
        self.units: Units = ()
        self.cache = ""
        self.left_out: tuple[Change, ...] = ()
        self.used: Used | None = None
        self.epoch, self.accounts = 0, NO_ACCOUNTS

    @property
    def bound_pico(self) -> int:
        """What one attempt could cost; 0: it has no price."""
        return rate_bound(self.bound, self.price, self.units) or 0

    @property
    def left(self) -> dict[str, tuple[int, int, int]]:
        """What the limits leave: see `RateLimited.left`."""
        left = left_of(self.limiter, self.granted) if self.limiter is not None and self.granted is not None else {}
        return left_of_all(self.taken, left) if self.taken else left


def left_of(limiter: Limiter, said: Granted | Refused) -> dict[str, tuple[int, int, int]]:
    """Of requests and tokens, where limited: the limit, what remains of it, milliseconds until all is there again."""
    left = {}
    if limiter.requests_per_minute is not None:
        left["requests"] = (limiter.requests_per_minute, said.remaining_requests or 0, said.reset_requests_ms or 0)
    if limiter.tokens_per_minute is not None:
        left["tokens"] = (limiter.tokens_per_minute, said.remaining_tokens or 0, said.reset_tokens_ms or 0)
    return left

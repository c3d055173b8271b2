"""What a pool is made of in the simulator: replicas on silicon, or a vendor that sells tokens."""

from collections.abc import Iterator
from math import exp

import msgspec

from headrace.core.clock import SECOND, Instant
from headrace.metering import Limiter, Refused
from headrace.portfolio import Pool
from headrace.simulator.fleet import Block
from headrace.simulator.prefix import PrefixCache, Segments

CACHE_TOKENS = 1 << 40
"""A vendor's own cache is never full for one customer."""
RTT_MS: tuple[tuple[float, ...], ...] = (
    (30, 95, 160, 120, 180),
    (95, 20, 170, 190, 80),
    (160, 170, 50, 290, 180),
    (120, 190, 290, 30, 250),
    (180, 80, 180, 250, 40),
)
"""Typical round trips between the geographies na, eu, apac, sa, mea, and within each: an estimate from public looking glasses, ±30 %."""


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens bought from a vendor: log-normal times around those that its pool says, and the limits of our account there."""

    spread: float = 0.35
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A pool with what serves it: `block` or `vendor`. `hour_pico` is what an accelerator-hour costs."""

    pool: Pool
    block: Block | None = None
    vendor: Vendor | None = None
    geography: int = 0
    hour_pico: int = 0
    kw_per_accelerator: float | None = None
    carbon_g_per_kwh: float | None = None

    def __post_init__(self) -> None:
        if (self.block is None) == (self.vendor is None):
            raise ValueError(f"pool {self.pool.name!r} is either made of replicas or a vendor's")

    @property
    def accelerators(self) -> int:
        return 0 if self.block is None else self.block.replicas * self.block.service.accelerators


class Counter:
    """A vendor as it is asked: it refuses what is over the account's limits, caches prefixes, and takes its time."""

    def __init__(self, site: Site) -> None:
        assert site.vendor is not None
        self._vendor, self._pool = site.vendor, site.pool
        self._cache = PrefixCache()
        limited = site.vendor.requests_per_minute, site.vendor.tokens_per_minute
        self._limiter = None if limited == (None, None) else Limiter(requests_per_minute=limited[0], tokens_per_minute=limited[1], now=0)

    def ask(
        self, now: Instant, tokens_in: int, tokens_out: int, segments: Segments, normal: Iterator[float]
    ) -> tuple[float, float, int] | int:
        """When the first and the last token come, in milliseconds from now, and how many of the prompt's tokens were cached; or, of a
        refusal, in how many milliseconds to ask again."""
        if self._limiter is not None:
            taken = self._limiter.take(now, tokens_in + tokens_out)
            if isinstance(taken, Refused):
                return taken.retry_after_ms if taken.retry_after_ms is not None else 60 * SECOND // 1_000_000
        found = self._cache.found(segments)
        hit = found if found < tokens_in else tokens_in - 1
        self._cache.keep(segments, CACHE_TOKENS)
        reading = (tokens_in - hit) / self._pool.prefill_tokens_per_s * 1_000
        first = (self._pool.ttft_ms + reading) * exp(self._vendor.spread * next(normal))
        pace = self._pool.tpot_ms * exp(self._vendor.spread / 2 * next(normal))
        return first, first + pace * (tokens_out - 1), hit

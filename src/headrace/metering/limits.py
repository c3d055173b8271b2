"""How many requests and tokens may be used a minute, or in another window of time: two integer token buckets, taken from together or not
at all.

A bucket is kept as the debt that time pays off, in units so small that there is no fraction to round: a bucket of `limit` tokens pays
`limit` units a nanosecond, and a token weighs as many units as its window has nanoseconds. The bound of a request is taken at admission,
and the difference to the truth given back at settlement. Time pays what was taken first, first; what it has paid of a request can't be
given back again, so that over any stretch of time no more is used than a full bucket and what flows into it.
"""

from collections import deque
from typing import Literal, TypeAlias

import msgspec

from headrace.core.clock import MS, SECOND, Instant
from headrace.metering.budgets import Whom

MINUTE = 60 * SECOND
DAY_WINDOW = 24 * 60 * MINUTE
HOLDS_COMPACT = 8_192
Limited: TypeAlias = Literal["requests", "tokens"]


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of the settings, and whom it holds for. None: not limited in this respect."""

    name: str
    whom: Whom
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    concurrent: int | None = None


class Hold:
    """What of a request's tokens time has not paid yet."""

    __slots__ = ("done", "unpaid")

    def __init__(self, unpaid: int) -> None:
        self.unpaid = unpaid
        self.done = False
        """Nothing of it can be given back any more."""


class Granted(msgspec.Struct, frozen=True, gc=False):
    """The request may go. What is left, and in how many milliseconds all is there again; None: not limited."""

    hold: Hold | None
    remaining_requests: int | None
    remaining_tokens: int | None
    reset_requests_ms: int | None
    reset_tokens_ms: int | None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The request must wait for `retry_after_ms`, exactly; None: it asks for more than the limit and can never pass."""

    kind: Limited
    retry_after_ms: int | None
    remaining_requests: int | None
    remaining_tokens: int | None
    reset_requests_ms: int | None
    reset_tokens_ms: int | None


class Limiter:
    """The limits of one key or of another scope, by the minute unless it is told another `window`. Instants that it is handed must not go
    back."""

    __slots__ = (
        "_at",
        "_compact_at",
        "_holds",
        "_of_others",
        "_requests_debt",
        "_tokens_debt",
        "_window",
        "requests_per_minute",
        "tokens_per_minute",
    )

    def __init__(self, *, requests_per_minute: int | None, tokens_per_minute: int | None, now: Instant, window: int = MINUTE) -> None:
        for limit in (requests_per_minute, tokens_per_minute):
            if limit is not None and limit < 1:
                raise ValueError(f"a limit is at least 1 a minute, not {limit}")
        self._window = window
        self.requests_per_minute, self.tokens_per_minute = requests_per_minute, tokens_per_minute
        self._requests_debt = self._tokens_debt = 0
        self._holds: deque[Hold] = deque()  # no longer than the requests of the last window, and those that are done are put together
        self._compact_at = HOLDS_COMPACT
        self._of_others: deque[Hold] = deque()
        self._at = now

    def room(self, now: Instant, tokens_bound: int) -> Refused | None:
        """Why a request of so many tokens can't pass now; None: it can. Nothing is taken."""
        self._pay(now)
        window, requests, tokens = self._window, self.requests_per_minute, self.tokens_per_minute
        if (requests is None or self._requests_debt <= (requests - 1) * window) and (
            tokens is None or self._tokens_debt <= (tokens - tokens_bound) * window
        ):
            return None
        wait_requests = self._wait_ns(self._requests_debt, 1, requests)
        wait_tokens = self._wait_ns(self._tokens_debt, tokens_bound, tokens)
        never = self.tokens_per_minute is not None and tokens_bound > self.tokens_per_minute
        kind: Limited = "tokens" if wait_tokens >= wait_requests or never else "requests"
        return Refused(kind, None if never else -(-max(wait_requests, wait_tokens) // MS), *self._left())

    def take(self, now: Instant, tokens_bound: int) -> Granted | Refused:
        """Take one request and `tokens_bound` tokens, or nothing."""
        refused = self.room(now, tokens_bound)
        if refused is not None:
            return refused
        if self.requests_per_minute is not None:
            self._requests_debt += self._window
        hold = None if self.tokens_per_minute is None else self._hold(tokens_bound)
        return Granted(hold, *self._left())

    def give_back(self, now: Instant, tokens: int, granted: Granted) -> int:
        """Give back what a grant's bound was too high by; a negative number takes what it was too low by. Returns how many whole tokens
        are there again for it: what time had paid already is not, and who shares the limit must not be told so."""
        if granted.hold is None:
            return 0
        self._pay(now)
        if tokens < 0:
            self._hold(-tokens)
            return tokens
        hold = granted.hold
        hold.done = True
        refund = min(tokens * self._window, hold.unpaid)
        if not refund:
            return 0
        hold.unpaid -= refund
        self._tokens_debt -= refund
        return refund // self._window

    @property
    def paid_at(self) -> tuple[Instant, Instant]:
        """When all that was taken of requests and of tokens will be paid, by what is known of all who share these limits."""
        requests, tokens = self.requests_per_minute or 1, self.tokens_per_minute or 1
        return self._at - -self._requests_debt // requests, self._at - -self._tokens_debt // tokens

    def heard(
        self,
        now: Instant,
        requests: int,
        tokens: int,
        given_back: int,
        paid_at: tuple[Instant, Instant] | None = None,
        unknown: tuple[int, int] = (0, 0),
    ) -> None:
        """Others who share these limits have taken so much more since they were heard of last, and given so much back.

        `paid_at` is that of one of them, who did not know of so many requests and tokens as `unknown` says. By it what they took and gave
        back while we heard nothing is held against nobody for longer than it is owed.
        """
        self._pay(now)
        if self.requests_per_minute is not None:
            owed = self._requests_debt + requests * self._window
            if paid_at is not None:
                owed = min(owed, max(0, paid_at[0] - now) * self.requests_per_minute + unknown[0] * self._window)
            self._requests_debt = owed
        if self.tokens_per_minute is not None:
            back = min(given_back * self._window, self._tokens_debt)  # time may have paid here what they gave back there
            owed = self._tokens_debt + tokens * self._window - back
            if paid_at is not None:
                owed = min(owed, max(0, paid_at[1] - now) * self.tokens_per_minute + unknown[1] * self._window)
            if tokens:
                self._of_others.append(self._hold(tokens))
            self._release(self._tokens_debt - owed)

    def _release(self, units: int) -> None:
        """So much of what others have taken, the latest first; what we have taken is ours to give back."""
        others = self._of_others
        while units > 0 and others:
            part = min(units, others[-1].unpaid)
            others[-1].unpaid -= part
            self._tokens_debt -= part
            units -= part
            if not others[-1].unpaid:
                others.pop()
        while others and not others[0].unpaid:
            others.popleft()

    def _hold(self, tokens: int) -> Hold:
        units = tokens * self._window
        hold, holds = Hold(units), self._holds
        if not self._tokens_debt:
            holds.clear()  # all were given back whole, or asked for nothing
        elif len(holds) >= self._compact_at:
            self._holds = holds = _compacted(holds)
            self._compact_at = max(HOLDS_COMPACT, 2 * len(holds))
        holds.append(hold)
        self._tokens_debt += units
        return hold

    def _pay(self, now: Instant) -> None:
        elapsed = now - self._at
        self._at = now
        owed = self._requests_debt
        if owed and self.requests_per_minute is not None:
            owed -= elapsed * self.requests_per_minute
            self._requests_debt = owed if owed > 0 else 0
        if self._tokens_debt and self.tokens_per_minute is not None:
            self._pay_tokens(elapsed * self.tokens_per_minute)

    def _pay_tokens(self, units: int) -> None:
        if units >= self._tokens_debt:
            self._tokens_debt = 0
            for hold in self._holds:
                hold.unpaid = 0
            self._holds.clear()
            return
        self._tokens_debt -= units
        holds = self._holds
        while units:
            paid = min(units, holds[0].unpaid)
            holds[0].unpaid -= paid
            units -= paid
            if not holds[0].unpaid:
                holds.popleft()

    def _left(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Whole requests and tokens that are there now, and in how many milliseconds all is there again."""
        requests, tokens, window = self.requests_per_minute, self.tokens_per_minute, self._window
        requests_left = tokens_left = requests_ms = tokens_ms = None
        if requests is not None:
            owed = -self._requests_debt
            requests_left, requests_ms = max(0, requests + owed // window), -(owed // (requests * MS))
        if tokens is not None:
            owed = -self._tokens_debt
            tokens_left, tokens_ms = max(0, tokens + owed // window), -(owed // (tokens * MS))
        return requests_left, tokens_left, requests_ms, tokens_ms

    def _wait_ns(self, debt: int, count: int, limit: int | None) -> int:
        """How long until `count` fit, to the nanosecond, rounded up; 0: they fit now."""
        if limit is None:
            return 0
        short = debt + count * self._window - limit * self._window
        return -(-short // limit) if short > 0 else 0


def _compacted(holds: deque[Hold]) -> deque[Hold]:
    """The same debts in the same order, with those that are done and follow each other put together."""
    fewer: deque[Hold] = deque()
    for hold in holds:
        if hold.done and fewer and fewer[-1].done:
            fewer[-1].unpaid += hold.unpaid
        else:
            fewer.append(hold)
    return fewer

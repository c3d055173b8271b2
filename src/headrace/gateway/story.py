"""The story of a request, from admission to settlement.

    admit ──► decide ──► attempt 1 ──► said … said ──► used: settled ──► the last bytes
                            └─ failed before the client heard anything: attempt 2 …

Three laws hold at every point where it may end (a failure, a client who leaves, a stop, a kill): no upstream is asked before the
attempt's admission is in the usage log; the client gets no end of an answer before its settlement is in the log; every attempt is
settled or voided, and where only the upstream knows what it used, settled at its bound as an estimate. The client pays for
what it heard or left, not for attempts that failed before it heard anything.
"""

from collections.abc import Mapping
from random import Random
from typing import Protocol

from headrace.core.ask import Ask
from headrace.core.clock import MS, Clock, Instant
from headrace.core.errors import HeadraceError, ModelNotFound, NoCapacity, RateLimited, Side
from headrace.core.stream import Said, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.metering import Admit, Certainty, Granted, Limiter, Outcome, PriceBook, Record, Refused, Settle, Void, rate, rate_bound
from headrace.portfolio import Pool, Snapshot
from headrace.providers import Gate, Provider
from headrace.routing import Load, Refuse, Send, decide

TOKENS_OUT_UNBOUNDED = 16_384


class Log(Protocol):
    """Where records go to stay. Raises StorageFull for an admission that could not be settled later."""

    def append(self, record: Record) -> None: ...


class Listener(Protocol):
    """Who hears the answer. The story says how long work for one who left may go on; the door keeps to it."""

    patience_s: float

    @property
    def left(self) -> bool: ...

    def hear(self, said: Said) -> None: ...

    @property
    def gate(self) -> Gate: ...


class Visit:
    """What is known of one request while it is served: read by the door for headers, by telemetry when it is over.

    `usage`, `cost_pico` and `pool` are the last attempt's; `tokens_used` are those that the client pays for.
    """

    __slots__ = (
        "admitted_at",
        "attempts",
        "cost_pico",
        "first_said_at",
        "granted",
        "limiter",
        "pool",
        "tokens_bound",
        "tokens_used",
        "translation",
        "usage",
    )

    def __init__(self, admitted_at: Instant, limiter: Limiter | None, granted: Granted | None, tokens_bound: int) -> None:
        self.admitted_at, self.limiter, self.granted, self.tokens_bound = admitted_at, limiter, granted, tokens_bound
        self.attempts = self.tokens_used = 0
        self.pool: str | None = None
        self.translation: tuple[Change, ...] = ()
        self.first_said_at: Instant | None = None
        self.usage: Usage | None = None
        self.cost_pico: int | None = None

    @property
    def left(self) -> dict[str, tuple[int, int, int]]:
        """What the key's limits leave: see `RateLimited.left`."""
        return _left(self.limiter, self.granted) if self.limiter is not None and self.granted is not None else {}


class Gateway:
    """The live world: what exists, who answers, what it costs, and what is going on."""

    def __init__(
        self, *, snapshot: Snapshot, providers: Mapping[str, Provider], book: PriceBook, log: Log, clock: Clock, rng: Random
    ) -> None:
        self.snapshot, self.book, self.clock = snapshot, book, clock
        self._providers, self._log, self._rng = providers, log, rng
        self.loads: dict[str, Load] = {name: Load() for name in snapshot.pools}
        self._limiters: dict[str, tuple[tuple[int | None, int | None], Limiter]] = {}

    def admit(self, ask: Ask) -> Visit:
        """Take the request and its bound of tokens from the key's limits, or raise RateLimited and take nothing."""
        now, bound = self.clock.instant(), ask.tokens_in_max + self._tokens_out_max(ask)
        limiter = self._limiter(ask, now)
        if limiter is None:
            return Visit(now, None, None, bound)
        match limiter.take(now, bound):
            case Granted() as granted:
                return Visit(now, limiter, granted, bound)
            case Refused() as refused:
                raise _limited(ask, limiter, refused, bound)

    async def answer(self, ask: Ask, visit: Visit, listener: Listener) -> None:
        """Say the answer to `listener`, under the law of `core.stream`. Raises what the last attempt raised, or why no pool takes it."""
        try:
            order = self._order(ask)
            while order:
                pool, *others = order
                attempt = Attempt(self, self._log, ask, visit, pool, listener)
                listener.patience_s = pool.drain_ms_max / 1000
                load = self.loads[pool.name]
                load.inflight += 1
                try:
                    await self._providers[pool.name].answer(ask, attempt)
                    return
                except HeadraceError as failure:
                    attempt.fail(failure)
                    order = tuple(one for one in others if self.loads[one.name].inflight < one.concurrency_max)
                    if attempt.heard or listener.left or not (failure.retryable or failure.elsewhere) or not order:
                        raise  # the client has heard us or is gone, or nobody else can do better
                finally:
                    load.inflight -= 1
                    attempt.end()
        finally:
            self._give_back(visit)

    def _order(self, ask: Ask) -> tuple[Pool, ...]:
        match decide(ask, self.snapshot, self.loads, self._rng):
            case Send(order=order):
                return order
            case Refuse(reason="model_not_found"):
                raise ModelNotFound(ask.model)
            case Refuse():
                raise NoCapacity(f"Every pool that serves {ask.model} is full.")

    def _give_back(self, visit: Visit) -> None:
        if visit.limiter is not None and visit.granted is not None:
            visit.limiter.give_back(self.clock.instant(), visit.tokens_bound - visit.tokens_used, visit.granted)

    def _limiter(self, ask: Ask, now: Instant) -> Limiter | None:
        who = ask.principal
        limits = (who.requests_per_minute, who.tokens_per_minute)
        held = self._limiters.get(who.key)
        if held is not None and held[0] == limits:
            return held[1]
        if limits == (None, None):
            return None
        limiter = Limiter(requests_per_minute=limits[0], tokens_per_minute=limits[1], now=now)
        self._limiters[who.key] = (limits, limiter)
        return limiter

    def _tokens_out_max(self, ask: Ask) -> int:
        if ask.operation == "embeddings":
            return 0
        if ask.tokens_out_max is not None:
            return ask.tokens_out_max
        profile = self.snapshot.models.get(ask.model)
        return profile.tokens_out_max if profile else TOKENS_OUT_UNBOUNDED


class Attempt:
    """One try at one pool: admitted when made, ended exactly once. It hears what the provider says before the listener does."""

    def __init__(self, gateway: Gateway, log: Log, ask: Ask, visit: Visit, pool: Pool, listener: Listener) -> None:
        self._clock, self._log, self._visit, self._listener = gateway.clock, log, visit, listener
        self._open, self.heard = True, False
        self.usage: Usage | None = None
        self.gate = listener.gate
        moment, who = gateway.clock.moment(), ask.principal
        self._price = price = gateway.book.price_on(ask.model, moment)
        bound = Usage(ask.tokens_in_max, 0, 0, visit.tokens_bound - ask.tokens_in_max)
        visit.attempts += 1
        visit.pool = pool.name
        self._admit = Admit(
            ask.request,
            visit.attempts,
            moment,
            who.organization,
            who.project,
            who.key,
            who.traffic_class,
            ask.operation,
            ask.model,
            pool.name,
            ask.stream,
            bound,
            rate_bound(bound, price),
            price.id if price is not None else None,
        )
        log.append(self._admit)

    def hear(self, said: Said) -> None:
        """Settle as soon as the usage is known, before what follows it is passed on."""
        self.heard = True
        if isinstance(said, Used):
            self._finish(said.usage, "client_left" if self._listener.left else "completed", said.model_served)
        elif self._visit.first_said_at is None:
            self._visit.first_said_at = self._clock.instant()
        self._listener.hear(said)

    def translated(self, changes: tuple[Change, ...]) -> None:
        self._visit.translation = changes

    def fail(self, failure: HeadraceError) -> None:
        """The upstream failed, or refused."""
        if not self._open:
            return
        if self.usage is not None and self.usage.tokens_out:
            self._finish(self.usage, "failed", None)
        elif failure.may_bill or (self._visit.first_said_at is not None and failure.side is Side.UPSTREAM):
            self._finish(None, "failed", None)  # it may have computed, and may bill: only it knows what
        else:
            self._void(failure.code)

    def end(self) -> None:
        """However the attempt ended: when nothing has settled it by now, the client has left or the server stops."""
        if self._open:
            self._finish(self.usage, "client_left" if self._listener.left else "stopped", None)

    def _finish(self, usage: Usage | None, outcome: Outcome, model_served: str | None) -> None:
        """Settle: at what was used, or where nobody said so at the bound, as an estimate."""
        self._open = False
        visit, clock = self._visit, self._clock
        certainty: Certainty = "confirmed" if usage is not None else "estimated"
        visit.usage = usage if usage is not None else self._admit.bound
        if self.heard or outcome in ("completed", "client_left"):
            visit.cost_pico = rate(visit.usage, self._price)
            visit.tokens_used += visit.usage.total
        else:
            visit.cost_pico = 0  # nobody pays for an answer of which nothing arrived; the tokens stay on record
        ttft_ms = None if visit.first_said_at is None else (visit.first_said_at - visit.admitted_at) // MS
        duration_ms = (clock.instant() - visit.admitted_at) // MS
        self._log.append(
            Settle(self._admit, clock.moment(), visit.usage, visit.cost_pico, certainty, outcome, ttft_ms, duration_ms, model_served)
        )

    def _void(self, reason: str) -> None:
        self._open = False
        self._log.append(Void(self._admit, self._clock.moment(), reason))


def _limited(ask: Ask, limiter: Limiter, refused: Refused, bound: int) -> RateLimited:
    limit = limiter.requests_per_minute if refused.kind == "requests" else limiter.tokens_per_minute
    unit = "RPM" if refused.kind == "requests" else "TPM"
    wanted = f", Requested {bound}" if refused.kind == "tokens" else ""
    remedy = "Ask for fewer tokens." if refused.retry_after_ms is None else f"Please try again in {refused.retry_after_ms} ms."
    reached = f"Rate limit reached for {ask.model} in project {ask.principal.project} on {refused.kind} per min ({unit})"
    return RateLimited(
        f"{reached}: Limit {limit}{wanted}. {remedy}",
        kind=refused.kind,
        retry_after_ms=refused.retry_after_ms,
        left=_left(limiter, refused),
    )


def _left(limiter: Limiter, said: Granted | Refused) -> dict[str, tuple[int, int, int]]:
    """Of requests and tokens, where limited: the limit, what remains of it, milliseconds until all is there again."""
    left = {}
    if limiter.requests_per_minute is not None:
        left["requests"] = (limiter.requests_per_minute, said.remaining_requests or 0, said.reset_requests_ms or 0)
    if limiter.tokens_per_minute is not None:
        left["tokens"] = (limiter.tokens_per_minute, said.remaining_tokens or 0, said.reset_tokens_ms or 0)
    return left

"""The story of a request, from admission to settlement.

    admit ──► decide ──► (wait in line) ──► attempt 1 ──► said … said ──► used: settled ──► the last bytes
                ▲                               └─ failed before the client heard anything ─┐
                └───────────────────────────────── decide again, without who was tried ─────┘

Three laws hold at every point where it may end (a failure, a client who leaves, a stop, a kill): no upstream is asked before the
attempt's admission is in the usage log; the client gets no end of an answer before its settlement is in the log; every attempt is
settled or voided, and where only the upstream knows what it used, settled at its bound as an estimate. The client pays for
what it heard or left, not for attempts that failed before it heard anything.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS, SECOND, Clock, Instant, Moment
from headrace.core.errors import (
    ContextLengthExceeded,
    GuardrailRefused,
    HeadraceError,
    ModelNotFound,
    NoCapacity,
    NotAllowed,
    NotTranslatable,
    RateLimited,
    StorageFull,
)
from headrace.core.stream import Said, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway.attempt import Attempt, Listener, Log, Prices
from headrace.gateway.guarding import Guards
from headrace.gateway.meters import Meters, check, give_back, part_of, take
from headrace.gateway.neighbours import Neighbours
from headrace.gateway.race import Race, Runner
from headrace.gateway.room import Room, Waiter, leave, stand
from headrace.gateway.till import NOBODY, Quote, Till
from headrace.gateway.visit import Visit, left_of
from headrace.gateway.world import World
from headrace.metering import Declined, Evidence, Granted, Limiter, Price, Refused, Sale, cards_of, rate, share_of
from headrace.portfolio import Pool, TokenCost
from headrace.routing import Choice, Load, Place, Placed, Reason, Refuse, RetryBudget, Send, Shares, Shortlist, Wait, decide, outliers

TOKENS_OUT_UNBOUNDED = 16_384
COMPARED_EVERY = SECOND
PLACED_KEPT = 64
LASTING: frozenset[Reason] = frozenset(("forbidden", "incapable", "context"))
FIELDS: dict[str, str] = {
    "capability:tools": "tools",
    "capability:images": "messages",
    "capability:audio": "messages",
    "capability:json_schema": "response_format",
    "capability:reasoning": "reasoning_effort",
    "capability:logprobs": "logprobs",
}
"""Which field of a chat asks for what a pool can't do."""
EVIDENCED_MAX = 16_384
"""Of so many kinds of requests it is known that their evidence was said; then all is said again, which changes nothing."""
HEARD_AGAIN = MS // 2
"""How old what the other workers do may be when a request is placed."""
KEPT = Choice(Pool(name="headrace:cache", dialect="local", models={}), Load(), TokenCost(), 0)
"""Where answers come from that are kept. No pool of the settings can have that name."""
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Tasks: TypeAlias = "dict[asyncio.Task[None], tuple[Runner, Pool]]"


class Answer(NamedTuple):
    """What a pool said once, under the law of `core.stream`, and what of the request it did not take as it was asked."""

    pool: str
    said: tuple[Said, ...]
    translation: tuple[Change, ...]


class Gateway:
    """The live world: what exists, who answers, what it costs, and what is going on. `world` may be changed at any time, whole."""

    def __init__(
        self,
        *,
        world: World,
        log: Log,
        clock: Clock,
        rng: Random,
        spawn: Spawn,
        neighbours: Neighbours | None = None,
        till: Till | None = None,
    ) -> None:
        """`spawn` starts a task that the server owns. `neighbours` are the other workers of this server, where there are any; `till` is
        where money is held, where there may be budgets."""
        self._till, self._meters = till, Meters(neighbours)
        self._meters.change(world.limits)
        self._neighbours, self._heard_at, self._compared_at = neighbours, 0, 0
        self.world, self.clock = world, clock
        self._log, self._rng, self._spawn = log, rng, spawn
        self._limiters: dict[str, tuple[tuple[int | None, int | None], Limiter]] = {}
        self._evidenced: set[str] = set()
        self._told_prices: set[str] = set()
        self._retries, self._hedges = RetryBudget(world.terms.retry_share), RetryBudget(world.terms.hedge_share_max, 10.0, saved=1.0)
        self._shares = Shares(world.terms.vendor_share_max, window_s=world.terms.share_window_s)

    def change(self, world: World) -> None:
        """Serve by `world` from now on; requests that run go on with the one they began with."""
        if world.terms != self.world.terms:
            self._retries, self._hedges = RetryBudget(world.terms.retry_share), RetryBudget(world.terms.hedge_share_max, 10.0, saved=1.0)
            self._shares = Shares(world.terms.vendor_share_max, window_s=world.terms.share_window_s)
        self.world, self._heard_at = world, 0
        self._meters.change(world.limits)

    def share_limits(self, hosts: int) -> None:
        """So many hosts share all limits, in equal parts."""
        self._meters.share(hosts)
        for (requests, tokens), limiter in self._limiters.values():
            limiter.requests_per_minute, limiter.tokens_per_minute = part_of(requests, hosts), part_of(tokens, hosts)

    def admit(self, ask: Ask) -> Visit:
        """Take the request and its bound from all limits that hold for it, and hold what it could cost; or raise why not, and take
        nothing."""
        asked, world = ask, self.world
        if world.guards is not None:
            ask = self._guarded(ask, world.guards)
        now, tokens_in, tokens_out = self.clock.instant(), ask.tokens_in_max, ask.tokens_out_max
        if tokens_out is None:
            tokens_out = self._tokens_out_max(ask)
        bound = tokens_in + tokens_out
        limited = self._meters.of(ask, now)
        if limited:
            check(limited, ask, bound, now)
        limiter, granted = self._limiter(ask, now), None
        if limiter is not None:
            granted = self._granted(ask, limiter, bound, now)
        visit = Visit(world, now, limiter, granted, bound, Usage(tokens_in, 0, 0, tokens_out))
        if ask.native is not None and ask.native.post is not None:
            visit.bound = ask.native.post.bound
        if limited:
            visit.taken = take(limited, bound, now)
        if self._till is not None and self._till.concerns(ask):
            self._hold(ask, visit, self._till)
        if ask is not asked and visit.ask is None:
            visit.ask = ask
        return visit

    def _guarded(self, ask: Ask, guards: Guards) -> Ask:
        """As the guardrails leave it. Raises GuardrailRefused, which is put on record."""
        try:
            return guards.admitted(ask)
        except GuardrailRefused as refusal:
            self._decline(ask, None, (), refusal, f"{refusal.code} ({refusal.guardrail}: {refusal.why})")
            raise

    def _granted(self, ask: Ask, limiter: Limiter, bound: int, now: Instant) -> Granted:
        """From the key's own limits."""
        shared = self._neighbours.key(ask.principal.limited_as or ask.principal.key) if self._neighbours is not None else None
        if shared is not None and (news := shared.news()):
            limiter.heard(now, *news)
        granted = limiter.take(now, bound)
        if isinstance(granted, Refused):
            raise _limited(ask, limiter, granted, bound)
        if shared is not None:
            shared.add(1, bound, 0, limiter.paid_at)
        return granted

    async def quote(self, ask: Ask, *, fresh: bool = True) -> Quote:
        """What the request could cost at most, and whether there is money for it; nothing is held. `fresh`: by what the store says now of
        its budgets, not by what was heard last. Raises BudgetsUnreachable, and what guardrails say of it."""
        if self.world.guards is not None:
            ask = self.world.guards.admitted(ask)
        tokens_in, tokens_out = ask.tokens_in_max, ask.tokens_out_max
        if tokens_out is None:
            tokens_out = self._tokens_out_max(ask)
        visit = Visit(self.world, self.clock.instant(), None, None, tokens_in + tokens_out, Usage(tokens_in, 0, 0, tokens_out))
        if ask.native is not None and ask.native.post is not None:
            visit.bound = ask.native.post.bound
        till = self._till or Till(NOBODY, self.clock)
        return await till.quote(ask, visit, self._price(ask, visit.world, self.clock.moment()), fresh=fresh)

    def _hold(self, ask: Ask, visit: Visit, till: Till) -> None:
        """With its money held, or what it lacks of it known. Raises why it is refused, and has taken nothing then."""
        try:
            visit.priced_at = moment = self.clock.moment()
            till.admit(ask, visit, self._price(ask, visit.world, moment))
        except BaseException:
            self._give_back(ask, visit)
            raise

    def _price(self, ask: Ask, world: World, moment: Moment) -> Price | None:
        """The most that the request can be sold at, wherever it goes."""
        return world.book.sale(_sale(ask, world), moment)

    async def answer(self, ask: Ask, visit: Visit, listener: Listener) -> None:
        """Say the answer to `listener`, under the law of `core.stream`. Raises what the last attempt raised, or why no pool takes it."""
        world, failure = visit.world, None
        self._retries.earn()
        try:
            if visit.lacks is not None and self._till is not None:
                await self._till.fetch(ask if world.guards is None else _as_read(ask, visit), visit)
            ask = visit.ask or ask
            while True:
                now = self.clock.instant()
                decided = self._decide(ask, visit, now)
                if failure is not None and not (isinstance(decided, Send) and self._retries.spend()):
                    raise failure  # nobody waits in line for a second attempt
                choice = self._take(decided, visit, now) or await self._waited(ask, visit, decided, now)
                try:
                    if world.terms.hedge_share_max and not visit.tried:
                        await self._hedged(ask, visit, choice, decided.placed, listener)
                    else:
                        await self._attempt(ask, visit, choice, decided.placed, listener)
                    return
                except HeadraceError as error:
                    failure = error
                    if visit.heard or listener.left or not (error.retryable or error.elsewhere):
                        raise  # the client has heard us or is gone, or nobody else can do better
                    if visit.attempts >= world.terms.attempts_max:
                        raise
        finally:
            self._give_back(ask, visit)

    async def recall(self, ask: Ask, visit: Visit, answer: Answer, price_permille: int, listener: Listener) -> bool:
        """Say an answer again: nobody is asked, and it costs so many thousandths of its price. False: it costs more than this request was
        capped to, and nothing was said; a new one may be shorter. Raises what budgets refuse."""
        fits = True
        try:
            if visit.lacks is not None and self._till is not None:
                await self._till.fetch(ask, visit)
            world, moment = visit.world, self.clock.moment()
            sell = world.book.sale(_sale(ask, world), visit.priced_at or moment, world.snapshot.pools.get(answer.pool))
            part = None if sell is None else share_of(sell, price_permille, "#kept*")
            fits = not visit.capped or _cost_pico(answer, part) <= visit.bound_pico
            if not fits:
                return False
            if part is not None and part.id not in self._told_prices:
                self._tell_price(part, moment)
            attempt = Attempt.begin(self._log, self.clock, moment, visit.ask or ask, visit, KEPT, (), Prices(part, None), listener)
            try:
                if answer.translation:
                    attempt.translated(answer.translation)
                for one in answer.said:
                    attempt.hear(one)
            finally:
                attempt.end()
            return True
        finally:
            if fits:  # else it is answered yet
                self._give_back(ask, visit)

    def _decide(self, ask: Ask, visit: Visit, now: Instant) -> Send | Wait | Refuse:
        if self._neighbours is not None and now - self._heard_at > HEARD_AGAIN:
            self._hear(self._neighbours, now)
        return decide(ask, visit.world.board, now, self._rng, visit.world.policy, visit.tried)

    def _take(self, decided: Send | Wait | Refuse, visit: Visit, now: Instant) -> Choice | None:
        """The best of those that can, with a place taken there; None: nobody can now."""
        if decided.shortlist is not None and (decided.placed or decided.shortlist.excluded):
            visit.evidence = decided.shortlist.evidence
            if visit.evidence not in self._evidenced:
                self._keep_evidence(decided.shortlist)
        if not isinstance(decided, Send):
            return None
        choice = decided.choice
        visit.world.rooms[choice.pool.name].take(now)
        return choice

    async def _attempt(self, ask: Ask, visit: Visit, choice: Choice, placed: Placed, listener: Listener) -> None:
        """One try at a pool in which a place is taken; it is free again afterwards."""
        world, pool = visit.world, choice.pool
        room = world.rooms[pool.name]
        visit.tried = (*visit.tried, pool.name)
        attempt: Attempt | None = None
        try:
            moment = self.clock.moment()
            prices = self._prices(ask, visit, pool, moment)
            attempt = Attempt.begin(self._log, self.clock, moment, ask, visit, choice, placed, prices, listener)
            listener.patience_s = pool.drain_ms_max / 1000
            await world.providers[pool.name].answer(ask, attempt)
            self._done(room, attempt)
        except HeadraceError as failure:
            room.failed(failure, self.clock.instant())
            if attempt is not None:
                attempt.fail(failure)
            raise
        except BaseException:
            room.health.abandoned(self.clock.instant())
            raise
        finally:
            if attempt is None:
                room.free(self.clock.instant())
            else:
                attempt.end()
                room.free(attempt.ended_at)

    def _prices(self, ask: Ask, visit: Visit, pool: Pool, moment: Moment) -> Prices:
        """What the customer is promised, by the prices of when money was held for it, and what the vendor is expected to charge; what each
        row says is told once."""
        world = visit.world
        sell = visit.price
        if sell is None or world.book.heeds_place:
            sell = world.book.sale(_sale(ask, world), visit.priced_at or moment, pool)
        buy = world.buys.price_on(pool.name, ask.model, moment)
        for price in (sell, buy):
            if price is not None and price.id not in self._told_prices:
                self._tell_price(price, moment)
        return Prices(sell, buy)

    def _tell_price(self, price: Price, moment: Moment) -> None:
        self._told_prices.add(price.id)
        for card in cards_of(price, moment):
            self._log.append(card)

    def _done(self, room: Room, attempt: Attempt) -> None:
        """What an answer says about its pool."""
        attempt.end()
        ended, began, said_at, used = attempt.ended_at, attempt.began, attempt.first_said_at, attempt.used
        chats = attempt.post is None  # how fast a picture comes says nothing of how fast words do
        ttft_ms = (said_at - began) / MS if said_at is not None and chats else None
        tokens_out = used.tokens_out if attempt.confirmed and chats else 0  # of a bound no pace is learned
        room.answered(ended, ttft_ms=ttft_ms, duration_ms=(ended - began) / MS, tokens_out=tokens_out)
        if self._shares.caps:
            self._shares.add(room.pool.vendor, used.total, ended)

    # Waiting.

    async def _waited(self, ask: Ask, visit: Visit, decided: Send | Wait | Refuse, now: Instant) -> Choice:
        """As `_wait`; that nobody may have it, or can take it, whatever the moment, is put on record with why."""
        try:
            return await self._wait(ask, visit, decided, now)
        except HeadraceError as refusal:
            if isinstance(decided, Refuse) and decided.reason in LASTING and visit.evidence is not None and not visit.attempts:
                self._decline(ask, visit.evidence, decided.placed, refusal)
            raise

    def _decline(self, ask: Ask, evidence: str | None, placed: Placed, refusal: HeadraceError, code: str | None = None) -> None:
        who = ask.principal
        declined = Declined(
            ask.request,
            self.clock.moment(),
            who.organization,
            who.project,
            who.key,
            ask.traffic_class,
            ask.operation,
            ask.model,
            ask.stream,
            code or refusal.code,
            evidence,
            placed[:PLACED_KEPT],
        )
        with suppress(StorageFull):  # the client is told all the same why it is refused
            self._log.append(declined)

    async def _wait(self, ask: Ask, visit: Visit, wait: Send | Wait | Refuse, now: Instant) -> Choice:
        """Stand in the lines of all that could serve it. Raises NoCapacity at once when the wait would be too long, or is; and why, where
        nobody could serve it however long it waited."""
        if isinstance(wait, Refuse):
            raise _refusal(ask, wait, now)
        assert isinstance(wait, Wait), "who can be sent somewhere need not wait"
        world, terms = visit.world, visit.world.board.classes[ask.traffic_class]
        rooms = [world.rooms[choice.pool.name] for choice in wait.choices]
        expected_ms = min(room.expected_wait_ms(terms.priority) for room in rooms)
        patience_ms = terms.wait_ms_max if ask.deadline is None else min(terms.wait_ms_max, (ask.deadline - now) / MS)
        if expected_ms > patience_ms:
            raise _full(ask, expected_ms)
        loop = asyncio.get_running_loop()
        tenant = f"{ask.principal.organization}/{ask.principal.project}"
        place = Place(
            Waiter(loop.create_future()),
            tenant=tenant,
            priority=terms.priority,
            leaves_at=now + round(patience_ms * MS),
            idle_share=terms.idle_share,
        )
        try:
            stand(place, rooms)
        except NoCapacity:
            raise _full(ask, expected_ms) from None
        granted = place.who.granted
        timer = loop.call_later(patience_ms / 1000, _give_up, place)
        try:
            room = await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().free(self.clock.instant())  # it was given in the same moment
            raise
        except TimeoutError:
            leave(place)  # who is told how long others wait is none of them any more
            raise _full(ask, min(room.expected_wait_ms(terms.priority) for room in rooms)) from None
        finally:
            timer.cancel()
            leave(place)
            visit.waited_ms += (self.clock.instant() - now) // MS
        return next(choice for choice in wait.choices if choice.pool.name == room.pool.name)

    # Hedging.

    async def _hedged(self, ask: Ask, visit: Visit, choice: Choice, placed: Placed, listener: Listener) -> None:
        """The first try, and a second beside it when the first is slower than nearly all of its pool's answers."""
        self._hedges.earn()
        patience_ms = visit.world.rooms[choice.pool.name].slow_ms
        if patience_ms is None:
            await self._attempt(ask, visit, choice, placed, listener)
            return
        race = Race(listener)
        task = self._spawn(self._run(ask, visit, choice, placed, race.first))
        tasks = {task: (race.first, choice.pool)}
        try:
            await asyncio.wait([task], timeout=patience_ms / 1000)
            if not task.done() and race.winner is None and not listener.left:
                self._second(ask, visit, race, tasks)
            await _first_to_the_end(race, tasks)
        finally:
            race.winner = race.winner or race.first
            for task, (runner, pool) in tasks.items():
                if not task.done():
                    _stop(task, pool, lost=runner.lost)

    def _second(self, ask: Ask, visit: Visit, race: Race, tasks: Tasks) -> None:
        now = self.clock.instant()
        decided = self._decide(ask, visit, now)
        if isinstance(decided, Send) and (visit.hold is None or visit.hold.again(visit.bound_pico)) and self._hedges.spend():
            other, runner = decided.choice, race.runner()
            visit.world.rooms[other.pool.name].take(now)
            tasks[self._spawn(self._run(ask, visit, other, decided.placed, runner))] = runner, other.pool

    async def _run(self, ask: Ask, visit: Visit, choice: Choice, placed: Placed, runner: Runner) -> None:
        """One of a race. How it failed is kept and not raised: a task that raises would end the server, which owns it."""
        try:
            await self._attempt(ask, visit, choice, placed, runner)
        except Exception as failure:  # noqa: BLE001 -- raised again where the end of the race is waited for
            runner.failure = failure
            if runner.lost and not isinstance(failure, HeadraceError):
                loop = asyncio.get_running_loop()
                loop.call_exception_handler({"message": "an attempt that nobody waits for has failed", "exception": failure})

    # What is known.

    def tick(self) -> None:
        """To be called several times a second: who is closed opens, who recovers takes more, who waits is called in."""
        now = self.clock.instant()
        if self._neighbours is not None:
            self._hear(self._neighbours, now)
        over = self._shares.over(now) if self._shares.caps else frozenset()
        for room in self.world.rooms.values():
            if room.load.over_share != (room.pool.vendor in over):
                room.load.over_share = not room.load.over_share
            room.tick(now)
        if now - self._compared_at > COMPARED_EVERY:
            self._compared_at = now
            self._eject_outliers(now)

    def _eject_outliers(self, now: Instant) -> None:
        """Who became much slower than the others that serve the same model is left alone for a while."""
        world = self.world
        for pools in world.snapshot.pools_of.values():
            peers = [world.rooms[pool.name].health for pool in pools]
            for slow in outliers(peers, world.health):
                slow.eject(now, f"its first token takes {slow.load.ttft_ms:.0f} ms, far more than its peers'")

    def _keep_evidence(self, shortlist: Shortlist) -> None:
        """What the filters did is said once for all requests of a kind; each names it."""
        self._log.append(Evidence(shortlist.evidence, self.clock.moment(), shortlist.content))
        if len(self._evidenced) >= EVIDENCED_MAX:
            self._evidenced.clear()
        self._evidenced.add(shortlist.evidence)

    def _give_back(self, ask: Ask, visit: Visit) -> None:
        if visit.hold is not None:
            visit.hold.release()
        if visit.taken:
            give_back(visit.taken, visit.tokens_bound - visit.tokens_used, self.clock.instant(), visit.admitted_at)
        if visit.limiter is None or visit.granted is None:
            return
        unused = visit.tokens_bound - visit.tokens_used
        back = visit.limiter.give_back(self.clock.instant(), unused, visit.granted)
        if self._neighbours is not None:
            self._neighbours.key(ask.principal.limited_as or ask.principal.key).add(0, max(0, -back), max(0, back), visit.limiter.paid_at)

    def _hear(self, neighbours: Neighbours, now: Instant) -> None:
        self._heard_at = now
        for name, room in self.world.rooms.items():
            room.hear(neighbours.pool(name), now)

    def _limiter(self, ask: Ask, now: Instant) -> Limiter | None:
        who = ask.principal
        limits = (who.requests_per_minute, who.tokens_per_minute)
        shared_by = who.limited_as or who.key
        held = self._limiters.get(shared_by)
        if held is not None and held[0] == limits:
            return held[1]
        if limits == (None, None):
            return None
        hosts = self._meters.hosts
        limiter = Limiter(requests_per_minute=part_of(limits[0], hosts), tokens_per_minute=part_of(limits[1], hosts), now=now)
        self._limiters[shared_by] = (limits, limiter)
        return limiter

    def _tokens_out_max(self, ask: Ask) -> int:
        """The most that an answer can have whose client named no length."""
        if ask.operation == "embeddings":
            return 0
        profile = self.world.snapshot.models.get(ask.model)
        return profile.tokens_out_max if profile else TOKENS_OUT_UNBOUNDED


def _sale(ask: Ask, world: World) -> Sale:
    who = ask.principal
    return Sale(ask.model, who.organization, who.project, ask.tier, world.board.classes[ask.traffic_class].price_permille)


def _cost_pico(answer: Answer, price: Price | None) -> int:
    """What it used, at these prices; 0: it has no price."""
    return sum(rate(one.usage, price, one.calls) or 0 for one in answer.said if isinstance(one, Used) and one.usage is not None)


async def _first_to_the_end(race: Race, tasks: Tasks) -> None:
    """Until the winner is done, or somebody without having said anything, or all have failed: then what the last of them raised."""
    pending, failure = set(tasks), None
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task, (runner, _) in tasks.items():
            if not task.done() or runner.lost:
                continue
            task.result()  # who was cancelled says so
            failure = runner.failure or failure
            if runner is race.winner or runner.failure is None:
                pending = set()
                failure = runner.failure
                break
    if failure is not None:
        raise failure


def _stop(task: "asyncio.Task[None]", pool: Pool, *, lost: bool) -> None:
    if lost and pool.drain_ms_max:
        asyncio.get_running_loop().call_later(pool.drain_ms_max / 1000, task.cancel)  # it is billed whole: read what that is
    else:
        task.cancel()


def _as_read(ask: Ask, visit: Visit) -> Ask:
    """The request as guardrails left it, and without a cap that is not the client's own."""
    return ask if visit.ask is None else msgspec.structs.replace(visit.ask, tokens_out_max=ask.tokens_out_max)


def _give_up(place: Place[Waiter]) -> None:
    if not place.who.granted.done():
        place.who.granted.set_exception(TimeoutError())


def _full(ask: Ask, wait_ms: float) -> NoCapacity:
    return NoCapacity(
        f"Every pool that may serve {ask.model} is full, and the wait of a request of class {ask.traffic_class} would be about "
        f"{wait_ms / 1000:.1f} s.",
        retry_after_ms=max(1, round(wait_ms)),
    )


def _refusal(ask: Ask, refuse: Refuse, now: Instant) -> HeadraceError:
    """Why nobody takes it, as an error that says what to do."""
    excluded = refuse.shortlist.excluded if refuse.shortlist is not None else ()
    why = ", ".join(sorted({rule for _, rule in excluded}))
    match refuse:
        case Refuse(reason="model_not_found"):
            return ModelNotFound(ask.model)
        case Refuse(reason="forbidden"):
            return NotAllowed(f"No pool that serves {ask.model} may have this data: the rules about {why} leave none.")
        case Refuse(reason="incapable"):
            param = next((FIELDS[rule] for _, rule in excluded if rule in FIELDS), None)
            return NotTranslatable(f"No pool that serves {ask.model} and may have this data can do what is asked: {why}.", param=param)
        case Refuse(reason="context"):
            return ContextLengthExceeded(f"The request is too long for every pool that serves {ask.model}.", param="messages")
        case Refuse(reason="late"):
            return NoCapacity(f"No pool that serves {ask.model} is expected to answer before the deadline.")
        case Refuse(open_at=open_at):
            wait_ms = None if open_at is None else -(-(open_at - now) // MS)
            return NoCapacity(f"Every pool that may serve {ask.model} is failing or resting.", retry_after_ms=wait_ms)


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
        left=left_of(limiter, refused),
    )

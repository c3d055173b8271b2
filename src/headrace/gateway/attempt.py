"""One try at one pool: admitted when made, ended exactly once, heard before the listener is."""

from typing import NamedTuple, Protocol

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS, Clock, Instant, Moment
from headrace.core.errors import HeadraceError, Side
from headrace.core.native import Post, Units
from headrace.core.stream import Said, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage
from headrace.gateway.visit import Visit
from headrace.metering import Admit, Aside, Outcome, Price, Record, Settle, Void, bought, priced_units, sold, tier_of
from headrace.providers import Gate, Tap
from headrace.routing import Choice, Placed


class Log(Protocol):
    """Where records go to stay. Raises StorageFull for an admission that could not be settled later."""

    def append(self, record: Record | Aside) -> None: ...


class Listener(Protocol):
    """Who hears the answer. The story says how long work for one who left may go on; the door keeps to it."""

    patience_s: float

    @property
    def left(self) -> bool: ...

    @property
    def lost(self) -> bool:
        """Another attempt speaks to the client, and nobody hears this one."""
        ...

    def hear(self, said: Said) -> None: ...

    @property
    def verbatim(self) -> Tap | None:
        """Where more of an answer in the client's own dialect may go at once; None: nowhere."""
        ...

    @property
    def gate(self) -> Gate: ...


class Prices(NamedTuple):
    """What the customer is promised, and what the vendor is expected to charge. None: unpriced, or paid by the hour."""

    sell: Price | None
    buy: Price | None


class Attempt(msgspec.Struct):
    """A hearer for a provider, and a book-keeper for the log: see `begin`."""

    choice: Choice
    gate: Gate
    began: Instant
    ended_at: Instant
    used: Usage
    post: Post | None
    _admit: Admit
    _log: Log
    _clock: Clock
    _visit: Visit
    _prices: Prices
    _listener: Listener
    _translation: tuple[Change, ...]
    _open: bool = True
    heard: bool = False
    confirmed: bool = False
    first_said_at: Instant | None = None
    usage: Usage | None = None
    usage_likely: Usage | None = None
    verbatim: Tap | None = None

    @classmethod
    def begin(
        cls,
        log: Log,
        clock: Clock,
        moment: Moment,
        ask: Ask,
        visit: Visit,
        choice: Choice,
        placed: Placed,
        prices: Prices,
        listener: Listener,
    ) -> "Attempt":
        """Put the admission on record: from here on it must end. Raises what the log raises, and nothing has begun then."""
        who, bound, sell, buy = ask.principal, visit.bound, prices.sell, prices.buy
        post = None if ask.native is None else ask.native.post
        visit.attempts += 1
        visit.pool = pool = choice.pool.name
        admit = Admit(
            ask.request,
            visit.attempts,
            moment,
            who.organization,
            who.project,
            who.key,
            ask.traffic_class,
            ask.operation,
            ask.model,
            pool,
            ask.stream,
            bound,
            visit.bound_at(sell, () if post is None else tuple(priced_units(post.units, sell))),
            None if sell is None else sell.id,
            visit.evidence,
            placed,
            visit.epoch,
            visit.accounts,
            ask.tier,
            ask.user or None,
            None if buy is None else buy.id,
            None if post is None else post.detail,
        )
        began = clock.instant()
        log.append(admit)
        if visit.hold is not None:
            visit.hold.open += 1
        return cls(choice, listener.gate, began, began, bound, post, admit, log, clock, visit, prices, listener, visit.left_out)

    def hear(self, said: Said) -> None:
        """Settle as soon as the usage is known, before what follows it is passed on."""
        listener = self._listener
        if self.first_said_at is not None and self.heard and type(said) is not Used:  # more of what is being said
            listener.hear(said)
            return
        visit = self._visit
        if not self.heard and not listener.lost:
            self.heard = visit.heard = True
            visit.pool, visit.translation = self.choice.pool.name, self._translation
        if isinstance(said, Used):
            self._finish(said.usage, "client_left" if listener.left else "completed", said)
        elif self.first_said_at is None:
            self.first_said_at = now = self._clock.instant()
            if self.heard and visit.first_said_at is None:
                visit.first_said_at = now
        listener.hear(said)
        if type(said) is Verbatim and self._open:
            self.verbatim = listener.verbatim

    def translated(self, changes: tuple[Change, ...]) -> None:
        told = {change.param for change in changes}
        self._translation = (*(one for one in self._visit.left_out if one.param not in told), *changes)
        if not self._listener.lost:
            self._visit.translation = self._translation

    def fail(self, failure: HeadraceError) -> None:
        """The upstream failed, or refused."""
        if not self._open:
            return
        known = self.usage or self.usage_likely
        if known is not None and known.tokens_out:
            self._finish(self.usage, "failed", None)
        elif failure.may_bill or (self.first_said_at is not None and failure.side is Side.UPSTREAM):
            self._finish(None, "failed", None)  # it may have computed, and may bill: only it knows what
        else:
            self._open = False
            self.ended_at = now = self._clock.instant()
            self._log.append(Void(self._admit, self._admit.moment + now - self.began, failure.code))
            if self._visit.hold is not None:
                self._visit.hold.end()

    def end(self) -> None:
        """However the attempt ended: when nothing has settled it by now, the client has left, the server stops, or another was faster."""
        if self._open:
            self._finish(self.usage, "client_left" if self._listener.left else "stopped", None)

    def _finish(self, usage: Usage | None, outcome: Outcome, said: Used | None) -> None:
        """Settle: at what was used, or where nobody said so at the bound, as an estimate."""
        self._open = False
        visit, now, prices = self._visit, self._clock.instant(), self._prices
        served, calls = (None, ()) if said is None else (tier_of(said.tier) if said.tier else None, said.calls)
        units: Units = ()
        if self.post is not None:
            told = calls
            usage, calls = _counted(usage, told, self.post, prices.sell)
            units = tuple(sorted((dict(calls) | dict(told)).items()))
        self.ended_at, self.confirmed = now, usage is not None
        self.used = used = usage or self.usage_likely or visit.bound
        sell, cost_pico = sold(used, prices.sell, served, calls)
        buy, buy_pico = bought(used, prices.buy, served, calls)
        lost = self._listener.lost
        ours = not (self.heard or (outcome in PAID and not lost))
        if ours:
            cost_pico = 0  # nobody pays for an answer of which nothing arrived; the tokens stay on record, and so does what they cost us
        else:
            visit.tokens_used += used.total
        if not lost:
            visit.usage, visit.cost_pico = used, cost_pico
            if visit.cache and said is not None and usage is not None:
                visit.used = Used(usage, said.model_served, said.tier, calls)
        said_at, admit = visit.first_said_at, self._admit
        self._log.append(
            Settle(
                admit,
                admit.moment + now - self.began,
                used,
                cost_pico,
                "confirmed" if usage is not None else "estimated",
                outcome,
                None if said_at is None else (said_at - visit.admitted_at) // MS,
                (now - visit.admitted_at) // MS,
                None if said is None else said.model_served,
                self._translation,
                served,
                None if sell is None or sell.id == admit.price else sell.id,  # a row that is another than the admission's
                None if buy is None or buy.id == admit.buy else buy.id,
                buy_pico,
                ours,
                calls,
                units,
            )
        )
        if visit.hold is not None:  # with nothing in between: what the log shows and what was told of the slices must agree
            visit.hold.pay(cost_pico or 0)
            visit.hold.end()


def _counted(usage: Usage | None, units: Units, post: Post, price: Price | None) -> tuple[Usage | None, Units]:
    """What was used in tokens, and in what the price counts otherwise. Where nobody told tokens, and the price counts all that was told,
    there are none; where it does not, the bound holds, so that nothing is free for want of a word."""
    told, wanted = dict(units), priced_units(post.units, price)
    if usage is None and units and price is not None and told.keys() <= price.fees.keys():
        usage = NOTHING
    if any(name not in told for name, _ in wanted):
        usage = None
    return usage, tuple(priced_units(post.units if usage is None else units, price))


PAID: frozenset[Outcome] = frozenset(("completed", "client_left"))

"""Where a request's money is held: by budgets on all scopes at once or on none, before anybody is asked, and paid as attempts end.

Nothing is waited for while what this worker has leased is enough. Only where it lacks something for this very request (its first on an
account, or near the end of a budget) the request waits for the lender, for a moment; a lender that can't be reached is a refusal.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import Clock, Moment
from headrace.core.errors import (
    BudgetsUnreachable,
    CostTooHigh,
    HeadraceError,
    NotReady,
    OrganizationSpent,
    ProjectSpent,
    QuotaExceeded,
    Unbounded,
    Unpriced,
)
from headrace.core.money import usd
from headrace.core.native import Units
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway.visit import Visit
from headrace.gateway.world import World
from headrace.metering import (
    AccountOpening,
    Budget,
    Hold,
    Mode,
    Price,
    Slice,
    Span,
    asker_of,
    by_request_only,
    instances,
    lacking,
    opening_of,
    overspent,
    priced_units,
    rate_bound,
    reserve,
    span_of,
    spend_scope,
)
from headrace.metering.periods import ALWAYS
from headrace.portfolio import context_of
from headrace.wire.openai_caps import (
    images_in,
    native_with_tokens_out_max,
    open_ended,
    unmeasured_files,
    with_tokens_out_max,
    without_tools,
)

WAYS_MAX = 20_000
IMAGE_TOKENS_MAX = 16_384
"""More than any vendor counts for one image, of whatever size."""
TOKENS_OUT_CAP_MIN = 16
"""An answer that is cut to less is of no use: rather refuse."""
ASKED_AGAIN_MAX = 12
CALLED_IN_S = 0.02


class Lender(Protocol):
    """Who leases: it knows the store, and is known to it by an epoch."""

    @property
    def epoch(self) -> int:
        """0: nobody was reached yet."""
        ...

    async def lend(self, slices: Iterable[Slice]) -> None:
        """Ask for what the slices need, and return when they were answered. Raises NotReady when nobody answers in time."""
        ...


class Nobody:
    """Who lends where there are no budgets."""

    epoch = 0

    async def lend(self, slices: Iterable[Slice]) -> None:
        """Nobody has any."""


NOBODY: Lender = Nobody()


class BudgetLeft(msgspec.Struct, frozen=True, kw_only=True):
    """One budget that holds for a request, and what there is of it for new ones."""

    budget: str
    instance: str
    period: str
    mode: Mode
    limit_pico: int
    free_pico: int


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is bound by before it is sent. `cost_max_pico` of None: its model has no price, or it has no bound, and `unbounded`
    says why. `units_max` are the most that it takes of what its price does not count in tokens. `why`: it would be refused, and so it
    says."""

    tokens_in_max: int
    tokens_out_max: int
    units_max: Units
    cost_max_pico: int | None
    unbounded: str | None
    price: str | None
    capped: str
    budgets: tuple[BudgetLeft, ...]
    why: HeadraceError | None


class Way(msgspec.Struct, frozen=True):
    """The slices that requests of one kind are charged to, as long as none of their periods ends."""

    slices: tuple[Slice, ...]
    hard: bool
    since: Moment
    until: Moment


class Till:
    """One worker's budgets at work."""

    def __init__(self, lender: Lender, clock: Clock) -> None:
        self._lender, self._clock = lender, clock
        self._budgets: tuple[Budget, ...] = ()
        self._spans: dict[str, Span] = {}
        self._ways: dict[tuple[str, str, str, str, str], Way] = {}
        self.slices: dict[str, Slice] = {}

    def change(self, budgets: Iterable[Budget]) -> None:
        """From now on these hold; what is held goes on as it was."""
        self._budgets, self._ways = tuple(budgets), {}

    def forget(self, names: Iterable[str]) -> None:
        """These slices are given back whole, and nobody holds anything of them."""
        for name in names:
            self.slices.pop(name, None)
        self._ways = {}

    def close_holder(self) -> None:
        """The store has booked our end: nothing that we had is ours any more, and a new life begins."""
        self.slices, self._ways = {}, {}

    # At admission.

    def concerns(self, ask: Ask) -> bool:
        """Whether anything could be held for this request; the common case is that nothing is configured."""
        return bool(self._budgets or ask.principal.allowances or ask.max_cost_pico is not None)

    def admit(self, ask: Ask, visit: Visit, price: Price | None) -> None:
        """Hold what the request could cost at the visit's `priced_at`, or leave it to `fetch` where more must be leased. Raises why it is
        refused."""
        way = self._way(ask, visit.priced_at)
        if not way.slices and ask.max_cost_pico is None:
            return
        bound_pico = self._bound_pico(ask, visit, way, price)
        visit.hold = None
        if None not in [one.account for one in way.slices]:
            visit.hold = reserve(way.slices, bound_pico)
            if visit.hold is None and (spent := overspent(way.slices)) is not None:
                raise _exceeded(spent, bound_pico)
        if visit.hold is None:
            visit.lacks = way.slices, bound_pico
        else:
            self._held(visit)

    async def quote(self, ask: Ask, visit: Visit, price: Price | None, *, fresh: bool) -> Quote:
        """As `admit` would see it, with all that is known of the budgets `fresh`. Raises BudgetsUnreachable."""
        way = self._way(ask, self._clock.moment())
        why: HeadraceError | None = None
        if way.slices and (fresh or any(one.account is None for one in way.slices)):
            await self._lend(way.slices, 0)
        try:
            bound_pico = self._bound_pico(ask, visit, way, price)
            short = [one for one in way.slices if one.mode == "hard" and one.free + one.available < bound_pico]
            if short:
                scarcest = min(short, key=lambda one: one.free + one.available)
                self._cap_to_budget(ask, visit, scarcest, scarcest.free + scarcest.available, bound_pico)
            elif (spent := overspent(way.slices)) is not None:
                why = _exceeded(spent, bound_pico)
        except HeadraceError as refused:
            why = refused
        unbounded = _unbounded(visit.ask or ask, visit.world, price)
        return Quote(
            tokens_in_max=visit.bound.tokens_in,
            tokens_out_max=visit.bound.tokens_out,
            units_max=visit.units,
            cost_max_pico=None if unbounded else visit.bound_at(price, visit.units),
            unbounded=unbounded,
            price=None if price is None else price.id,
            capped=visit.capped,
            budgets=tuple(_left(one) for one in way.slices),
            why=why,
        )

    def _bound_pico(self, ask: Ask, visit: Visit, way: Way, price: Price | None) -> int:
        """What the request could cost, with its answer capped to what may be paid for it. Raises why it can't be served."""
        held_to = (
            "a hard budget holds for this key" if way.hard else "the request names a max_cost" if ask.max_cost_pico is not None else ""
        )
        if ask.operation == "chat":
            self._bound(ask, visit)
            if held_to:
                _leave_out(ask, visit, held_to)
        visit.price = price
        post = None if ask.native is None else ask.native.post
        if post is not None:
            visit.units = tuple(priced_units(post.units, price))
        if held_to and (why := _unbounded(visit.ask or ask, visit.world, price)) is not None:
            param = None if ask.native is None else ask.native.param
            raise Unbounded(f"Nobody can say what this costs at most, and {held_to}: {why}", param=param)
        bound_pico = visit.bound_at(price, visit.units)
        if bound_pico is None:
            if held_to:
                raise Unpriced(_unpriced(ask.model, visit, price, held_to), param="model")
            bound_pico = 0  # it is counted as what it is: unpriced, and flagged where usage is shown
        if ask.max_cost_pico is not None and bound_pico > ask.max_cost_pico:
            bound_pico = _cap_to_max_cost(ask, visit, price, ask.max_cost_pico)
        return bound_pico

    async def fetch(self, ask: Ask, visit: Visit) -> None:
        """Lease what is lacking. Raises QuotaExceeded where it is not there, BudgetsUnreachable where nobody can say."""
        assert visit.lacks is not None
        (slices, bound_pico), visit.lacks = visit.lacks, None
        for _ in range(ASKED_AGAIN_MAX):
            await self._lend(slices, bound_pico)
            visit.hold = reserve(slices, bound_pico, waited=True)
            if visit.hold is not None:
                self._held(visit)
                return
            if (spent := overspent(slices)) is not None:
                raise _exceeded(spent, bound_pico)
            scarcest = min(lacking(slices, bound_pico), key=lambda one: one.free + one.available)
            there_pico = scarcest.free + scarcest.available
            if scarcest.short:
                await asyncio.sleep(CALLED_IN_S)  # what others have free is called in
            elif there_pico < bound_pico:
                bound_pico = self._cap_to_budget(ask, visit, scarcest, there_pico, bound_pico)
        scarcest = min((one for one in slices if one.mode == "hard"), key=lambda one: one.free + one.available)
        if scarcest.free + scarcest.available >= bound_pico:
            raise BudgetsUnreachable("There is money for this, but others took what was leased for it each time.", retry_after_ms=1_000)
        raise _exceeded(scarcest, bound_pico)

    async def _lend(self, slices: tuple[Slice, ...], bound_pico: int) -> None:
        """What several requests wait for at once is needed together."""
        hard = [one for one in slices if one.mode == "hard"]
        for one in hard:
            one.needs.append(bound_pico)
        try:
            await self._lender.lend(slices)
        except NotReady as why:
            if not lacking(slices, bound_pico):
                return  # what only counts is counted when the bank is there again
            raise BudgetsUnreachable(
                f"Budgets can't be asked, and what was leased of them is used up: {why}", retry_after_ms=1_000
            ) from None
        finally:
            for one in hard:
                one.needs.remove(bound_pico)

    def _held(self, visit: Visit) -> None:
        assert visit.hold is not None
        visit.epoch = self._lender.epoch
        hold = visit.hold
        charged = (*hold.slices, *hold.counted) if hold.counted else hold.slices
        visit.accounts = tuple([one.account for one in charged if one.account is not None])

    # What a request is bound by.

    def _bound(self, ask: Ask, visit: Visit) -> None:
        """A true upper bound: images by more than any vendor counts, files by the longest prompt that is taken, and the answer by a cap
        that the upstream is told of."""
        bound, native = visit.bound, ask.native
        images = max(images_in(ask.body), 0 if native is None else images_in(native.body))  # a chat has no part for a screenshot
        if images:
            bound = Usage(bound.tokens_in + images * IMAGE_TOKENS_MAX, 0, 0, bound.output)
            visit.bound = bound
        if unmeasured_files(ask.body) and (most := context_of(visit.world.snapshot, ask.model) or 0) > bound.tokens_in:
            bound = Usage(most, 0, 0, bound.output)
            visit.bound = bound
        if ask.tokens_out_max is None:
            _cap(ask, visit, bound.output, "")

    def _cap_to_budget(self, ask: Ask, visit: Visit, scarcest: Slice, there_pico: int, bound_pico: int) -> int:
        """Who named no length gets what there is money for. Raises QuotaExceeded where that is too little, or a length was named."""
        if ask.tokens_out_max is not None or ask.operation != "chat":
            raise _exceeded(scarcest, bound_pico)
        tokens = _tokens_for(visit.bound, visit.price, there_pico)
        if tokens < TOKENS_OUT_CAP_MIN * ask.choices:
            raise _exceeded(scarcest, bound_pico)
        _cap(ask, visit, tokens, "budget")
        return visit.bound_at(visit.price) or 0

    # Which accounts.

    def _way(self, ask: Ask, moment: Moment) -> Way:
        who = ask.principal
        kind = who.key, ask.model, ask.traffic_class, ask.user, ask.session
        way = self._ways.get(kind)
        if way is None or not way.since <= moment < way.until:
            if len(self._ways) >= WAYS_MAX:
                self._ways.clear()
            way = self._ways[kind] = self._find_way(ask, moment)
        return way

    def _find_way(self, ask: Ask, moment: Moment) -> Way:
        asker = asker_of(ask)
        openings: list[AccountOpening] = []
        spans = [ALWAYS]
        for budget in self._budgets:
            span = span_of(moment, budget.period, budget.zone)
            for instance in instances(budget.whom, asker):
                spans.append(span)
                openings.append(opening_of(budget, instance, span))
        for key, limit_pico in ask.principal.allowances:
            name = f"key:{key}"
            openings.append(AccountOpening(name, name, "", "", ALWAYS.end, limit_pico, "hard", (100,)))
        slices = tuple(self._slice(opening) for opening in openings)
        return Way(
            slices,
            any(one.mode == "hard" for one in slices),
            max(span.start for span in spans),
            min(span.end for span in spans),
        )

    def _slice(self, opening: AccountOpening) -> Slice:
        held = self.slices.get(opening.name)
        if held is None:
            held = self.slices[opening.name] = Slice(opening)
        elif held.opening != opening:
            held.change(opening)
        return held


def _left(one: Slice) -> BudgetLeft:
    free = one.free + one.available if one.mode == "hard" else one.limit_pico - one.spent_by_others - one.settled
    opening = one.opening
    return BudgetLeft(
        budget=opening.budget,
        instance=opening.instance,
        period=opening.period,
        mode=one.mode,
        limit_pico=one.limit_pico,
        free_pico=max(0, free),
    )


def _leave_out(ask: Ask, visit: Visit, held_to: str) -> None:
    """Tools that the vendor would run beside the client's own stay away where nobody may pay for them without end."""
    native = ask.native
    if native is None or not native.hosted:
        return
    form = "tools[{}]" if native.dialect == "responses" else "tools.{}"
    shorter = msgspec.structs.replace(native, body=without_tools(native.body, native.hosted, form), hosted=())
    visit.ask = msgspec.structs.replace(visit.ask or ask, native=shorter)
    visit.left_out = tuple(Change("dropped", path, f"nobody can say what it costs at most, and {held_to}") for path in native.hosted)


def _unpriced(model: str, visit: Visit, price: Price | None, held_to: str) -> str:
    if price is None:
        return f"The model {model} has no price, and {held_to}: give it one with [[model]] usd_per_mtok."
    what = "answer" if visit.bound.tokens_out else "prompt"
    return f"The {what} of the model {model} has no price, and {held_to}: give it one with [[model]] usd_per_mtok."


def _unbounded(ask: Ask, world: World, price: Price | None) -> str | None:
    """Why nobody can say what a request costs at most; None: it has a bound."""
    native = ask.native
    if native is None:
        return (open_ended(ask.body) or _of_any_length(ask, world)) if ask.operation == "chat" else None
    if native.post is None:
        hosted = f"the vendor runs tools for it ({', '.join(native.hosted)})." if native.hosted else None
        return native.open_ended or hosted or _of_any_length(ask, world)
    if native.post.bounded or price is None or by_request_only(price):
        return None
    return f"give {native.post.path} bounds in the pool's pass_through, or price {ask.model} by the request."


def _of_any_length(ask: Ask, world: World) -> str | None:
    if not unmeasured_files(ask.body) or context_of(world.snapshot, ask.model) is not None:
        return None
    return f"a file may be more tokens than it has bytes; give {ask.model} its [[model]] tokens_context_max, and it is held to that."


def _cap(ask: Ask, visit: Visit, tokens: int, why: str) -> None:
    """The answer may have so many tokens in all, and the upstream is told so."""
    ask, each = visit.ask or ask, max(1, tokens // ask.choices)
    visit.bound = Usage(visit.bound.tokens_in, 0, 0, each * ask.choices)
    native = ask.native
    if native is not None:  # where the client's own words are relayed, they must say so too
        native = msgspec.structs.replace(native, body=native_with_tokens_out_max(native.body, native.dialect, each))
    body = with_tokens_out_max(ask.body, each)
    visit.ask = msgspec.structs.replace(ask, tokens_out_max=each * ask.choices, body=body, native=native)
    visit.capped = why


def _cap_to_max_cost(ask: Ask, visit: Visit, price: Price | None, max_cost_pico: int) -> int:
    if ask.operation != "chat":
        most = rate_bound(visit.bound, price, visit.units) or 0
        raise CostTooHigh(
            f"This could cost {usd(most)} USD, which is more than its max_cost of {usd(max_cost_pico)}, and nothing of it can be capped.",
            param="max_cost",
        )
    tokens = _tokens_for(visit.bound, price, max_cost_pico)
    if tokens < ask.choices:
        least = rate_bound(msgspec.structs.replace(visit.bound, output=ask.choices if visit.bound.output else 0), price) or 0
        raise CostTooHigh(
            f"This could cost {usd(least)} USD however short its answer were, which is more than its max_cost of {usd(max_cost_pico)}.",
            param="max_cost",
        )
    _cap(ask, visit, tokens, "max_cost")
    return visit.bound_at(price) or 0


def _tokens_for(bound: Usage, price: Price | None, pico: int) -> int:
    """How many tokens of an answer, at most those of the bound, there is money for."""
    without = rate_bound(msgspec.structs.replace(bound, output=0), price)
    with_one = rate_bound(msgspec.structs.replace(bound, output=1), price)
    if without is None or with_one is None:
        return 0
    each = with_one - without
    if pico < without:
        return 0
    return min(bound.output, (pico - without) // each) if each else bound.output


def _exceeded(one: Slice, bound_pico: int) -> QuotaExceeded:
    spent_pico = one.settled + one.spent_by_others
    opening = one.opening
    of = f" of {opening.instance}" if opening.instance else ""
    period = f" in {opening.period}" if opening.period else ""
    refusal = {None: QuotaExceeded, "organization": OrganizationSpent, "project": ProjectSpent}[spend_scope(opening.budget)]
    return refusal(
        f"You exceeded your current quota: the budget {opening.budget}{of} of {usd(one.limit_pico)} USD{period} has "
        f"{usd(max(0, one.free + one.available))} USD free for new requests ({usd(spent_pico)} USD are spent), and this one could cost "
        f"{usd(bound_pico)} USD."
    )


def remaining_pico(hold: Hold) -> int | None:
    """What is left of the scarcest budget, as far as this worker knows; None: no budget holds."""
    least: int | None = None
    for one in (*hold.slices, *hold.counted) if hold.counted else hold.slices:
        left = one.limit_pico - one.spent_by_others - one.settled - one.held
        if least is None or left < least:
            least = left
    return None if least is None else max(0, least)


__all__ = ["IMAGE_TOKENS_MAX", "NOBODY", "BudgetLeft", "Lender", "Quote", "Till", "remaining_pico"]

"""Money at the gateway: held before anybody is asked, paid as attempts end, free again when the request is over."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.errors import BudgetsUnreachable, CostTooHigh, NotReady, QuotaExceeded, Unbounded, Unpriced, UpstreamUnreachable
from headrace.core.native import Native, Post, Units
from headrace.core.stream import Finished, Text, Used, Verbatim
from headrace.core.usage import Usage
from headrace.gateway import Till, Visit
from headrace.metering import (
    Admit,
    Budget,
    LeaseAccount,
    Mode,
    PriceBook,
    Settle,
    Slice,
    Told,
    UsdPerMtok,
    Whom,
    WrittenPrice,
    compiled,
    lend,
)
from headrace.portfolio import PathBound
from headrace.testing.builders import a_book, a_pool, a_price, a_principal, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.scripted import ScriptedListener, ScriptedProvider, Step
from tests.unit.gateway.world import World

PICO = 10**6
PRICE = a_price(input="1", cached_input="1", output="4")  # a bound of 1,000 in and 500 out is 3,000 millionths of a dollar
ANSWER = (Text("hi"), Finished("stop"), Used(Usage(100, output=50)))
COST = 300 * PICO
NO_PATHS: Mapping[str, PathBound | None] = {}
NO_FEES: Mapping[str, str] = {}


class Desk:
    """A lender with accounts of its own; `down` it does not answer."""

    epoch = 7

    def __init__(self) -> None:
        self.accounts: dict[str, LeaseAccount] = {}
        self.numbers: dict[str, int] = {}
        self.down = False
        self.asked = 0

    async def lend(self, slices: Iterable[Slice]) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise NotReady("nobody is there")
        for one in slices:
            name = one.opening.name
            account = self.accounts.setdefault(name, LeaseAccount(limit=one.limit_pico, mode=one.mode, leases={}))
            one.account = self.numbers.setdefault(name, len(self.numbers) + 1)
            one.hear(lend(account, self.epoch, one.say()))


def a_budget(name: str = "acme", micros: int = 10_000, *, mode: Mode = "hard", whom: Whom | None = None) -> Budget:
    return Budget(
        name=name, whom=whom or Whom(), limit_pico=micros * PICO, period="month", zone=UTC, zone_name="UTC", mode=mode, alerts_percent=()
    )


class Shop(World):
    """A gateway before one pool, with budgets."""

    def __init__(
        self,
        *budgets: Budget,
        steps: tuple[Step, ...] = ANSWER,
        book: PriceBook | None = None,
        paths: Mapping[str, PathBound | None] = NO_PATHS,
        context_max: int | None = None,
    ) -> None:
        self.provider = ScriptedProvider(*steps)
        super().__init__(a_pool("a", paths=paths, tokens_context_max=context_max), scripts={"a": self.provider}, book=book or a_book(PRICE))
        self.desk = Desk()
        self.till = Till(self.desk, TurnedClock())
        self.till.change(budgets)
        self.gateway._till = self.till

    async def serve(self, ask: Ask | None = None) -> Visit:
        ask = ask or an_ask()
        visit = self.gateway.admit(ask)
        await self.gateway.answer(ask, visit, ScriptedListener())
        return visit

    @property
    def slices(self) -> list[tuple[int, int]]:
        return [(one.held, one.settled) for one in self.till.slices.values()]


async def test_the_first_asks_and_the_next_need_not():
    shop = Shop(a_budget(micros=1_000_000))
    await shop.serve()
    await shop.serve()
    assert shop.desk.asked == 1
    assert shop.slices == [(0, 2 * COST)]
    admit = next(record for record in shop.log.records if isinstance(record, Admit))
    assert (admit.epoch, admit.accounts, admit.bound_pico) == (7, (1,), 3_000 * PICO)


async def test_an_attempt_that_fails_costs_nothing_and_holds_nothing_after():
    shop = Shop(a_budget(), steps=(UpstreamUnreachable("no"),))
    with pytest.raises(UpstreamUnreachable):
        await shop.serve()
    assert shop.slices == [(0, 0)]


async def test_what_is_not_there_is_refused_and_no_limit_is_charged():
    shop = Shop(a_budget(micros=2_999))
    ask = an_ask(principal=a_principal(tokens_per_minute=2_000, requests_per_minute=5))
    for _ in range(3):
        with pytest.raises(QuotaExceeded, match=r"the budget acme of 0.002999 USD in \d{4}-\d{2} has 0.002999 USD free"):
            await shop.serve(ask)
    assert shop.provider.asked == []
    assert shop.slices == [(0, 0)]


async def test_a_bank_that_is_down_closes_what_is_not_leased_and_not_what_is():
    shop = Shop(a_budget(micros=1_000_000), a_budget("each", whom=Whom(for_each="user")))
    await shop.serve()
    shop.desk.down = True
    with pytest.raises(BudgetsUnreachable):
        await shop.serve(msgspec.structs.replace(an_ask(), user="ann"))
    shop.till.change([a_budget(micros=1_000_000)])
    await shop.serve()
    assert shop.provider.running == 0


async def test_who_comes_later_does_not_take_what_was_leased_for_who_waits():
    class Idle(Desk):
        """Leases no more than is needed, as to who was idle; and before that is taken, somebody else comes."""

        newcomer: Visit | None = None

        async def lend(self, slices: Iterable[Slice]) -> None:
            await asyncio.sleep(0)
            for one in slices:
                account = self.accounts.setdefault(one.opening.name, LeaseAccount(limit=one.limit_pico, mode=one.mode, leases={}))
                one.account = 1
                one.hear(lend(account, self.epoch, one.say(idle=True)))
            self.newcomer = self.newcomer or shop.gateway.admit(an_ask())

    shop, idle = Shop(a_budget(micros=1_000_000)), Idle()
    shop.till._lender = idle
    first = await shop.serve()
    assert first.cost_pico == COST
    assert idle.newcomer is not None
    assert (idle.newcomer.hold, idle.newcomer.lacks is not None) == (None, True), "it waits for what is leased for it"
    await shop.gateway.answer(an_ask(), idle.newcomer, ScriptedListener())
    assert shop.slices == [(0, 2 * COST)]


async def test_money_that_is_there_and_never_comes_is_no_quota_exceeded():
    class Miser(Desk):
        async def lend(self, slices: Iterable[Slice]) -> None:
            await asyncio.sleep(0)
            for one in slices:
                one.account = 1
                one.hear(Told(1, 0, 0, 0, one.limit_pico, one.limit_pico))

    class Full(Miser):
        async def lend(self, slices: Iterable[Slice]) -> None:
            await super().lend(slices)
            for one in slices:
                one.available = 0 if one.mode == "watch" else one.available

    for lender, budgets in ((Miser(), ()), (Full(), (a_budget("seen", micros=1, mode="watch"),))):
        shop = Shop(a_budget(micros=1_000_000), *budgets)
        shop.till._lender = lender
        with pytest.raises(BudgetsUnreachable, match="There is money for this"):
            await shop.serve()


async def test_what_only_counts_does_not_wait_for_a_bank():
    shop = Shop(a_budget(mode="watch"))
    shop.desk.down = True
    await shop.serve()
    assert shop.slices == [(0, COST)]


async def test_soft_refuses_when_it_is_spent():
    shop = Shop(a_budget(micros=500, mode="soft"))
    await shop.serve()
    await shop.serve()
    with pytest.raises(QuotaExceeded):
        await shop.serve()
    assert shop.slices == [(0, 2 * COST)]


async def test_without_a_price_hard_refuses_and_soft_counts_nothing():
    with pytest.raises(Unpriced):
        await Shop(a_budget(), book=a_book(a_price("another"))).serve()
    with pytest.raises(Unpriced):
        await Shop(book=a_book(a_price("another"))).serve(msgspec.structs.replace(an_ask(), max_cost_pico=5))
    shop = Shop(a_budget(mode="soft"), book=a_book(a_price("another")))
    await shop.serve()
    assert shop.slices == [(0, 0)]


def a_post(*, bounded: bool = True, units: Units = (), max_cost_pico: int | None = None) -> Ask:
    """What is posted beside chats: at most 10 tokens in and 100 of a picture."""
    ask = an_ask(operation="images", needs=["/x"], stream=False)
    post = Post(path="/x", bound=Usage(10, image_out=100), units=units, bounded=bounded)
    return msgspec.structs.replace(ask, native=Native(dialect="posts", body=b"{}", post=post), max_cost_pico=max_cost_pico)


def a_studio(*steps: Step, micros: int = 10_000, mode: Mode = "hard", fees: Mapping[str, str] = NO_FEES) -> Shop:
    usd = UsdPerMtok(input="0", output="0") if fees else UsdPerMtok(input="1", output="4", image_output="8")
    row = compiled(WrittenPrice(model=an_ask().model, usd_per_mtok=usd, source="a test", usd_per_call=fees))
    return Shop(a_budget(micros=micros, mode=mode), steps=steps, book=a_book(row), paths={"/x": None})


TOLD = [
    # what the upstream tells                              by which price          what is paid, in micros
    (Used(Usage(5, image_out=50)),                         {},                     5 + 50 * 8),
    (Used(None),                                           {},                     10 + 100 * 8),
    (Used(None, calls=(("image", 2),)),                    {},                     10 + 100 * 8),
    (Used(None, calls=(("image", 2),)),                    {"image": "0.001"},     2_000),
    (Used(Usage(5, image_out=50), calls=(("image", 1),)),  {"image": "0.001"},     1_000),
    (Used(Usage(5, image_out=50)),                         {"image": "0.001"},     3_000),
]  # fmt: skip


@pytest.mark.parametrize(("used", "fees", "micros"), TOLD)
async def test_what_a_post_costs(used: Used, fees: dict[str, str], micros: int):
    """By the token, by what else has a price, and where neither is told at what was held: nothing is free for want of a word."""
    shop = a_studio(used, Verbatim(b"{}", "application/json"), fees=fees)
    await shop.serve(a_post(units=(("image", 3),)))
    assert shop.slices == [(0, micros * PICO)]


async def test_what_a_post_could_cost_is_held():
    with pytest.raises(QuotaExceeded):
        await a_studio(micros=2_999, fees={"image": "0.001"}).serve(a_post(units=(("image", 3),)))
    with pytest.raises(CostTooHigh):
        await a_studio(fees={"image": "0.001"}).serve(a_post(units=(("image", 3),), max_cost_pico=2_999 * PICO))
    with pytest.raises(Unbounded):
        await a_studio().serve(a_post(bounded=False))
    with pytest.raises(Unbounded):
        await a_studio(mode="watch").serve(a_post(bounded=False, max_cost_pico=10**12))
    for shop in (a_studio(Used(None), mode="watch"), a_studio(Used(None), fees={"request": "0.001"})):
        await shop.serve(a_post(bounded=False))
        assert shop.slices[0][1] > 0


async def test_who_names_no_length_is_capped_to_what_there_is():
    shop = Shop(a_budget(micros=2_000))
    visit = await shop.serve(an_ask(tokens_out_max=None))
    assert (visit.bound.output, visit.capped) == (250, "budget")
    (asked,) = shop.provider.asked
    assert asked.tokens_out_max == 250
    assert b'"max_completion_tokens":250' in asked.body
    with pytest.raises(QuotaExceeded):
        await Shop(a_budget(micros=1_010)).serve(an_ask(tokens_out_max=None))


async def test_an_image_is_bound_by_more_than_any_vendor_counts():
    body = b'{"model":"gpt-5.4-nano","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}'
    shop = Shop(a_budget(micros=1_000_000))
    visit = await shop.serve(an_ask(body=body))
    assert visit.bound.tokens_in == 1_000 + 16_384


async def test_every_image_is_bound_whichever_way_an_engine_takes_it():
    parts = b",".join([b'{"type":"input_image","image_url":"https://x/y"}', b'{"image_url":"https://x/y"}'] * 2)
    shop = Shop(a_budget(micros=1_000_000))
    visit = await shop.serve(an_ask(body=b'{"model":"gpt-5.4-nano","messages":[{"role":"user","content":[%b]}]}' % parts))
    assert visit.bound.tokens_in == 1_000 + 4 * 16_384
    screenshot = b'{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"https://x/y"}}'
    native = Native(dialect="responses", body=b'{"model":"gpt-5.4-nano","input":[%b]}' % screenshot)
    visit = await shop.serve(msgspec.structs.replace(an_ask(), native=native))
    assert visit.bound.tokens_in == 1_000 + 16_384, "a chat has no part for it, and it is asked in its own words"


async def test_a_file_is_bound_by_the_longest_prompt_that_is_taken():
    body = b'{"messages":[{"content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,JVBERi0x"}}]}]}'
    visit = await Shop(a_budget(micros=1_000_000), context_max=200_000).serve(an_ask(body=body))
    assert visit.bound.tokens_in == 200_000
    visit = await Shop(a_budget(micros=1_000_000), context_max=900).serve(an_ask(body=body))
    assert visit.bound.tokens_in == 1_000, "what its length says is less, or the pool refuses it"
    with pytest.raises(Unbounded, match="tokens_context_max"):
        await Shop(a_budget(micros=1_000_000)).serve(an_ask(body=body))
    visit = await Shop(a_budget(mode="soft")).serve(an_ask(body=body))
    assert visit.bound.tokens_in == 1_000, "what only counts turns nobody away"


async def test_max_cost_caps_or_refuses():
    shop = Shop()
    visit = await shop.serve(msgspec.structs.replace(an_ask(), max_cost_pico=1_400 * PICO))
    assert (visit.bound.output, visit.capped, visit.hold.slices if visit.hold else None) == (100, "max_cost", ())
    visit = await shop.serve(msgspec.structs.replace(an_ask(), max_cost_pico=3_000 * PICO))
    assert visit.capped == ""
    with pytest.raises(CostTooHigh):
        await shop.serve(msgspec.structs.replace(an_ask(), max_cost_pico=1_003 * PICO))
    with pytest.raises(CostTooHigh):
        await shop.serve(msgspec.structs.replace(an_ask(operation="embeddings"), max_cost_pico=999 * PICO))


async def test_several_choices_share_a_cap():
    shop = Shop()
    visit = await shop.serve(msgspec.structs.replace(an_ask(), max_cost_pico=1_400 * PICO, choices=3))
    assert visit.bound.output == 99
    assert b'"max_completion_tokens":33' in shop.provider.asked[0].body


async def test_a_quote_is_what_would_be_held():
    shop = Shop(a_budget(micros=5_000), a_budget("soft", 50, mode="soft"))
    quote = await shop.gateway.quote(an_ask())
    assert (quote.cost_max_pico, quote.why, quote.capped) == (3_000 * PICO, None, "")
    assert [(one.budget, one.free_pico) for one in quote.budgets] == [("acme", 5_000 * PICO), ("soft", 50 * PICO)]
    await shop.serve()
    assert isinstance((await shop.gateway.quote(an_ask())).why, QuotaExceeded), "the soft one is spent"
    assert isinstance((await shop.gateway.quote(an_ask(tokens_out_max=5_000))).why, QuotaExceeded)
    assert (await Shop().gateway.quote(an_ask())).budgets == ()


async def test_settlements_pay_what_the_client_pays():
    shop = Shop(a_budget())
    await shop.serve()
    (settled,) = [record for record in shop.log.records if isinstance(record, Settle)]
    assert shop.slices == [(0, settled.cost_pico)]


async def test_a_hedge_is_held_for_as_well_or_not_made():
    shop = Shop(a_budget(micros=5_000))
    ask = an_ask()
    visit = shop.gateway.admit(ask)
    await shop.till.fetch(ask, visit)
    assert visit.hold is not None
    assert not visit.hold.again(visit.bound_pico)
    shop.till.close_holder()
    assert shop.till.slices == {}


async def test_a_request_in_its_clients_own_dialect_is_capped_in_it_too():
    """Its own words are what a pool of its dialect gets."""
    native = Native(dialect="responses", body=b'{"model":"gpt-5.4-nano","input":"hi"}')
    shop = Shop(a_budget(micros=2_000))
    await shop.serve(msgspec.structs.replace(an_ask(tokens_out_max=None), native=native))
    (asked,) = shop.provider.asked
    assert asked.native is not None
    assert b'"max_output_tokens":250' in asked.native.body
    assert b'"max_completion_tokens":250' in asked.body

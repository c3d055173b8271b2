"""What an attempt promises, what it costs us, and who bears it."""

import contextlib

import pytest

from headrace.core.errors import StorageFull, UpstreamOverloaded
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.metering import Admit, Card, CustomerContract, Price, PriceBook, Purchases, Settle, UsdPerMtok, Void, WrittenPrice, compiled
from headrace.testing.builders import MODEL, a_pool, a_principal, a_world, an_ask
from headrace.testing.scripted import ScriptedListener, ScriptedProvider, Spent
from tests.unit.gateway.world import World

HI, END = Text("hi"), Finished("stop")
USED = Usage(10, output=2)


def row(model: str, input: str, output: str, tiers: dict[str, str] | None = None) -> Price:
    return compiled(
        WrittenPrice(
            model=model,
            usd_per_mtok=UsdPerMtok(input=input, output=output),
            source="a test",
            tiers=tiers or {},
            usd_per_call={"web_search": "0.01"},
        )
    )


SELL = row(MODEL, "2", "10", {"priority": "2", "flex": "0.5"})
CHEAP, DEAR = row("openai/m", "1", "5", {"priority": "2", "flex": "0.5"}), row("azure/m", "3", "9")
BUYS = Purchases(PriceBook([CHEAP, DEAR]), {("a", MODEL): "openai/m", ("b", MODEL): "azure/m"})
CUSTOMER = CustomerContract(name="c", organization="acme", permille=900)


async def served(*scripts: ScriptedProvider, tier: str | None = None, book: PriceBook | None = None) -> World:
    names = ("a", "b")[: len(scripts)]
    world = World(
        *[a_pool(name) for name in names], scripts=dict(zip(names, scripts, strict=True)), book=book or PriceBook([SELL]), buys=BUYS
    )
    ask = an_ask(tier=tier, user="ann")
    with contextlib.suppress(UpstreamOverloaded):
        await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
    return world


def settles(world: World) -> list[Settle]:
    return [record for record in world.log.records if isinstance(record, Settle)]


TIERS = [
    # asked for,  the vendor says, the customer pays, the vendor charges
    (None,        None,            40,                20),
    (None,        "default",       40,                20),
    ("priority",  "priority",      80,                40),
    ("priority",  "default",       40,                20),
    ("flex",      None,            20,                20),
    ("flex",      "priority",      20,                40),
    (None,        "ultrafast",     40,                None),
    ("scale",     "default",       None,              20),
]  # fmt: skip


@pytest.mark.parametrize(("tier", "said", "paid", "charged"), TIERS)
async def test_tiers(tier, said, paid, charged):
    (settle,) = settles(await served(ScriptedProvider(HI, END, Used(USED, None, said)), tier=tier))
    assert settle.cost_pico == (None if paid is None else paid * 10**6)
    assert settle.buy_pico == (None if charged is None else charged * 10**6)
    assert (settle.admitted.tier, settle.admitted.user, settle.admitted.buy) == (tier, "ann", CHEAP.id)
    assert settle.ours is False


async def test_the_tools_that_a_vendor_ran_are_paid():
    (settle,) = settles(await served(ScriptedProvider(HI, END, Used(USED, None, None, (("web_search", 3),)))))
    assert (settle.cost_pico, settle.calls) == (40 * 10**6 + 3 * 10**10, (("web_search", 3),))


async def test_what_a_customer_has_agreed_holds_in_the_bound_too():
    world = await served(ScriptedProvider(HI, END, Used(USED)), book=PriceBook([SELL], contracts=[CUSTOMER]))
    (settle,) = settles(world)
    assert settle.cost_pico == 36 * 10**6
    assert settle.admitted.bound_pico == 1_000 * 1_800_000 + 500 * 9_000_000


async def test_an_attempt_that_nobody_heard_is_ours_and_costs_us_what_it_used():
    """The first pool has worked and fails before a word; the second answers: one request, two attempts, and the customer pays one."""
    world = await served(ScriptedProvider(Spent(USED), UpstreamOverloaded("busy")), ScriptedProvider(HI, END, Used(USED)))
    first, second = settles(world)
    assert (first.admitted.request, second.admitted.request) == ("req_1", "req_1")
    assert (first.ours, first.cost_pico, first.buy_pico) == (True, 0, 20 * 10**6)
    assert (second.ours, second.cost_pico, second.buy_pico) == (False, 40 * 10**6, 48 * 10**6)


async def test_an_attempt_that_was_refused_costs_nobody_anything():
    world = await served(ScriptedProvider(UpstreamOverloaded("busy")))
    assert [type(record) for record in world.log.records if not isinstance(record, Card)][-2:] == [Admit, Void]


async def test_what_prices_say_is_in_the_log_once_and_before_their_use():
    world = await served(ScriptedProvider(HI, END, Used(USED)))
    ask = an_ask(request="req_2")
    await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
    cards = [record for record in world.log.records if isinstance(record, Card)]
    assert [card.id for card in cards] == [
        SELL.id,
        *(one.id for one in SELL.tiers.values()),
        CHEAP.id,
        *(one.id for one in CHEAP.tiers.values()),
    ]
    first = next(at for at, record in enumerate(world.log.records) if isinstance(record, Admit))
    assert all(world.log.records.index(card) < first for card in cards)


class NoRoomForCards:
    def append(self, record: object) -> None:
        if isinstance(record, Card):
            raise StorageFull("full")


async def test_without_room_for_what_a_price_says_nobody_is_asked():
    provider = ScriptedProvider(HI, END, Used(USED))
    world = World(a_pool("a"), scripts={"a": provider}, log=NoRoomForCards(), book=PriceBook([SELL]))
    ask = an_ask()
    with pytest.raises(StorageFull):
        await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
    assert (provider.asked, world.room("a").load.inflight) == ([], 0)


def test_worlds_have_no_purchases_unless_given():
    assert a_world().buys.price_on("a", MODEL, 1) is None
    assert a_principal().organization == "acme"

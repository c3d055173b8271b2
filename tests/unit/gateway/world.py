"""A gateway before scripted pools, and how its books are read."""

from random import Random

from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError
from headrace.core.usage import Usage
from headrace.gateway import Gateway
from headrace.metering import Admit, Record, Settle, Void
from headrace.portfolio import Pool
from headrace.routing import Load
from headrace.testing.builders import a_book, a_principal, a_snapshot, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.scripted import ListedLog, ScriptedListener, ScriptedProvider

BOUND = Usage(1_000, output=500)


class World:
    """A gateway before scripted pools, of which the earlier named are the less loaded."""

    def __init__(self, *pools: Pool, scripts: dict[str, ScriptedProvider], seed: int = 0) -> None:
        self.log, self.clock, self.providers = ListedLog(), TurnedClock(), scripts
        self.gateway = Gateway(
            snapshot=a_snapshot(*pools), providers=scripts, book=a_book(), log=self.log, clock=self.clock, rng=Random(seed)
        )
        self.idle = {pool.name: number for number, pool in enumerate(pools)}
        for name, inflight in self.idle.items():
            self.gateway.loads[name] = Load(inflight)

    @property
    def books(self) -> list[tuple[str, object]]:
        return [end(record) for record in self.log.records if not isinstance(record, Admit)]

    @property
    def inflight(self) -> dict[str, int]:
        return {name: load.inflight for name, load in self.gateway.loads.items()}


def end(record: Record) -> tuple[str, object]:
    """The pool, and what it is paid for: usage, `~usage` where only estimated, or why nothing is owed."""
    match record:
        case Settle(admitted=admit, state="confirmed", usage=usage):
            return admit.pool, usage
        case Settle(admitted=admit, usage=usage):
            return admit.pool, ("~", usage)
        case Void(admitted=admit, reason=reason):
            return admit.pool, reason
        case _:
            raise AssertionError(record)


async def told(world: World, listener: ScriptedListener, ask=None) -> type[HeadraceError] | None:
    """Tell the story; what it raised, if anything."""
    ask = ask if ask is not None else an_ask()
    try:
        await world.gateway.answer(ask, world.gateway.admit(ask), listener)
    except HeadraceError as failure:
        return type(failure)
    return None


def limited_ask(*, tokens_per_minute: int | None = 10_000, requests_per_minute: int | None = 10) -> Ask:
    return an_ask(principal=a_principal(tokens_per_minute=tokens_per_minute, requests_per_minute=requests_per_minute))

"""A gateway before scripted pools, and how its books are read."""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError
from headrace.core.usage import Usage
from headrace.gateway import Gateway, Log, Room, rooms_for
from headrace.gateway.neighbours import Neighbours
from headrace.gateway.story import Spawn
from headrace.metering import Admit, Aside, Card, Evidence, Record, Settle, Void
from headrace.portfolio import Pool
from headrace.routing import Board, Load
from headrace.testing.builders import a_principal, a_world, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.scripted import ListedLog, ScriptedListener, ScriptedProvider

BOUND = Usage(1_000, output=500)


class World:
    """A gateway before scripted pools, of which the earlier named are the less loaded.

    `spawn` starts the tasks of races; without one they are kept in `tasks`. `clock` and `log` may be shared with other workers.
    """

    def __init__(
        self,
        *pools: Pool,
        scripts: dict[str, ScriptedProvider],
        seed: int = 0,
        log: Log | None = None,
        clock: TurnedClock | None = None,
        spawn: Spawn | None = None,
        neighbours: Neighbours | None = None,
        **more: Any,
    ) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.log, self.clock, self.providers = ListedLog(), clock or TurnedClock(), scripts
        self.world = a_world(*pools, providers=scripts, **more)
        self.rooms = dict(self.world.rooms)
        self.gateway = Gateway(
            world=self.world, log=log or self.log, clock=self.clock, rng=Random(seed), spawn=spawn or self._spawn, neighbours=neighbours
        )
        self.idle = {pool.name: number for number, pool in enumerate(pools)} if neighbours is None else dict.fromkeys(self.rooms, 0)
        for name, inflight in self.idle.items():
            self.loads[name].inflight = inflight

    def change(self, *pools: Pool, scripts: dict[str, ScriptedProvider], **more: Any) -> None:
        """Serve by other pools from now on; rooms of the same names go on."""
        draft = a_world(*pools, providers=scripts, **more)
        rooms = rooms_for(draft.snapshot, self.world.rooms, draft.health)
        board = Board(draft.snapshot, {name: room.load for name, room in rooms.items()}, draft.board.classes)
        self.world = msgspec.structs.replace(draft, rooms=rooms, board=board)
        self.rooms.update(rooms)
        self.gateway.change(self.world)

    def room(self, name: str) -> Room:
        return self.rooms[name]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    @property
    def loads(self) -> dict[str, Load]:
        return {name: room.load for name, room in self.rooms.items()}

    @property
    def admits(self) -> list[Admit]:
        return [record for record in self.log.records if isinstance(record, Admit)]

    @property
    def books(self) -> list[tuple[str, object]]:
        return [end(record) for record in self.log.records if not isinstance(record, Admit | Evidence | Card)]

    @property
    def inflight(self) -> dict[str, int]:
        return {name: load.inflight for name, load in self.loads.items()}


def end(record: Record | Aside) -> tuple[str, object]:
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


async def turns(count: int) -> None:
    """Let everybody else run so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def limited_ask(*, tokens_per_minute: int | None = 10_000, requests_per_minute: int | None = 10) -> Ask:
    return an_ask(principal=a_principal(tokens_per_minute=tokens_per_minute, requests_per_minute=requests_per_minute))

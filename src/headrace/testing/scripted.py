"""What stands in for an upstream, the usage log and a client, and remembers what happened to it.

provider = ScriptedProvider(Text("hi"), Finished("stop"), Used(Usage(10, output=1)))
broken = ScriptedProvider(Text("h"), UpstreamCut("gone"))
slow = ScriptedProvider(Pause(), Spent(Usage(10, output=1)), Text("h"), Silence())
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import StorageFull
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.metering import Admit, Aside, Record
from headrace.providers import Hearer, Tap


class Pause(msgspec.Struct, frozen=True):
    """Let others run, `turns` times round the event loop."""

    turns: int = 1


class Silence(msgspec.Struct, frozen=True):
    """Say nothing more and do not end: only cancelling helps."""


class Spent(msgspec.Struct, frozen=True):
    """From here on this much is used, should the attempt end before its end."""

    usage: Usage


Step: TypeAlias = Said | Exception | Pause | Silence | Spent


class ScriptedProvider:
    """Answers each ask with the same steps. An exception among them is raised where it stands.

    `asked` holds every ask that reached it, `stopped` how many of their answers were cancelled before their end, and `running` how
    many are open now.
    """

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.asked: list[Ask] = []
        self.stopped = 0
        self.running = 0

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        self.asked.append(ask)
        self.running += 1
        try:
            for step in self.steps:
                await _take(step, hearer)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.running -= 1

    async def probe(self) -> None:
        """Alive, unless the first step is a failure."""
        if self.steps and isinstance(self.steps[0], Exception):
            raise self.steps[0]


async def _take(step: Step, hearer: Hearer) -> None:
    match step:
        case Text() | Reasoning() | ToolCallBegun() | ToolCallArguments() | Finished() | Used() | Verbatim():
            hearer.hear(step)
            if hearer.gate.must_wait:
                await hearer.gate.drained()
        case Pause(turns=turns):
            for _ in range(turns):
                await asyncio.sleep(0)
        case Silence():
            await asyncio.get_running_loop().create_future()
        case Spent(usage=usage):
            hearer.usage = usage
        case Exception():
            raise step


class ListedLog:
    """A usage log that is a list. When `full`, it takes no admission; what was admitted can always be settled."""

    def __init__(self) -> None:
        self.records: list[Record | Aside] = []
        self.full = False

    def append(self, record: Record | Aside) -> None:
        if self.full and isinstance(record, Admit):
            raise StorageFull("the list is full")
        self.records.append(record)


class ScriptedListener:
    """A client, and as well who hears an adapter and its own gate: it keeps what it `heard`, and stalls and leaves when it is told to.

    `on_hear` is called after each thing heard, with how many that makes.
    """

    def __init__(self, on_hear: Callable[[int], None] | None = None) -> None:
        self.heard: list[Said] = []
        self.usage: Usage | None = None
        self.usage_likely: Usage | None = None
        self.changes: tuple[Change, ...] = ()
        self.left = self.lost = False
        self.verbatim: Tap | None = None
        self.patience_s = 0.0
        self._on_hear = on_hear
        self._news, self._flows = asyncio.Event(), asyncio.Event()
        self._flows.set()

    def hear(self, said: Said) -> None:
        self.heard.append(said)
        self._news.set()
        if self._on_hear is not None:
            self._on_hear(len(self.heard))

    def translated(self, changes: tuple[Change, ...]) -> None:
        self.changes += changes

    async def heard_at_least(self, count: int) -> None:
        """Until so much was said."""
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()

    @property
    def gate(self) -> "ScriptedListener":
        return self

    @property
    def must_wait(self) -> bool:
        return not self._flows.is_set()

    async def drained(self) -> None:
        await self._flows.wait()

    def stall(self) -> None:
        """Take no more for now."""
        self._flows.clear()

    def flow(self) -> None:
        """Take more again."""
        self._flows.set()

"""The memory of agents: what the person said or gave leave to, by folder, found again by meaning.

A run begins with what is near to its task. Meanings are compared by the model that the server embeds with; where there is none, by words.
"""

import array
import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from headrace.agents import Readers, Writers
from headrace.agents.events import ContextGiven, ModelAsked, PersonSaid
from headrace.agents.remembering import MEMORY, REMEMBER
from headrace.agents.tools import Tool
from headrace.agents.values import Value
from headrace.agents.words import FUNCTION_WORDS, words
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, InvalidRequest
from headrace.storage import Memory, MemoryStore
from headrace.workspace.driver import Driver

NEAR_MIN: Final = 0.35
BROUGHT_MAX: Final = 5
RECALLED_MAX: Final = 8
CONTEXT: Final = "what you are to remember"


class Embeds(Protocol):
    """A model that makes vectors of texts."""

    @property
    def name(self) -> str: ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length one for each. Raises HeadraceError."""
        ...


class Remembering:
    """A kit of the memory's tools, for one run in one folder. `embeds` of None compares by words."""

    writers = Writers.PERSON
    tools: Sequence[Tool] = MEMORY

    def __init__(
        self, store: MemoryStore, project: str, run: str, embeds: Embeds | None, clock: Clock, new_id: Callable[[str], str]
    ) -> None:
        self._store, self._project, self._run = store, project, run
        self._embeds, self._clock, self._new_id = embeds, clock, new_id
        self._driver: Driver | None = None

    async def bring(self, driver: Driver) -> None:
        """Give a run that has not thought yet what is near to its task."""
        self._driver = driver
        if any(isinstance(event, ModelAsked) for event in driver.events):
            return
        task = "\n".join(event.text for event in driver.events if isinstance(event, PersonSaid))
        found = await self.near(task, BROUGHT_MAX) if task else []
        if found:
            text = "\n".join(f"- {memory.text}" for memory in found)
            writers, readers = min(memory.writers for memory in found), max(memory.readers for memory in found)
            driver.add(ContextGiven(CONTEXT, text, writers, readers))

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        """Make one call. Raises HeadraceError with a sentence for the model."""
        if tool == REMEMBER:
            return await self._remember(arguments)
        found = await self.near(_text(arguments, "query"), RECALLED_MAX)
        return [{"text": memory.text, "about": memory.project or "everywhere"} for memory in found]

    async def _remember(self, arguments: Mapping[str, Value]) -> Value:
        text = _text(arguments, "text").strip()
        everywhere = arguments.get("everywhere") in ("yes", "true", True)
        now = self._clock.moment()
        memory = self._store.add(
            Memory(
                id=self._new_id("mem_"),
                project="" if everywhere else self._project,
                text=text,
                how="said" if self._is_said(text) else "leave",
                run=self._run,
                source="\n".join(sorted(self._driver.turn.known.context.sources)) if self._driver else "",
                writers=Writers.OWN,
                readers=Readers.PERSON,
                created=now,
                changed=now,
            )
        )
        await self._learn([memory])
        return f"Remembered as {memory.id}."

    def _is_said(self, text: str) -> bool:
        """Whether these are the person's own words, rather than some that they gave leave to."""
        return self._driver is not None and self._driver.turn.known.request.states(text)

    async def near(self, query: str, most: int) -> list[Memory]:
        """What is remembered of this folder and of everywhere that is near to this, the nearest first."""
        held = self._store.of(self._project, "")
        if not held:
            return []
        vector: list[float] = []
        model = ""
        if self._embeds is not None:
            try:
                (vector,) = await self._embeds.embed([query])
                model = self._embeds.name
                held = await self._learn(held)
            except HeadraceError:
                vector = []  # no model embeds here now: words have to do
        ranked = await asyncio.to_thread(_ranked, held, query, model, vector)
        return [memory for likeness, memory in ranked[:most] if likeness >= NEAR_MIN]

    async def _learn(self, memories: Sequence[Memory]) -> list[Memory]:
        """Have the vectors of those that have none of this model yet."""
        embeds = self._embeds
        new = [memory for memory in memories if embeds is not None and memory.model != embeds.name]
        if embeds is None or not new:
            return list(memories)
        try:
            vectors = await embeds.embed([memory.text for memory in new])
        except HeadraceError:
            return list(memories)
        for memory, vector in zip(new, vectors, strict=True):
            self._store.learn(memory.id, embeds.name, array.array("f", vector).tobytes())
        return [self._store.get(memory.id) for memory in memories]


def _ranked(held: Sequence[Memory], query: str, model: str, vector: Sequence[float]) -> list[tuple[float, Memory]]:
    asked = _meant(query)

    def likeness(memory: Memory) -> float:
        near = memory.likeness(model, vector) if vector else None
        return _shared(asked, _meant(memory.text)) if near is None else near

    return sorted(((likeness(memory), memory) for memory in held), key=lambda pair: (-pair[0], pair[1].id))


def _meant(text: str) -> frozenset[str]:
    return frozenset(words(text)) - FUNCTION_WORDS


def _shared(some: frozenset[str], others: frozenset[str]) -> float:
    """Which part of the smaller set of words both have."""
    return len(some & others) / min(len(some), len(others)) if some and others else 0.0


def _text(arguments: Mapping[str, Value], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(f"The argument {name!r} must be given, as text.")
    return value

"""How an agent reaches a model: one protocol, which compose fills. What is behind it meters, limits and places like for anyone."""

from typing import Protocol

import msgspec


class ToolAsk(msgspec.Struct, frozen=True):
    """A call that the model wants made. `arguments` are the JSON text that it wrote."""

    id: str
    name: str
    arguments: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, whole. `request` is its id, by which its receipt is found; `pico_usd` is 0 where it has no price."""

    text: str
    calls: tuple[ToolAsk, ...] = ()
    tokens: int = 0
    pico_usd: int = 0
    request: str = ""


class Model(Protocol):
    """A model that answers a conversation."""

    @property
    def name(self) -> str: ...

    async def reply(self, body: bytes) -> Reply:
        """Answer a chat request of OpenAI's dialect, given as JSON without `model`. Raises HeadraceError."""
        ...

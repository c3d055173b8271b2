"""Between a client of another dialect and an adapter: who speaks the client's dialect is asked in it, all others are asked in a chat.

An adapter says chats in events or, where its upstream speaks OpenAI's dialect too, in that dialect's own bytes. The client understands
neither bytes, so they are read here, and what it hears is events; the bytes of its own dialect pass as they are.
"""

from collections.abc import Coroutine
from typing import Any

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import NotTranslatable
from headrace.core.native import ClientDialect, Native
from headrace.core.translation import Change
from headrace.providers.between import Between
from headrace.providers.provider import Hearer, Provider
from headrace.wire.openai_plain import plain

NONE: frozenset[ClientDialect] = frozenset()


class Interpreter:
    """`provider` for clients of every dialect. It is asked natively in those that it `speaks`; `plain` is whether it takes nothing in a
    chat but what OpenAI's dialect has."""

    def __init__(self, provider: Provider, *, name: str, speaks: frozenset[ClientDialect] = NONE, plain: bool = False) -> None:
        self.provider, self._name, self._speaks, self._plain = provider, name, speaks, plain

    def answer(self, ask: Ask, hearer: Hearer) -> Coroutine[Any, Any, None]:
        native = ask.native
        if native is None or (native.relayable and native.dialect in self._speaks):
            return self.provider.answer(ask, hearer)
        return self._interpret(ask, native, hearer)

    async def probe(self) -> None:
        await self.provider.probe()

    async def _interpret(self, ask: Ask, native: Native, hearer: Hearer) -> None:
        if native.untold is not None:
            raise NotTranslatable(f"{self._name} can't be asked so: {native.untold}", param=native.param)
        body, more = plain(ask.body) if self._plain else (ask.body, ())
        changes = (*native.changes, *more)
        if changes and ask.strict:
            what = "; ".join(f"'{change.param}' would be {change.what}, since {change.why}" for change in changes)
            raise NotTranslatable(f"{self._name} can't be asked so, and strict was asked for: {what}.", param=changes[0].param)
        if changes:
            hearer.translated(changes)
        listening = _Listening(hearer, changes, ask.stream)
        await self.provider.answer(msgspec.structs.replace(ask, body=body, native=None), listening)
        listening.end()


class _Listening(Between):
    """Hears an adapter for `hearer`, and tells the `changes` made before it was asked beside its own."""

    def __init__(self, hearer: Hearer, changes: tuple[Change, ...], stream: bool) -> None:
        super().__init__(hearer, stream)
        self._changes = changes

    def translated(self, changes: tuple[Change, ...]) -> None:
        super().translated((*self._changes, *changes))

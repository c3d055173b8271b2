"""Answers that are kept for who asks the same again: word for word, in the same project, under the same rules and settings.

A hit is a request like any other, but for whom it asks: a key, limits and budgets hold, it is in the log as an attempt at the pool
`headrace:cache`, and costs the share of its price that the settings say. Nothing is kept of what must be kept nowhere.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from hashlib import blake2b
from typing import cast

import msgspec

from headrace.api.asking import cache_wish
from headrace.api.door import Speaker
from headrace.api.responses_asking import owner_of
from headrace.api.socket import Exchange
from headrace.api.taping import Recorder
from headrace.api.telling import cost
from headrace.core.ask import Ask
from headrace.core.clock import SECOND, Clock, Instant
from headrace.core.stream import Used, Verbatim
from headrace.core.translation import Change
from headrace.gateway import Answer, Gateway, Visit

ENTRY_BYTES = 1_024
"""What an entry takes beside its body, roughly."""


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of answers each worker keeps (0: nothing), for how long, and what share of its price one costs that was kept. `by_default`
    is whether requests are answered so that don't say."""

    bytes_max: int = 0
    answer_bytes_max: int = 1024 * 1024
    ttl_s: int = 3_600
    price_permille: int = 0
    by_default: bool = False

    def __post_init__(self) -> None:
        if min(self.bytes_max, self.price_permille) < 0 or min(self.answer_bytes_max, self.ttl_s) < 1 or self.price_permille > 1_000:
            raise ValueError(
                "cache.bytes_max is 0 (nothing is kept) or more, cache.answer_bytes_max and cache.ttl_s at least 1, "
                "and cache.price_permille 0 to 1000"
            )


class Kept(msgspec.Struct, frozen=True):
    """One answer: what was said and used, at which pool and when, and what of the request was not taken as it was asked."""

    said: Verbatim
    used: Used
    pool: str
    kept_at: Instant
    translation: tuple[Change, ...] = ()

    @property
    def answer(self) -> Answer:
        """As the gateway says it again."""
        return Answer(self.pool, (Verbatim(b"", self.said.kind), self.used, self.said), self.translation)

    @property
    def size(self) -> int:
        return len(self.said.data) + ENTRY_BYTES


class Cache:
    """The answers that one process keeps: those asked for last, as many as there is room for."""

    def __init__(self, gateway: Gateway, clock: Clock, settings: CacheSettings) -> None:
        self._gateway, self._clock, self._settings = gateway, clock, settings
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self.size = 0

    def concerns(self, headers: Mapping[bytes, bytes], ask: Ask) -> bool:
        """Whether this request may be answered from what is kept, or its answer kept."""
        wish = cache_wish(headers)
        if self._settings.bytes_max == 0 or ask.rules.zero_retention:
            return False
        return wish != "off" if wish else self._settings.by_default

    async def serve(
        self, exchange: Exchange, ask: Ask, visit: Visit, voice: Callable[[Exchange], Speaker], answer: Callable[[Exchange], Awaitable[int]]
    ) -> int:
        """The status. `voice` speaks into an exchange, and `answer` has the gateway answer into one."""
        key, kept = self._key(exchange, ask), None
        if cache_wish(exchange.headers) != "refresh":
            kept = self._found(key)
        if kept is not None:
            visit.cache = f"hit; age={(self._clock.instant() - kept.kept_at) // SECOND}"
            speaker = voice(exchange)
            if await self._gateway.recall(ask, visit, kept.answer, self._settings.price_permille, speaker):
                speaker.finish(f"x-headrace-cost: {cost(visit)}\r\n".encode() if ask.stream else b"")
                return 200
        visit.cache = "miss"
        recorder = Recorder(exchange, self._settings.answer_bytes_max)
        status = await answer(cast(Exchange, recorder))
        if status == 200:
            self._keep(key, recorder, visit)
        return status

    def _key(self, exchange: Exchange, ask: Ask) -> Hashable:
        native = ask.native
        asked = ("", "", ()) if native is None else (native.dialect, native.post.path if native.post is not None else "", native.headers)
        digest = blake2b(exchange.body, digest_size=32).digest()
        version = self._gateway.world.snapshot.version
        guards = self._gateway.world.guards
        guarded = () if guards is None else guards.names(ask)
        return owner_of(ask.principal), ask.operation, asked, ask.model, ask.stream, ask.rules, ask.strict, version, digest, guarded

    def _found(self, key: Hashable) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock.instant() - kept.kept_at >= self._settings.ttl_s * SECOND:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def _keep(self, key: Hashable, recorder: Recorder, visit: Visit) -> None:
        """Only what is whole, what was used of it is known, and no budget has cut short."""
        answered, used, pool = recorder.tape.answered, visit.used, visit.pool
        if answered is None or used is None or used.usage is None or visit.capped or pool is None or recorder.left:
            return
        lines = (line.partition(b": ") for line in answered.headers.split(b"\r\n"))
        kind = next((value.decode("latin-1") for name, _, value in lines if name == b"content-type"), "")
        kept = Kept(Verbatim(answered.body, kind), used, pool, self._clock.instant(), visit.translation)
        if kept.size > self._settings.bytes_max:
            return
        self._forget(key)
        self._kept[key] = kept
        self.size += kept.size
        while self.size > self._settings.bytes_max:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size

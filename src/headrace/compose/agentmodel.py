"""The gateway in this process as an agent's model: no HTTP between them, and every token placed, limited and metered all the same."""

import asyncio
import json
from collections.abc import Callable, Sequence

from headrace.api.asking import Reader
from headrace.core.clock import SECOND, Clock
from headrace.core.identity import Principal
from headrace.core.model import Reply
from headrace.core.stream import Reasoning, Said, Text, Verbatim
from headrace.gateway import Gateway
from headrace.portfolio import abilities
from headrace.wire.openai_answer import AnswerGatherer
from headrace.wire.openai_reply import reply_of
from headrace.wire.openai_said import ChatReader

AGENTIC = {b"x-headrace-class": b"agentic"}
TALKING = {b"x-headrace-class": b"realtime"}
TOKENS_OUT_MAX = 2_048


class GatewayModel:
    """One model, asked on behalf of one key. An agent's requests are of the class `agentic`."""

    def __init__(self, gateway: Gateway, clock: Clock, new_id: Callable[[str], str], principal: Principal, name: str) -> None:
        self._gateway, self._clock, self._new_id, self._principal, self._name = gateway, clock, new_id, principal, name
        self._reader = Reader(gateway, clock)

    @property
    def name(self) -> str:
        return self._name

    async def reply(self, body: bytes) -> Reply:
        request = self._new_id("req_")
        asked = {**json.loads(body), "model": self._name, "temperature": 0}
        asked["max_completion_tokens"] = min(TOKENS_OUT_MAX, asked.get("max_completion_tokens", TOKENS_OUT_MAX))
        ask = self._reader.chat(request, self._principal, AGENTIC, json.dumps(asked).encode())
        visit = self._gateway.admit(ask)
        gathered = _Gathered(AnswerGatherer(id=f"chatcmpl-{request[4:]}", model=ask.model, created=self._clock.moment() // SECOND))
        await self._gateway.answer(ask, visit, gathered)
        return reply_of(gathered.gatherer.answer(), pico_usd=visit.cost_pico or 0, request=request)


class _Open:
    """Who gathers always keeps up."""

    must_wait = False

    async def drained(self) -> None:
        return


class _Gathered:
    """Hears an answer to its end, for one who never leaves."""

    left = lost = False
    verbatim = None
    gate = _Open()

    def __init__(self, gatherer: AnswerGatherer) -> None:
        self.gatherer = gatherer
        self.hear = gatherer.hear
        self.patience_s = 0.0


class GatewayEmbeddings:
    """One model that embeds, asked on behalf of one key."""

    def __init__(self, gateway: Gateway, clock: Clock, new_id: Callable[[str], str], principal: Principal, name: str) -> None:
        self._gateway, self._clock, self._new_id, self._principal, self.name = gateway, clock, new_id, principal, name
        self._reader = Reader(gateway, clock)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        request = self._new_id("req_")
        asked = json.dumps({"model": self.name, "input": list(texts), "encoding_format": "float"}).encode()
        ask = self._reader.embeddings(request, self._principal, AGENTIC, asked)
        visit = self._gateway.admit(ask)
        gathered = _Gathered(AnswerGatherer(id=request, model=ask.model, created=self._clock.moment() // SECOND))
        await self._gateway.answer(ask, visit, gathered)
        told = json.loads(gathered.gatherer.answer())
        return [each["embedding"] for each in sorted(told["data"], key=lambda each: int(each["index"]))]


def sees_pictures(gateway: Gateway, model: str) -> bool:
    """Whether a model is shown pictures: one of which nothing else is known is."""
    can = abilities(gateway.world.snapshot, model)
    return can is None or "images" in can


class SpokenModel(GatewayModel):
    """The same, whose words are told as they come. `tell` takes each piece, and whether it is only thought.

    What had been said when the answer was cut off, and what that cost, is `partial`.
    """

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        new_id: Callable[[str], str],
        principal: Principal,
        name: str,
        session: str,
        tell: Callable[[str, bool], None],
    ) -> None:
        super().__init__(gateway, clock, new_id, principal, name)
        self._session, self._tell = session, tell
        self.partial: Reply | None = None

    @property
    def sees(self) -> bool:
        return sees_pictures(self._gateway, self._name)

    async def reply(self, body: bytes) -> Reply:
        request, self.partial = self._new_id("req_"), None
        asked = {**json.loads(body), "model": self._name, "stream": True}
        asked["max_completion_tokens"] = min(TOKENS_OUT_MAX, asked.get("max_completion_tokens", TOKENS_OUT_MAX))
        asked["stream_options"] = {"include_usage": True}
        headers = {**(AGENTIC if "tools" in asked else TALKING), b"x-headrace-session": self._session.encode()}
        ask = self._reader.chat(request, self._principal, headers, json.dumps(asked).encode())
        visit = self._gateway.admit(ask)
        heard = _Spoken(AnswerGatherer(id=f"chatcmpl-{request[4:]}", model=ask.model, created=self._clock.moment() // SECOND), self._tell)
        try:
            await self._gateway.answer(ask, visit, heard)
        except asyncio.CancelledError:
            self.partial = Reply(text="".join(heard.text), tokens=visit.tokens_used, pico_usd=visit.cost_pico or 0, request=request)
            raise
        return reply_of(heard.gatherer.answer(), pico_usd=visit.cost_pico or 0, request=request)


class _Spoken(_Gathered):
    """Hears an answer and passes its words on, whether an upstream's frames are relayed or told one by one."""

    def __init__(self, gatherer: AnswerGatherer, tell: Callable[[str, bool], None]) -> None:
        super().__init__(gatherer)
        self.text: list[str] = []
        self._tell, self._frames = tell, ChatReader()
        self.hear = self._heard

    def _heard(self, said: Said) -> None:
        if isinstance(said, Verbatim):
            for one in self._frames.frames(said.data):
                self._heard(one)
            return
        self.gatherer.hear(said)
        if isinstance(said, Text) and said.text:
            self.text.append(said.text)
            self._tell(said.text, False)
        elif isinstance(said, Reasoning) and said.text:
            self._tell(said.text, True)

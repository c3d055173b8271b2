"""The gateway in this process as an agent's model: no HTTP between them, and every token placed, limited and metered all the same."""

import json
from collections.abc import Callable

from headrace.api.asking import Reader
from headrace.core.clock import SECOND, Clock
from headrace.core.identity import Principal
from headrace.core.model import Reply
from headrace.gateway import Gateway
from headrace.wire.openai_answer import AnswerGatherer
from headrace.wire.openai_reply import reply_of

AGENTIC = {b"x-headrace-class": b"agentic"}
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

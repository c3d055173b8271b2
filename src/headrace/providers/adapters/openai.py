"""Upstreams that speak OpenAI's chat completions: OpenAI, vLLM, SGLang, TGI, Ollama, llama.cpp and most others.

The client speaks the same dialect, so bytes are relayed and only what carries usage, an error or the end is read.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

from headrace.core.ask import Ask
from headrace.core.native import Native
from headrace.providers.posting import post
from headrace.providers.provider import Hearer
from headrace.providers.relay import NO_DROPS, NO_NAMES, PATHS, bodies, header_lines, probe, relay, request_head
from headrace.providers.responses import relay_response
from headrace.providers.transport import Endpoint
from headrace.wire.responses_relay import body_for


class OpenAIProvider:
    """One pool of endpoints with one key; requests go round the endpoints.

    `headers` are sent with every request (`OpenAI-Organization`, OpenRouter's `HTTP-Referer` …). `rename` is for servers that call a
    member of the request by another name (`{"max_completion_tokens": "max_tokens"}`), `drops` names those that they don't take; what
    that changes in a request is told to the hearer. With `stream_options` among them, streams are not asked to tell usage. Raises
    ValueError for headers that can't be sent, and for members that every request is made of.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoints: Sequence[Endpoint],
        models: Mapping[str, str],
        api_key: str | None = None,
        headers: Mapping[str, str] = NO_NAMES,
        rename: Mapping[str, str] = NO_NAMES,
        drops: frozenset[str] = NO_DROPS,
    ) -> None:
        self._name, self._endpoints = name, tuple(endpoints)
        self._body = bodies(name, models, rename, drops)
        key = {"authorization": f"Bearer {api_key}"} if api_key else {}
        if key and any(header.lower() == "authorization" for header in headers):
            raise ValueError("the header 'authorization' is made of the pool's key: name one of them only")
        self._lines = lines = header_lines({**key, **headers})
        self._models = models
        self._responses = cycle([(endpoint, request_head(endpoint, "/responses", lines)) for endpoint in endpoints])
        self._others = cycle(self._endpoints)
        self._turns = {
            operation: cycle([(endpoint, request_head(endpoint, path, lines)) for endpoint in endpoints])
            for operation, path in PATHS.items()
        }

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        if ask.native is not None:
            await (self._post if ask.native.dialect == "posts" else self._respond)(ask, ask.native, hearer)
            return
        body = self._body(ask, hearer)
        endpoint, head = next(self._turns[ask.operation])
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            await relay(self._name, exchange, ask, hearer)

    async def _respond(self, ask: Ask, native: Native, hearer: Hearer) -> None:
        """A request in OpenAI's Responses, and its answer, as they are."""
        body = body_for(native.body, ask.model, self._models[ask.model])
        endpoint, head = next(self._responses)
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            await relay_response(self._name, exchange, ask, hearer)

    async def _post(self, ask: Ask, native: Native, hearer: Hearer) -> None:
        """What is posted to another path."""
        assert native.post is not None
        endpoint = next(self._others)
        await post(self._name, endpoint, native.post.path, self._lines, ask, native, self._models[ask.model], hearer)

    async def probe(self) -> None:
        for endpoint in self._endpoints:
            await probe(self._name, endpoint, "/models", self._lines)

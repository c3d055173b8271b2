"""Amazon Bedrock's models, asked through ConverseStream, whether the client wants a stream or not.

A request is signed with AWS credentials (Signature Version 4) or carries a Bedrock API key. Bedrock tells usage once, at the end: what an
answer used that was left before it is not known.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

from headrace.core.ask import Ask
from headrace.core.clock import Clock
from headrace.core.errors import NotTranslatable, UpstreamCut
from headrace.core.stream import Said
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint
from headrace.wire.bedrock import Translation, path_for, request_for
from headrace.wire.bedrock_failure import failure_for, lacks_permission
from headrace.wire.bedrock_stream import StreamReader
from headrace.wire.openai_chat import read_request
from headrace.wire.sigv4 import Credentials, Unsigned, sha256_hex, signed

SERVICE = "bedrock"
TOKENS_OUT_MAX = 16_384
PROBE_PATH, PROBE_QUERY = "/async-invoke", (("maxResults", "1"),)


class BedrockProvider:
    """One pool of Bedrock's endpoints in one region, with one account's credentials or one API key; requests go round the endpoints."""

    def __init__(
        self,
        *,
        name: str,
        endpoints: Sequence[Endpoint],
        models: Mapping[str, str],
        region: str,
        clock: Clock,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        api_key: str | None = None,
        tokens_out_max: Mapping[str, int] | None = None,
    ) -> None:
        """`tokens_out_max` bounds, by our name of a model, answers whose request names no bound. Raises ValueError unless there is either
        an API key or an access key with its secret."""
        signs = bool(access_key_id and secret_access_key)
        if signs == bool(api_key) or bool(access_key_id) != bool(secret_access_key):
            raise ValueError(f"{name} needs either an API key of Bedrock or an AWS access key with its secret")
        self._name, self._models, self._region, self._clock = name, models, region, clock
        self._api_key, self._credentials = api_key, None
        if access_key_id and secret_access_key:
            self._credentials = Credentials(
                access_key_id=access_key_id, secret_access_key=secret_access_key, session_token=session_token or None
            )
        self._tokens_out_max = tokens_out_max or {}
        self._endpoints = tuple(endpoints)
        self._turns = cycle(self._endpoints)

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        translation = self._translated(ask, hearer)
        its, endpoint = self._models[ask.model], next(self._turns)
        reader = StreamReader(model=its, ours=ask.model)

        def take(piece: bytes) -> None:
            self._pass_on(reader.feed(piece), reader, hearer)

        async with endpoint.exchange([self._head(endpoint, path_for(its), translation.body), translation.body]) as exchange:
            if exchange.status != 200:
                raise failure_for(exchange.status, exchange.headers, await exchange.whole(), self._name)
            try:
                await exchange.pour(take, hearer.gate)
            except UpstreamCut:
                if not reader.told_all:
                    raise
        self._pass_on(reader.close(), reader, hearer)

    def _pass_on(self, said: list[Said], reader: StreamReader, hearer: Hearer) -> None:
        hearer.usage = reader.usage
        for one in said:
            hearer.hear(one)
        if reader.failure is not None:
            raise reader.failure

    def _translated(self, ask: Ask, hearer: Hearer) -> Translation:
        if ask.operation != "chat":
            raise NotTranslatable(f"{self._name} serves chats only.")
        bound = ask.tokens_out_max if ask.tokens_out_max is not None else self._tokens_out_max.get(ask.model, TOKENS_OUT_MAX)
        translation = request_for(read_request(ask.body), model=self._models[ask.model], tokens_out_max=bound)
        if translation.changes and ask.strict:
            changes = "; ".join(f"{change.param} ({change.why})" for change in translation.changes)
            raise NotTranslatable(f"{self._name} can't take the request as it is: {changes}.", param=translation.changes[0].param)
        if translation.changes:
            hearer.translated(translation.changes)
        return translation

    def _head(self, endpoint: Endpoint, path: str, body: bytes) -> bytes:
        headers = [("content-type", "application/json"), ("accept", "application/vnd.amazon.eventstream")]
        lines = self._lines("POST", endpoint, path, headers, body)
        return f"POST {endpoint.path}{path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode()

    def _lines(
        self, method: str, endpoint: Endpoint, path: str, more: list[tuple[str, str]], body: bytes, query: tuple[tuple[str, str], ...] = ()
    ) -> str:
        """The headers' lines: the host, `more`, and those that say who asks."""
        headers = (("host", endpoint.host_header.decode()), *more)
        if self._credentials is None:
            headers = *headers, ("authorization", f"Bearer {self._api_key}")
        else:
            unsigned = Unsigned(method=method, path=endpoint.path + path, headers=headers, body_sha256=sha256_hex(body), query=query)
            headers = signed(unsigned, self._credentials, region=self._region, service=SERVICE, at=self._clock.moment())
        return "".join(f"{name}: {value}\r\n" for name, value in headers)

    async def probe(self) -> None:
        """The list of asynchronous invocations, which costs nothing and checks the credentials: who may not see it is told so only once
        its signature has been found good, and that is a sign of life too."""
        query = "&".join(f"{name}={value}" for name, value in PROBE_QUERY)
        for endpoint in self._endpoints:
            lines = self._lines("GET", endpoint, PROBE_PATH, [("accept", "application/json")], b"", PROBE_QUERY)
            head = f"GET {endpoint.path}{PROBE_PATH}?{query} HTTP/1.1\r\n{lines}\r\n"
            async with endpoint.exchange([head.encode()]) as exchange:
                status, body = exchange.status, await exchange.whole()
                unpermitted = status == 403 and lacks_permission(body)
                if (status >= 500 or status in (401, 403, 429)) and not unpermitted:
                    raise failure_for(status, exchange.headers, body, self._name)

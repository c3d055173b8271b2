"""Azure OpenAI: OpenAI's dialect at addresses, with versions and with credentials of its own.

With a dated `api_version` (`2024-10-21`) the deployment is named in the address; with `v1`, or `preview` for what is not released yet,
in the request, as OpenAI does it. Either way a pool's `models` say which deployment serves our name.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from urllib.parse import quote

from headrace.core.ask import Ask, Operation
from headrace.core.native import Native
from headrace.providers.entra import EntraTokens
from headrace.providers.posting import post
from headrace.providers.provider import Hearer
from headrace.providers.relay import NO_DROPS, NO_NAMES, PATHS, bodies, header_lines, probe, relay, request_head
from headrace.providers.transport import Endpoint

USAGE_SINCE = "2024-09-01"
"""Dated versions before this refuse `stream_options`, so their streams tell no usage."""
UNDATED = frozenset({"v1", "preview"})


class AzureProvider:
    """One pool of resources that hold the same deployments; requests go round them.

    An endpoint is a resource, `https://NAME.openai.azure.com`, with or without `/openai` or `/openai/v1`. It is opened with the key
    of the resource or with `entra` tokens; neither is for a gateway before Azure that takes a key of its own from `headers`. `headers`,
    `rename` and `drops` are as in every pool of OpenAI's dialect. Raises ValueError for what does not fit together.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoints: Sequence[Endpoint],
        models: Mapping[str, str],
        api_version: str,
        api_key: str | None = None,
        entra: EntraTokens | None = None,
        headers: Mapping[str, str] = NO_NAMES,
        rename: Mapping[str, str] = NO_NAMES,
        drops: frozenset[str] = NO_DROPS,
    ) -> None:
        if api_key and entra is not None:
            raise ValueError("a pool of Azure is opened with a key or with Entra ID, not with both")
        if not _VERSIONS.fullmatch(api_version):
            raise ValueError(f"api_version {api_version!r} is none of Azure's: v1, preview, or a date such as 2024-10-21")
        self._name, self._models, self._version, self._entra = name, models, api_version, entra
        self._targets = [(endpoint, _root(endpoint, api_version)) for endpoint in endpoints]
        self._others = cycle(self._targets)
        key = {"api-key": api_key} if api_key else {}
        own = "authorization" if entra is not None else "api-key" if api_key else None
        if any(header.lower() == own for header in headers):
            raise ValueError(f"the header {own!r} is made of the pool's credentials: name one of them only")
        if api_version not in UNDATED and api_version < USAGE_SINCE:
            drops |= {"stream_options"}
        self._body = bodies(name, models, rename, drops)
        self._lines, self._token = header_lines({**key, **headers}), ""
        self._turns = self._turns_with(self._lines)

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        if ask.native is not None:
            await self._post(ask, ask.native, hearer)
            return
        body = self._body(ask, hearer)
        if self._entra is not None:
            await self._authorize(self._entra)
        token = self._token
        endpoint, head = next(self._turns[ask.operation][ask.model])
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            if exchange.status == 401 and self._entra is not None:
                self._entra.refuse(token)
            await relay(self._name, exchange, ask, hearer)

    async def _post(self, ask: Ask, native: Native, hearer: Hearer) -> None:
        """What is posted to another path."""
        assert native.post is not None
        if self._entra is not None:
            await self._authorize(self._entra)
        endpoint, root = next(self._others)
        its = self._models[ask.model]
        target = self._target(root, its, native.post.path)
        await post(self._name, endpoint, target, self._bearer + self._lines, ask, native, its, hearer)

    async def probe(self) -> None:
        if self._entra is not None:
            await self._authorize(self._entra)
        for endpoint, root in self._targets:
            await probe(self._name, endpoint, f"{root}/models{self._query}", self._bearer + self._lines)

    async def _authorize(self, entra: EntraTokens) -> None:
        """Write the heads anew when there is a new token, which is once an hour or so."""
        token = entra.current or await entra.token()
        if token != self._token:
            self._token = token
            self._turns = self._turns_with(self._bearer + self._lines)

    @property
    def _bearer(self) -> str:
        return f"authorization: Bearer {self._token}\r\n" if self._token else ""

    @property
    def _query(self) -> str:
        return "" if self._version == "v1" else f"?api-version={self._version}"

    def _turns_with(self, lines: str) -> dict[Operation, dict[str, "cycle[tuple[Endpoint, bytes]]"]]:
        return {
            operation: {
                ours: cycle([(endpoint, request_head(endpoint, self._target(root, its, path), lines)) for endpoint, root in self._targets])
                for ours, its in self._models.items()
            }
            for operation, path in PATHS.items()
        }

    def _target(self, root: str, deployment: str, path: str) -> str:
        where = "" if self._version in UNDATED else f"/deployments/{quote(deployment, safe='')}"
        return f"{root}{where}{path}{self._query}"


_VERSIONS = re.compile(r"v1|preview|\d{4}-\d{2}-\d{2}(-preview)?")


def _root(endpoint: Endpoint, api_version: str) -> str:
    """What lies between the endpoint as it is written and the API: people copy it from the portal in three forms."""
    whole = "/openai/v1" if api_version in UNDATED else "/openai"
    for given in ("/openai/v1", "/openai"):
        if endpoint.path.endswith(given):
            if not whole.startswith(given):
                raise ValueError(f'{endpoint.origin}{endpoint.path} is the address of api_version = "v1", not of {api_version}')
            return whole.removeprefix(given)
    return whole

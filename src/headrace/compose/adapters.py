"""Who answers for each pool: the one place that names the adapters, and gives them their addresses and secrets."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import assert_never

from headrace.compose.capacity import endpoints_of
from headrace.compose.clock import Names
from headrace.compose.place import secret_of
from headrace.compose.pools import PoolSettings, VertexSettings
from headrace.compose.settings import Settings
from headrace.compose.world import LocalPool
from headrace.core.clock import Clock
from headrace.core.errors import SettingsInvalid, SetupError
from headrace.core.native import ClientDialect
from headrace.providers import Endpoint, Interpreter, Provider, Spread
from headrace.providers.adapters.anthropic import AnthropicProvider
from headrace.providers.adapters.azure import AzureProvider
from headrace.providers.adapters.bedrock import BedrockProvider
from headrace.providers.adapters.gemini import Access, GeminiApi, GeminiProvider, VertexAi
from headrace.providers.adapters.hosted import HostedEngine
from headrace.providers.adapters.local import LocalProvider
from headrace.providers.adapters.openai import OpenAIProvider
from headrace.providers.entra import EntraTokens
from headrace.providers.google import ServiceAccountTokens, read_account, rs256
from headrace.providers.transport import proxy_for


class Adapters:
    """Makes providers, and keeps them as long as their pool's settings stay the same."""

    def __init__(self, environ: Mapping[str, str], clock: Clock, names: Names, loop: asyncio.AbstractEventLoop) -> None:
        self._environ, self._clock, self._names, self._loop = environ, clock, names, loop
        self._held: dict[str, tuple[object, Provider, list[Endpoint]]] = {}

    def providers(self, settings: Settings, local: Iterable[LocalPool]) -> dict[str, Provider]:
        """Who answers for each pool of `settings`. Raises SettingsInvalid, and changes nothing, for an address that is none, or a secret
        that is not in the environment."""
        held: dict[str, tuple[object, Provider, list[Endpoint]]] = {}
        for asked in settings.pool:
            if asked.dialect == "local":
                continue
            said = (asked, settings.transport, settings.model, self._secrets(asked))
            earlier = self._held.get(asked.name)
            held[asked.name] = earlier if earlier is not None and earlier[0] == said else (said, *self._provider(asked, settings))
        for name, (_, provider, endpoints) in self._held.items():
            if name not in held or held[name][1] is not provider:
                for endpoint in endpoints:
                    endpoint.retire()
        self._held = held
        return {
            **{one.pool.name: _local(one) for one in local},
            **{name: provider for name, (_, provider, _) in held.items()},
        }

    def close(self) -> None:
        for _, _, endpoints in self._held.values():
            for endpoint in endpoints:
                endpoint.close()

    def _secrets(self, asked: PoolSettings) -> tuple[str, ...]:
        """What a pool takes from the environment, to see whether it has changed."""
        names = [asked.api_key_env]
        if asked.entra is not None:
            names.append(asked.entra.client_secret_env)
        if asked.aws is not None:
            names += [asked.aws.access_key_id_env, asked.aws.secret_access_key_env, asked.aws.session_token_env]
        return tuple(self._environ.get(name, "") if name else "" for name in names)

    def _provider(self, asked: PoolSettings, settings: Settings) -> tuple[Provider, list[Endpoint]]:
        transport = asked.transport or settings.transport
        opened: list[Endpoint] = []

        def endpoint(url: str) -> Endpoint:
            made = Endpoint(url, transport, self._loop, proxy=proxy_for(url, self._environ))
            opened.append(made)
            return made

        bounds = {model.name: model.tokens_out_max for model in settings.model}
        try:
            urls = endpoints_of(asked)
            entra = self._entra(asked, endpoint)
            each = [self._adapter(asked, endpoint(url), endpoint, bounds, entra) for url in urls]
        except ValueError as wrong:
            raise SettingsInvalid(f"pool {asked.name!r}: {wrong}") from None
        return interpreted(asked, each[0] if len(each) == 1 else Spread(each, self._clock)), opened

    def _adapter(
        self,
        asked: PoolSettings,
        at: Endpoint,
        endpoint: Callable[[str], Endpoint],
        bounds: Mapping[str, int],
        entra: EntraTokens | None,
    ) -> Provider:
        key = self._secret(asked, asked.api_key_env) if asked.api_key_env else None
        match asked.dialect:
            case "openai":
                return OpenAIProvider(
                    name=asked.name,
                    endpoints=[at],
                    models=asked.models,
                    api_key=key,
                    headers=asked.headers,
                    rename=asked.rename,
                    drops=frozenset(asked.drops),
                )
            case "azure":
                return AzureProvider(
                    name=asked.name,
                    endpoints=[at],
                    models=asked.models,
                    api_version=asked.api_version,
                    api_key=key,
                    entra=entra,
                    headers=asked.headers,
                    rename=asked.rename,
                    drops=frozenset(asked.drops),
                )
            case "anthropic":
                return AnthropicProvider(
                    name=asked.name,
                    endpoints=[at],
                    models=asked.models,
                    api_key=key,
                    clock=self._clock,
                    bearer=asked.bearer,
                    betas=asked.beta,
                    inference_geo="us" if (asked.cloud, asked.region) == ("anthropic", "us") else None,
                    tokens_out_max=bounds,
                )
            case "bedrock":
                return self._bedrock(asked, at, key, bounds)
            case "gemini":
                return GeminiProvider(
                    name=asked.name,
                    endpoints=[at],
                    models=asked.models,
                    access=self._google(asked, key, endpoint),
                    new_id=lambda: self._names("call_"),
                    tokens_out_max=bounds,
                )
            case "local":
                raise AssertionError("a local pool has no endpoint")
            case never:
                assert_never(never)

    def _bedrock(self, asked: PoolSettings, at: Endpoint, key: str | None, bounds: Mapping[str, int]) -> Provider:
        aws = asked.aws
        region = (aws.region if aws is not None else None) or asked.region
        if aws is None:
            return BedrockProvider(
                name=asked.name, endpoints=[at], models=asked.models, region=region, clock=self._clock, api_key=key, tokens_out_max=bounds
            )
        return BedrockProvider(
            name=asked.name,
            endpoints=[at],
            models=asked.models,
            region=region,
            clock=self._clock,
            access_key_id=self._secret(asked, aws.access_key_id_env),
            secret_access_key=self._secret(asked, aws.secret_access_key_env),
            session_token=self._secret(asked, aws.session_token_env) if aws.session_token_env else None,
            tokens_out_max=bounds,
        )

    def _entra(self, asked: PoolSettings, endpoint: Callable[[str], Endpoint]) -> EntraTokens | None:
        entra = asked.entra
        if entra is None:
            return None
        return EntraTokens(
            authority=endpoint(entra.authority),
            tenant=entra.tenant,
            client_id=entra.client_id,
            client_secret=self._secret(asked, entra.client_secret_env),
            clock=self._clock,
            scope=entra.scope,
        )

    def _google(self, asked: PoolSettings, key: str | None, endpoint: Callable[[str], Endpoint]) -> Access:
        if asked.vertex is None:
            if key is None:
                raise ValueError("the Gemini API needs api_key_env, and Vertex AI a table vertex")
            return GeminiApi(api_key=key)
        return VertexAi(
            project=asked.vertex.project, location=asked.vertex.location, tokens=self._service_account(asked, asked.vertex, endpoint)
        )

    def _service_account(self, asked: PoolSettings, vertex: VertexSettings, endpoint: Callable[[str], Endpoint]) -> ServiceAccountTokens:
        try:
            account = read_account(Path(vertex.service_account_file).read_bytes())
        except OSError as wrong:
            raise SettingsInvalid(f"pool {asked.name!r}: {vertex.service_account_file} can't be read: {wrong.strerror}") from None
        except SetupError as wrong:
            raise SettingsInvalid(f"pool {asked.name!r}: {vertex.service_account_file}: {wrong}") from None
        return ServiceAccountTokens(
            account=account, sign=rs256(account.private_key), endpoint=endpoint(account.token_uri), clock=self._clock
        )

    def _secret(self, asked: PoolSettings, name: str) -> str:
        return secret_of(self._environ, name, f"pool {asked.name!r}")


def interpreted(asked: PoolSettings, provider: Provider) -> Provider:
    """The same, for clients of every dialect."""
    speaks: set[ClientDialect] = set()
    if asked.dialect == "anthropic":
        speaks.add("messages")
    if asked.responses:
        speaks.add("responses")
    if asked.dialect in ("openai", "azure"):
        speaks.add("posts")
    return Interpreter(provider, name=asked.name, speaks=frozenset(speaks), plain=asked.dialect in ("openai", "azure"))


def _local(one: LocalPool) -> Provider:
    if isinstance(one.engine, HostedEngine):
        return Interpreter(one.engine.provider, name=one.pool.name)
    return Interpreter(LocalProvider(engine=one.engine, embedder=one.embedder), name=one.pool.name)
